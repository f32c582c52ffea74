"""Which bundles were imported on this machine, and how each import ended, in one file.

A line of JSON when an import begins, and one when it ends: those that were killed have only the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from mirrorsync.errors import GrammarError
from mirrorsync.files.disk import translated
from mirrorsync.oci.digest import Digest
from mirrorsync.state.lines import append_line

_FILE: Final = "imports.jsonl"


@dataclass(frozen=True, slots=True)
class PastImport:
    """One import. bundle: the beginning of the names of its files. digest: of its document.

    started, finished: UTC, ISO 8601. counts: images by what became of them. bytes_written: of blobs. error: what ended
    it before all images were looked at, "" otherwise; then there are no counts. finished, exit_code: None = it was
    killed, or is still running. id: the same when it begins and when it ends.
    """

    bundle: str
    digest: Digest
    destinations: tuple[str, ...]
    started: str
    finished: str | None = None
    exit_code: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    bytes_written: int = 0
    error: str = ""
    id: str = field(default_factory=lambda: uuid4().hex, compare=False)


class PastImports:
    """What is remembered of imports. directory: None = nothing. warn: is told of lines that are damaged."""

    def __init__(self, directory: Path | None, warn: Callable[[str], None]) -> None:
        self._path = directory / _FILE if directory is not None else None
        self._warn = warn

    def add(self, one: PastImport) -> None:
        """Remember that an import begins, or how it ended, durably. Raises: StorageError."""
        if self._path is None:
            return
        append_line(self._path, {**asdict(one), "counts": dict(one.counts)})

    def every(self) -> list[PastImport]:
        """Return the imports, the one first that began or ended last. Raises: StorageError."""
        if self._path is None or not self._path.exists():
            return []
        with translated(f"reading {self._path}"):
            lines = self._path.read_bytes().splitlines()
        found = [one for one in map(_read, lines) if one is not None]
        if len(found) < len(lines):
            self._warn(f"{self._path} has {len(lines) - len(found)} damaged lines, which are left out")
        last = {one.id: one for one in found}  # the line of the end is after that of the beginning
        return [one for one in found[::-1] if last[one.id] is one]


def _read(line: bytes) -> PastImport | None:
    try:
        value = json.loads(line)
        counts = {str(word): int(number) for word, number in value["counts"].items()}
        ended = value["finished"] is not None
        return PastImport(
            str(value["bundle"]),
            Digest(value["digest"]),
            tuple(map(str, value["destinations"])),
            str(value["started"]),
            str(value["finished"]) if ended else None,
            int(value["exit_code"]) if ended else None,
            counts,
            int(value["bytes_written"]),
            str(value["error"]),
            str(value.get("id") or uuid4().hex),  # lines of earlier versions have none
        )
    except (ValueError, KeyError, TypeError, AttributeError, GrammarError):
        return None
