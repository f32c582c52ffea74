"""`mirrorsync delete`: only the tag, where skopeo deletes every tag of the digest."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, artifact, image, index, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, program
from tests.parts.processes import run
from tests.parts.wire import Registry

PLAIN = "--tls-verify=false"
SOLO = image([layer({"a": b"solo"})])


def shared(unique: str) -> Image:
    return image([layer({"a": f"shared {unique}".encode()})])


@pytest.fixture
def app(registry: DockerRegistry, unique: str) -> str:
    """Return a repository of a registry that deletes only by digest: `a` and `b` are one image, `solo` is alone."""
    source = Registry(registry.host)
    for tag in ("a", "b"):
        source.push(f"{unique}/app", shared(unique), tag)
    source.push(f"{unique}/app", SOLO, "solo")
    return f"{registry.host}/{unique}/app"


def tags(reference: str) -> list[str]:
    host, _, repository = reference.partition("/")
    return Registry(host).tags(repository)


def test_a_tag_that_shares_its_digest_is_not_deleted_and_the_others_are_reported(
    mirrorsync: Mirrorsync, app: str, unique: str
) -> None:
    done = mirrorsync("delete", PLAIN, "--yes", f"docker://{app}:a", code=1)
    assert f"{app}:a" in done.err
    assert f"{shared(unique).digest} also has the tag b; nothing was deleted" in done.err
    assert "--all-tags-of-digest" in done.err
    assert tags(app) == ["a", "b", "solo"]
    done = mirrorsync("delete", PLAIN, "--yes", "--all-tags-of-digest", f"docker://{app}:a", code=0)
    assert "with the tags a, b" in done.out
    assert tags(app) == ["solo"]


def test_skopeo_deletes_both_tags_of_a_digest(mirrorsync: Mirrorsync, app: str) -> None:
    run("skopeo", "delete", PLAIN, f"docker://{app}:a")
    assert tags(app) == ["solo"], "if skopeo learns better, the table of docs/copying.md has to change"


def test_a_tag_with_a_digest_of_its_own_is_deleted_by_digest(mirrorsync: Mirrorsync, app: str) -> None:
    document = valid(mirrorsync("delete", PLAIN, "--yes", "--json", f"docker://{app}:solo", code=0).json(), "report")
    (gone,) = document["images"]
    assert (gone["state"], gone["tag"], gone["outcome"]) == ("deleted", "solo", "done")
    assert (gone["before"]["digest"], gone["after"]) == (SOLO.digest, None)
    assert document["counts"]["freed"] is None
    host, _, repository = app.partition("/")
    assert Registry(host).manifest(repository, SOLO.digest).status == 404
    assert tags(app) == ["a", "b"]


@pytest.mark.parametrize("flag", [(), ("--all-tags-of-digest",)])
def test_a_manifest_that_an_index_needs_is_not_deleted(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, flag: tuple[str, ...]
) -> None:
    root = multi_platform(unique)
    source = Registry(registry.host)
    source.push(f"{unique}/app", root, "multi")
    source.push(f"{unique}/app", root.children[0], "amd64")
    done = mirrorsync("delete", PLAIN, "--yes", *flag, f"{registry.host}/{unique}/app:amd64", code=1)
    assert "part of multi" in done.err
    assert source.holds(f"{unique}/app", root, "multi")
    done = mirrorsync("delete", PLAIN, "--yes", f"{registry.host}/{unique}/app:multi", code=0)
    assert "stays: 2 images of the index" in done.out
    assert source.tags(f"{unique}/app") == ["amd64"]


def test_a_registry_that_can_delete_tags_deletes_only_the_tag(
    mirrorsync: Mirrorsync, served: Serve, unique: str
) -> None:
    source = Registry(served.host)
    for tag in ("a", "b"):
        source.push(f"{unique}/app", shared(unique), tag)
    done = mirrorsync("delete", PLAIN, "--yes", f"{served.host}/{unique}/app:a", code=0)
    assert f"deleted: the tag a of {served.host}/{unique}/app ({shared(unique).digest})" in done.out
    assert source.tags(f"{unique}/app") == ["b"]
    assert source.holds(f"{unique}/app", shared(unique), "b")


def test_referrers_of_a_deleted_image_are_reported_and_stay(mirrorsync: Mirrorsync, served: Serve, unique: str) -> None:
    source = Registry(served.host)
    source.push(f"{unique}/app", SOLO, "solo")
    sbom = artifact(SOLO, b"sbom", "application/spdx+json")
    source.push(f"{unique}/app", sbom)
    signature = f"{SOLO.digest.replace(':', '-')}.sig"
    source.push(f"{unique}/app", image([b"signs"]), signature)
    done = mirrorsync("delete", PLAIN, "--yes", f"{served.host}/{unique}/app:solo", code=0)
    assert f"stays: sbom {sbom.digest} application/spdx+json" in done.out
    assert f"stays: signature {signature}" in done.out
    assert source.tags(f"{unique}/app") == [signature]


def test_a_dry_run_of_delete_shows_the_plan_and_deletes_nothing(mirrorsync: Mirrorsync, app: str, unique: str) -> None:
    done = mirrorsync("delete", PLAIN, "--dry-run", f"docker://{app}:a", code=0)
    assert f"to be deleted: the tag a of {app} ({shared(unique).digest})" in done.out
    assert "also in b" in done.out
    document = mirrorsync("delete", PLAIN, "--dry-run", "--json", "--all-tags-of-digest", f"{app}:a", code=0).json()
    (step,) = valid(document, "plan")["steps"]
    assert (step["do"], step["tags"], step["manifest"]["digest"]) == (
        "delete-manifest",
        ["a", "b"],
        shared(unique).digest,
    )
    assert tags(app) == ["a", "b", "solo"]


def test_without_a_terminal_nothing_is_deleted_unless_yes_is_given(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry
) -> None:
    done = mirrorsync("delete", PLAIN, f"docker://{fresh_registry.host}/app:1", code=2)
    assert "--yes" in done.err
    assert "refusing to delete without confirmation: stdin is not a terminal" in done.err
    assert not [each for each in fresh_registry.requests() if "app" in each.path]


class DeleteTerminal:
    """`mirrorsync delete` on a terminal, to answer its prompt."""

    def __init__(self, mirrorsync: Mirrorsync, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [program(), "delete", *words], stdin=slave, stdout=slave, stderr=slave,
            cwd=mirrorsync.directory, env=mirrorsync.environment({"TERM": "xterm"}), start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def until(self, word: str) -> None:
        while word not in self.shown:
            assert self._read(), self.shown

    def answer(self, text: str) -> int:
        os.write(self._master, f"{text}\n".encode())
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(30)

    def _read(self) -> bool:
        try:
            select.select([self._master], [], [], 60)
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.shown += data.decode()
        return bool(data)


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y", 0, ["a", "b"]), ("n", 1, ["a", "b", "solo"]), ("", 1, ["a", "b", "solo"])]
)
def test_on_a_terminal_delete_shows_the_plan_and_asks_for_confirmation(
    mirrorsync: Mirrorsync, app: str, answer: str, code: int, left: list[str]
) -> None:
    terminal = DeleteTerminal(mirrorsync, PLAIN, f"docker://{app}:solo")
    terminal.until("Delete this?")
    assert f"to be deleted: the tag solo of {app}" in terminal.shown
    assert tags(app) == ["a", "b", "solo"]
    assert terminal.answer(answer) == code
    assert tags(app) == left
    assert ("nothing was deleted" in terminal.shown) == bool(code)


def test_a_tag_that_moves_during_the_confirmation_is_not_deleted(
    mirrorsync: Mirrorsync, registry: DockerRegistry, app: str, unique: str
) -> None:
    terminal = DeleteTerminal(mirrorsync, PLAIN, f"docker://{app}:solo")
    terminal.until("Delete this?")
    Registry(registry.host).push(f"{unique}/app", image([b"newer"]), "solo")
    assert terminal.answer("y") == 5
    assert tags(app) == ["a", "b", "solo"]


def test_a_registry_without_deletion_is_reported_with_how_to_enable_it(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry") as server:
        Registry(server.host).push("app", SOLO, "solo")
    with DockerRegistry(tmp_path / "registry", readonly=True) as server:
        done = mirrorsync("delete", PLAIN, "--yes", f"{server.host}/app:solo", code=1)
        assert "does not delete images" in done.err
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in done.err
        assert Registry(server.host).tags("app") == ["solo"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [("app:nope", "no such tag"), (f"app@{image([b'none']).digest}", "no image with this digest")],
)
def test_deleting_a_missing_image_fails(mirrorsync: Mirrorsync, app: str, reference: str, said: str) -> None:
    place = app.removesuffix("app") + reference
    done = mirrorsync("delete", PLAIN, "--yes", place, code=1)
    assert place in done.err
    assert said in done.err
    assert mirrorsync("delete", PLAIN, "--yes", "--skopeo-exit-codes", place).code == 2


@pytest.mark.parametrize(
    "reference",
    ["docker://127.0.0.1:1/app", "oci:layout", "dir:there", "docker-daemon:app:1", "docker-archive:a.tar:app:1"],
)
def test_references_that_cannot_be_deleted_are_rejected_first(mirrorsync: Mirrorsync, reference: str) -> None:
    done = mirrorsync("delete", "--yes", reference, code=2)
    assert len(done.err.splitlines()) == 2, "what, and what to do"


def blobs(layout: Path) -> set[str]:
    return {path.name for path in (layout / "blobs" / "sha256").iterdir()}


def test_delete_removes_unused_blobs_of_a_layout(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    base, one, two = layer({"a": b"base"}), layer({"b": b"one"}), layer({"b": b"two"})
    images = {"app:1": image([base, one]), "app:2": image([base, two]), "other:1": index([image([base, one])])}
    write_layout(tmp_path / "layout", images)
    whole = blobs(tmp_path / "layout")
    mirrorsync("delete", "--yes", "oci:layout:app:1", code=0)
    assert blobs(tmp_path / "layout") == whole, "the index of other:1 has it too"
    document = valid(mirrorsync("delete", "--yes", "--json", "oci:layout:app:2", code=0).json(), "report")
    gone = whole - blobs(tmp_path / "layout")
    only_there = {images["app:2"].digest, *images["app:2"].blobs} - set(images["app:1"].blobs)
    assert {f"sha256:{name}" for name in gone} == only_there
    assert document["counts"]["freed"]["blobs"] == len(only_there)
    assert document["counts"]["freed"]["bytes"] == len(images["app:2"].raw) + sum(
        len(data) for key, data in images["app:2"].blobs.items() if key in only_there
    )
    assert json.loads(run("skopeo", "inspect", "--raw", f"oci:{tmp_path}/layout:other:1")) == json.loads(
        images["other:1"].raw
    )


def test_a_layout_keeps_other_tags_of_the_same_image(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"app:a": SOLO, "app:b": SOLO})
    mirrorsync("delete", "--yes", "oci:layout:app:a", code=0)
    assert mirrorsync("list-tags", "oci:layout", code=0).out.split() == ["app:b"]
    assert mirrorsync("inspect", "--raw", "oci:layout:app:b", code=0).out == SOLO.raw.decode()


def test_delete_in_a_locked_layout_exits_with_6(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    import fcntl

    write_layout(tmp_path / "layout", {"app:a": SOLO})
    before = blobs(tmp_path / "layout")
    with (tmp_path / "layout" / "oci-layout").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        mirrorsync("delete", "--yes", "oci:layout:app:a", code=6)
    assert blobs(tmp_path / "layout") == before
    assert mirrorsync("list-tags", "oci:layout", code=0).out.split() == ["app:a"]


def test_a_damaged_image_in_the_layout_keeps_all_blobs_and_the_tag_is_deleted(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    other = multi_platform("other")
    write_layout(tmp_path / "layout", {"app:a": SOLO, "other:1": other})
    (tmp_path / "layout/blobs/sha256" / other.digest.partition(":")[2]).write_bytes(b"{}".ljust(len(other.raw)))
    before = blobs(tmp_path / "layout")
    done = mirrorsync("delete", "--yes", "oci:layout:app:a", code=0)
    assert "no blobs were removed" in done.out
    assert blobs(tmp_path / "layout") == before
    assert "app:a" not in mirrorsync("list-tags", "oci:layout", code=0).out.split()


def test_delete_rewrites_an_archive_without_the_image(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    archive = f"oci-archive:{tmp_path}/archive.tar"
    write_layout(tmp_path / "layout", {"app:a": SOLO, "app:b": shared("archive")})
    run("tar", "-C", str(tmp_path / "layout"), "-cf", str(tmp_path / "archive.tar"), ".")
    mirrorsync("delete", "--yes", f"{archive}:app:a", code=0)
    assert mirrorsync("list-tags", archive, code=0).out.split() == ["app:b"]
    members = run("tar", "-tf", str(tmp_path / "archive.tar"))
    assert SOLO.digest.partition(":")[2] not in members
    assert shared("archive").digest.partition(":")[2] in members
