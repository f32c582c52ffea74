"""Small files are replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrorsync.files.disk import replace_file, sync_directory


def half() -> Iterator[bytes]:
    yield b"half of it"
    raise KeyboardInterrupt


@pytest.mark.parametrize("before", [None, b"before"])
def test_a_file_that_cannot_be_written_to_its_end_is_as_before_and_nothing_is_left(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "state.json"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, half())
    assert [one.read_bytes() for one in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o640), (0o600, 0o600), (0o666, 0o666)])
def test_a_new_file_has_its_mode_or_that_of_the_umask(tmp_path: Path, mode: int | None, expected: int) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"before")
    umask = os.umask(0o027)
    try:
        replace_file(path, [b"all ", b"of it"], mode=mode)
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"all of it"
    assert stat.S_IMODE(path.stat().st_mode) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_file_systems_without_modes_and_without_directories_that_can_be_synced_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: int, __: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refused)
    replace_file(tmp_path / "far.json", [b"{}"], mode=0o644)
    assert (tmp_path / "far.json").read_bytes() == b"{}"
    sync_directory(Path("/proc"))  # answers EINVAL, as folders do that a virtual machine shares
