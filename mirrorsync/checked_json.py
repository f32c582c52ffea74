"""Read JSON that may be damaged: values are checked while they are read, and each error has a JSON pointer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from mirrorsync.errors import GrammarError

T = TypeVar("T")
# Takes a value as `json` returns it, and returns our value for it. Raises: Damaged, GrammarError.
Read = Callable[[Any], T]

MAX_COUNT: Final = 2**63 - 1  # int64, as for sizes in the image spec
_SPACE = re.compile(r"[ \t\n\r]*")


class Damaged(Exception):
    """A value is not valid. path: the keys and indexes that lead to it, from the outside in."""

    def __init__(self, reason: str, *path: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def inside(self, key: str | int) -> Damaged:
        """Return the same error for the object or list that has the value under `key`."""
        return Damaged(self.reason, key, *self.path)

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer (RFC 6901)."""
        return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in self.path) or "/"


def members(value: Any, fields: Mapping[str, Read[Any]], optional: Collection[str] = ()) -> dict[str, Any]:
    """Return the members of an object, each read by its entry in `fields`. Raises: Damaged, also for unknown ones."""
    if type(value) is not dict:
        raise Damaged("not an object")
    if value.keys() != fields.keys():
        check_names(value, fields, optional)
    key, read = "", {}
    try:
        for key, member in value.items():
            read[key] = fields[key](member)
    except Damaged as error:
        raise error.inside(key) from error
    except GrammarError as error:
        raise Damaged(error.message, key) from error
    return read


def named(value: Any, read: Read[T]) -> dict[str, T]:
    """Return the members of an object with any names, each read by `read`. Raises: Damaged."""
    if type(value) is not dict:
        raise Damaged("not an object")
    found = {}
    for key, member in value.items():
        with inside(key):
            found[key] = read(member)
    return found


def check_names(found: Iterable[str], known: Iterable[str], optional: Collection[str] = ()) -> None:
    """Check that the members that were found are the known ones. Raises: Damaged."""
    found, known = list(found), list(known)
    for key in known:
        if key not in found and key not in optional:
            raise Damaged("missing", key)
    for key in found:
        if key not in known:
            raise Damaged("unknown member", key)


def items(value: Any, read: Read[T]) -> tuple[T, ...]:
    """Return the elements of a list. Raises: Damaged."""
    if type(value) is not list:
        raise Damaged("not a list")
    return tuple(numbered(value, read))


def numbered(values: Iterable[Any], read: Read[T]) -> Iterator[T]:
    """Yield the elements of a list, read. Raises: Damaged."""
    number = 0
    try:
        for value in values:
            yield read(value)
            number += 1
    except Damaged as error:
        raise error.inside(number) from error
    except GrammarError as error:
        raise Damaged(error.message, number) from error


@contextmanager
def inside(key: str | int) -> Iterator[None]:
    """Read the value under `key` of an object in the block. Raises: Damaged."""
    try:
        yield
    except Damaged as error:
        raise error.inside(key) from error
    except GrammarError as error:
        raise Damaged(error.message, key) from error


def text(value: Any) -> str:
    """Return a string."""
    if type(value) is not str:
        raise Damaged("not a string")
    return value


def some_text(value: Any) -> str:
    """Return a string that is not empty."""
    if not text(value):
        raise Damaged("empty")
    return str(value)


def integer(value: Any) -> int:
    """Return an integer; true is not one."""
    if type(value) is not int:
        raise Damaged("not an integer")
    return value


def count(value: Any) -> int:
    """Return an integer that is valid as a size or a count."""
    if not 0 <= integer(value) <= MAX_COUNT:
        raise Damaged("negative or too large")
    return int(value)


def at_least_one(value: Any) -> int:
    """Return a count that is not 0."""
    if not count(value):
        raise Damaged("must not be 0")
    return int(value)


def one_of(options: Mapping[str, T]) -> Read[T]:
    """Return a reader for one of a few words, which returns the option of that word."""

    def read(value: Any) -> T:
        if type(value) is not str or value not in options:
            raise Damaged(f"not one of {', '.join(options)}")
        return options[value]

    return read


def or_null(read: Read[T]) -> Read[T | None]:
    """Return a reader that also accepts null, as None."""
    return lambda value: None if value is None else read(value)


class Document:
    """One object in a JSON text, read as a stream from front to back.

    Of a list with many elements only one is in memory at a time. Methods raise json.JSONDecodeError for text that is
    not JSON, and Damaged for ambiguous members (duplicate keys) and extensions of JSON (NaN).
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_reject_constant)

    def members(self) -> Iterator[str]:
        """Yield the name of each member; its value or its elements have to be read before the next name."""
        if not self._took("{"):
            raise Damaged("not an object")
        seen: set[str] = set()
        more = not self._took("}")
        while more:
            key = text(self.value())
            if key in seen:
                raise Damaged("duplicate member", key)
            seen.add(key)
            self._take(":")
            yield key
            more = not self._took("}")
            if more:
                self._take(",")
        if self._next() != len(self._source):
            raise self._broken("Extra data")

    def value(self) -> Any:
        """Read a whole value."""
        value, self._at = self._decoder.raw_decode(self._source, self._next())
        return value

    def elements(self) -> Iterator[Any]:
        """Read a list, element by element. Raises: Damaged."""
        if not self._took("["):
            raise Damaged("not a list")
        return self._elements()

    def _elements(self) -> Iterator[Any]:
        more = not self._took("]")
        while more:
            yield self.value()
            more = not self._took("]")
            if more:
                self._take(",")

    def _next(self) -> int:
        space = _SPACE.match(self._source, self._at)
        return space.end() if space else self._at

    def _took(self, sign: str) -> bool:
        self._at = self._next()
        if not self._source.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def _take(self, sign: str) -> None:
        if not self._took(sign):
            raise self._broken(f"Expecting {sign!r}")

    def _broken(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._source, self._next())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise Damaged("duplicate member", next(name for name in names if names.count(name) > 1))
    return made


def _reject_constant(word: str) -> Any:
    raise Damaged(f"{word} is not JSON")
