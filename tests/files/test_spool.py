"""The spool: content of several threads in a few unnamed files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirrorsync.errors import StorageError
from mirrorsync.files.spool import Spool
from tests.parts.images import noise


def test_content_of_many_threads_is_returned_unchanged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    contents = [noise(str(number), 100_000 + number) for number in range(40)]
    with ThreadPoolExecutor(4) as threads:
        pieces = list(
            threads.map(lambda data: spool.store(data[at : at + 999] for at in range(0, len(data), 999)), contents)
        )
    assert [b"".join(piece.chunks()) for piece in pieces] == contents
    assert [b"".join(piece.chunks(50_000)) for piece in pieces] == [data[50_000:] for data in contents]
    assert len({piece.file for piece in pieces}) <= 4
    assert not list(tmp_path.iterdir())
    spool.close()


def test_content_that_failed_takes_no_space(tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield bytes(1_000_000)
        raise LookupError

    spool = Spool(tmp_path)
    kept = spool.store([b"kept"])
    for _ in range(3):
        with pytest.raises(LookupError):
            spool.store(breaking())
    assert spool.store([b"next"]).begin == 4
    assert b"".join(kept.chunks()) == b"kept"
    spool.close()


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="none"):
        Spool(tmp_path / "none").store([b"x"])
