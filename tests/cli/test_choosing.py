"""Which images a spec resolves to at real registries: filters on real tag lists, names, pins, --only, conflicts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, index, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

TAGS = (
    "1.26.2", "1.27", "1.27.0", "1.27.1", "1.27.1-alpine", "1.28.0-rc1", "v1.29.0", "2024.10", "edge", "latest",
    "sha256-0000", "3.19", "3.20", "3.9",
)  # fmt: skip


def made(tag: str) -> Image:
    return image([layer({"tag": tag.encode()})])


@pytest.fixture(scope="module")
def filled(registry: DockerRegistry) -> str:
    """Return a repository with all kinds of tags, for tests that only read it."""
    for tag in TAGS:
        Registry(registry.host).push("choosing/app", made(tag), tag)
    return f"{registry.host}/choosing/app"


@pytest.fixture
def source(registry: DockerRegistry, unique: str) -> str:
    """Return a repository with a few tags, for one test alone."""
    for tag in ("1.27", "edge", "latest"):
        Registry(registry.host).push(f"{unique}/app", made(tag), tag)
    return f"{registry.host}/{unique}/app"


def chosen(mirrorsync: Mirrorsync, source: str, *mirrors: Any, code: int = 0, **more: Any) -> list[str]:
    """Return the targets of a spec's images: `repository:tag` or `repository@digest` at the destination."""
    host = source.partition("/")[0]
    mirrorsync.spec({"registries": plain(host), "destinations": {"disk": "oci:disk"}, "mirrors": list(mirrors), **more})
    images = mirrorsync("images", "--json", code=code).json()["images"]
    return [
        f"{found['target']['repository']}:{found['tag']}"
        if found["tag"]
        else f"{found['target']['repository']}@{found['root']['digest']}"
        for found in images
    ]


FILTERS: list[tuple[Any, list[str]]] = [
    (["edge", "1.27"], ["edge", "1.27"]),
    ({"exact": ["edge"], "glob": ["1.27.?"]}, ["1.27.0", "1.27.1", "edge"]),
    ({"glob": ["*"], "exclude": ["[!3]*", "*.9"]}, ["3.19", "3.20"]),
    ({"regex": r"1\.2\d"}, ["1.27"]),
    ({"regex": r"v?\d+\.\d+\.\d+"}, ["1.26.2", "1.27.0", "1.27.1", "v1.29.0"]),
    ({"semver": "~1.27"}, ["1.27", "1.27.0", "1.27.1"]),
    ({"semver": ">=1.27-alpine"}, ["1.27.1-alpine"]),
    ({"semver": ">=3", "exclude": ["20*"], "newest": 2}, ["3.19", "3.20"]),
    ({"semver": ">=1 <2", "newest": 2}, ["1.27.1", "v1.29.0"]),
    ({"all": True}, list(TAGS)),
]


@pytest.mark.parametrize(("tags", "wanted"), FILTERS, ids=lambda value: json.dumps(value)[:40])
def test_filters_choose_among_the_tags_that_a_registry_lists(
    mirrorsync: Mirrorsync, filled: str, tags: Any, wanted: list[str]
) -> None:
    found = chosen(mirrorsync, filled, {"from": filled, "tags": tags})
    assert sorted(found) == sorted(f"choosing/app:{tag}" for tag in wanted)


def test_a_filter_that_matches_no_tags_is_a_failure_unless_it_may(mirrorsync: Mirrorsync, filled: str) -> None:
    mirror = {"from": filled, "tags": {"glob": ["9.*"]}}
    assert chosen(mirrorsync, filled, {**mirror, "allow_empty": True}) == []
    mirrorsync("apply", code=0)
    assert chosen(mirrorsync, filled, mirror, code=3) == []
    assert "no tags match the filters" in mirrorsync("apply", code=3).err


def test_a_tag_pinned_to_a_digest_gets_that_digest_even_if_its_source_has_moved(
    mirrorsync: Mirrorsync, registry: DockerRegistry, source: str
) -> None:
    name = source.partition("/")[2]
    pinned = made("1.27")
    Registry(registry.host).push(name, made("moved"), "1.27")
    mirrors = [f"{source}:1.27@{pinned.digest}", {"from": source, "tags": [f"edge@{made('edge').digest}"], "name": "e"}]
    assert chosen(mirrorsync, source, *mirrors) == [f"{name}:1.27", "e:edge"]
    mirrorsync("apply", code=0)
    entries = json.loads((mirrorsync.directory / "disk/index.json").read_text())["manifests"]
    assert {entry["digest"] for entry in entries} == {pinned.digest, made("edge").digest}
    Registry(registry.host).push(name, made("moved again"), "1.27")
    assert "nothing to do" in mirrorsync("plan", "--exit-code", code=0).out


def test_an_image_by_digest_is_mirrored_without_a_tag(
    mirrorsync: Mirrorsync, registry: DockerRegistry, source: str, unique: str
) -> None:
    name = source.partition("/")[2]
    several = index([made("edge"), made("latest")])
    Registry(registry.host).push(name, several)
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk", "there": f"{registry.host}/{unique}/there"},
            "mirrors": [{"from": source, "tags": [several.digest], "to": ["disk", "there"], "name": "app"}],
        }
    )
    mirrorsync("apply", code=0)
    assert Registry(registry.host).holds(f"{unique}/there/app", several)
    assert Registry(registry.host).tags(f"{unique}/there/app") == []
    assert "nothing to do" in mirrorsync("plan", "--exit-code", code=0).out
    assert mirrorsync("verify", code=0).out.startswith("2 images complete; ")


def test_a_missing_digest_fails(mirrorsync: Mirrorsync, filled: str) -> None:
    assert chosen(mirrorsync, filled, f"{filled}@sha256:{'0' * 64}", f"{filled}:edge", code=3)
    assert "no image with this digest" in mirrorsync("plan", code=3).err


