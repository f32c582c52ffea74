"""Ranges of versions.

They are written as for npm, Helm and regsync (Masterminds/semver): `>=3.18`, `1.2.x`, `~1.2`, `^1.2`, `1.2 - 1.4`, with
commas or spaces for "and" and `||` for "or". A missing number matches any: `<=1.2` includes 1.2.9. A range includes
versions of one line: those without prefix and suffix, or those of the prefix and variant that it names, as in
`>=1.27-alpine`, `>=1.30-k3s`, `>=3.5-N` and `>=alpine-v3.18`. It includes pre-releases if it names one.

`>=1.2-0` is what Helm's users write for "with pre-releases", and it means this here, too. It also includes versions
with nothing but a number after them, such as 3.5.9-0 of registry.k8s.io/etcd, which Helm takes for pre-releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mirrorsync.errors import GrammarError
from mirrorsync.spec.versions import (
    NUMBER,
    NUMBERED,
    PARTS,
    RELEASED,
    SUFFIX,
    Key,
    Line,
    Version,
    dotted,
    key_of,
    split_prefix,
    split_suffix,
)
from mirrorsync.text import printable

_FIRST = -1  # before every stage: the lower bound of all versions with the same numbers
_WILD = rf"(?:{NUMBER}|[xX*])"
_OPERAND = re.compile(rf"[vV]?(?P<parts>{_WILD}(?:\.{_WILD}){{0,{PARTS - 1}}}){SUFFIX}")
_ALONE = "versions without prefix and suffix"
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9._-]")
_COMPARATOR = re.compile(r"\s*(?P<operator>>=|<=|!=|==|=|>|<|~>|~|\^)?\s*(?P<operand>[^\s,|<>=!~^]+)\s*,?")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")


@dataclass(frozen=True, slots=True)
class _Operand:
    """A version in a range. It matches all versions from `low` up to `high`, exclusive (None = unbounded)."""

    low: Key
    high: Key | None
    line: Line
    numbers: tuple[int, ...]
    helms: bool = False  # whether it is `1.2-0`, which in Helm is the lowest pre-release of 1.2

    @property
    def names_prerelease(self) -> bool:
        return self.low[1] not in (RELEASED, _FIRST)

    @property
    def is_exact(self) -> bool:
        """Whether it names a pre-release, build or revision, and so no other version with the same numbers."""
        return self.names_prerelease or self.low[3] > (-1, -1)

    @property
    def as_lowest_prerelease(self) -> _Operand:
        """What `1.2-0` means in Helm; itself if it is another one."""
        if not self.helms:
            return self
        first = _start(self.numbers)
        return _Operand(first, first if self.is_exact else self.high, Line(self.line.prefix), self.numbers)


def _operand(text: str) -> _Operand:
    prefix, match = _matched(text)
    parts = re.split(r"\.", match["parts"])
    known = [part for part in parts if part not in "xX*"]
    if parts[: len(known)] != known:
        raise GrammarError(f"{printable(text)!r} has a number after a wildcard", remedy="write 1.x, not 1.x.3")
    wild = len(known) < len(parts)
    for what, member in (("pre-release", "stage"), ("build", "build")):
        if wild and match[member] is not None:
            raise GrammarError(
                f"{printable(text)!r} is a {what} with a wildcard", remedy="write its numbers without a wildcard"
            )
    variant, revision = _suffix(text, match["suffix"] or "", wild=wild)
    line = Line(prefix, variant)
    helms = match["suffix"] == "0"
    numbers = [int(part) for part in known]
    low = key_of(numbers, match, revision)
    if not numbers:
        return _Operand(_start(()), None, line, (), helms)
    return _Operand(low, _after(low, numbers), line, tuple(numbers), helms)


def _matched(text: str) -> tuple[str, re.Match[str]]:
    for prefix, rest in split_prefix(text):
        match = _OPERAND.fullmatch(dotted(rest))
        if match is not None:
            return prefix, match
    raise GrammarError(f"{printable(text)!r} is not a version", remedy="write ranges as '>=1.2', '1.2.x' or '~1.2'")


def _suffix(text: str, suffix: str, *, wild: bool) -> tuple[str, int | None]:
    """Return the variant and the revision of a suffix. wild: whether a wildcard is before it."""
    if _NOT_IN_TAGS.search(suffix):
        raise GrammarError(
            f"{printable(text)!r} has a suffix with characters that are not allowed in tags",
            remedy="write the whole suffix, or use glob or regex",
        )
    variant, revision = split_suffix(suffix)
    if not wild or revision is None or suffix == "0":
        return variant, None if wild else revision
    raise GrammarError(
        f"{printable(text)!r} is a revision with a wildcard",
        remedy=f"write its variant alone, with -{printable(variant)} at the end, or its numbers without a wildcard",
    )


def _after(low: Key, numbers: list[int]) -> Key:
    """Return the lowest key above all versions that an operand with this key matches."""
    padded, stage, stage_numbers, (build, revision) = low
    if revision >= 0:
        return padded, stage, stage_numbers, (build, revision + 1)
    if build >= 0:
        return padded, stage, stage_numbers, (build + 1, -1)
    return _start(_next(numbers)) if stage == RELEASED else (padded, stage, (*stage_numbers, -1), ())


def _next(numbers: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers[:-1], numbers[-1] + 1)


def _start(numbers: tuple[int, ...]) -> Key:
    """Return the lowest key of versions with these numbers, pre-releases included."""
    return tuple(numbers) + (0,) * (PARTS - len(numbers)), _FIRST, (), ()


@dataclass(frozen=True, slots=True)
class _Span:
    """Versions from `low` up to `high`, or all others if `outside`; None = unbounded."""

    low: Key | None = None
    high: Key | None = None
    outside: bool = False

    def __contains__(self, key: Key) -> bool:
        inside = (self.low is None or key >= self.low) and (self.high is None or key < self.high)
        return inside is not self.outside


def _tilde(operand: _Operand) -> _Span:
    """`~1.2.3`: 1.2.3 and later of 1.2; `~1`: all of 1."""
    return _Span(operand.low, _start(_next(operand.numbers[:2])) if operand.numbers else None)


def _caret(operand: _Operand) -> _Span:
    """`^1.2`: 1.2 and later of 1; before 1.0 the first number that is not 0 must be equal."""
    if not operand.numbers:
        return _Span()
    leading = next((index for index, number in enumerate(operand.numbers) if number), len(operand.numbers) - 1)
    return _Span(operand.low, _start(_next(operand.numbers[: leading + 1])))


_OPERATORS = {
    ">=": lambda operand: _Span(low=operand.low),
    "<": lambda operand: _Span(high=operand.low if operand.is_exact else _start(operand.numbers)),
    ">": lambda operand: _Span(low=operand.high) if operand.high else _Span(low=operand.low, outside=True),
    "<=": lambda operand: _Span(high=operand.high),
    "=": lambda operand: _Span(operand.low, operand.high),
    "==": lambda operand: _Span(operand.low, operand.high),
    "!=": lambda operand: _Span(operand.low, operand.high, outside=True),
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}


@dataclass(frozen=True, slots=True)
class _Alternative:
    """Spans that a version must all be in, for one line."""

    spans: tuple[_Span, ...]
    line: Line
    prereleases: bool

    def __contains__(self, version: Version) -> bool:
        if version.line != self.line or not (version.released or self.prereleases):
            return False
        return all(version.key in span for span in self.spans)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range of versions; text: as written."""

    text: str
    alternatives: tuple[_Alternative, ...]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Read a range. Raises: GrammarError."""
        return cls(text, tuple(found for part in text.split("||") for found in _alternatives(part)))

    def __contains__(self, version: Version) -> bool:
        return any(version in alternative for alternative in self.alternatives)

    def why_not(self, version: Version) -> str:
        """Return why a version is not included, if that is not a matter of its numbers; "" if it is."""
        same = [alternative for alternative in self.alternatives if alternative.line == version.line]
        if not same:
            lines = dict.fromkeys(str(alternative.line) or _ALONE for alternative in self.alternatives)
            return f"the range is for {' and '.join(lines)}"
        if not version.released and not any(alternative.prereleases for alternative in same):
            return "a pre-release"
        return ""


def _alternatives(text: str) -> list[_Alternative]:
    """Return one alternative; for Helm's `>=1.2-0` a second one, with the pre-releases."""
    comparators = [(operator, _operand(operand)) for operator, operand in _comparators(text)]
    helms = any(operand.helms for _, operand in comparators)
    found = []
    if helms:
        as_in_helm = [(operator, operand.as_lowest_prerelease) for operator, operand in comparators]
        found.append(_alternative(text, as_in_helm, prereleases=True))
        comparators = [(operator, _numbered(operand)) for operator, operand in comparators]
    return [*found, _alternative(text, comparators)]


