"""Versions as people write them in tags, and their order.

A tag is a version if it has one to four numbers (`3`, `3.19`, `v1.27.3`, `2024.01.02`, as a date also `2024-01-02` and
`2024-05-10T01-41-38Z`; of Java 8 also `8u352-b08`, which is 8.0.352 build 8), with:

- before them optionally a prefix and a separator: `alpine-v3.18`, `release-1.2`, `RELEASE.2024-05-10T01-41-38Z`. A
  commit's hash is not a prefix, nor is `sha-`: what follows it has no order;
- behind them optionally a build (`17.0.5_8`), a pre-release (`-rc1`, `-beta.2`, `b3`) and a suffix (`-alpine`,
  `-alpine3.20`, `-slim-bookworm`, `-debian-12-r10`, `-k3s2`).

A suffix names a variant: `1.27.3-alpine` is the same version as `1.27.3`, built another way. A number at its end is a
revision and not part of the name, if it stands alone (`-1`: variant `N`) or after one of the words for revisions
(`-r10`: variant `r`; `-debian-12-r10`: `debian-12`; `-k3s2`: `k3s`), behind which an architecture or the like can
follow (`-k3s2-amd64`: `k3s-amd64`).
All other numbers are part of a name, as in `debian-12`, `alpine3.20`, `arm64` and `temurin-17`: they say what it was
built on or for.

Versions have an order within one line, which is a prefix and a variant: by numbers, pre-release, build and revision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# The stages before a release, earliest first; words in one row mean the same.
_STAGES = (
    ("dev", "snapshot", "nightly", "canary", "edge", "unstable", "experimental"),
    ("alpha", "a"),
    ("beta", "b"),
    ("milestone", "m"),
    ("pre", "preview", "ea"),
    ("rc", "cr"),
)
STAGE_RANKS: Final = {word: rank for rank, words in enumerate(_STAGES) for word in words}
RELEASED: Final = len(_STAGES)
PARTS: Final = 4
# The variant of a version with nothing but a number after it: 3.5.9-0.
NUMBERED: Final = "N"

# Words before a revision that say nothing else: apk and Bitnami (r), Debian and Ruby (p), Helm charts (build).
_PLAIN_WORDS = ("r", "rev", "revision", "build", "p", "pl", "patch", "post", "hotfix")
# Words that also name a distribution, and so a variant: k3s, RKE2, EKS, GKE, VMware, linuxserver.io.
_NAMING_WORDS = ("k3s", "rke2", "eksbuild", "gke", "vmware", "ls")

NUMBER: Final = r"\d{1,18}"
_STAGE = "|".join(sorted(STAGE_RANKS, key=len, reverse=True))
SUFFIX: Final = (
    # Docker tags have no "+": 17.0.5+8 is written 17.0.5_8.
    rf"(?:_(?P<build>{NUMBER})(?=[-_]|$))?"
    rf"(?:[-_.]?(?P<stage>(?i:{_STAGE}))[-_.]?(?P<number>\d{{0,18}}(?:\.\d{{1,18}})*)(?![A-Za-z]))?"
    r"(?:[-_](?P<suffix>.+))?"
)
_VERSION = re.compile(rf"[vV]?(?P<parts>{NUMBER}(?:\.{NUMBER}){{0,{PARTS - 1}}}){SUFFIX}")
_REVISION = re.compile(
    rf"(?:(?:(?P<base>.+)[-_.])?(?i:(?P<plain>{'|'.join(_PLAIN_WORDS)}))[-_.]?(?P<of_plain>{NUMBER})"
    rf"|(?P<naming>(?:.+[-_.])?(?i:{'|'.join(_NAMING_WORDS)}))(?:[-_.]|r)?(?P<of_naming>{NUMBER}))"
    r"(?:-(?P<more>[A-Za-z].*))?"
    rf"|(?P<alone>{NUMBER})"
)
# A date in ISO 8601 is read as three numbers, and not as version 2024 with a suffix; its time is the fourth.
_DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?![0-9])"
    r"(?:T(?P<hour>\d\d)-?(?P<minute>\d\d)-?(?P<second>\d\d)Z?(?![0-9A-Za-z])\.?(?P<more>(?<=\.).+)?)?"
)
_TIMESTAMP = re.compile(r"(\d{8})T(\d{6})Z?(?![0-9A-Za-z])")
# Java until 8 counts its updates behind a "u", and its builds behind a "b".
_JAVA_8 = re.compile(r"(?P<version>\d{1,2})u(?P<update>\d{1,4})(?:-b(?P<build>\d{1,3}))?(?![0-9A-Za-z])")
_WORD = r"[A-Za-z](?:[A-Za-z0-9]|(?<=\d)\.(?=\d))*"
# The shortest prefix of words, or all that stands before a number with a "v": debian-12-v1.2.
_PREFIX = re.compile(rf"(?P<prefix>{_WORD}(?:[-_.]{_WORD})*?)(?:[-_]|(?<=[A-Za-z])\.)(?=[vV]?\d)")
_PREFIX_BEFORE_V = re.compile(rf"(?P<prefix>{_WORD}(?:[-_.][A-Za-z0-9]+)*?)[-_][vV](?=\d)")
_HASH = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}|(?i:sha|sha\d+|git|commit)")

# Numbers, stage, its numbers, build and revision.
Key = tuple[tuple[int, ...], int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """What versions must have in common to be ordered: the prefix before them, and the variant behind; "" if none."""

    prefix: str = ""
    variant: str = ""

    def __str__(self) -> str:
        """Write it as in tags: `alpine-*`, `*-slim`; "" for versions alone."""
        if not (self.prefix or self.variant):
            return ""
        return f"{self.prefix and self.prefix + '-'}*{self.variant and '-' + self.variant}"


@dataclass(frozen=True, slots=True)
class Version:
    """A version in its line. `key` orders versions of one line."""

    key: Key
    line: Line = Line()

    @property
    def variant(self) -> str:
        """The variant of its line."""
        return self.line.variant

    @property
    def released(self) -> bool:
        """Whether it is not a pre-release."""
        return self.key[1] == RELEASED


@lru_cache(8192)  # the filters and policies of a mirror ask several times for each tag
def parse_version(tag: str) -> Version | None:
    """Return the version of a tag, None if it is not a version."""
    for prefix, rest in split_prefix(tag):
        match = _VERSION.fullmatch(dotted(rest))
        if match is not None:
            numbers = [int(part) for part in match["parts"].split(".")]
            variant, revision = split_suffix(match["suffix"] or "")
            return Version(key_of(numbers, match, revision), Line(prefix, variant))
    return None


def split_prefix(text: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a text as a prefix and a version, the likeliest first."""
    yield "", text
    if not text[:1].isalpha():
        return
    for pattern in (_PREFIX_BEFORE_V, _PREFIX):
        match = pattern.match(text)
        if match is not None and not any(_HASH.fullmatch(word) for word in re.split(r"[-_.]", match["prefix"])):
            yield match["prefix"], text[match.end() :]


