"""Which bundles were imported on this machine, and how each import ended: a line of JSON for each, in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.files.disk import replace_file, translated
from mirrorsync.oci.digest import Digest

_FILE: Final = "imports.jsonl"
# Some thousand imports; when the file is larger, the older half is dropped.
_MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PastImport:
    """One import. bundle: the beginning of the names of its files. digest: of its document.

    started, finished: UTC, ISO 8601. counts: images by what became of them. bytes_written: of blobs. error: what ended
    it before all images were looked at, "" otherwise; then there are no counts.
    """

    bundle: str
    digest: Digest
    destinations: tuple[str, ...]
    started: str
    finished: str
    exit_code: int
    counts: Mapping[str, int]
    bytes_written: int
    error: str = ""


class PastImports:
    """What is remembered of imports. directory: None = nothing. warn: is told of lines that are damaged."""

    def __init__(self, directory: Path | None, warn: Callable[[str], None]) -> None:
        self._path = directory / _FILE if directory is not None else None
        self._warn = warn

    def add(self, one: PastImport) -> None:
        """Remember an import, durably. Raises: StorageError."""
        if self._path is None:
            return
        line = json.dumps({**asdict(one), "counts": dict(one.counts)}, sort_keys=True).encode() + b"\n"
        with translated(f"writing {self._path}"):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._path.exists() and self._path.stat().st_size > _MOST_BYTES:
                lines = self._path.read_bytes().splitlines(keepends=True)
                replace_file(self._path, lines[len(lines) // 2 :], mode=0o600)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line)  # in one call: two imports at a time each have their line
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def every(self) -> list[PastImport]:
        """Return the imports, the latest first. Raises: StorageError."""
        if self._path is None or not self._path.exists():
            return []
        with translated(f"reading {self._path}"):
            lines = self._path.read_bytes().splitlines()
        found = [one for one in map(_read, lines) if one is not None]
        if len(found) < len(lines):
            self._warn(f"{self._path} has {len(lines) - len(found)} damaged lines, which are left out")
        return found[::-1]


def _read(line: bytes) -> PastImport | None:
    try:
        value = json.loads(line)
        counts = {str(word): int(number) for word, number in value["counts"].items()}
        return PastImport(
            str(value["bundle"]),
            Digest(value["digest"]),
            tuple(map(str, value["destinations"])),
            str(value["started"]),
            str(value["finished"]),
            int(value["exit_code"]),
            counts,
            int(value["bytes_written"]),
            str(value.get("error", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, GrammarError):
        return None
