"""Archives as outputs: pipes, modes of files, and an image that is announced when it can be read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.parts.images import image, layer, noise, write_layout
from tests.parts.mirrorsync import COMMAND, Mirrorsync, program

ONE = image([layer({"etc/one": b"1"})])
ARCHIVES = ("docker-archive", "oci-archive")


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "pipe"])
def test_an_archive_into_a_pipe_is_refused_at_once_with_what_to_do(
    mirrorsync: Mirrorsync, tmp_path: Path, kind: str, path: str
) -> None:
    """skopeo#2623: it read from the pipe that it wrote."""
    write_layout(tmp_path / "source", {"app:1": ONE})
    os.mkfifo(tmp_path / "pipe")
    words = [*COMMAND, "copy", "oci:source:app:1", f"{kind}:{path}:app:1"]
    # Its standard output is a pipe that stays open on the other side, as in a shell's pipeline.
    done = subprocess.run(
        words, cwd=tmp_path, env=mirrorsync.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "is not a regular file, and an archive is published by renaming it" in done.stderr
    assert "docker load < FILE" in done.stderr
    assert (tmp_path / "pipe").is_fifo()


# What is at the destination before, and the largest file that may be written: enough for what is staged, and not for
# what the flush writes.
FULL = {
    "docker-archive": (None, 102_000),
    "oci-archive": (300_000, 150_000),
    "oci": (4000, 150_000),
}


@pytest.mark.parametrize("kind", FULL)
def test_an_image_whose_destination_cannot_be_completed_is_not_announced_as_done(
    mirrorsync: Mirrorsync, tmp_path: Path, kind: str
) -> None:
    write_layout(tmp_path / "source", {"app:1": image([noise("layer", 100_000)])})
    before, limit = FULL[kind]
    if kind == "oci-archive":
        write_layout(tmp_path / "old", {"old:1": image([noise("old", before or 0)])})
        mirrorsync("copy", "oci:old:old:1", "oci-archive:place", code=0)
    elif kind == "oci":
        write_layout(tmp_path / "place", dict.fromkeys((f"old:{number}" for number in range(before or 0)), ONE))
    words = [program(), "copy", "oci:source:app:1", f"{kind}:place:app:1"]
    limited = ["prlimit", f"--fsize={limit}", *words]
    done = subprocess.run(
        limited, cwd=tmp_path, env=mirrorsync.environment(), capture_output=True, text=True, timeout=60
    )
    assert "would exceed the size limit" in done.stderr
    assert "image done" not in done.stderr
    assert (done.returncode, "0 done" in done.stdout or "done" not in done.stdout) == (1, True)
    assert "image done" in mirrorsync(*words[1:], code=0).err


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
@pytest.mark.parametrize("kind", [*ARCHIVES, "oci", "dir"])
def test_the_modes_of_new_files_follow_the_umask(
    mirrorsync: Mirrorsync, tmp_path: Path, kind: str, umask: int, mode: int
) -> None:
    write_layout(tmp_path / "source", {"app:1": ONE})
    name = "" if kind == "dir" else ":app:1"
    words = [program(), "copy", "oci:source:app:1", f"{kind}:place/new{name}"]
    subprocess.run(words, cwd=tmp_path, env=mirrorsync.environment(), umask=umask, check=True, timeout=60)
    files = [one for one in (tmp_path / "place").rglob("*") if one.is_file()]
    assert files
    assert {one.stat().st_mode & 0o777 for one in files} == {mode}


def test_the_mode_of_an_archive_that_exists_is_kept(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"app:1": ONE, "app:2": ONE})
    mirrorsync("copy", "oci:source:app:1", "oci-archive:a.tar", code=0)
    (tmp_path / "a.tar").chmod(0o640)
    mirrorsync("copy", "oci:source:app:2", "oci-archive:a.tar", code=0)
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o640
