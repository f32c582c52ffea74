"""`mirrorsync list-tags`: the tags as skopeo lists them, filtered as in a spec, with reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import run
from tests.parts.wire import Registry

PLAIN = "--tls-verify=false"
TAGS = ("1.0", "1.1", "1.2-rc1", "2.0", "2.0-alpine", "edge", "latest")


@pytest.fixture(scope="module")
def repository(registry: DockerRegistry) -> str:
    """Return a repository with these tags."""
    made = image([layer({"a": b"tags"})])
    for tag in TAGS:
        Registry(registry.host).push("list-tags/app", made, tag)
    return f"{registry.host}/list-tags/app"


def test_tags_are_listed_as_by_skopeo_in_the_same_order(mirrorsync: Mirrorsync, repository: str) -> None:
    theirs = json.loads(run("skopeo", "list-tags", PLAIN, f"docker://{repository}"))
    done = mirrorsync("list-tags", PLAIN, f"docker://{repository}", code=0)
    assert done.out.splitlines() == theirs["Tags"]
    document = valid(mirrorsync("list-tags", PLAIN, "--json", repository, code=0).json(), "tags")
    assert document["tags"] == theirs["Tags"]
    assert f"{document['store']}/{document['repository']}" == theirs["Repository"]


@pytest.mark.parametrize(
    ("filters", "tags"),
    [
        ((), TAGS),
        (("glob=1.*", "glob=edge"), ("1.0", "1.1", "1.2-rc1", "edge")),
        (("all", "exclude=*-*", "exclude=l*"), ("1.0", "1.1", "2.0", "edge")),
        (("all=true",), TAGS),
        (("exclude_regex=.*-.*", "exclude_regex=l.*", "keep=.*[^1]", "keep=.*e|.*0"), ("1.0", "2.0", "edge")),
        (("exclude=*-*",), ("1.0", "1.1", "2.0", "edge", "latest")),
        ((r"regex=\d\.\d",), ("1.0", "1.1", "2.0")),
        (("semver=>=1.1", "exact=latest"), ("1.1", "2.0", "latest")),
        (("newest=1",), ("2.0", "2.0-alpine")),
        (("semver=*", "newest=1", "per=major"), ("1.1", "2.0")),
        (("glob=a=b",), ()),
        (("exact=nothing",), ()),
    ],
)
def test_filters_are_those_of_a_spec(
    mirrorsync: Mirrorsync, repository: str, filters: Sequence[str], tags: Sequence[str]
) -> None:
    words = [word for one in filters for word in ("--filter", one)]
    done = mirrorsync("list-tags", PLAIN, *words, repository, code=0)
    assert sorted(done.out.split()) == list(tags)
    assert ("no tags match the filters" in done.err) == (not tags)


def test_a_spec_with_the_same_filters_wants_the_same_tags(mirrorsync: Mirrorsync, repository: str) -> None:
    host = repository.partition("/")[0]
    tags = {"semver": ">=1.0", "glob": ["latest"], "exclude": ["*1"], "newest": 2}
    mirrorsync.spec({"registries": plain(host), "destinations": {"disk": "oci:disk"}, "defaults": {"to": ["disk"]},
                     "mirrors": [{"from": repository, "tags": tags}]})  # fmt: skip
    done = mirrorsync("images", "--json", code=3)  # a glob asks for latest, and newest cannot order it
    assert "1 tag that newest cannot order, because it is not a version: latest" in done.err
    wanted = {each["tag"] for each in done.json()["images"]}
    words = ("--filter", "semver=>=1.0", "--filter", "glob=latest", "--filter", "exclude=*1", "--filter", "newest=2")
    assert set(mirrorsync("list-tags", PLAIN, *words, repository, code=0).out.split()) == wanted


def test_each_tag_is_explained(mirrorsync: Mirrorsync, repository: str) -> None:
    words = ("--explain", "--filter", "semver=>=1", "--filter", "exclude=*.1", "--filter", "newest=1")
    lines = mirrorsync("list-tags", PLAIN, *words, repository, code=0).out.splitlines()
    said = {tag: (verdict, why) for verdict, tag, why in (re.split(r"  +", line.strip()) for line in lines)}
    assert said == {
        "1.0": ("dropped", "not among newest 1"),
        "1.1": ("dropped", "excluded by exclude *.1"),
        "1.2-rc1": ("dropped", "matches no filter (a pre-release)"),
        "2.0": ("kept", "semver >=1, newest 1"),
        "2.0-alpine": ("dropped", "matches no filter (the range is for versions without prefix and suffix)"),
        "edge": ("dropped", "matches no filter (not a version)"),
        "latest": ("dropped", "matches no filter (not a version)"),
    }
    document = valid(mirrorsync("list-tags", PLAIN, "--json", *words, repository, code=0).json(), "tags")
    assert document["tags"] == ["2.0"]
    assert {each["name"]: ", ".join(each["reasons"]) for each in document["explained"]} == {
        tag: why for tag, (_, why) in said.items()
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("semvre=1", "unknown filter"),
        ("glob", "--filter glob"),
        ("regex=(", "does not compile"),
        ("semver=x..y", "--filter semver"),
        ("newest=0", "--filter newest"),
        ("newest=two", "not a number"),
        ("newest=²", "not a number"),
        ("all=no", "not a valid value"),
        ("all=false", "--filter all"),
        ("exact=-bad", "not a tag"),
        ("exact=a@sha256:" + "a" * 64, "expected a tag"),
        ("\x1b[2J=1", "unknown filter"),
    ],
)
def test_a_wrong_filter_is_rejected_before_any_request(mirrorsync: Mirrorsync, word: str, said: str) -> None:
    done = mirrorsync("list-tags", "--filter", word, "docker://127.0.0.1:1/app", code=2)
    assert said in done.err
    assert "\x1b" not in done.err


def test_a_filter_that_is_single_in_a_spec_cannot_be_repeated(mirrorsync: Mirrorsync) -> None:
    words = ("--filter", "newest=1", "--filter", "newest=2")
    assert "twice" in mirrorsync("list-tags", *words, "docker://127.0.0.1:1/app", code=2).err


@pytest.mark.parametrize(
    "reference",
    [
        "docker://127.0.0.1:1/app:1",
        "docker://127.0.0.1:1/app@sha256:" + "a" * 64,
        "oci:layout:app:1",
        "dir:directory",
        "docker-archive:file.tar:app:1",
    ],
)
def test_one_image_has_no_list_of_tags(mirrorsync: Mirrorsync, reference: str) -> None:
    done = mirrorsync("list-tags", reference, code=2)
    assert "one image" in done.err


def test_listing_a_missing_repository_is_not_found(mirrorsync: Mirrorsync, registry: DockerRegistry) -> None:
    done = mirrorsync("list-tags", PLAIN, f"docker://{registry.host}/no/such", code=1)
    assert f"{registry.host}/no/such" in done.err
    assert mirrorsync("list-tags", PLAIN, "--skopeo-exit-codes", f"{registry.host}/no/such").code == 2
    assert mirrorsync("list-tags", "oci:nowhere").code == 1


def test_a_layout_is_listed_with_the_names_of_its_images(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    images = {"team/app:1": "a", "team/app:2": "b", "other:edge": "c", "latest": "d"}
    write_layout(tmp_path / "layout", {name: image([layer({"a": word.encode()})]) for name, word in images.items()})
    assert sorted(mirrorsync("list-tags", "oci:layout", code=0).out.split()) == sorted(images)
    assert mirrorsync("list-tags", "oci:layout:team/app", code=0).out.split() == ["1", "2"]
    newest = mirrorsync("list-tags", "--filter", "newest=1", "oci:layout", code=0)
    assert newest.out.split() == ["team/app:2"], "each repository is filtered by itself"


def test_images_of_a_layout_without_a_name_are_listed_by_digest(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    named, unnamed = image([layer({"a": b"named"})]), image([layer({"a": b"unnamed"})])
    write_layout(tmp_path / "layout", {"app:1": named, "x:y": unnamed})
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    del index["manifests"][1]["annotations"]
    (tmp_path / "layout" / "index.json").write_text(json.dumps(index))
    listed = mirrorsync("list-tags", "oci:layout", code=0).out.split()
    assert listed == ["app:1", f"@{unnamed.digest}"]
    assert mirrorsync("inspect", "--raw", f"oci:layout:{listed[1]}", code=0).out == unnamed.raw.decode()


def test_a_docker_archive_is_listed_as_skopeo_lists_it(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"one": image([layer({"a": b"one"})])})
    archive = tmp_path / "archive.tar"
    run("skopeo", "copy", "--quiet", f"oci:{tmp_path}/layout:one", f"docker-archive:{archive}:team/app:1")
    theirs = json.loads(run("skopeo", "list-tags", f"docker-archive:{archive}"))["Tags"]
    ours = mirrorsync("list-tags", f"docker-archive:{archive}", code=0).out.split()
    assert [name.removeprefix("docker.io/") for name in theirs] == ours
    archive.unlink()
    run("skopeo", "copy", "--quiet", f"oci:{tmp_path}/layout:one", f"docker-archive:{archive}")
    assert mirrorsync("list-tags", f"docker-archive:{archive}", code=0).out.split() == ["@0"]
