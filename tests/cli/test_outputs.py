"""Output files: devices, pipes and links are written through and never replaced; `-` is standard output."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading

import pytest

from tests.parts.images import image, write_layout
from tests.parts.mirrorsync import Mirrorsync, program

IMAGE = image([b"layer"])
PLAN = ("plan", "--output")
COPY = ("copy", "oci:source:app:1", "oci:copied:app:1", "--digestfile")
writers = pytest.mark.parametrize("words", [PLAN, COPY], ids=["plan", "digestfile"])


@pytest.fixture(autouse=True)
def spec(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": IMAGE})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [{"from": "oci:source:app:1"}]})


def check(words: tuple[str, ...], text: str) -> None:
    if words == PLAN:
        assert json.loads(text)["kind"] == "mirrorsync.plan"
    else:
        assert text == IMAGE.digest


@writers
def test_a_device_is_written_and_not_replaced(mirrorsync: Mirrorsync, words: tuple[str, ...]) -> None:
    link = mirrorsync.directory / "null"  # a renaming mirrorsync would replace this, and not the machine's device
    link.symlink_to("/dev/null")
    mirrorsync(*words, link, code=0)
    assert link.is_symlink()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


@writers
def test_a_pipe_is_written_through(mirrorsync: Mirrorsync, words: tuple[str, ...]) -> None:
    pipe = mirrorsync.directory / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    mirrorsync(*words, pipe, code=0)
    reader.join(60)
    assert pipe.is_fifo()
    check(words, received[0])


@writers
@pytest.mark.parametrize("exists", [True, False])
def test_the_target_of_a_link_is_written_and_the_link_is_kept(
    mirrorsync: Mirrorsync, words: tuple[str, ...], exists: bool
) -> None:
    (mirrorsync.directory / "elsewhere").mkdir()
    target, link = mirrorsync.directory / "elsewhere/file", mirrorsync.directory / "link"
    if exists:
        target.write_text("before")
    link.symlink_to(target)
    mirrorsync(*words, link, code=0)
    assert link.is_symlink()
    check(words, target.read_text())
    assert [file.name for file in target.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
@pytest.mark.parametrize("to_file", [True, False])
def test_a_plan_goes_to_standard_output_alone(mirrorsync: Mirrorsync, name: str, to_file: bool) -> None:
    if to_file:
        file = mirrorsync.directory / "redirected"
        with file.open("w") as output:
            done = subprocess.run(
                [program(), *PLAN, name],
                stdout=output,
                stderr=subprocess.PIPE,
                cwd=mirrorsync.directory,
                env=mirrorsync.environment(),
            )
        assert done.returncode == 0, done.stderr
        check(PLAN, file.read_text())
    else:
        check(PLAN, mirrorsync(*PLAN, name, code=0).out)
    assert not (mirrorsync.directory / "-").exists()


def test_a_plan_from_standard_output_can_be_applied(mirrorsync: Mirrorsync) -> None:
    (mirrorsync.directory / "saved.plan").write_text(mirrorsync(*PLAN, "-", code=0).out)
    assert "1 done" in mirrorsync("apply", "saved.plan", code=0).out


def test_a_digest_goes_to_standard_output(mirrorsync: Mirrorsync) -> None:
    assert mirrorsync(*COPY, "-", code=0).out.endswith(IMAGE.digest)
    assert not (mirrorsync.directory / "-").exists()
