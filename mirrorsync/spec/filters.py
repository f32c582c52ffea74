"""Tag filters: one class for each key of `tags:`. See selection.py for how they are combined.

A new key is a class here, an entry in FILTERS, and a property in schemas/mirror.schema.json.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

import re2

from mirrorsync.errors import GrammarError
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.ages import MaxAge
from mirrorsync.spec.ranges import VersionRange
from mirrorsync.spec.versions import Key, Line, Version, parse_version
from mirrorsync.text import printable

_NOT_A_VERSION: Final = "not a version"
# The numbers of a version that must be equal, by the word of `per:`.
PER: Final[Mapping[str, int]] = {"": 0, "major": 1, "minor": 2}


class TagFilter(Protocol):
    """Selects tags. key: its key in `tags:`. narrows: whether it drops tags that others chose, instead of adding."""

    key: ClassVar[str]
    narrows: ClassVar[bool]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read the key's value in the spec; its shape was checked by the schema. Raises: GrammarError."""

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the selected ones of `tags`, in their order."""

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return why a tag was selected or not, in the words of the spec: `glob 1.*`; empty if it just did not match.

        selected: what `select` decided about this tag among others.
        """


@dataclass(frozen=True, slots=True)
class Glob:
    """`glob`: shell patterns (`*`, `?`, `[abc]`), of which one must match the whole tag."""

    patterns: tuple[str, ...]
    key: ClassVar[str] = "glob"
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: Sequence[str]) -> Self:
        """Read a list of patterns."""
        return cls(tuple(value))

    def matches(self, tag: str) -> bool:
        """Return whether one of the patterns matches."""
        return any(fnmatch.fnmatchcase(tag, pattern) for pattern in self.patterns)

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that match."""
        return [tag for tag in tags if self.matches(tag)]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:  # noqa: ARG002 - the patterns tell
        """Return the patterns that match."""
        return [f"{self.key} {pattern}" for pattern in self.patterns if fnmatch.fnmatchcase(tag, pattern)]


@dataclass(frozen=True, slots=True)
class Exclude(Glob):
    """`exclude`: shell patterns; a tag that matches one is not wanted."""

    key: ClassVar[str] = "exclude"
    narrows: ClassVar[bool] = True

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that do not match."""
        return [tag for tag in tags if not self.matches(tag)]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return the patterns that excluded a tag, as one reason."""
        patterns = Glob.why(self, tag, selected=selected)
        return [f"excluded by {', '.join(patterns)}"] if patterns else []


@dataclass(frozen=True, slots=True)
class Regex:
    """`regex`: an RE2 expression that must match the whole tag.

    RE2 and not Python's `re`: the tags are the registry's, and an expression that backtracks could be made to run
    without end. Its syntax is that of regsync and skopeo (Go), without look-around and back-references.
    """

    pattern: str
    key: ClassVar[str] = "regex"
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read an expression, and check that it compiles. Raises: GrammarError."""
        _check_compiles(value)
        return cls(value)

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that match as a whole."""
        compiled = re2.compile(self.pattern)
        return [tag for tag in tags if compiled.fullmatch(tag)]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:  # noqa: ARG002 - the same for every tag
        """Return the expression, for a tag that matches."""
        return [f"{self.key} {self.pattern}"] if selected else []


def _check_compiles(pattern: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise GrammarError(
            f"the expression does not compile: {printable(reason)}",
            remedy="write it in RE2 syntax (as for regsync and Go), without look-around and back-references",
        ) from error


@dataclass(frozen=True, slots=True)
class _Expressions:
    """RE2 expressions, each of which is for the whole tag."""

    patterns: tuple[str, ...]
    key: ClassVar[str]

    @classmethod
    def parse(cls, value: Sequence[str]) -> Self:
        """Read a list of expressions, and check that they compile. Raises: GrammarError."""
        for pattern in value:
            _check_compiles(pattern)
        return cls(tuple(value))

    def _named(self, tag: Tag, *, matching: bool) -> str:
        """Return the expressions that match a tag, or those that do not, in the words of the spec."""
        found = [pattern for pattern in self.patterns if bool(re2.compile(pattern).fullmatch(tag)) is matching]
        return ", ".join(f"{self.key} {pattern}" for pattern in found)


@dataclass(frozen=True, slots=True)
class ExcludeRegex(_Expressions):
    """`exclude_regex`: RE2 expressions; a tag that one of them matches as a whole is not wanted.

    A key of its own, and not a form of `exclude`: most expressions are valid shell patterns, too, and mean other tags.
    """

    key: ClassVar[str] = "exclude_regex"
    narrows: ClassVar[bool] = True

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that no expression matches."""
        compiled = [re2.compile(pattern) for pattern in self.patterns]
        return [tag for tag in tags if not any(one.fullmatch(tag) for one in compiled)]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return the expressions that excluded a tag, as one reason."""
        return [] if selected else [f"excluded by {self._named(tag, matching=True)}"]


@dataclass(frozen=True, slots=True)
class Keep(_Expressions):
    """`keep`: RE2 expressions, which must all match the whole tag; a tag that one of them does not match is dropped."""

    key: ClassVar[str] = "keep"
    narrows: ClassVar[bool] = True

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that all expressions match."""
        compiled = [re2.compile(pattern) for pattern in self.patterns]
        return [tag for tag in tags if all(one.fullmatch(tag) for one in compiled)]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return the expressions that a tag matches, for one that is kept; else those that it does not match."""
        if selected:
            return [f"{self.key} {pattern}" for pattern in self.patterns]
        return [f"not matched by {self._named(tag, matching=False)}"]


@dataclass(frozen=True, slots=True)
class Semver:
    """`semver`: a range of versions (see versions.py)."""

    range: VersionRange
    key: ClassVar[str] = "semver"
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read a range. Raises: GrammarError."""
        return cls(VersionRange.parse(value))

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that are versions in the range."""
        versions = ((tag, parse_version(tag)) for tag in tags)
        return [tag for tag, version in versions if version is not None and version in self.range]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return the range, or that the tag is not a version."""
        if selected:
            return [f"{self.key} {self.range.text}"]
        version = parse_version(tag)
        if version is None:
            return [_NOT_A_VERSION]
        return [reason] if (reason := self.range.why_not(version)) else []


