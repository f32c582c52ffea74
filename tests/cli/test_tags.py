"""`tags`: every tag of the sources of a spec, and the filter or policy that decided, as a plan does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.cosign import make_key
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

TAGS = ("1.0", "1.2", "1.10", "1.10-alpine", "2.0", "edge", "latest")
# A port on which nothing listens: a destination that must not be needed.
CLOSED = "127.0.0.1:1"


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


def push(directory: Path, *tags: str, moved: tuple[str, ...] = ()) -> None:
    images = {f"app:{tag}": made(f"{tag}{' moved' if tag in moved else ''}") for tag in tags or TAGS}
    write_layout(directory / "source", images)


def spec(run: Mirrorsync, *mirrors: dict[str, Any], **destinations: str) -> None:
    entries = [{"from": "oci:source:app", **one} for one in mirrors]
    places = destinations or {"disk": "oci:disk"}
    run.spec({"destinations": places, "defaults": {"to": list(places)}, "mirrors": entries})


def explained(run: Mirrorsync, *words: str, code: int = 0) -> list[dict[str, Any]]:
    document = run("tags", "--json", *words, code=code).json()
    valid(document, "explanation")
    sources: list[dict[str, Any]] = document["sources"]
    return sources


def test_filters_decide_without_a_destination_the_highest_versions_first(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync.directory)
    spec(mirrorsync, {"tags": {"semver": ">=1.1", "newest": 2}, "name": "m/app"}, away=CLOSED)
    first, *lines = mirrorsync("tags", code=0).out.splitlines()
    assert first.startswith(f"oci:{mirrorsync.directory}/source:app (line ")
    assert first.endswith("): 2 wanted, 5 dropped")
    assert lines == [
        "  wanted   2.0     semver >=1.1, newest 2",
        "  wanted   1.10    semver >=1.1, newest 2",
        "  dropped  1.10-alpine",
        "             matches no filter (the range is for versions without prefix and",
        "             suffix)",
        "  dropped  1.2     not among newest 2",
        "  dropped  1.0     matches no filter",
        "  dropped  edge    matches no filter (not a version)",
        "  dropped  latest  matches no filter (not a version)",
    ]
    (source,) = explained(mirrorsync)
    assert {tag["name"]: tag["fates"] for tag in source["tags"]}["1.2"] == ["dropped"]
    assert [tag["targets"] for tag in source["tags"]] == [[]] * len(TAGS)


@pytest.fixture
def busy(mirrorsync: Mirrorsync) -> Mirrorsync:
    """Return a site of two destinations and a mirror with every policy, whose source has moved tags."""
    push(mirrorsync.directory)
    make_key(mirrorsync.directory, "site")
    spec(mirrorsync, {"tags": ["1.0", "1.2", "edge"]}, disk="oci:disk")
    mirrorsync("apply", code=0)
    spec(mirrorsync, {"tags": ["1.2"]}, usb="oci:usb")
    mirrorsync("apply", code=0)
    push(mirrorsync.directory, moved=("edge", "1.2"))
    excepted = [{"image": f"*app:{tag}", "reason": "no key yet", "until": "2999-12-31"} for tag in ("1*", "edge")]
    signed = {"cosign": {"key": "site.pub"}, "except": excepted}
    tags = {"semver": ">=1", "glob": ["edge"]}
    policies = {"immutable": ["1.0", "1.2"], "verify": signed, "min_age": "3d"}
    spec(mirrorsync, {"tags": tags, **policies}, disk="oci:disk", usb="oci:usb")
    mirrorsync("apply", code=3)  # all is remembered, and nothing else becomes different
    return mirrorsync


def said(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["state"], one["reason"], one["decision"]


def test_policies_decide_as_in_the_plan(busy: Mirrorsync) -> None:
    (source,) = explained(busy)
    plan = busy("plan", "--explain", "--json", code=3).json()
    planned = {(one["tag"], str(one["target"])): said(one) for one in plan["images"]}
    refused = {(one["followed"], str(one["targets"][0])): one["error"]["message"] for one in plan["failures"]}
    found = {(tag["name"], str(one["target"])): one for tag in source["tags"] for one in tag["targets"]}
    assert {key: said(one) for key, one in found.items() if one["state"]} == planned
    assert {key: one["reason"] for key, one in found.items() if not one["state"]} == refused
    assert {one["fate"] for key, one in found.items() if key in refused} == {"refused"}
    fates = {tag["name"]: tag["fates"] for tag in source["tags"]}
    assert fates == {
        "1.0": ["frozen", "delayed"],
        "1.2": ["frozen"],
        "1.10": ["delayed"],
        "1.10-alpine": ["dropped"],
        "2.0": ["refused"],
        "edge": ["delayed"],
        "latest": ["dropped"],
    }


def test_every_reason_is_shown_with_its_end_and_where_destinations_differ(busy: Mirrorsync) -> None:
    lines = busy("tags", code=0).out.splitlines()
    assert lines[0].endswith(": 2 frozen, 3 delayed, 1 refused, 2 dropped")
    text = " ".join(" ".join(lines).split())
    assert "frozen 1.0 at disk: immutable 1.0: the tag is present" in text
    assert "delayed 1.0 at usb: min_age 3d: first seen" in text
    assert "refused 2.0 verify: " in text
    assert "delayed 1.10 min_age 3d: first seen" in text
    assert text.count("waits until") == 3
    assert all(len(line) <= 80 for line in lines[1:] if "sha256" not in line)


def test_what_a_budget_lets_wait_is_delayed_as_in_the_plan(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync.directory)
    spec(mirrorsync, {"tags": {"semver": ">=1"}})
    (path,) = mirrorsync.directory.glob("mirror.yaml")
    document = json.loads(path.read_text())
    mirrorsync.spec({**document, "budget": {"bytes": "1KiB"}})
    (source,) = explained(mirrorsync)
    plan = mirrorsync("plan", "--json", code=0).json()
    planned = {one["tag"]: said(one) for one in plan["images"]}
    assert {tag["name"]: said(tag["targets"][0]) for tag in source["tags"] if tag["targets"]} == planned
    assert {one[2]["policy"] for one in planned.values() if one[0] == "delayed"} == {"budget"}


def test_it_writes_nothing(busy: Mirrorsync) -> None:
    def files() -> dict[str, bytes]:
        roots = (busy.directory, busy.home / ".local/state")
        paths = (Path(folder) / name for root in roots for folder, _, names in os.walk(root) for name in names)
        return {str(path): path.read_bytes() for path in paths if path.suffix not in (".sqlite-wal", ".sqlite-shm")}

    before = files()
    busy("tags", code=0)
    after = files()
    after = {path: data for path, data in after.items() if path in before or "cache" not in path}
    assert after == before


def test_a_thousand_dropped_tags_are_cut_unless_all_are_asked_for(mirrorsync: Mirrorsync) -> None:
    shared = made("the same")
    images = {f"app:1.{number}": shared for number in range(1000)}
    write_layout(mirrorsync.directory / "source", images)
    spec(mirrorsync, {"tags": {"all": True, "newest": 3}})
    lines = mirrorsync("tags", code=0).out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["wanted", "1.999"], ["wanted", "1.998"], ["wanted", "1.997"], ["dropped", "1.996"],
    ]  # fmt: skip
    assert (len(lines), lines[-1]) == (25, "  and 977 more dropped tags: tags --all")
    assert len(mirrorsync("tags", "--all", code=0).out.splitlines()) == 1001
    assert len(explained(mirrorsync)[0]["tags"]) == 1000


def test_mirrors_are_selected_as_for_only(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync.directory)
    write_layout(mirrorsync.directory / "source", {"app:1.0": made("1"), "web:1.0": made("2")})
    web = {"from": "oci:source:web", "tags": {"all": True}}
    spec(mirrorsync, {"tags": ["1.0"]}, web)
    for name in ("web", f"oci:{mirrorsync.directory}/source:web", "*we*"):
        (source,) = explained(mirrorsync, "--mirror", name)
        assert source["source"]["repository"] == "web"
    assert [(one["listed"], one["tags"][0]["filters"]) for one in explained(mirrorsync)] == [
        (False, ["exact"]),
        (True, ["all"]),
    ]
    assert (
        "no mirror of mirror.yaml has a source that matches nothing"
        in mirrorsync("tags", "--mirror", "nothing", code=2).err
    )
    assert "`mirrorsync list-tags` lists the tags of a repository" in mirrorsync("tags", "docker.io/x/y", code=2).err


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


def test_what_does_not_answer_is_a_failure_and_the_rest_is_explained(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str
) -> None:
    for tag in ("1.0", "1.1"):
        Registry(proxy.upstream).push(f"{unique}/app", made(tag), tag)
    for refused in ("lost", "away"):
        proxy.answer(path_has(f"/{refused}/"), 403, b'{"errors": [{"code": "DENIED"}]}')
    source = {"from": f"{proxy.host}/{unique}/app", "tags": {"all": True, "newest": 1}, "name": "app"}
    lost = {"from": f"{proxy.host}/lost/app", "tags": {"all": True}, "name": "lost"}
    document: dict[str, Any] = {"registries": plain(proxy.host), "destinations": {"away": f"{proxy.host}/away"}}
    mirrorsync.spec({**document, "mirrors": [source, lost, {**source, "immutable": ["*"], "name": "frozen"}]})
    done = mirrorsync("tags", code=3)
    assert f"{proxy.host}/lost/app" in done.err
    assert done.out.count("dropped  1.0") == 2, "what filters drop needs no destination"
    assert "  wanted   1.1  all, newest 1\n" in done.out
    assert "  failed   1.1" in done.out, "whether it is frozen is not known"
    mirrorsync.spec({**document, "mirrors": [source, lost]})
    only_filters = mirrorsync("tags", code=3)
    assert f"{proxy.host}/lost/app" in only_filters.err
    assert "destination" not in only_filters.err


def test_digests_and_renamed_tags_are_explained_by_their_names_at_the_source(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync.directory)
    digest = made("1.0").digest
    document = {
        "destinations": {"disk": "oci:disk"},
        "mirrors": [
            {"from": "oci:source:app:1.2", "tag": "stable", "min_age": "1d"},
            {"from": "oci:source:app", "tags": {"exact": [digest, "3.0"], "glob": ["2*"]}},
        ],
    }
    mirrorsync.spec(document)
    renamed, pinned = explained(mirrorsync, code=3)
    assert [(tag["name"], tag["fates"]) for tag in renamed["tags"]] == [("1.2", ["delayed"])]
    fates = {tag["name"]: tag["fates"] for tag in pinned["tags"]}
    assert (fates["2.0"], fates[digest], fates["3.0"]) == (["wanted"], ["wanted"], ["dropped"])
