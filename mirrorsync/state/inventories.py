"""Which inventories were taken on this machine: a bundle that was made with another one may be for another site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mirrorsync.files.disk import translated
from mirrorsync.state.lines import append_line

_FILE: Final = "inventories.jsonl"


class TakenInventories:
    """What is remembered of inventories. directory: None = nothing."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / _FILE if directory is not None else None

    def add(self, location: str, created: str) -> None:
        """Remember an inventory of a location, durably. created: as it says itself. Raises: StorageError."""
        if self._path is not None:
            append_line(self._path, [location, created])

    def at(self, location: str) -> frozenset[str]:
        """Return when inventories of a location were taken; damaged lines are left out. Raises: StorageError."""
        if self._path is None or not self._path.exists():
            return frozenset()
        with translated(f"reading {self._path}"):
            lines = self._path.read_bytes().splitlines()
        return frozenset(created for at, created in map(_read, lines) if at == location)


def _read(line: bytes) -> tuple[str, str]:
    try:
        at, created = json.loads(line)
        return str(at), str(created)
    except (ValueError, TypeError):
        return "", ""
