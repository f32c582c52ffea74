"""Damaged plans: each member in turn is removed, gets another type, or an invalid value."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from mirrorsync.documents.plan import plan_document, plan_text, read_plan
from mirrorsync.errors import UsageError
from tests.documents import examples
from tests.parts.documents import validator

Path = tuple[str | int, ...]

WHOLE: dict[str, Any] = json.loads(json.dumps(plan_document(examples.plan())))
TEXT = "".join(plan_text(examples.plan())).encode()
OTHER_TYPES: tuple[Any, ...] = (None, True, 7, 1.5, 1.0, "text", [], ["text"], {}, {"text": 1})
NAMES = ("../x", "", ".x", "-", "a b", "a\n", "a\0", "ä", "a/b:c", "x" * 300)
DIGESTS = ("", "sha256:", "sha256:../../etc/passwd", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "md5:" + "0" * 32,
           "sha256:" + "0" * 64 + "\n")  # fmt: skip
# Invalid values by the member's name: they would become a path, a host or an option.
WRONG: dict[str, tuple[Any, ...]] = {
    "created": ("", "yesterday", "2026-01-01", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z\n"),
    "path": ("", "a\0b", "\ud800"),
    "digest": DIGESTS,
    "mediaType": ("", "x" * 256),
    "size": (-1, 2**63, 10**400),
    "store": ("", "http://x.example", "x.example/path", "user@x.example", "X.example", "x.example:99999", "oci:",
              "oci:x", "oci:/srv/../x", "oci:/\ud800", "oci:/a\0b", "dir:x", "docker-daemon:x"),
    "repository": (*(name for name in NAMES if name), "A", "a//b", "/a"),
    "origin": (*NAMES, "A", "a//b"),
    "tag": (*NAMES, "x" * 129),
    "followed": (*(name for name in NAMES if name), "@x", "@-1", "@1234567", "@sha256:../../x", *DIGESTS[1:]),
    "state": ("", "gone", "NEW"),
    "do": ("", "format", "Copy"),
    "id": ("", "copy:other", "tag:corp.example:5000/mirror/app:1.0 "),
    "step": ("copy:other", " "),
    "read_bytes": (-1, 0, 2**63),
    "blobs": (-1, 2**63),
    "bytes": (-1, 2**63),
    "side": ("", "both"),
}  # fmt: skip
WRONG_ELEMENTS: dict[str, tuple[Any, ...]] = {
    "tags": NAMES,
    "needs": ("", "copy:other", None),
    "platforms": ("", "linux", "a/b/c/d", "linux/", "/"),
    "only": (None, 1, ["x"]),
}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all values in a document."""
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(child, (*path, key))


def shape(path: Path) -> Path:
    """Return a path without indexes: images and steps are distinguished by their kind."""
    kinds: Path = ()
    if len(path) > 1 and path[0] == "steps":
        kinds = (WHOLE["steps"][path[1]]["do"],)
    if len(path) > 1 and path[0] == "images":
        kinds = tuple(type(value).__name__ for value in WHOLE["images"][path[1]].values())
    return (*kinds, *("*" if isinstance(key, int) else key for key in path))


# One of each shape: an image of every kind, a step of every kind, all their members, and the head. The members that
# identify a plan of this version are tested in test_plan.py.
PATHS = list({shape(path): path for path in paths(WHOLE) if path and path[-1] != "version"}.values())
PATHS = [path for path in PATHS if path != ("kind",)]


def at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def replaced(path: Path, value: Any) -> dict[str, Any]:
    """Return the document with another value at a path."""
    damaged = copy.deepcopy(WHOLE)
    at(damaged, path[:-1])[path[-1]] = value
    return damaged


def without(path: Path) -> dict[str, Any]:
    """Return the document without the value at a path."""
    damaged = copy.deepcopy(WHOLE)
    del at(damaged, path[:-1])[path[-1]]
    return damaged


def pointer(path: Path) -> str:
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)


def fits_schema(document: Any, path: Path) -> bool:
    """Return whether the schema accepts a document that is changed at a path. Other images and steps are left out."""
    slim = dict(document)
    for name in ("images", "steps"):
        if isinstance(slim.get(name), list) and path != (name,):
            slim[name] = [slim[name][path[1]]] if path[:1] == (name,) else []
    return validator("plan").is_valid(slim)


def damage_at(document: Any) -> str | None:
    """Return the pointer at which the reader reports damage, None if it accepts the document."""
    try:
        plan = read_plan(json.dumps(document).encode(), "plan.json")
    except UsageError as error:
        refused = error
    else:
        assert plan is not None
        return None
    assert refused.remedy
    found = re.match(r"plan\.json is a damaged plan \(at (/.*)\): \S", refused.message)
    assert found, refused.message
    return found[1]


def named(path: Path) -> str:
    return pointer(path) or "/"


@pytest.mark.parametrize("path", [path for path in PATHS if isinstance(path[-1], str)], ids=named)
def test_a_member_that_is_missing_is_named(path: Path) -> None:
    optional = "error" in path[:-1] and path[-1] not in ("message", "exit_code")
    # Saved plans of earlier versions have no decisions, and only explained ones have filters.
    optional |= path[-1] in ("decision", "filters") or (path[0], path[-1]) == ("failures", "policy")
    # Nor do they know of sources that refuse access.
    optional |= (path[0], path[-1]) == ("vanished", "refused")
    # Nor have they what is known of referrers and of selected platforms.
    optional |= path == ("referrers",) or (path[0] == "images" and path[-1] in ("index", "subject", "whole"))
    damaged = without(path)
    counted = path[0] == "totals" and len(path) in (2, 4)  # stores, states, and fates of blobs
    keyed = path[:-1] in (("spec", "destinations"), ("spec", "lines"))
    if optional or counted or keyed:
        assert fits_schema(damaged, path)
        assert damage_at(damaged) is None
    else:
        assert not fits_schema(damaged, path)
        assert damage_at(damaged) == pointer(path)


