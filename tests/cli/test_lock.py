"""`lock`, and runs with --locked: exactly the images of the lock, at real registries, whatever becomes of the tags."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Done, Mirrorsync, Serve, plain
from tests.parts.processes import Server
from tests.parts.wire import Registry, ask

_SERVED = re.compile(rb"event=request client=\S+ method=(\w+) path=(\S+)")


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """A source with three tags of a repository `app` and one of `base`, and an empty destination."""

    def __init__(self, run: Mirrorsync, source: Server, target: Server) -> None:
        self.run, self.source, self.target = run, source, target

    @property
    def lock(self) -> Path:
        return self.run.directory / "mirror.lock"

    def push(self, tag: str, what: str, repository: str = "app") -> str:
        return Registry(self.source.host).push(repository, made(what), tag)

    def delete(self, repository: str, digest: str) -> None:
        assert ask("DELETE", f"http://{self.source.host}/v2/{repository}/manifests/{digest}").status == 202

    def held(self, tag: str, repository: str = "app") -> str:
        return Registry(self.target.host).manifest(repository, tag).headers["Docker-Content-Digest"]

    def tags(self) -> set[str]:
        return set(Registry(self.target.host).tags("app"))

    def spec(self, tags: Any = None, **keys: Any) -> None:
        app = {"from": f"{self.source.host}/app", "tags": {"all": True} if tags is None else tags, **keys}
        self.run.spec(
            {
                "registries": plain(self.source.host, self.target.host),
                "destinations": {"there": self.target.host},
                "mirrors": [app, f"{self.source.host}/base:1"],
            }
        )

    def names(self) -> dict[str, str]:
        """Return the images of the lock, without the host: `app:v1` and its digest."""
        lines = [line for line in self.lock.read_text().splitlines() if line.startswith("  ")]
        return dict(line.strip().removeprefix(f"{self.source.host}/").split(": ", 1) for line in lines)

    def asked(self, server: Server) -> list[str]:
        """Return the requests for content that a server has answered so far, as `METHOD path`."""
        if isinstance(server, DockerRegistry):
            found = [(one.method, one.path) for one in server.requests()]
        else:
            ask("GET", f"http://{server.host}/v2/")  # answered after the lines of all requests before were written
            found = [(method.decode(), path.decode()) for method, path in _SERVED.findall(server.log.read_bytes())]
        return [f"{method} {path}" for method, path in found if "/app/" in path or "/base/" in path]


def _serve(directory: Path) -> Server:
    return Serve(directory, "-v")


@pytest.fixture(params=["docker-registry", "serve"])
def site(request: pytest.FixtureRequest, mirrorsync: Mirrorsync, tmp_path: Path) -> Iterator[Site]:
    open_one: Callable[[Path], Server] = DockerRegistry if request.param == "docker-registry" else _serve
    with open_one(tmp_path / "source") as source, open_one(tmp_path / "target") as target:
        site = Site(mirrorsync, source, target)
        for tag in ("v1", "v2", "edge"):
            site.push(tag, tag)
        site.push("1", "base", "base")
        site.spec()
        yield site


def without_traces(done: Done) -> Done:
    assert "Traceback" not in done.err
    return done


def test_a_lock_has_each_wanted_image_and_only_a_change_changes_the_file(site: Site) -> None:
    done = site.run("lock", code=0)
    assert done.out.endswith("mirror.lock: 4 images, 4 new\n")
    assert list(site.names()) == ["app:edge", "app:v1", "app:v2", "base:1"]
    before = site.lock.read_bytes()
    site.lock.write_bytes(before + b"# reviewed\n")
    text = (site.run.directory / "mirror.yaml").read_text()
    (site.run.directory / "mirror.yaml").write_text(f"# a comment\n{text}")
    assert site.run("lock", code=0).out == "mirror.lock: 4 images, no difference\n"
    assert site.lock.read_bytes() == before + b"# reviewed\n"
    digest = site.push("edge", "another edge")
    done = site.run("lock", code=0)
    assert done.out.startswith(f"moved  {site.source.host}/app:edge  ")
    now = site.lock.read_bytes().splitlines()
    assert len([line for line in now if line not in before.splitlines()]) == 1, "one line for one image"
    assert site.names()["app:edge"] == digest


def test_a_locked_run_mirrors_the_digests_of_the_lock_although_tags_moved_and_went(site: Site) -> None:
    site.run("lock", code=0)
    locked = site.names()
    site.push("v1", "another v1")
    site.push("v3", "v3")
    done = site.run("plan", "--locked", "--exit-code", code=10)
    assert "mirrorsync apply --locked" in done.out
    before = len(site.asked(site.source))
    site.run("apply", "--locked", code=0)
    assert not [line for line in site.asked(site.source)[before:] if "tags/list" in line or line.endswith("/v1")]
    assert site.tags() == {"v1", "v2", "edge"}
    assert site.held("v1") == locked["app:v1"]
    assert site.held("1", "base") == locked["base:1"]
    site.run("apply", code=0)
    assert site.tags() == {"v1", "v2", "v3", "edge"}
    assert "not in the lock: 1 tag" in site.run("plan", "--locked", code=0).out
    site.run("apply", "--locked", code=0)
    assert site.held("v1") == locked["app:v1"], "a locked run goes back"


def test_a_locked_run_asks_the_source_nothing_for_what_the_destination_has(site: Site) -> None:
    site.run("lock", code=0)
    site.run("apply", "--locked", code=0)
    before = len(site.asked(site.source)), len(site.asked(site.target))
    site.run("apply", "--locked", code=0)
    assert site.asked(site.source)[before[0] :] == []
    assert len(site.asked(site.target)[before[1] :]) == 4
    site.run("plan", "--locked", "--exit-code", code=0)
    assert site.asked(site.source)[before[0] :] == []


def test_an_image_that_the_lock_lacks_fails_with_the_command_that_adds_it(site: Site) -> None:
    site.spec(["v1", "v2"])
    site.run("lock", code=0)
    site.spec(["v1", "v2", "edge"])
    done = site.run("apply", "--locked", code=3)
    assert f"{site.source.host}/app:edge: the lock lacks it" in done.err
    assert f"mirrorsync lock --update {site.source.host}/app" in done.err
    assert site.tags() == {"v1", "v2"}
    site.run("lock", "--update", f"{site.source.host}/app", code=0)
    site.run("apply", "--locked", code=0)
    assert site.tags() == {"v1", "v2", "edge"}


def test_what_the_lock_lacks_can_be_repeated_from_the_list_of_failed_images(site: Site) -> None:
    site.spec(["v1"])
    site.run("lock", code=0)
    site.spec(["v1", "edge"])
    site.run("apply", "--locked", "--failed", "failed.txt", code=3)
    assert (site.run.directory / "failed.txt").read_text() == f"{site.source.host}/app:edge\n"
    site.run("apply", "--locked", "--only-from", "failed.txt", code=3)
    site.run("lock", code=0)
    site.run("apply", "--locked", "--only-from", "failed.txt", code=0)
    assert site.tags() == {"v1", "edge"}


def test_an_image_of_the_lock_that_the_spec_does_not_want_is_not_mirrored(site: Site) -> None:
    site.run("lock", code=0)
    site.spec({"glob": ["v*"]})
    site.run("apply", "--locked", code=0)
    assert site.tags() == {"v1", "v2"}


def test_an_update_changes_only_the_sources_that_match(site: Site) -> None:
    site.run("lock", code=0)
    first = site.names()
    moved = {tag: site.push(tag, f"another {tag}") for tag in ("v1", "v2")}
    base = site.push("1", "another base", "base")
    site.run("lock", "--update", "*/base", code=0)
    assert site.names() == first | {"base:1": base}
    done = site.run("lock", "--update", "app", "--update", "*/base", code=0)
    assert "2 moved" in done.out
    assert site.names() == first | {"base:1": base} | {f"app:{tag}": digest for tag, digest in moved.items()}
    assert "no mirror of mirror.yaml" in site.run("lock", "--update", "nothing", code=2).err


def test_a_check_writes_nothing_and_names_what_is_new_moved_and_gone(site: Site) -> None:
    site.run("lock", code=0)
    site.run("lock", "--check", code=0)
    before = site.lock.read_bytes()
    site.push("v1", "another v1")
    site.push("v3", "v3")
    site.spec({"glob": ["v*"]})
    done = site.run("lock", "--check", "--quiet", code=10)
    assert [line.split()[:2] for line in done.out.splitlines()[:3]] == [
        ["gone", f"{site.source.host}/app:edge"],
        ["moved", f"{site.source.host}/app:v1"],
        ["new", f"{site.source.host}/app:v3"],
    ]
    assert site.lock.read_bytes() == before
    document = json.loads(site.run("lock", "--check", "--json", code=10).out)
    valid(document, "lock")
    assert [one["state"] for one in document["changes"]] == ["gone", "moved", "new"]
    site.lock.unlink()
    assert "write it with `mirrorsync lock`" in site.run("lock", "--check", code=2).err


def test_what_fails_is_named_and_stays_in_the_lock_as_it_was(site: Site) -> None:
    site.spec(["v1", "v2"])
    site.run("lock", code=0)
    first = site.names()
    moved = site.push("v1", "another v1")
    site.delete("base", first["base:1"])
    done = site.run("lock", code=3)
    assert f"{site.source.host}/base:1" in done.err
    assert "1 image of what failed: kept in the lock as before" in done.err
    assert site.names() == first | {"app:v1": moved}


def test_a_source_that_does_not_answer_loses_nothing_from_the_lock(site: Site) -> None:
    site.run("lock", code=0)
    before = site.lock.read_bytes()
    text = (site.run.directory / "mirror.yaml").read_text().replace(f"{site.source.host}/base", "127.0.0.1:1/base")
    (site.run.directory / "mirror.yaml").write_text(
        text.replace("registries:", "registries:\n  '127.0.0.1:1': {plain_http: true}")
    )
    site.source.stop()
    done = site.run("lock", env={"MIRRORSYNC_RETRIES": "0"}, code=3)
    assert "3 images of what failed: kept" in done.err
    assert set(before.splitlines()) >= set(site.lock.read_bytes().splitlines())


def test_a_digest_that_the_source_has_deleted_is_reported_with_its_remedy(site: Site) -> None:
    site.run("lock", code=0)
    site.delete("base", site.names()["base:1"])
    done = site.run("apply", "--locked", code=3)
    assert "the digest is that of the lock: `mirrorsync lock --update`" in done.err
    assert site.tags() == {"v1", "v2", "edge"}


def test_images_of_a_lock_do_not_wait_and_may_change(site: Site) -> None:
    site.spec()
    site.run("lock", code=0)
    site.run("apply", "--locked", code=0)
    moved = site.push("v1", "another v1")
    site.spec(min_age="3d", on_change="fail")
    done = site.run("lock", code=0)
    assert f"{site.source.host}/app:v1: min_age 3d: first seen " in done.err
    assert site.names()["app:v1"] != moved, "min_age holds for the lock"
    text = site.lock.read_text()
    site.lock.write_text(text.replace(site.names()["app:v1"], moved))
    site.run("apply", "--locked", code=0)
    assert site.held("v1") == moved, "people have decided"


def test_a_saved_plan_of_a_locked_run_is_applied_only_with_the_same_lock(site: Site) -> None:
    site.run("lock", code=0)
    locked = site.names()
    site.run("plan", "--locked", "--output", "today.plan", code=0)
    document = json.loads((site.run.directory / "today.plan").read_text())
    valid(document, "plan")
    assert document["spec"]["lock"]["path"] == str(site.lock)
    before = site.lock.read_bytes()
    site.push("v1", "another v1")
    site.lock.write_bytes(before + b"# a comment\n")
    assert "the lock of" in site.run("apply", "today.plan", code=5).err
    site.lock.rename(site.run.directory / "moved.lock")
    assert "does not exist" in site.run("apply", "today.plan", code=2).err
    (site.run.directory / "moved.lock").write_bytes(before)
    site.run("apply", "today.plan", "--lock", "moved.lock", code=0)
    assert site.held("v1") == locked["app:v1"]
    site.run("plan", "--output", "open.plan", code=0)
    assert "the plan was made without a lock" in site.run("apply", "open.plan", "--lock", "moved.lock", code=2).err
    assert "applied as it is" in site.run("apply", "open.plan", "--locked", code=2).err


def test_a_plan_that_was_changed_to_another_digest_than_that_of_the_lock_is_rejected(site: Site) -> None:
    site.spec(["v1"])
    site.run("lock", code=0)
    other = site.push("v1", "another v1")
    digest = site.names()["app:v1"]
    site.run("plan", "--locked", "--output", "today.plan", code=0)
    plan = site.run.directory / "today.plan"
    plan.write_text(plan.read_text().replace(digest, other))
    assert "its spec does not ask for" in site.run("apply", "today.plan", code=2).err


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[tuple[DockerRegistry, DockerRegistry]]:
    with DockerRegistry(tmp_path / "source") as source, DockerRegistry(tmp_path / "target") as target:
        yield source, target


def test_selected_platforms_are_those_of_the_locked_index(
    mirrorsync: Mirrorsync, registries: tuple[DockerRegistry, DockerRegistry]
) -> None:
    source, target = registries
    first = Registry(source.host).push("app", multi_platform("first"), "1")
    spec = {
        "registries": plain(source.host, target.host),
        "destinations": {"there": target.host},
        "mirrors": [{"from": f"{source.host}/app:1", "platforms": ["linux/arm64"]}],
    }
    mirrorsync.spec(spec)
    mirrorsync("lock", code=0)
    assert first in (mirrorsync.directory / "mirror.lock").read_text(), "the digest of the index, as the source has it"
    mirrorsync("apply", code=0)
    arm = Registry(target.host).manifest("app", "1").headers["Docker-Content-Digest"]
    Registry(source.host).push("app", multi_platform("second"), "1")
    mirrorsync("apply", "--locked", code=0)
    assert Registry(target.host).manifest("app", "1").headers["Docker-Content-Digest"] == arm
    mirrorsync("plan", "--locked", "--output", "today.plan", code=0)
    mirrorsync("apply", "today.plan", code=0)


def test_a_whole_store_on_disk_is_locked_repository_by_repository(
    mirrorsync: Mirrorsync, registries: tuple[DockerRegistry, DockerRegistry]
) -> None:
    _, target = registries
    write_layout(mirrorsync.directory / "seed", {"a:1": made("a"), "b:1": made("b")})
    mirrorsync.spec(
        {
            "registries": plain(target.host),
            "destinations": {"there": target.host},
            "mirrors": [{"from": "oci:seed", "tags": {"all": True}}],
        }
    )
    mirrorsync("lock", code=0)
    assert "  oci:seed:a:1: sha256:" in (mirrorsync.directory / "mirror.lock").read_text()
    mirrorsync("plan", "--locked", "--output", "today.plan", code=0)
    mirrorsync("apply", "today.plan", code=0)
    assert Registry(target.host).tags("a") == Registry(target.host).tags("b") == ["1"]
    (mirrorsync.directory / "mirror.lock").write_text("lock: 1\nimages: {}\n")
    assert "the lock has no tag that the filters match" in mirrorsync("apply", "--locked", code=3).err


def test_nothing_is_pruned_if_the_lock_lacks_an_image(
    mirrorsync: Mirrorsync, registries: tuple[DockerRegistry, DockerRegistry]
) -> None:
    source, target = registries
    for tag in ("1", "2", "3"):
        Registry(source.host).push("app", made(tag), tag)
    spec = {
        "registries": plain(source.host, target.host),
        "destinations": {"there": target.host},
        "prune": {"max_deletes": 10},
        "mirrors": [{"from": f"{source.host}/app", "tags": ["1", "2", "3"]}],
    }
    mirrorsync.spec(spec)
    mirrorsync("lock", code=0)
    mirrorsync("apply", "--locked", code=0)
    lock = mirrorsync.directory / "mirror.lock"
    lines = lock.read_text().splitlines(keepends=True)
    lock.write_text("".join(line for line in lines if "app:2:" not in line))
    mirrorsync("apply", "--locked", code=3)
    assert set(Registry(target.host).tags("app")) == {"1", "2", "3"}
    spec["mirrors"] = [{"from": f"{source.host}/app", "tags": ["1", "3"]}]
    mirrorsync.spec(spec)
    mirrorsync("apply", "--locked", code=0)
    assert set(Registry(target.host).tags("app")) == {"1", "3"}


def test_two_branches_that_lock_different_images_merge(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    digest = "sha256:" + "0" * 64
    lines = [f"  corp.example/app:{number}: {digest}\n" for number in range(10, 20)]
    lock = tmp_path / "merged.lock"

    def write(found: list[str]) -> None:
        lock.write_text("lock: 1\nimages:\n" + "".join(found))
        git("add", lock.name)
        git("commit", "-m", "lock")

    git("init", "-b", "main")
    write(lines)
    git("checkout", "-b", "other")
    write([line.replace("0" * 64, "1" * 64) if ":11:" in line else line for line in lines])
    git("checkout", "main")
    write([line.replace("0" * 64, "2" * 64) if ":18:" in line else line for line in lines])
    git("merge", "other")
    assert mirrorsync("diff", str(lock), str(lock), code=0).out == "no difference\n"


def test_a_damaged_lock_is_refused_in_every_verb_with_its_line(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["corp.example/app:1"]})
    lock = mirrorsync.directory / "mirror.lock"
    lock.write_text("lock: 1\nimages:\n  corp.example/app:1: sha256:12\n")
    for words in (
        ["lock"],
        ["lock", "--check"],
        ["plan", "--locked"],
        ["apply", "--locked"],
        ["diff", lock.name, lock.name],
    ):
        done = without_traces(mirrorsync(*words, code=2))
        assert "mirror.lock:3:3: " in done.err
        assert done.out == ""


def test_a_lock_goes_to_a_file_to_stdout_and_from_a_spec_on_stdin(
    mirrorsync: Mirrorsync, registries: tuple[DockerRegistry, DockerRegistry]
) -> None:
    source, target = registries
    digest = Registry(source.host).push("app", made("1"), "1")
    path = mirrorsync.spec(
        {
            "registries": plain(source.host, target.host),
            "destinations": {"there": target.host},
            "mirrors": [f"{source.host}/app:1"],
        },
        "nightly.yaml",
    )
    line = f"  {source.host}/app:1: {digest}\n"
    done = mirrorsync("lock", "nightly.yaml", "--output", "-", code=0)
    assert done.out.endswith(line)
    assert not (mirrorsync.directory / "nightly.lock").exists()
    assert "--output FILE" in mirrorsync("lock", "-", stdin=path.read_text(), code=2).err
    mirrorsync("lock", "-", "-o", "some.lock", stdin=path.read_text(), code=0)
    assert (mirrorsync.directory / "some.lock").read_text().endswith(line)
    mirrorsync("lock", "nightly.yaml", "--quiet", code=0)
    assert (mirrorsync.directory / "nightly.lock").read_text().endswith(line)
    mirrorsync("apply", "nightly.yaml", "--lock", "some.lock", code=0)
    assert Registry(target.host).tags("app") == ["1"]
    for words in (["--check", "-o", "-"], ["--json", "-o", "-"]):
        assert "stdout" in mirrorsync("lock", "nightly.yaml", *words, code=2).err or "--check" in words


def test_a_lock_may_be_larger_than_a_spec(tmp_path: Path) -> None:
    text = "lock: 1\nimages:\n" + "".join(
        f"  corp.example/team-{number % 50}/app:v{number}: sha256:{number:064x}\n" for number in range(20_000)
    )
    (tmp_path / "large.lock").write_text(text)
    code = "import sys; from mirrorsync.app.locking import load_lock; print(len(load_lock(sys.argv[1]).images))"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "large.lock"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "20000\n"


def test_a_lock_of_nothing_but_failures_is_not_written_and_says_so(
    mirrorsync: Mirrorsync, registries: tuple[DockerRegistry, DockerRegistry]
) -> None:
    source, target = registries
    mirrorsync.spec(
        {
            "registries": plain(source.host, target.host),
            "destinations": {"there": target.host},
            "mirrors": [f"{source.host}/no/such:1"],
        }
    )
    done = mirrorsync("lock", code=1)
    assert done.out == "mirror.lock: not written, 1 failed\n"
    assert not (mirrorsync.directory / "mirror.lock").exists()
