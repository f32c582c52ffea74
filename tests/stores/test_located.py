"""The location of an error is added to a copy of it, by the innermost block that knows it."""

from __future__ import annotations

import traceback

import pytest

from mirrorsync.errors import ContentNotFound, MirrorsyncError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, Where
from mirrorsync.stores.located import located_at
from mirrorsync.sync.session import located


def test_the_error_is_copied_and_the_original_is_unchanged() -> None:
    error = ContentNotFound("there is no such tag")
    with pytest.raises(ContentNotFound) as caught, located_at("h:5000", "team/app", Tag("1")):
        raise error
    assert str(caught.value) == "h:5000/team/app:1: there is no such tag"
    assert str(error) == "there is no such tag"


def test_outer_blocks_only_add_what_the_innermost_leaves_out() -> None:
    with (
        pytest.raises(MirrorsyncError) as caught,
        located("destination", Location("outer", "other"), Tag("2")),
        located_at("inner", "team/app"),
    ):
        raise MirrorsyncError("it broke")
    assert str(caught.value) == "destination inner/team/app:2: it broke"


def test_an_error_with_a_complete_location_passes_unchanged() -> None:
    error = MirrorsyncError("it broke", side="source", place=Where("h", "a", Tag("1")))
    with pytest.raises(MirrorsyncError) as caught, located("destination", Location("i", "b"), Tag("2")):
        raise error
    assert caught.value is error


def test_a_traceback_shows_the_error_and_its_cause_once() -> None:
    cause = OSError("no route")
    place = Location("h", "a")
    with pytest.raises(MirrorsyncError) as caught, located("source", place), located_at("h", "a", Tag("1")):
        raise MirrorsyncError("it broke") from cause
    assert caught.value.__cause__ is cause
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("MirrorsyncError: ") == 1
    assert shown.count("OSError: ") == 1
    assert "raise MirrorsyncError" in shown  # where it was raised, and not only where it was copied


def test_other_exceptions_pass_unchanged() -> None:
    with pytest.raises(KeyError), located_at("h"):
        raise KeyError