def split_suffix(suffix: str) -> tuple[str, int | None]:
    """Return the variant that a suffix names, and the revision in it, None if it has none."""
    match = _REVISION.fullmatch(suffix)
    if match is None:
        return suffix, None
    if match["alone"]:
        return NUMBERED, int(match["alone"])
    name, number = match["naming"] or match["base"], int(match["of_naming"] or match["of_plain"])
    parts = [part for part in (name, match["more"]) if part]
    return "-".join(parts) or match["plain"].lower(), number


def dotted(text: str) -> str:
    """Return a text with the date at its beginning, or a version of Java 8, as numbers with points."""
    java = _JAVA_8.match(text)
    if java is not None:
        build = f"_{java['build']}" if java["build"] else ""
        return f"{java['version']}.0.{java['update']}{build}{text[java.end() :]}"
    match = _DATE.match(text)
    if match is None:
        return _TIMESTAMP.sub(r"\1.\2", text, count=1) if _TIMESTAMP.match(text) else text
    date = f"{match['year']}.{match['month']}.{match['day']}"
    if match["hour"] is None:
        return date + text[match.end("day") :]
    time = f"{date}.{match['hour']}{match['minute']}{match['second']}"
    return f"{time}-{match['more']}" if match["more"] else time + text[match.end() :]


def key_of(numbers: list[int], match: re.Match[str], revision: int | None) -> Key:
    """Return the key of a version with these numbers; match: of `SUFFIX`. A missing number is lower than 0."""
    padded = tuple(numbers + [0] * (PARTS - len(numbers)))
    build = -1 if match["build"] is None else int(match["build"])
    last = (build, -1 if revision is None else revision)
    if match["stage"] is None:
        return padded, RELEASED, (), last
    number = tuple(int(part) for part in match["number"].split(".") if part)
    return padded, STAGE_RANKS[match["stage"].lower()], number, last
