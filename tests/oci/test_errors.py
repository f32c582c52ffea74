"""Errors: safe on a terminal, and with the location of what failed."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from mirrorsync import errors, problems
from mirrorsync.errors import ExitCode, MirrorsyncError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Tag
from mirrorsync.oci.reference import Where
from mirrorsync.problems import Problem, SpecError
from mirrorsync.text import printable

A = Digest.of(b"a")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ä, 漢, 😀", "plain text, ä, 漢, 😀"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x00\x7f\x85\x9b", "\\x00\\x7f\\x85\\x9b"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("\u2028\u2029\u00a0\u3000", "\\u2028\\u2029\\xa0\\u3000"),
        ("\ufeff\u200b\u00ad", "\\ufeff\\u200b\\xad"),
        ("\ud800\ue000\U000e0001", "\\ud800\\ue000\\U000e0001"),
        ("", ""),
    ],
)
def test_control_characters_in_foreign_text_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_every_unprintable_character_is_escaped() -> None:
    for code in range(0x110000):
        assert printable(chr(code)).isprintable(), hex(code)


def test_long_foreign_text_is_truncated() -> None:
    assert printable("x" * 400) == "x" * 400
    assert printable("x" * 401) == "x" * 400 + "..."
    assert printable("abc", 2) == "ab..."
    assert printable("\x1b" * 1000) == "\\x1b" * 100 + "..."


@pytest.mark.parametrize(
    ("place", "where", "text"),
    [
        ({}, "", "it broke"),
        ({"side": "source"}, "", "it broke"),
        ({"place": Where(ref=Tag("1"))}, "", "it broke"),
        ({"place": Where("h:5000")}, "h:5000", "h:5000: it broke"),
        ({"place": Where("h:5000", "a/b")}, "h:5000/a/b", "h:5000/a/b: it broke"),
        ({"place": Where("h", "a", Tag("1"))}, "h/a:1", "h/a:1: it broke"),
        ({"place": Where("h", "a", A)}, f"h/a@{A}", f"h/a@{A}: it broke"),
        ({"place": Where("oci:/m", "a", Tag("1"))}, "oci:/m:a:1", "oci:/m:a:1: it broke"),
        ({"place": Where("oci:/m", "", Tag("1"))}, "oci:/m:1", "oci:/m:1: it broke"),
        (
            {"place": Where("docker-archive:/a", "", Pick("@3"))},
            "docker-archive:/a:@3",
            "docker-archive:/a:@3: it broke",
        ),
        ({"place": Where("docker-daemon:", "a", Tag("1"))}, "docker-daemon:a:1", "docker-daemon:a:1: it broke"),
        ({"place": Where("dir:/m", "", THE_ONLY_ONE)}, "dir:/m", "dir:/m: it broke"),
        ({"place": Where("h"), "side": "destination"}, "h", "destination h: it broke"),
    ],
)
def test_an_error_names_its_location(place: dict[str, Any], where: str, text: str) -> None:
    error = MirrorsyncError("it broke", **place)
    assert error.where == where
    assert str(error) == text
    assert MirrorsyncError("it broke").at(**place).where == where


def test_the_innermost_location_is_kept() -> None:
    inner = MirrorsyncError("it broke", place=Where("inner", "", Tag("1")))
    error = inner.at(Where("outer", "outer", Tag("2")), side="source", step="copy:x")
    assert (error.side, error.store, error.repository) == ("source", "inner", "")
    assert (error.reference, error.step) == ("1", "copy:x")
    assert (inner.side, inner.step) == (None, None)
    bare = MirrorsyncError("it broke", place=Where(ref=A)).at(Where("inner")).at(Where("outer", "app", Tag("2")))
    assert (bare.store, bare.repository, bare.reference) == ("inner", "app", A)


def raised() -> errors.BlobsUnknown:
    """Return an error that was raised, with a cause, a note and a field of its own kind."""
    try:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            error = errors.BlobsUnknown("it broke", named=["sha256:0"], remedy="mend it")
            error.add_note("a note")
            raise error from cause
    except errors.BlobsUnknown as caught:
        return caught


def test_a_copy_with_other_fields_keeps_kind_cause_and_traceback() -> None:
    error = raised()
    copies = [error.with_(message="it fell", exit_code=ExitCode.LOCKED), error.at(Where("h"))]
    for copied in copies:
        assert type(copied) is errors.BlobsUnknown
        assert (copied.named, copied.remedy) == (("sha256:0",), "mend it")
        assert copied.__cause__ is error.__cause__ is not None
        assert copied.__context__ is error.__context__ is not None
        assert copied.__suppress_context__
        assert copied.__traceback__ is error.__traceback__ is not None
        assert copied.__notes__ == ["a note"]
    assert (str(copies[0]), copies[0].args, copies[0].exit_code) == ("it fell", ("it fell",), ExitCode.LOCKED)
    assert str(copies[1]) == "h: it broke"
    assert (str(error), error.args, error.exit_code) == ("it broke", ("it broke",), ExitCode.FAILED)


def test_an_error_with_nothing_to_add_is_not_copied() -> None:
    error = MirrorsyncError("it broke", side="source", place=Where("h", ""))
    assert error.at(Where("i", "a"), side="destination") is error
    assert error.at() is error


def test_a_field_of_an_error_cannot_be_set() -> None:
    error = raised()
    with pytest.raises(AttributeError, match=r"message of an error cannot be set; with_\(\) and at\(\) return copies"):
        error.message = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        error.remedy = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        error.exit_code = ExitCode.DONE  # type: ignore[misc]
    with pytest.raises(AttributeError):
        error.place = Where("h")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        error.named = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        SpecError("m.yaml", []).problems = ()  # type: ignore[misc]
    assert (error.message, error.remedy, error.exit_code, error.store) == ("it broke", "mend it", ExitCode.FAILED, None)


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize(
    "error",
    [
        raised().at(Where("h", "a", Tag("1"))),
        SpecError("m.yaml", [Problem("this is wrong", "/a", 3)]).at(step="copy:x"),
    ],
)
def test_an_error_can_be_copied_and_pickled(
    again: Callable[[MirrorsyncError], MirrorsyncError], error: MirrorsyncError
) -> None:
    assert again(error) is not error
    assert (type(again(error)), again(error).__dict__) == (type(error), error.__dict__)
    assert (str(again(error)), again(error).args) == (str(error), error.args)


def test_a_given_remedy_replaces_the_default_of_the_kind() -> None:
    assert errors.TlsFailed("x").remedy == errors.TlsFailed.default_remedy
    assert errors.TlsFailed("x", remedy="y").remedy == "y"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.GrammarError, 2),
        (SpecError, 2),
        (errors.NotFound, 1),
        (errors.ContentNotFound, 1),
        (errors.RepositoryNotFound, 1),
        (errors.Unauthorized, 1),
        (errors.Denied, 1),
        (errors.Unreachable, 1),
        (errors.HostUnknown, 1),
        (errors.ConnectionRefused, 1),
        (errors.TlsFailed, 1),
        (errors.RateLimited, 1),
        (errors.RegistryFailure, 1),
        (errors.RegistryUnavailable, 1),
        (errors.TagsNotDeleted, 1),
        (errors.TokenRanOut, 1),
        (errors.BlobsUnknown, 1),
        (errors.NotKept, 1),
        (errors.PolicyRefused, 1),
        (errors.PruneRefused, 1),
        (errors.TooFewTags, 3),
        (errors.Stale, 3),
        (errors.NotLocked, 3),
        (errors.LeftOut, 3),
        (errors.StillUsed, 1),
        (errors.StorageError, 1),
        (errors.OutOfFiles, 1),
        (errors.StoreChanged, 1),
        (errors.IntegrityError, 4),
        (errors.Malformed, 1),
        (errors.Mismatch, 4),
        (errors.StalePlan, 5),
        (errors.Locked, 6),
        (errors.Interrupted, 130),
        (errors.DeadlinePassed, 1),
    ],
)
def test_a_kind_of_error_has_its_exit_code(kind: type[MirrorsyncError], code: int) -> None:
    assert kind.exit_code == code
    assert kind.exit_code in ExitCode


def test_every_kind_of_error_is_in_the_table_above() -> None:
    kinds = {
        kind
        for module in (errors, problems)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, MirrorsyncError) and kind is not MirrorsyncError
    }
    (mark,) = (mark for mark in pytestmarks(test_a_kind_of_error_has_its_exit_code) if mark.name == "parametrize")
    assert kinds == {kind for kind, _ in mark.args[1]}


def pytestmarks(function: Any) -> list[pytest.Mark]:
    marks: list[pytest.Mark] = function.pytestmark
    return marks


def test_a_spec_error_has_one_line_for_each_problem() -> None:
    error = SpecError(
        "m.yaml",
        [
            Problem("this is wrong", "/a/b", 3, 7, "write that"),
            Problem("no place"),
            Problem("no column", line=2),
            Problem("painted", "/\x1b[31m\n", 1, 1),
        ],
    )
    assert str(error).splitlines() == [
        "m.yaml:3:7: /a/b: this is wrong; write that",
        "m.yaml: no place",
        "m.yaml:2: no column",
        "m.yaml:1:1: /\\x1b[31m\\n: painted",
    ]
    assert error.lines() == str(error).splitlines()
