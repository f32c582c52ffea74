"""docs/filters.md is true: each row of its tables is run, with the tags that it shows."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirrorsync.oci.ref import Tag
from mirrorsync.schema_files import load_schema
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.tags import read_tags
from mirrorsync.spec.versions import parse_version
from tests.pages.markdown import section, table
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync

PAGE = "docs/filters.md"
OLD, NEW = (image([layer({"a": content})]) for content in (b"old image", b"new image"))
CODE = re.compile(r"`(.*?)`")


def real_tags() -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield of each row under "Real tags": the repository's tags, the filters, and the tags that they choose."""
    for repository in re.split(r"^### ", section(PAGE, "## Real tags"), flags=re.MULTILINE)[1:]:
        found = re.search(r"^Tags: (.+)$", repository, re.MULTILINE)
        assert found is not None, repository
        for filters, chosen, _ in table(repository):
            yield CODE.findall(found[1]), filters.strip("`"), CODE.findall(chosen)


REAL = list(real_tags())


@pytest.mark.parametrize(("tags", "filters", "chosen"), REAL, ids=[f"{filters}" for _, filters, _ in REAL])
def test_filters_choose_the_tags_of_the_table(
    mirrorsync: Mirrorsync, tags: list[str], filters: str, chosen: list[str]
) -> None:
    write_layout(mirrorsync.directory / "layout", {f"app:{tag}": OLD for tag in tags})
    value = yaml.safe_load(filters)
    named = {"exact": value} if isinstance(value, list) else value
    words = [
        word
        for key, given in named.items()
        for one in (given if isinstance(given, list) else [str(given).lower() if given is True else given])
        for word in ("--filter", f"{key}={one}")
    ]
    printed = mirrorsync("list-tags", *words, "oci:layout:app", code=0).out.split()
    assert sorted(printed) == sorted(chosen)
    by_spec = read_tags(value, "/tags", lambda *problem: pytest.fail(str(problem)))
    assert {str(wanted.tag) for wanted in by_spec.choose(list(map(Tag, tags)))} == set(chosen)


def test_every_key_of_tags_is_in_a_table_of_real_tags() -> None:
    used = {key for _, filters, _ in REAL for key in yaml.safe_load(filters) if filters.startswith("{")}
    assert used == {"exact", "per", *FILTERS} - {"max_age"}  # which is in the table of ages


def test_the_table_of_keys_is_complete_and_its_values_are_valid() -> None:
    rows = [re.fullmatch(r"`(\w+): (.*)`", row[0]) for row in table(section(PAGE, "## The keys"))]
    shown = [(row[1], yaml.safe_load(row[2])) for row in rows if row is not None]
    assert {word for word, _ in shown} == set(load_schema("mirror")["$defs"]["tags"]["properties"])
    for word, value in shown:
        beside = {"newest": 1} if word == "per" else {}
        read_tags({word: value, **beside}, "/tags", lambda *problem: pytest.fail(str(problem)))


def test_the_table_of_versions_is_true() -> None:
    rows = table(section(PAGE, "## Versions, variants and revisions"))
    assert len(rows) > 7
    for tags, line, kept in rows:
        listed = [Tag(tag) for tag in CODE.findall(tags)]
        versions = [parse_version(tag) for tag in listed]
        lines = {str(version.line) for version in versions if version is not None}
        assert lines == {word for word in CODE.findall(line) if "*" in word}
        expected = listed if kept == "both" else [kept.strip("`")]
        assert list(FILTERS["newest"].parse(1).select(listed)) == expected


def spec(mirrorsync: Mirrorsync, mirror: dict[str, Any]) -> None:
    """Write a spec with one mirror, from a layout to another."""
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [{"from": "oci:source:app", **mirror}]})


def mirrored(mirrorsync: Mirrorsync) -> dict[str, str]:
    """Return the tags at the destination, each with its digest."""
    index = mirrorsync.directory / "disk/index.json"
    if not index.exists():
        return {}
    entries = yaml.safe_load(index.read_bytes())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}
    return {name.removeprefix("app:"): digest for name, digest in names.items() if name.startswith("app:")}


DAYS = dict(re.findall(r"`(\S+)` \((\d+)\)", section(PAGE, "## Ages")))
AGES = table(section(PAGE, "## Ages"))


