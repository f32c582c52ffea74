"""Versions as people write them in tags, and ranges of versions.

A tag is a version if it has one to four numbers (`3`, `3.19`, `v1.27.3`, `2024.01.02`, as a date also `2024-01-02`),
then optionally a pre-release (`-rc1`, `-beta.2`, `b3`), then optionally a variant (`-alpine`, `-alpine3.20`,
`-slim-bookworm`). A suffix that is not a known pre-release word is a variant: `1.27.3-alpine` is the same version as
`1.27.3`, built another way.

Ranges are written as for npm, Helm and regsync (Masterminds/semver): `>=3.18`, `1.2.x`, `~1.2`, `^1.2`, `1.2 - 1.4`,
with commas or spaces for "and" and `||` for "or". A missing number matches any: `<=1.2` includes 1.2.9. A range
includes tags without a variant; `>=1.27-alpine` includes those of variant `alpine`. It includes pre-releases if it
names one; Helm's `>=1.2-0` for that is the variant `0` here, as in the tags of registry.k8s.io/etcd.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirrorsync.errors import GrammarError, printable

# The stages before a release, earliest first; words in one row mean the same.
_STAGES = (
    ("dev", "snapshot", "nightly", "canary", "edge", "unstable", "experimental"),
    ("alpha", "a"),
    ("beta", "b"),
    ("milestone", "m"),
    ("pre", "preview", "ea"),
    ("rc", "cr"),
)
_STAGE_RANKS = {word: rank for rank, words in enumerate(_STAGES) for word in words}
_RELEASED = len(_STAGES)
_FIRST = -1  # before every stage: the lower bound of all versions with the same numbers
_PARTS = 4

_NUMBER = r"\d{1,18}"
_STAGE = "|".join(sorted(_STAGE_RANKS, key=len, reverse=True))
_SUFFIX = (
    rf"(?:[-_.]?(?P<stage>(?i:{_STAGE}))[-_.]?(?P<number>\d{{0,18}}(?:\.\d{{1,18}})*)(?![A-Za-z]))?"
    r"(?:[-_](?P<variant>.+))?"
)
_VERSION = re.compile(rf"[vV]?(?P<parts>{_NUMBER}(?:\.{_NUMBER}){{0,{_PARTS - 1}}}){_SUFFIX}")
_WILD = rf"(?:{_NUMBER}|[xX*])"
_OPERAND = re.compile(rf"[vV]?(?P<parts>{_WILD}(?:\.{_WILD}){{0,{_PARTS - 1}}}){_SUFFIX}")
# A date in ISO 8601 is read as three numbers, and not as version 2024 with a variant.
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?![0-9])")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9._-]")
_COMPARATOR = re.compile(r"\s*(?P<operator>>=|<=|!=|==|=|>|<|~>|~|\^)?\s*(?P<operand>[^\s,|<>=!~^]+)\s*,?")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")

Key = tuple[tuple[int, ...], int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Version:
    """A version: numbers, stage before the release, and variant. `key` orders versions of one variant."""

    key: Key
    variant: str = ""

    @property
    def released(self) -> bool:
        """Whether it is not a pre-release."""
        return self.key[1] == _RELEASED


def parse_version(tag: str) -> Version | None:
    """Return the version of a tag, None if it is not a version."""
    match = _VERSION.fullmatch(_dotted(tag))
    if match is None:
        return None
    numbers = [int(part) for part in match["parts"].split(".")]
    return Version(_key(numbers, match), match["variant"] or "")


def _dotted(text: str) -> str:
    return _DATE.sub(r"\1.\2.\3", text, count=1) if _DATE.match(text) else text


def _key(numbers: list[int], match: re.Match[str]) -> Key:
    padded = tuple(numbers + [0] * (_PARTS - len(numbers)))
    if match["stage"] is None:
        return padded, _RELEASED, ()
    return padded, _STAGE_RANKS[match["stage"].lower()], tuple(int(part) for part in match["number"].split(".") if part)


@dataclass(frozen=True, slots=True)
class _Operand:
    """A version in a range. It matches all versions from `low` up to `high`, exclusive (None = unbounded)."""

    low: Key
    high: Key | None
    variant: str
    numbers: tuple[int, ...]

    @property
    def names_prerelease(self) -> bool:
        return self.low[1] not in (_RELEASED, _FIRST)


def _operand(text: str) -> _Operand:
    match = _OPERAND.fullmatch(_dotted(text))
    if match is None:
        raise GrammarError(f"{printable(text)!r} is not a version", remedy="write ranges as '>=1.2', '1.2.x' or '~1.2'")
    parts = re.split(r"\.", match["parts"])
    known = [part for part in parts if part not in "xX*"]
    if parts[: len(known)] != known:
        raise GrammarError(f"{printable(text)!r} has a number after a wildcard", remedy="write 1.x, not 1.x.3")
    if len(known) < len(parts) and match["stage"] is not None:
        raise GrammarError(
            f"{printable(text)!r} is a pre-release with a wildcard", remedy="write its numbers without a wildcard"
        )
    if _NOT_IN_TAGS.search(match["variant"] or ""):
        raise GrammarError(
            f"{printable(text)!r} has a suffix with characters that are not allowed in tags",
            remedy="write the whole suffix, or use glob or regex",
        )
    numbers = [int(part) for part in known]
    low = _key(numbers, match)
    if not numbers:
        return _Operand(_start(()), None, match["variant"] or "", ())
    high = _start(_next(numbers)) if match["stage"] is None else (*low[:2], (*low[2], -1))
    return _Operand(low, high, match["variant"] or "", tuple(numbers))


def _next(numbers: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers[:-1], numbers[-1] + 1)


def _start(numbers: tuple[int, ...]) -> Key:
    """Return the lowest key of versions with these numbers, pre-releases included."""
    return tuple(numbers) + (0,) * (_PARTS - len(numbers)), _FIRST, ()


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
    "<": lambda operand: _Span(high=operand.low if operand.names_prerelease else _start(operand.numbers)),
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
    """Spans that a version must all be in, for one variant."""

    spans: tuple[_Span, ...]
    variant: str
    prereleases: bool

    def __contains__(self, version: Version) -> bool:
        if version.variant != self.variant or not (version.released or self.prereleases):
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
        return cls(text, tuple(_alternative(part) for part in text.split("||")))

    def __contains__(self, version: Version) -> bool:
        return any(version in alternative for alternative in self.alternatives)


def _alternative(text: str) -> _Alternative:
    operands: list[_Operand] = []
    spans: list[_Span] = []
    for operator, operand_text in _comparators(text):
        operand = _operand(operand_text)
        operands.append(operand)
        spans.append(_OPERATORS[operator](operand))
    variants = {operand.variant for operand in operands}
    if len(variants) > 1:
        named = ", ".join(sorted(repr(printable(variant)) for variant in variants))
        raise GrammarError(
            f"range {printable(text.strip())!r} names different variants: {named}",
            remedy="give all its versions the same suffix, or join two ranges with ||",
        )
    return _Alternative(tuple(spans), variants.pop(), any(operand.names_prerelease for operand in operands))


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