def _numbered(operand: _Operand) -> _Operand:
    """Return an operand without a suffix as one of versions with a number after them."""
    return operand if operand.line.variant else replace(operand, line=Line(operand.line.prefix, NUMBERED))


def _alternative(text: str, comparators: list[tuple[str, _Operand]], *, prereleases: bool = False) -> _Alternative:
    lines = {operand.line for _, operand in comparators}
    if len(lines) > 1:
        prefixed = any(line.prefix for line in lines)
        named = ", ".join(repr(printable(str(line) if prefixed else line.variant)) for line in sorted(lines))
        raise GrammarError(
            f"range {printable(text.strip())!r} names different variants: {named}",
            remedy=f"give all its versions the same {'prefix' if prefixed else 'suffix'}, or join two ranges with ||",
        )
    spans = tuple(_OPERATORS[operator](operand) for operator, operand in comparators)
    return _Alternative(spans, lines.pop(), prereleases or any(operand.names_prerelease for _, operand in comparators))


def _comparators(text: str) -> list[tuple[str, str]]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        return [(">=", hyphen[1]), ("<=", hyphen[2])]
    found = []
    position = 0
    while position < len(text):
        match = _COMPARATOR.match(text, position)
        if match is None:
            break
        found.append((match["operator"] or "=", match["operand"]))
        position = match.end()
    if not found or text[position:].strip():
        raise GrammarError(
            f"{printable(text.strip())!r} is not a range of versions",
            remedy="write it as '>=1.2', '1.2.x' or '>=1.2 <2'",
        )
    return found
