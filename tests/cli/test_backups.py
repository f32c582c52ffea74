"""`backup:` keeps the image of a tag under another name before the tag moves, and `keep_backups` the last of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.state import open_memory
from tests.cli.tools import skopeo_digest
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync, Running, plain
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

TODAY = re.compile(rf"1-{datetime.now(UTC):%Y}\d{{4}}(-\d)?")


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """A source whose tag `1` moves, and a destination."""

    def __init__(self, run: Mirrorsync, source: DockerRegistry, target: str, name: str) -> None:
        self.run, self.source, self.name = run, source, name
        self.target = Registry(target)

    def push(self, what: Image | str) -> str:
        new = what if isinstance(what, Image) else made(what)
        return Registry(self.source.host).push(f"{self.name}/app", new, "1")

    def spec(self, **keys: Any) -> None:
        self.run.spec(
            {
                "registries": plain(self.source.host, self.target.host),
                "destinations": {"there": self.target.host},
                "defaults": {"backup": "{tag}-{date}"},
                "mirrors": [{"from": f"{self.source.host}/{self.name}/app", "tags": ["1"], "name": f"{self.name}/m"}],
                **keys,
            }
        )

    def held(self) -> dict[str, str]:
        """Return the digests at the destination, by tag."""
        repository = f"{self.name}/m"
        found = {tag: self.target.manifest(repository, tag) for tag in self.target.tags(repository)}
        # docker-registry can list a tag whose manifest it has deleted, and answers 404 for it.
        return {tag: answer.headers["Docker-Content-Digest"] for tag, answer in found.items() if answer.status == 200}


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str) -> Site:
    site = Site(mirrorsync, registry, second_registry.host, unique)
    site.spec()
    return site


def test_the_image_of_a_tag_stays_under_another_name_before_the_tag_moves(site: Site) -> None:
    old = site.push(multi_platform("old"))
    site.run("apply", code=0)
    assert list(site.held()) == ["1"], "nothing has moved"
    new = site.push("new")
    shown = site.run("plan", code=0)
    assert re.search(r"new +there +\S+/m:1-\d{8} +\w{12}; backup of 1", shown.out)
    site.run("apply", code=0)
    tags = site.held()
    (backup,) = tags.keys() - {"1"}
    assert TODAY.fullmatch(backup)
    assert (tags["1"], tags[backup]) == (new, old)
    assert site.run("apply", code=0).out.startswith("nothing to do: 1 image")
    assert "not in the spec" not in site.run("plan", code=0).out


def test_two_moves_on_one_day_make_two_backups_and_only_the_last_ones_stay(site: Site) -> None:
    digests = [site.push(str(number)) for number in range(4)]
    for number in range(3):
        site.push(str(number))
        site.run("apply", code=0)
    assert {digest for tag, digest in site.held().items() if tag != "1"} == set(digests[:2])
    site.spec(defaults={"backup": "{tag}-{date}", "keep_backups": 1})
    site.push("3")
    shown = site.run("plan", code=0).out
    assert len(re.findall(r"keep_backups 1: an older backup of 1", shown)) == 2
    site.run("plan", "--output", "plan.json", code=0)
    site.run("apply", "plan.json", code=0)
    assert sorted(site.held().values()) == sorted(digests[2:])
    assert site.run("apply", code=0).out.startswith("nothing to do: 1 image")


def test_a_backup_that_another_client_has_set_is_never_deleted(site: Site) -> None:
    for what in ("a", "b"):
        site.push(what)
        site.run("apply", code=0)
    (backup,) = site.held().keys() - {"1"}
    theirs = site.target.push(f"{site.name}/m", made("theirs"), backup)
    site.spec(defaults={"backup": "{tag}-{date}", "keep_backups": 1}, prune={"adopt": True})
    site.push("c")
    site.run("apply", code=0)
    assert site.held()[backup] == theirs
    assert len(site.held()) == 3


def test_an_old_backup_goes_in_the_same_run_as_a_tag_of_the_same_image_that_is_pruned(site: Site) -> None:
    keys = {"defaults": {"backup": "{tag}-{date}", "keep_backups": 1}, "prune": {"max_deletes": "100%"}}
    both = {"from": f"{site.source.host}/{site.name}/app", "tags": ["1", "2"], "name": f"{site.name}/m"}
    site.spec(**keys, mirrors=[both])
    site.push("a")
    Registry(site.source.host).push(f"{site.name}/app", made("a"), "2")
    site.run("apply", code=0)
    kept = site.push("b")
    site.run("apply", code=0)
    last = site.push("c")
    site.spec(**keys)
    site.run("apply", code=0)
    assert sorted(site.held().values()) == sorted([kept, last])


def test_prune_and_rollback_leave_backups_alone(site: Site) -> None:
    old = site.push("a")
    site.run("apply", code=0)
    site.push("b")
    site.spec(prune={"max_deletes": "100%"})
    for _ in range(2):
        site.run("apply", code=0)
    backup = dict(site.held())
    site.run("rollback", "1", code=0)
    assert site.held() == {**backup, "1": old}


def test_prune_deletes_the_backups_of_a_tag_that_no_mirror_wants_any_more_with_it(site: Site) -> None:
    for what in ("a", "b", "c"):
        site.push(what)
        site.run("apply", code=0)
    assert len(site.held()) == 3
    kept = site.push("other")
    Registry(site.source.host).push(f"{site.name}/app", made("other"), "2")
    mirrors = [{"from": f"{site.source.host}/{site.name}/app", "tags": ["2"], "name": f"{site.name}/m"}]
    site.spec(mirrors=mirrors, prune={"max_deletes": 2})
    assert "3 tags are not wanted any more, and max_deletes allows 2" in site.run("apply", code=1).err
    site.spec(mirrors=mirrors, prune={"max_deletes": 3})
    shown = " ".join(site.run("plan", code=0).out.split())  # lines are wrapped
    assert shown.count("prune: a backup of a tag that no mirror of the spec wants any more") == 2
    site.run("plan", "--output", "plan.json", code=0)
    site.run("apply", "plan.json", code=0)
    assert site.held() == {"2": kept}
    assert site.run("apply", code=0).out.startswith("nothing to do: 1 image")


@pytest.fixture
def faulty(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Iterator[tuple[Site, Unruly]]:
    """Yield a site whose destination misbehaves, with an image that has moved."""
    with Unruly(TinyRegistry()) as server:
        site = Site(mirrorsync, registry, server.host, unique)
        site.spec()
        site.push("a")
        site.run("apply", code=0)
        site.push("b")
        yield site, server


def test_a_tag_stays_if_its_backup_cannot_be_made(faulty: tuple[Site, Unruly]) -> None:
    site, server = faulty
    before = site.held()
    server.fault("answer", "PUT", "/manifests/1-", status=403)
    site.run("apply", code=1)
    assert site.held() == before
    server.heal()
    site.run("apply", code=0)
    assert len(site.held()) == 2


def test_a_run_that_ended_after_the_backup_goes_on_and_owns_it(faulty: tuple[Site, Unruly]) -> None:
    site, server = faulty
    site.run("plan", "--output", "plan.json", code=0)
    server.fault("hang_up", "PUT", "/manifests/1$")
    running = Running(site.run, "apply", "plan.json")
    while "retrying" not in running.stderr.readline():
        pass
    running.kill()
    server.heal()
    assert len(site.held()) == 2
    site.run("apply", "plan.json", code=0)
    (path,) = (site.run.home / ".local/state/mirrorsync").glob("*.sqlite")
    memory = open_memory(path, print)
    assert [(tag, one.backup_of) for (_, tag), one in memory.backups().items()] == [(max(site.held()), "1")]
    memory.close()


def test_a_plan_with_a_backup_that_its_spec_does_not_make_is_rejected(site: Site) -> None:
    site.push("a")
    site.run("apply", code=0)
    site.push("b")
    site.run("plan", "--output", "plan.json", code=0)
    path = site.run.directory / "plan.json"
    path.write_text(path.read_text().replace(f"{datetime.now(UTC):1-%Y}", "latest-2026"))
    assert "does not ask for" in site.run("apply", "plan.json", code=2).err


def test_a_layout_keeps_backups_too(site: Site, tmp_path: Path) -> None:
    site.spec(destinations={"disk": "oci:disk"}, defaults={"backup": "{tag}-old-{digest}", "keep_backups": 1})
    digests = []
    for what in ("a", "b", "c"):
        digests.append(site.push(what))
        site.run("apply", code=0)
    name = f"{site.name}/m:1-old-{digests[1].removeprefix('sha256:')[:12]}"
    assert skopeo_digest(f"oci:{tmp_path}/disk:{name}") == digests[1]
    index = json.loads((site.run.directory / "disk/index.json").read_text())
    assert len(index["manifests"]) == 2
    site.run("verify", code=0)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"defaults": {"backup": "{tag}"}}, "not different for every tag and time"),
        ({"defaults": {"keep_backups": 3}}, "there is no backup"),
        ({"destinations": {"file": "docker-archive:file.tar"}}, "cannot keep backups"),
    ],
)
def test_a_mistake_is_an_error_of_the_spec(site: Site, keys: dict[str, Any], words: str) -> None:
    site.spec(**keys)
    assert words in site.run("validate", code=2).err
