"""Why a tag is wanted or not: which filters chose it, and which one took it away again. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final

from mirrorsync.oci.ref import Tag
from mirrorsync.spec.filters import FILTERS, Newest, TagFilter, Versions
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.versions import parse_version

_WORDS: Final[Mapping[type[TagFilter], str]] = {kind: word for word, kind in FILTERS.items()}
_EXACT: Final = "exact"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What filters make of one tag. reasons: what chose it when it is wanted, and else why it is not."""

    tag: Tag
    wanted: bool
    reasons: tuple[str, ...]


def explain(selection: Selection, listed: Sequence[Tag]) -> tuple[Verdict, ...]:
    """Return a verdict on each tag of a repository, in its order, and on exact tags that it does not have.

    Those that are wanted are the ones that `selection.choose(listed)` returns and that are listed.
    """
    chosen = _chosen(selection, listed)
    dropped = _dropped(selection, [tag for tag in listed if tag in chosen])
    verdicts = []
    for tag in listed:
        if tag not in chosen:
            verdicts.append(Verdict(tag, wanted=False, reasons=(_left_out(selection, tag),)))
        elif tag in dropped:
            verdicts.append(Verdict(tag, wanted=False, reasons=(dropped[tag],)))
        else:
            verdicts.append(Verdict(tag, wanted=True, reasons=tuple(chosen[tag])))
    there = set(listed)
    absent = [exact.tag for exact in selection.exact if exact.tag is not None and exact.tag not in there]
    return (*verdicts, *(Verdict(tag, wanted=False, reasons=("not in the repository",)) for tag in absent))


def _chosen(selection: Selection, listed: Sequence[Tag]) -> dict[Tag, list[str]]:
    """Return the tags that something includes, and what."""
    named = {exact.tag for exact in selection.exact}
    found = {tag: [_EXACT] for tag in listed if tag in named}
    for including in selection.includes:
        for said, part in _parts(including):
            for tag in part.select(listed):
                found.setdefault(tag, []).append(said)
    return found


def _dropped(selection: Selection, tags: Sequence[Tag]) -> dict[Tag, str]:
    """Return the tags that are taken away again, and by what: the first of the narrowing filters that does."""
    found: dict[Tag, str] = {}
    for narrowing in selection.narrows:
        kept = set(narrowing.select(tags))
        found |= {tag: _taken(narrowing, tag) for tag in tags if tag not in kept}
        tags = [tag for tag in tags if tag in kept]
    return found


def _taken(narrowing: TagFilter, tag: Tag) -> str:
    if isinstance(narrowing, Newest):
        return "no version" if parse_version(tag) is None else f"not among newest {narrowing.count}"
    said = [said for said, part in _parts(narrowing) if tag not in part.select([tag])]
    return f"excluded by {', '.join(said) or _written(narrowing)}"


def _left_out(selection: Selection, tag: Tag) -> str:
    by_version = any(isinstance(including, Versions) for including in selection.includes)
    return "chosen by no filter" + (" (no version)" if by_version and parse_version(tag) is None else "")


def _parts(whole: TagFilter) -> Iterator[tuple[str, TagFilter]]:
    """Yield a filter as it is written, with itself; one with several patterns as a filter for each of them."""
    several = _values(whole)
    if len(several) == 1:
        name, patterns = next(iter(several.items()))
        if isinstance(patterns, tuple):
            part: Any = whole
            for pattern in patterns:
                yield f"{_WORDS[type(whole)]} {pattern}", replace(part, **{name: (pattern,)})
            return
    yield _written(whole), whole


def _written(whole: TagFilter) -> str:
    """Return a filter as it is written in a spec: its word and its value."""
    values = (getattr(value, "text", value) for value in _values(whole).values())
    return " ".join([_WORDS[type(whole)], *map(str, values)])


def _values(whole: TagFilter) -> dict[str, Any]:
    shape: Any = whole
    return {one.name: getattr(whole, one.name) for one in fields(shape)} if is_dataclass(shape) else {}
