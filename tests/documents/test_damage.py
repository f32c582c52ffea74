"""Damaged plans: each member in turn is taken away, gets another type, or a value that it must not have."""

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
from tests.parts.documents import problems

Place = tuple[str | int, ...]

WHOLE: dict[str, Any] = json.loads(json.dumps(plan_document(examples.plan())))
TEXT = "".join(plan_text(examples.plan())).encode()
OTHER_TYPES: tuple[Any, ...] = (None, True, 7, 1.5, 1.0, "text", [], ["text"], {}, {"text": 1})
NAMES = ("../x", "", ".x", "-", "a b", "a\n", "a\0", "ä", "a/b:c", "x" * 300)
DIGESTS = ("", "sha256:", "sha256:../../etc/passwd", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "md5:" + "0" * 32,
           "sha256:" + "0" * 64 + "\n")  # fmt: skip
# What a member must never be, by its name: it would be a path, a host or an option somewhere.
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


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the places of everything in a document."""
    yield place
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*place, key))


def shape(place: Place) -> Place:
    """Return a place without what is alike: images and steps are told apart by what they are."""
    kinds: Place = ()
    if len(place) > 1 and place[0] == "steps":
        kinds = (WHOLE["steps"][place[1]]["do"],)
    if len(place) > 1 and place[0] == "images":
        kinds = tuple(type(value).__name__ for value in WHOLE["images"][place[1]].values())
    return (*kinds, *("*" if isinstance(key, int) else key for key in place))


# One of each shape: an image of every kind, a step of every kind, all that they have, and the head. What makes it a
# plan of this version at all is tested where plans are told from other files.
PLACES = list({shape(place): place for place in places(WHOLE) if place and place[-1] != "version"}.values())
PLACES = [place for place in PLACES if place != ("kind",)]


def at(document: Any, place: Place) -> Any:
    for key in place:
        document = document[key]
    return document


def replaced(place: Place, value: Any) -> dict[str, Any]:
    """Return the document with another value at a place."""
    damaged = copy.deepcopy(WHOLE)
    at(damaged, place[:-1])[place[-1]] = value
    return damaged


def without(place: Place) -> dict[str, Any]:
    """Return the document without what is at a place."""
    damaged = copy.deepcopy(WHOLE)
    del at(damaged, place[:-1])[place[-1]]
    return damaged


def pointer(place: Place) -> str:
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in place)


def complaint(document: Any) -> str | None:
    """Return where the reader says that a document is damaged, None when it takes it."""
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


def named(place: Place) -> str:
    return pointer(place) or "/"


@pytest.mark.parametrize("place", [place for place in PLACES if isinstance(place[-1], str)], ids=named)
def test_a_member_that_is_missing_is_named(place: Place) -> None:
    optional = "error" in place[:-1] and place[-1] not in ("message", "exit_code")
    damaged = without(place)
    counted = place[0] == "totals" and len(place) in (2, 4)  # stores, states, and what becomes of blobs
    if optional or counted:
        assert problems(damaged, "plan") == []
        assert complaint(damaged) is None
    else:
        assert problems(damaged, "plan") != []
        assert complaint(damaged) == pointer(place)


@pytest.mark.parametrize("place", [place for place in [(), *PLACES] if isinstance(at(WHOLE, place), dict)], ids=named)
def test_a_member_that_is_unknown_is_named(place: Place) -> None:
    damaged = copy.deepcopy(WHOLE)
    at(damaged, place)["shell"] = "rm -rf /"
    assert problems(damaged, "plan") != []
    assert complaint(damaged) == pointer((*place, "shell"))


@pytest.mark.parametrize("place", PLACES, ids=named)
def test_a_value_of_another_type_is_refused_at_its_place(place: Place) -> None:
    own = type(at(WHOLE, place))
    for value in OTHER_TYPES:
        if type(value) is own:
            continue
        damaged = replaced(place, value)
        # Null can stand for a value, and a value for null: the schema knows where.
        if None not in (value, at(WHOLE, place)) or problems(damaged, "plan"):
            assert f"{complaint(damaged)}/".startswith(f"{pointer(place)}/"), f"{value!r}"


def wrong_values(place: Place) -> tuple[Any, ...]:
    """Return the values that what is at a place must not have."""
    *outer, last = place
    if isinstance(last, int):
        return WRONG_ELEMENTS.get(str(outer[-1]), ())
    if ("error" in outer and last != "side") or "stays" in outer or isinstance(at(WHOLE, place), dict | list):
        return ()  # foreign text
    return WRONG.get(last, ())


@pytest.mark.parametrize("place", [place for place in PLACES if wrong_values(place)], ids=named)
def test_a_value_that_must_not_be_is_refused_at_its_place(place: Place) -> None:
    for value in wrong_values(place):
        found = complaint(replaced(place, value))
        assert found == pointer(place), f"{value!r}"


def test_every_wrong_value_is_tried_somewhere() -> None:
    assert {place[-1] for place in PLACES if isinstance(place[-1], str) and wrong_values(place)} == set(WRONG)
    lists = {str(place[-2]) for place in PLACES if isinstance(place[-1], int) and wrong_values(place)}
    assert lists == set(WRONG_ELEMENTS)


@pytest.mark.parametrize("kind", [step["do"] for step in WHOLE["steps"]])
def test_a_step_that_was_edited_has_the_id_of_another(kind: str) -> None:
    number, step = next((number, step) for number, step in enumerate(WHOLE["steps"]) if step["do"] == kind)
    for key, value in step.items():
        if key == "tag":
            assert complaint(replaced(("steps", number, key), "other")) == f"/steps/{number}/id"
        if key in ("target", "targets"):
            inside: Place = (0,) if key == "targets" else ()
            damaged = replaced(("steps", number, key, *inside, "repository"), "other/name")
            # A copy is known by its blob alone; where it writes to is checked against the plan's images.
            assert complaint(damaged) == (None if key == "targets" else f"/steps/{number}/id"), value
        if key == "blob" or (key == "manifest" and kind != "tag"):
            damaged = replaced(("steps", number, key, "digest"), "sha256:" + "0" * 64)
            assert complaint(damaged) == f"/steps/{number}/id"


def test_steps_in_another_order_are_refused() -> None:
    damaged = copy.deepcopy(WHOLE)
    damaged["steps"].reverse()
    assert re.match(r"/steps/\d+/needs/0", str(complaint(damaged)))
    twice = copy.deepcopy(WHOLE)
    twice["steps"].append(twice["steps"][-1])
    assert complaint(twice) == f"/steps/{len(WHOLE['steps'])}/id"


AMBIGUOUS = {
    "a member twice": (TEXT.replace(b'"created":', b'"read_bytes":1,"created":'), "/read_bytes"),
    "a member of a step twice": (TEXT.replace(b'"do":"mount"', b'"do":"copy","do":"mount"'), "/steps/1/do"),
    "a number that is none": (TEXT.replace(b'"read_bytes":5', b'"read_bytes":NaN'), "/read_bytes"),
    "a number that never ends": (TEXT.replace(b'"read_bytes":5', b'"read_bytes":' + b"5" * 10_000), "/"),
    "lists in lists": (TEXT.replace(b'"images":[', b'"images":[' + b"[" * 100_000), "/"),
    "no UTF-8": (TEXT.replace(b"not there", b"\xff\xfe"), "/"),
    "something behind it": (TEXT + b"{}", f"line {len(TEXT.splitlines()) + 1}, column 1"),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_other_readers_may_read_otherwise_is_refused(what: str) -> None:
    data, place = AMBIGUOUS[what]
    assert data != TEXT
    with pytest.raises(UsageError, match=re.escape(f"plan.json is a damaged plan (at {place}): ")):
        read_plan(data, "plan.json")


def test_a_plan_that_was_cut_off_is_refused_wherever_that_is() -> None:
    for end in range(40, len(TEXT) - 2, 3):
        with pytest.raises(UsageError, match="is a damaged plan"):
            read_plan(TEXT[:end], "plan.json")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_becomes_of_its_bytes_it_is_a_plan_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = bytearray(TEXT)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(data))
            data[start : start + chance.choice((0, 1, 1, 9))] = chance.choice(
                (b"", b"0", b"}", b'"', b"\\", b"\xff", b"[]")
            )
        with suppress(UsageError):
            read_plan(bytes(data), "plan.json")