@dataclass(frozen=True, slots=True)
class All:
    """`all: true`: every tag."""

    key: ClassVar[str] = "all"
    narrows: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: bool) -> Self:  # noqa: ARG003 - the schema takes no other value than true
        """Read `true`."""
        return cls()

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return all tags."""
        return tags

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:  # noqa: ARG002 - it selects every tag
        """Return the key."""
        return [self.key]


@dataclass(frozen=True, slots=True)
class Newest:
    """`newest: N`: the N highest versions of each line, which is a prefix and a variant (see versions.py).

    `newest: {count: N}` and `{count: N, by: version}` are the same; for `by: created` see created.py.

    A tag that is not a version is dropped. Tags of equal version (`3.18` and `3.18.0`) count as one and stay together.
    per: with `per: major` or `per: minor` next to it, the N highest of each major or minor version, "" = of all.
    """

    count: int
    per: str = ""
    key: ClassVar[str] = "newest"
    narrows: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: int | Mapping[str, Any]) -> Self:
        """Read the number, or the mapping with it."""
        return cls(value if isinstance(value, int) else value["count"])

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags of the highest versions."""
        versions = {tag: version for tag in tags if (version := parse_version(tag)) is not None}
        keys: defaultdict[tuple[Line, tuple[int, ...]], set[Key]] = defaultdict(set)
        for version in versions.values():
            keys[self._group(version)].add(version.key)
        newest = {group: set(sorted(known, reverse=True)[: self.count]) for group, known in keys.items()}
        return [tag for tag, version in versions.items() if version.key in newest[self._group(version)]]

    def _group(self, version: Version) -> tuple[Line, tuple[int, ...]]:
        """Return what versions have in common that count together."""
        return version.line, version.key[0][: PER[self.per]]

    def unordered(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags that it drops because they are not versions: `latest`, `main`."""
        return [tag for tag in tags if parse_version(tag) is None]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return among which versions a tag is one of the newest or not: `newest 2 of *-debian-12`."""
        version = parse_version(tag)
        if version is None:
            return [_NOT_A_VERSION]
        numbers = ".".join(str(number) for number in self._group(version)[1])
        line = str(version.line) or ("*" if numbers else "")
        of_line = f" of {line.replace('*', numbers + '.*' if numbers else '*', 1)}" if line else ""
        return [f"{'' if selected else 'not among '}{self.key} {self.count}{of_line}"]


_KINDS: tuple[type[TagFilter], ...] = (
    Glob, Regex, Semver, All, Exclude, ExcludeRegex, Keep, MaxAge, Newest
)  # fmt: skip
# By key, in the order in which narrowing filters are applied: tags that others drop do not count as newest.
FILTERS: Mapping[str, type[TagFilter]] = {kind.key: kind for kind in _KINDS}
