"""What the mirrored repositories have and the spec does not want any more: named by `plan`, and never touched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

REFUSED = b'{"errors": [{"code": "DENIED"}]}'


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


def seed(directory: Path, *names: str) -> None:
    write_layout(directory, {name: image([name.encode()]) for name in names})


def spec(mirrorsync: Mirrorsync, *mirrors: object, disk: str = "oci:disk") -> None:
    mirrorsync.spec({"destinations": {"disk": disk}, "mirrors": list(mirrors)})


@pytest.fixture
def shrunk(mirrorsync: Mirrorsync, tmp_path: Path) -> Mirrorsync:
    """Return a site whose spec wants less than it did: two tags of app and one of web are left over."""
    seed(tmp_path / "source", "app:1.0", "app:1.1", "app:1.10", "app:2.0", "web:1", "web:2", "old:1")
    spec(mirrorsync, {"from": "oci:source", "tags": {"all": True}})
    mirrorsync("apply", code=0)
    spec(mirrorsync, {"from": "oci:source:app", "tags": {"newest": 2, "glob": ["*"]}}, "oci:source:web:2")
    return mirrorsync


def unwanted(mirrorsync: Mirrorsync, *words: str, code: int = 0) -> dict[str, list[str]]:
    document = mirrorsync("plan", "--json", *words, code=code).json()
    return {one["target"]["repository"]: one["tags"] for one in document["unwanted"]}


def test_tags_that_the_spec_does_not_want_any_more_are_named_and_left_alone(shrunk: Mirrorsync) -> None:
    before = (shrunk.directory / "disk/index.json").read_bytes()
    done = shrunk("plan", "--exit-code", code=0)
    assert done.out.splitlines() == [
        "not in the spec: 3 tags",
        "  disk  app  2 tags",
        "  disk  web  1 tag",
        "nothing to do: 3 images up to date at 1 destination",
    ]
    everything = shrunk("plan", "--all", code=0).out.splitlines()
    assert everything[1:3] == ["  disk  app  1.0, 1.1", "  disk  web  1"]
    assert shrunk("plan", "--summary", code=0).out.splitlines()[0] == "not in the spec: 3 tags"
    assert unwanted(shrunk) == {"app": ["1.0", "1.1"], "web": ["1"]}, "old: is in no mirror, and so not the mirror's"
    assert shrunk("plan", "--quiet", code=0).out == ""
    assert "not in the spec" not in shrunk("apply", code=0).out
    assert (shrunk.directory / "disk/index.json").read_bytes() == before


def test_a_saved_plan_names_them_too(shrunk: Mirrorsync) -> None:
    shrunk("plan", "-o", "plan.json", code=0)
    assert "not in the spec: 3 tags" in shrunk("plan", "plan.json", code=0).out


def test_lists_of_unwanted_tags_and_repositories_are_cut(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    seed(tmp_path / "source", *(f"app{number}:{tag}" for number in range(8) for tag in ("a", "b")))
    spec(mirrorsync, {"from": "oci:source", "tags": {"all": True}})
    mirrorsync("apply", code=0)
    spec(mirrorsync, {"from": "oci:source", "tags": ["a"]})
    shown = mirrorsync("plan", code=0).out.splitlines()
    assert shown[0] == "not in the spec: 8 tags"
    assert shown[6] == "  and 3 more repositories: plan --all"
    seed(tmp_path / "source", *(f"app0:{number}" for number in range(30)))
    spec(mirrorsync, {"from": "oci:source:app0", "tags": {"all": True}}, disk="oci:many")
    mirrorsync("apply", code=0)
    spec(mirrorsync, "oci:source:app0:0", disk="oci:many")
    listed = mirrorsync("plan", "--all", code=0).out
    assert "disk  app0  1, 2, 3," in " ".join(listed.split()).replace("disk app0 ", "disk  app0  ")
    assert "20 and 9 more" in " ".join(listed.split())
    assert all(len(line) <= 80 for line in listed.splitlines())


def test_nothing_is_claimed_if_a_source_could_not_be_listed_or_matched_nothing(shrunk: Mirrorsync) -> None:
    typo = {"from": "oci:source:app", "tags": {"glob": ["v*"]}}
    spec(shrunk, typo, "oci:source:web:2")
    assert unwanted(shrunk, code=3) == {"web": ["1"]}
    spec(shrunk, {"from": "oci:gone:app", "tags": {"all": True}, "name": "app"}, "oci:source:web:2")
    assert unwanted(shrunk, code=3) == {"web": ["1"]}
    spec(shrunk, {"from": "oci:gone", "tags": {"all": True}}, "oci:source:web:2")
    assert unwanted(shrunk, code=3) == {}, "the lost source could have had every repository"
    spec(shrunk, {**typo, "allow_empty": True})
    assert unwanted(shrunk) == {"app": ["1.0", "1.1", "1.10", "2.0"]}


def test_nothing_is_claimed_of_a_repository_that_another_mirror_may_write_to(shrunk: Mirrorsync) -> None:
    more = {"from": "oci:source:web", "tags": ["1"], "name": "app"}
    spec(shrunk, {"from": "oci:source:app", "tags": ["2.0"]}, more, "oci:source:web:2")
    assert unwanted(shrunk) == {"app": ["1.0", "1.1", "1.10"], "web": ["1"]}, "app:1 is wanted, but not there yet"
    assert unwanted(shrunk, "--only", "*app") == {}, "app is also written to by the mirror of web"
    (shrunk.directory / "list.txt").write_text("oci:source:app:2.0\n")
    assert unwanted(shrunk, "--only-from", "list.txt") == {}


def test_signatures_and_other_tags_of_referrers_are_not_counted(shrunk: Mirrorsync) -> None:
    index = shrunk.directory / "disk/index.json"
    document = json.loads(index.read_text())
    entry = dict(document["manifests"][0])
    names = [f"app:sha256-{'0' * 64}{suffix}" for suffix in ("", ".sig", ".att")]
    for name in names:
        annotations = {"org.opencontainers.image.ref.name": name}
        document["manifests"].append({**entry, "annotations": annotations})
    index.write_text(json.dumps(document))
    assert unwanted(shrunk) == {"app": ["1.0", "1.1"], "web": ["1"]}


def test_a_destination_whose_list_is_refused_or_not_whole_is_left_out(
    mirrorsync: Mirrorsync, proxy: Proxy, tmp_path: Path, unique: str
) -> None:
    seed(tmp_path / "source", "app:1", "app:2", "app:3")
    there = Registry(proxy.upstream)
    for tag in ("1", "2", "3", "4"):
        there.push(f"{unique}/app", image([f"app:{tag}".encode()]), tag)
    mirrors = ["oci:source:app:1", "oci:source:app:2"]
    mirrorsync.spec(
        {"registries": plain(proxy.host), "destinations": {"there": f"{proxy.host}/{unique}"}, "mirrors": mirrors}
    )
    assert unwanted(mirrorsync) == {f"{unique}/app": ["3", "4"]}
    json_type = {"Content-Type": "application/json"}
    proxy.answer(path_has("/tags/list"), 200, b'{"tags": ["1", "3"]}', json_type)
    assert unwanted(mirrorsync) == {}, "2 is there, and not in the list"
    proxy.answer(path_has("/tags/list"), 403, REFUSED)
    assert unwanted(mirrorsync) == {}
    assert "not in the spec" not in mirrorsync("plan", code=0).out


def test_a_source_whose_list_is_not_whole_leaves_its_repository_out(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str
) -> None:
    there = Registry(proxy.upstream)
    for tag in ("1", "2", "3"):
        there.push(f"{unique}/app", image([f"app:{tag}".encode()]), tag)
    filters = {"glob": ["*"], "exact": ["1"]}
    mirror = {"from": f"{proxy.host}/{unique}/app", "tags": filters, "name": "app"}
    mirrorsync.spec({"registries": plain(proxy.host), "destinations": {"disk": "oci:disk"}, "mirrors": [mirror]})
    mirrorsync("apply", code=0)
    json_type = {"Content-Type": "application/json"}
    proxy.answer(path_has("/tags/list"), 200, b'{"tags": ["1", "2"]}', json_type)
    assert unwanted(mirrorsync) == {"app": ["3"]}
    proxy.answer(path_has("/tags/list"), 200, b'{"tags": ["2"]}', json_type)
    assert unwanted(mirrorsync) == {}, "1 is at the source, and not in its list: 3 may be too"


def test_unwanted_tags_cost_one_list_for_each_repository_and_only_in_plan(
    mirrorsync: Mirrorsync, registry: DockerRegistry, fresh_registry: DockerRegistry, unique: str
) -> None:
    for name in ("a", "b", "c"):
        for tag in ("1", "2"):
            Registry(registry.host).push(f"{unique}/{name}", image([f"{name}{tag}".encode()]), tag)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, fresh_registry.host),
            "destinations": {"there": fresh_registry.host},
            "mirrors": [{"from": f"{registry.host}/{unique}/{name}", "tags": ["1", "2"]} for name in ("a", "b", "c")],
        }
    )
    lists = {"plan": 3, "apply": 0, "verify": 0}
    mirrorsync("apply", code=0)
    for verb, number in lists.items():
        fresh_registry.new_requests()
        mirrorsync(verb, code=0)
        asked = Counter(one.path.partition("?")[0] for one in fresh_registry.new_requests() if "/tags/list" in one.path)
        assert sum(asked.values()) == number, verb
        assert set(asked.values()) <= {1}
