"""Which tags are wanted: one class for each word that `tags:` knows. See selection.py for how they go together.

A new word is a class here, an entry in FILTERS, and a property in schemas/mirror.schema.json.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import re2

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.versions import Key, VersionRange, parse_version


class TagFilter(Protocol):
    """Chooses among tags. narrows: whether it takes away from what others chose, instead of adding to it."""

    narrows: ClassVar[bool]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read the value that the spec gives the word; its shape was checked by the schema. Raises: GrammarError."""

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return those of `tags` that are wanted, in their order."""


@dataclass(frozen=True, slots=True)
class Globs:
    """`glob`: shell patterns (`*`, `?`, `[abc]`), of which one must match the whole tag."""

    patterns: tuple[str, ...]
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: Sequence[str]) -> Self:
        """Read a list of patterns."""
        return cls(tuple(value))

    def matches(self, tag: str) -> bool:
        """Tell whether one of the patterns matches."""
        return any(fnmatch.fnmatchcase(tag, pattern) for pattern in self.patterns)

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that match."""
        return [tag for tag in tags if self.matches(tag)]


@dataclass(frozen=True, slots=True)
class Excluded(Globs):
    """`exclude`: shell patterns; a tag that matches one is not wanted."""

    narrows: ClassVar[bool] = True

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that do not match."""
        return [tag for tag in tags if not self.matches(tag)]


@dataclass(frozen=True, slots=True)
class Expression:
    """`regex`: an RE2 expression that must match the whole tag.

    RE2 and not Python's `re`: the tags are the registry's, and an expression that backtracks could be made to run for
    ever. Its syntax is that of regsync and skopeo (Go), without look-around and back-references.
    """

    pattern: str
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read an expression, and see that it compiles. Raises: GrammarError."""
        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(value, options)
        except re2.error as error:
            reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            raise GrammarError(
                f"the expression does not compile: {printable(reason)}",
                remedy="write it in RE2 syntax (as for regsync and Go), without look-around and back-references",
            ) from error
        return cls(value)

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that match as a whole."""
        compiled = re2.compile(self.pattern)
        return [tag for tag in tags if compiled.fullmatch(tag)]


@dataclass(frozen=True, slots=True)
class Versions:
    """`semver`: a range of versions, as `versions` reads them."""

    range: VersionRange
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read a range. Raises: GrammarError."""
        return cls(VersionRange.parse(value))

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that are versions in the range."""
        versions = ((tag, parse_version(tag)) for tag in tags)
        return [tag for tag, version in versions if version is not None and self.range.holds(version)]


@dataclass(frozen=True, slots=True)
class Everything:
    """`all: true`: every tag."""

    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: bool) -> Self:  # noqa: ARG003 - the schema takes no other value than true
        """Read `true`."""
        return cls()

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return all tags."""
        return tags


@dataclass(frozen=True, slots=True)
class Newest:
    """`newest: N`: the N highest versions of each variant; a tag that is no version is not among them.

    Tags of equal version (`3.18` and `3.18.0`) count as one and stay together.
    """

    count: int
    narrows: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: int) -> Self:
        """Read the number."""
        return cls(value)

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags of the highest versions."""
        versions = {tag: version for tag in tags if (version := parse_version(tag)) is not None}
        keys: defaultdict[str, set[Key]] = defaultdict(set)
        for version in versions.values():
            keys[version.variant].add(version.key)
        newest = {variant: set(sorted(known, reverse=True)[: self.count]) for variant, known in keys.items()}
        return [tag for tag, version in versions.items() if version.key in newest[version.variant]]


# In the order in which those that narrow are applied: what is excluded does not count as newest.
FILTERS: Mapping[str, type[TagFilter]] = {
    "glob": Globs,
    "regex": Expression,
    "semver": Versions,
    "all": Everything,
    "exclude": Excluded,
    "newest": Newest,
}