NAMES = {
    "{repository}": "choosing/app",
    "{basename}": "app",
    "base/{basename}": "base/app",
    "{host}/{repository}": "127.0.0.1-PORT/choosing/app",
    "fixed": "fixed",
}


def test_a_name_is_made_from_the_template(mirrorsync: Mirrorsync, filled: str) -> None:
    port = filled.partition("/")[0].partition(":")[2]
    mirrors = [{"from": filled, "tags": ["edge"], "name": template} for template in NAMES]
    wanted = [name.replace("PORT", port) + ":edge" for name in NAMES.values()]
    assert chosen(mirrorsync, filled, *mirrors) == wanted
    mirror = {"from": filled, "tags": ["edge"]}
    assert chosen(mirrorsync, filled, mirror, defaults={"name": "all/{basename}"}) == ["all/app:edge"]


def test_only_skips_other_mirrors(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    for name in ("one", "two", "three"):
        Registry(registry.host).push(f"{unique}/{name}", made(name), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/{name}:1" for name in ("one", "two", "three", "missing")],
        }
    )
    for globs, names in (
        (["two"], ["two"]),
        ([f"{unique}/t*"], ["two", "three"]),
        ([f"{registry.host}/{unique}/one", "three"], ["one", "three"]),
        (["*"], ["one", "two", "three"]),
    ):
        words = [word for glob in globs for word in ("--only", glob)]
        done = mirrorsync("images", "--json", *words, code=3 if globs == ["*"] else 0)
        assert [found["source"]["repository"] for found in done.json()["images"]] == [f"{unique}/{n}" for n in names]
        assert done.json()["spec"]["only"] == globs
    assert "1 done" in mirrorsync("apply", "--only", "one", code=0).out
    assert mirrorsync("verify", "--only", "one", code=0).out.startswith("1 image complete; ")


def test_two_images_with_one_target_both_fail_and_others_are_mirrored(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    there = Registry(registry.host)
    for repository, tags in (("one", ("1", "same", "a")), ("two", ("1", "same", "b"))):
        for tag in tags:
            there.push(f"{unique}/{repository}", made(tag if tag == "same" else f"{repository} {tag}"), tag)
    mirrors = [
        {"from": f"{registry.host}/{unique}/{name}", "tags": {"all": True}, "name": "joined"} for name in ("one", "two")
    ]
    mirrorsync.spec({"registries": plain(registry.host), "destinations": {"disk": "oci:disk"}, "mirrors": mirrors})
    for verb in ("plan", "apply"):
        done = mirrorsync(verb, code=3)
        assert f"{registry.host}/{unique}/one:1 and {registry.host}/{unique}/two:1 are different images" in done.err
        assert "give one of them another name" in done.err
    entries = json.loads((mirrorsync.directory / "disk/index.json").read_text())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries}
    assert names == {"joined:same", "joined:a", "joined:b"}


def test_a_whole_layout_is_mirrored_repository_by_repository(
    mirrorsync: Mirrorsync, registry: DockerRegistry, source: str, unique: str
) -> None:
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [
                {"from": source, "tags": ["edge", "1.27"]},
                {"from": source, "tags": ["latest"], "name": "other/app"},
            ],
        }
    )
    mirrorsync("apply", code=0)
    name = source.partition("/")[2]
    found = chosen(
        mirrorsync, source, {"from": "oci:disk", "tags": {"all": True}, "name": "usb/{repository}"},
        destinations={"there": f"{registry.host}/{unique}/there"},
    )  # fmt: skip
    assert sorted(found) == sorted(
        f"{unique}/there/usb/{image}" for image in (f"{name}:edge", f"{name}:1.27", "other/app:latest")
    )
    mirrorsync("apply", code=0)
    assert Registry(registry.host).holds(f"{unique}/there/usb/other/app", made("latest"), "latest")


def test_several_sources_of_one_entry_are_mirrored_with_the_same_keys(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for name in ("one", "two"):
        for tag in ("1", "2", "edge"):
            Registry(registry.host).push(f"{unique}/{name}", made(f"{name} {tag}"), tag)
    sources = [f"{registry.host}/{unique}/{name}" for name in ("one", "two")]
    entry = {"from": sources, "tags": {"semver": ">=1"}, "name": "m/{basename}", "on_change": "fail"}
    assert sorted(chosen(mirrorsync, sources[0], entry)) == ["m/one:1", "m/one:2", "m/two:1", "m/two:2"]
    only = mirrorsync("images", "--json", "--only", "two", code=0).json()["images"]
    assert [image["source"]["repository"] for image in only] == [f"{unique}/two"] * 2
    mirrorsync("plan", "--output", "saved.plan", code=0)
    assert "4 done" in mirrorsync("apply", "saved.plan", code=0).out
    assert "nothing to do" in mirrorsync("plan", code=0).out
    Registry(registry.host).push(f"{unique}/two", made("moved"), "2")
    report = mirrorsync("apply", "--json", code=3).json()
    (failed,) = report["failures"]
    written = (mirrorsync.directory / "mirror.yaml").read_text().splitlines()[failed["line"] - 1]
    assert failed["mirror"] == "/mirrors/0/from/1"
    assert sources[1] in written


def test_a_source_of_several_that_fails_does_not_stop_the_others(mirrorsync: Mirrorsync, source: str) -> None:
    entry = {"from": [f"{source}-missing", source], "tags": {"glob": ["1.*"]}, "name": "m/{basename}"}
    assert chosen(mirrorsync, source, entry, code=3) == ["m/app:1.27"]
    assert "mirror.yaml:" in mirrorsync("plan", code=3).err
