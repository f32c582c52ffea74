"""Which tags count as dropped by their source, and how they are reported. Pure."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Vanished
from mirrorsync.plan.prune import Cap, Known, Prune, Surroundings, droppable
from mirrorsync.plan.vanish import Absence, Lost, dropped, grouped

APP, SOURCE, OTHER = Location("dst.example", "app"), Location("src.example", "app"), Location("src.example", "web")
DIGEST = Digest.of(b"1")


def known(tag: str, *, adopted: bool = False, source: Location = SOURCE) -> Known:
    return Known(APP, Tag(tag), DIGEST, adopted, source)


@pytest.mark.parametrize(
    ("had", "listed", "number", "gone"),
    [
        ("1 2 3", "1 2 3", 3, ""),
        ("1 2 3", "1 2", 3, "3"),
        ("1 2 3", "2 3", 3, "1"),
        ("1 2 3", "2 3", 2, ""),  # `newest: 2` does not want 1, whether or not it is listed
        ("2 3", "1 2", 2, "3"),  # and would still want 3
        ("1 2", "", 2, "1 2"),
        (f"1 sha256-{'0' * 64}.sig", "1", 9, ""),  # attachments are not wanted by a filter
    ],
)
def test_a_tag_is_dropped_if_the_filters_would_still_want_it(had: str, listed: str, number: int, gone: str) -> None:
    def choose(tags: Collection[Tag]) -> Collection[Tag]:
        return sorted(tags)[-number:]

    found = dropped(map(known, had.split()), frozenset(map(Tag, listed.split())), choose)
    assert [one.tag for one in found] == gone.split()


def test_the_filters_are_not_asked_if_nothing_is_missing() -> None:
    def never(tags: Collection[Tag]) -> Collection[Tag]:
        raise AssertionError(tags)

    assert dropped([known("1")], frozenset({Tag("1"), Tag("2")}), never) == []


def test_a_refused_repository_is_reported_apart_until_its_source_says_that_it_has_dropped_a_tag() -> None:
    since, later = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
    absences = {
        (SOURCE, Tag("2")): Absence(later, refused=True),
        (SOURCE, Tag("3")): Absence(since),
        (SOURCE, Tag("4")): Absence(since, acknowledged=True, refused=True),
    }
    lost = [Lost(known(tag), SOURCE, whole=True, refused=True) for tag in "1234"]
    assert grouped(lost, absences) == (
        Vanished(SOURCE, (Tag("1"),), whole=True, refused=True),
        Vanished(SOURCE, (Tag("2"), Tag("3")), whole=True, since=since, refused=True),
        Vanished(SOURCE, (Tag("4"),), whole=True, since=since, acknowledged=True, refused=True),
    )
    dropped = [Lost(known(tag), SOURCE) for tag in "1234"]
    assert grouped(dropped, absences) == (
        Vanished(SOURCE, (Tag("1"), Tag("2"))),
        Vanished(SOURCE, (Tag("3"),), since=since),
        Vanished(SOURCE, (Tag("4"),), since=since, acknowledged=True),
    )


@pytest.mark.parametrize(
    ("whole", "refused", "certain"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
def test_only_a_source_that_says_so_and_has_other_tags_has_certainly_dropped_one(
    whole: bool, refused: bool, certain: bool
) -> None:
    assert Lost(known("1"), SOURCE, whole, refused).is_certain == certain


def test_what_is_new_what_is_known_and_what_is_acknowledged_is_reported_apart() -> None:
    absences = {
        (SOURCE, Tag("2")): Absence("2026-11-02T00:00:00Z"),
        (SOURCE, Tag("3")): Absence("2026-11-01T00:00:00Z"),
        (SOURCE, Tag("4")): Absence("2026-10-01T00:00:00Z", acknowledged=True),
    }
    lost = [Lost(known(tag), SOURCE) for tag in "4321"] + [Lost(known("1", source=OTHER), OTHER, whole=True)]
    assert grouped(lost, absences) == (
        Vanished(SOURCE, (Tag("1"),)),
        Vanished(SOURCE, (Tag("2"), Tag("3")), since="2026-11-01T00:00:00Z"),
        Vanished(SOURCE, (Tag("4"),), since="2026-10-01T00:00:00Z", acknowledged=True),
        Vanished(OTHER, (Tag("1"),), whole=True),
    )


@pytest.mark.parametrize(
    ("one", "prune", "unsure", "goes"),
    [
        (known("1"), Prune(Cap(number=10)), False, True),
        (known("1", adopted=True), Prune(Cap(number=10)), False, False),
        (known("1", adopted=True), Prune(Cap(number=10), adopt=True), False, True),
        (known("1-lts"), Prune(Cap(number=10), keep=("*-lts",)), False, False),
        (known("1"), Prune(Cap(number=10)), True, False),
    ],
)
def test_a_dropped_tag_is_deleted_by_the_rules_of_prune(one: Known, prune: Prune, unsure: bool, goes: bool) -> None:
    around = Surroundings(frozenset(), frozenset({APP} if unsure else ()), frozenset({APP.store}))
    assert droppable(prune, [one], around) == ((one,) if goes else ())