@pytest.mark.parametrize("path", [path for path in [(), *PATHS] if isinstance(at(WHOLE, path), dict)], ids=named)
def test_a_member_that_is_unknown_is_named(path: Path) -> None:
    damaged = copy.deepcopy(WHOLE)
    at(damaged, path)["shell"] = "rm -rf /"
    assert not fits_schema(damaged, path)
    assert damage_at(damaged) == pointer((*path, "shell"))


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_value_of_another_type_is_rejected_with_its_pointer(path: Path) -> None:
    own = type(at(WHOLE, path))
    for value in OTHER_TYPES:
        if type(value) is own:
            continue
        damaged = replaced(path, value)
        # Some members can be null: the schema knows which.
        if None not in (value, at(WHOLE, path)) or not fits_schema(damaged, path):
            assert f"{damage_at(damaged)}/".startswith(f"{pointer(path)}/"), f"{value!r}"


def wrong_values(path: Path) -> tuple[Any, ...]:
    """Return the invalid values for a path."""
    *outer, last = path
    if isinstance(last, int):
        return WRONG_ELEMENTS.get(str(outer[-1]), ())
    if ("error" in outer and last != "side") or "stays" in outer or isinstance(at(WHOLE, path), dict | list):
        return ()  # foreign text
    return WRONG.get(last, ())


@pytest.mark.parametrize("path", [path for path in PATHS if wrong_values(path)], ids=named)
def test_an_invalid_value_is_rejected_with_its_pointer(path: Path) -> None:
    for value in wrong_values(path):
        found = damage_at(replaced(path, value))
        assert found == pointer(path), f"{value!r}"


def test_every_invalid_value_is_tried() -> None:
    assert {path[-1] for path in PATHS if isinstance(path[-1], str) and wrong_values(path)} == set(WRONG)
    lists = {str(path[-2]) for path in PATHS if isinstance(path[-1], int) and wrong_values(path)}
    assert lists == set(WRONG_ELEMENTS)


@pytest.mark.parametrize("kind", [step["do"] for step in WHOLE["steps"]])
def test_an_edited_step_does_not_match_its_id(kind: str) -> None:
    number, step = next((number, step) for number, step in enumerate(WHOLE["steps"]) if step["do"] == kind)
    for key, value in step.items():
        if key == "tag":
            assert damage_at(replaced(("steps", number, key), "other")) == f"/steps/{number}/id"
        if key in ("target", "targets"):
            inside: Path = (0,) if key == "targets" else ()
            damaged = replaced(("steps", number, key, *inside, "repository"), "other/name")
            # A copy's id has only its blob; its targets are checked against the plan's images.
            assert damage_at(damaged) == (None if key == "targets" else f"/steps/{number}/id"), value
        if key == "blob" or (key == "manifest" and kind != "tag"):
            damaged = replaced(("steps", number, key, "digest"), "sha256:" + "0" * 64)
            assert damage_at(damaged) == f"/steps/{number}/id"


def test_steps_in_another_order_are_rejected() -> None:
    damaged = copy.deepcopy(WHOLE)
    damaged["steps"].reverse()
    assert re.match(r"/steps/\d+/needs/0", str(damage_at(damaged)))
    twice = copy.deepcopy(WHOLE)
    twice["steps"].append(twice["steps"][-1])
    assert damage_at(twice) == f"/steps/{len(WHOLE['steps'])}/id"


AMBIGUOUS = {
    "a member twice": (TEXT.replace(b'"created":', b'"read_bytes":1,"created":'), "/read_bytes"),
    "a member of a step twice": (TEXT.replace(b'"do":"mount"', b'"do":"copy","do":"mount"'), "/steps/1/do"),
    "not a number": (TEXT.replace(b'"read_bytes":5', b'"read_bytes":NaN'), "/read_bytes"),
    "a number that never ends": (TEXT.replace(b'"read_bytes":5', b'"read_bytes":' + b"5" * 10_000), "/"),
    "lists in lists": (TEXT.replace(b'"images":[', b'"images":[' + b"[" * 100_000), "/"),
    "no UTF-8": (TEXT.replace(b"not there", b"\xff\xfe"), "/"),
    "something behind it": (TEXT + b"{}", f"line {len(TEXT.splitlines()) + 1}, column 1"),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_ambiguous_json_is_rejected(what: str) -> None:
    data, path = AMBIGUOUS[what]
    assert data != TEXT
    with pytest.raises(UsageError, match=re.escape(f"plan.json is a damaged plan (at {path}): ")):
        read_plan(data, "plan.json")


def test_a_truncated_plan_is_rejected() -> None:
    for end in range(40, len(TEXT) - 2, 7):
        with pytest.raises(UsageError, match="is a damaged plan"):
            read_plan(TEXT[:end], "plan.json")


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_is_rejected_or_gives_a_valid_plan(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = bytearray(TEXT)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(data))
            data[start : start + chance.choice((0, 1, 1, 9))] = chance.choice(
                (b"", b"0", b"}", b'"', b"\\", b"\xff", b"[]")
            )
        with suppress(UsageError):
            if (read := read_plan(bytes(data), "plan.json")) is not None:
                again = read_plan("".join(plan_text(read)).encode(), "plan.json")
                assert again is not None
                assert "".join(plan_text(again)) == "".join(plan_text(read))