@pytest.mark.parametrize(("mirror", "expected"), AGES, ids=[row[0] for row in AGES])
def test_ages_choose_the_tags_of_the_table(mirrorsync: Mirrorsync, mirror: str, expected: str) -> None:
    write_layout(mirrorsync.directory / "source", {f"app:{tag}": image([layer({"a": tag.encode()})]) for tag in DAYS})
    shown = yaml.safe_load(mirror.strip("`"))
    # The first run sees everything, and mirrors nothing: all is younger than a year.
    spec(mirrorsync, {"tags": {"all": True}, "min_age": "365d"})
    mirrorsync("apply", code=0)
    let_days_pass(mirrorsync)
    spec(mirrorsync, shown)
    mirrorsync("apply", code=0)
    assert sorted(mirrored(mirrorsync)) == CODE.findall(expected)


CLAIMS = dict(re.findall(r"`(\S+)`\s\(([\d-]+|nothing)\)", section(PAGE, "## Creation")))
CREATION = table(section(PAGE, "## Creation"))


@pytest.mark.parametrize(("mirror", "expected"), CREATION, ids=[row[0] for row in CREATION])
def test_creations_choose_the_tags_of_the_table(mirrorsync: Mirrorsync, mirror: str, expected: str) -> None:
    def made(tag: str) -> Image:
        content = {"a": b"the same" if tag in ("build-a09", "main") else tag.encode()}
        return image([layer(content)], created=None if CLAIMS[tag] == "nothing" else f"{CLAIMS[tag]}T03:17:00Z")

    assert len(CLAIMS) == 7
    write_layout(mirrorsync.directory / "source", {f"app:{tag}": made(tag) for tag in CLAIMS})
    spec(mirrorsync, yaml.safe_load(mirror.strip("`")))
    mirrorsync("apply", code=0)
    assert sorted(mirrored(mirrorsync)) == CODE.findall(expected)


def let_days_pass(mirrorsync: Mirrorsync) -> None:
    """Let each tag have been listed, and its image have been seen, as many days earlier as the page says."""
    (path,) = (mirrorsync.home / ".local/state/mirrorsync").glob("*.sqlite")
    index = json.loads((mirrorsync.directory / "source/index.json").read_bytes())
    names = {entry["digest"]: entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]}
    with sqlite3.connect(path) as connection:
        for digest, name in names.items():
            tag = name.removeprefix("app:")
            earlier = f"first = strftime('%Y-%m-%dT%H:%M:%SZ', first, '-{DAYS[tag]} days', '-1 minute')"
            connection.execute(f"UPDATE listed SET {earlier} WHERE tag = ?", (tag,))
            connection.execute(f"UPDATE seen SET {earlier} WHERE digest = ?", (digest,))
    connection.close()


MATCHES = [
    row
    for heading in ("## Filters that match too little", "## Tags that newest cannot order")
    for row in table(section(PAGE, heading))
]


@pytest.mark.parametrize(("mirror", "code", "tags"), MATCHES, ids=[row[0] for row in MATCHES])
def test_too_few_matches_end_as_the_table_says(mirrorsync: Mirrorsync, mirror: str, code: str, tags: str) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1.0": OLD, "app:1.1": NEW, "app:latest": NEW})
    spec(mirrorsync, yaml.safe_load(mirror.strip("`")))
    mirrorsync("apply", code=int(code))
    assert sorted(mirrored(mirrorsync)) == CODE.findall(tags)


RUNS = table(section(PAGE, "### Examples"))


def by_image(digests: dict[str, str]) -> dict[str, str]:
    named: dict[str, Image] = {"old image": OLD, "new image": NEW}
    return {tag: name for tag, digest in digests.items() for name, made in named.items() if made.digest == digest}


@pytest.mark.parametrize("row", RUNS, ids=" ".join)
def test_policies_do_what_the_table_says(mirrorsync: Mirrorsync, row: list[str]) -> None:
    mirror, command, version, latest, code = (cell.strip("`") for cell in row)
    source: Path = mirrorsync.directory / "source"
    write_layout(source, {"app:v1": OLD, "app:latest": OLD})
    spec(mirrorsync, {"tags": {"all": True}, **yaml.safe_load(mirror)})
    mirrorsync("apply", code=0)
    write_layout(source, {"app:v1": NEW, "app:latest": NEW})
    mirrorsync(*command.split(), code=int(code))
    assert by_image(mirrored(mirrorsync)) == {"v1": version, "latest": latest}
