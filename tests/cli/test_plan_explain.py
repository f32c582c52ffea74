"""`plan --explain`: the filters that want each tag, the policy that decided, and until when."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cosign import make_key
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


def push(mirrorsync: Mirrorsync, suffix: str = "", *tags: str) -> None:
    names = {tag: made(f"{tag}{suffix if tag in tags else ''}") for tag in ("1.0", "1.1", "2.0", "edge", "latest")}
    write_layout(mirrorsync.directory / "source", {f"app:{tag}": pushed for tag, pushed in names.items()})


def spec(mirrorsync: Mirrorsync, **keys: Any) -> None:
    tags = {"semver": ">=1", "exact": ["edge"]}
    entry = {"from": "oci:source:app", "tags": tags, **keys}
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [entry]})


def shown(mirrorsync: Mirrorsync, *words: str, code: int = 0) -> dict[str, tuple[Any, ...]]:
    """Return state, filters, and policy with its verdict, by tag."""
    document = mirrorsync("plan", "--explain", "--json", *words, code=code).json()
    valid(document, "plan")
    return {
        one["tag"]: (
            one["state"],
            one["filters"],
            *((one["decision"]["policy"], one["decision"]["verdict"]) if one["decision"] else ()),
        )
        for one in document["images"]
    }


def test_every_image_has_its_filters_and_the_policy_that_decided(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync)
    spec(mirrorsync)
    mirrorsync("apply", code=0)
    push(mirrorsync, " moved", "1.1", "edge")
    spec(mirrorsync, tags={"glob": ["*"], "semver": ">=2", "exact": ["edge"]}, immutable=["1.*"], on_change="keep")
    assert shown(mirrorsync) == {
        "1.0": ("unchanged", ["glob *"], "immutable", "keep"),
        "1.1": ("unchanged", ["glob *"], "immutable", "keep"),
        "2.0": ("unchanged", ["glob *", "semver >=2"]),
        "edge": ("kept", ["exact", "glob *"], "on_change", "keep"),
        "latest": ("new", ["glob *"]),
    }
    lines = mirrorsync("plan", "--explain", code=0).out.splitlines()
    head = next(number for number, line in enumerate(lines) if " app:2.0 " in line)
    assert lines[head].split()[:3] == ["unchanged", "disk", "app:2.0"]
    assert lines[head + 1].strip() == "wanted by glob *, semver >=2"
    assert all(len(line) <= 80 for line in lines[:-1] if "sha256:" not in line)
    assert "unchanged" not in mirrorsync("plan", code=0).out.partition("Plan:")[0]


def test_what_is_delayed_says_until_when(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync)
    spec(mirrorsync, min_age="3d")
    mirrorsync("apply", code=0)
    (path,) = (mirrorsync.home / ".local/state/mirrorsync").glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE seen SET first = '2999-11-25T03:17:00Z'")
    connection.close()
    for words in ((), ("--explain",)):
        assert "waits until 2999-11-28 03:17 UTC" in " ".join(mirrorsync("plan", *words, code=0).out.split())
    document = mirrorsync("plan", "--json", code=0).json()
    assert {one["decision"]["until"] for one in document["images"]} == {"2999-11-28T03:17:00Z"}
    assert not any("filters" in one for one in document["images"]), "only if it is asked for"


def test_what_is_wanted_only_while_a_younger_tag_waits_says_so(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync)
    spec(mirrorsync, tags={"semver": ">=1"}, min_age="3d")
    mirrorsync("apply", code=0)
    (path,) = (mirrorsync.home / ".local/state/mirrorsync").glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE seen SET first = '2020-01-01T00:00:00Z'")
        connection.execute("UPDATE listed SET first = '2020-01-01T00:00:00Z' WHERE tag <> '2.0'")
    connection.close()
    spec(mirrorsync, tags={"semver": ">=1", "newest": 1}, min_age="3d")
    found = shown(mirrorsync)
    assert found["2.0"] == ("new", ["semver >=1", "newest 1"])
    assert found["1.1"][1][-2:] == ["newest 1", "while younger tags wait"]


def test_refused_images_are_shown_too(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync)
    make_key(mirrorsync.directory, "site")
    spec(mirrorsync, tags={"exact": ["edge"], "semver": "~1.1"}, verify={"cosign": {"key": "site.pub"}})
    done = mirrorsync("plan", "--explain", code=1)
    assert [line.split()[0] for line in done.out.splitlines() if line[:1].isalpha()][:2] == ["refused", "refused"]
    assert "wanted by semver ~1.1" in done.out
    failures = mirrorsync("plan", "--explain", "--json", code=1).json()["failures"]
    assert {(one["followed"], one["policy"], *one["filters"]) for one in failures} == {
        ("edge", "verify", "exact"),
        ("1.1", "verify", "semver ~1.1"),
    }
    spec(mirrorsync)
    mirrorsync("apply", code=0)
    push(mirrorsync, " moved", "edge")
    spec(mirrorsync, on_change="fail")
    assert shown(mirrorsync, code=3)["edge"] == ("refused", ["exact"], "on_change", "refuse")


def test_images_of_a_lock_and_those_named_by_digest_say_so(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync)
    spec(mirrorsync)
    mirrorsync("lock", code=0)
    assert shown(mirrorsync, "--locked")["1.0"] == ("new", ["lock"])
    digest = made("1.0").digest
    spec(mirrorsync, tags=[digest])
    assert shown(mirrorsync) == {None: ("new", ["exact"])}


def test_an_explained_plan_is_saved_with_its_explanation(mirrorsync: Mirrorsync) -> None:
    push(mirrorsync)
    spec(mirrorsync)
    mirrorsync("plan", "--explain", "-o", "today.plan", code=0)
    assert mirrorsync("plan", "--explain", "today.plan", code=0).out.count("wanted by semver >=1") == 3
    assert "wanted by" not in mirrorsync("plan", "today.plan", code=0).out
    mirrorsync("apply", "today.plan", code=0)
    mirrorsync("plan", "-o", "plain.plan", code=0)
    error = mirrorsync("plan", "--explain", "plain.plan", code=2).err
    assert "was saved without --explain" in error
    error = mirrorsync("plan", "--explain", "--summary", code=2).err
    assert "--explain and --summary contradict each other" in error


def test_a_saved_plan_of_an_earlier_version_is_read(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    push(mirrorsync)
    spec(mirrorsync, tags=["1.0", "9.9"])
    mirrorsync("plan", "-o", "old.plan", code=3)
    document = json.loads((tmp_path / "old.plan").read_text())
    for one in (*document["images"], *document["failures"]):
        one.pop("decision", None)
        one.pop("policy", None)
    (tmp_path / "old.plan").write_text(json.dumps(document))
    assert "new" in mirrorsync("plan", "old.plan", code=3).out


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_more_than_fifty_changes_are_all_explained(mirrorsync: Mirrorsync, words: tuple[str, ...]) -> None:
    write_layout(mirrorsync.directory / "source", {f"app:1.{number}": made(f"{number % 3}") for number in range(60)})
    spec(mirrorsync, tags={"all": True})
    assert mirrorsync("plan", "--explain", *words, code=0).out.count("wanted by all") == 60
