"""The demo: works anywhere, any number of times, suggests commands that work, and overwrites no other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.tools import skopeo_digest
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.processes import run
from tests.parts.wire import Registry


@pytest.mark.parametrize("directory", [(), ("elsewhere/deep",)])
def test_the_demo_runs_every_step_and_can_be_repeated(mirrorsync: Mirrorsync, directory: tuple[str, ...]) -> None:
    home = mirrorsync.directory / (directory[0] if directory else "mirrorsync-demo")
    for _ in range(2):
        done = mirrorsync("demo", *directory, code=0)
        verbs = [line.split()[2] for line in done.out.splitlines() if line.startswith("$ mirrorsync ")]
        assert verbs == ["validate", "plan", "apply", "plan"]
        assert "Plan: 3 new; " in done.out
        assert "3 done; read" in done.out
        assert "nothing to do: 3 images up to date at 1 destination" in done.out
        digests = [skopeo_digest(f"oci:{home}/mirror:demo/{name}") for name in ("web:1.27.1", "worker:latest")]
        assert len(set(digests)) == 2


def test_the_commands_that_the_demo_suggests_work(mirrorsync: Mirrorsync) -> None:
    done = mirrorsync("demo", code=0)
    lines = [line.strip() for line in done.out.splitlines() if line.startswith("  ")]
    (skopeo,) = (line for line in lines if line.startswith("skopeo inspect "))
    words = skopeo.replace("oci:mirrorsync-demo", f"oci:{mirrorsync.directory}/mirrorsync-demo").split()
    assert "manifests" in run(*words)
    (upstream,) = (line for line in lines if line.startswith("mirrorsync serve ") and "--listen" in line)
    assert upstream.split()[2] == "oci:mirrorsync-demo/upstream"
    port = upstream.rpartition(":")[2]
    with Serve(mirrorsync.directory / "mirrorsync-demo/upstream", writable=False) as server:
        assert "1.28.0-rc1" in Registry(server.host).tags("demo/web")
        spec = mirrorsync.directory / "mirrorsync-demo/mirror.yaml"
        spec.write_text(spec.read_text().replace(f":{port}", f":{server.port}").replace("newest: 2", "newest: 3"))
        assert mirrorsync("plan", spec, "--exit-code").code in (0, 10)


def test_the_demo_does_not_overwrite_other_files(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    for text in (b"version: 1\nmirrors: [nginx:1]\n", b"\xff\xfe binary", b""):
        (home / "mirror.yaml").write_bytes(text)
        (home / "mirror").mkdir(exist_ok=True)
        (home / "mirror/precious").write_text("data")
        refused = mirrorsync("demo", "mine", code=2)
        assert "was not written by the demo" in refused.err
        assert "choose another directory" in refused.err
        assert (home / "mirror.yaml").read_bytes() == text
    (home / "mirror.yaml").unlink()
    assert "not an OCI layout" in mirrorsync("demo", "mine").err, "a directory `mirror` of the user is not ours"
    assert (home / "mirror/precious").read_text() == "data"


def test_an_unusable_demo_directory_is_reported_in_one_line(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in mirrorsync("demo", "file", code=1).err
    assert "cannot be used" in mirrorsync("demo", "file/below", code=1).err
