"""Why a tag is wanted or not: the filters that chose it, or the one that dropped it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.oci.ref import Tag
from mirrorsync.spec.selection import Selection

EXACT: Final = "exact"
# Behind the reasons for a tag that is wanted only as long as higher ones are too young.
_MEANWHILE: Final = "while younger tags wait"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a tag is wanted, and why: what chose and kept it, or why it is not wanted."""

    tag: Tag
    wanted: bool
    reasons: tuple[str, ...]


def explain(selection: Selection, listed: Sequence[Tag]) -> tuple[Verdict, ...]:
    """Return a verdict on each tag of a repository, in its order, and on exact tags that it does not have.

    The wanted tags are those of `selection.choose(listed)` that are listed. selection: with the facts that it needs.
    """
    verdicts = _verdicts(selection, listed)
    if selection.older is None:
        return verdicts
    meanwhile = {one.tag: one.reasons for one in _verdicts(selection.older, listed) if one.wanted}
    return tuple(
        Verdict(one.tag, wanted=True, reasons=(*meanwhile[one.tag], _MEANWHILE))
        if not one.wanted and one.tag in meanwhile
        else one
        for one in verdicts
    )


def _verdicts(selection: Selection, listed: Sequence[Tag]) -> tuple[Verdict, ...]:
    chosen = _chosen(selection, listed)
    dropped = _dropped(selection, [tag for tag in listed if tag in chosen])
    verdicts = []
    for tag in listed:
        if tag not in chosen:
            verdicts.append(Verdict(tag, wanted=False, reasons=(_not_chosen(selection, tag),)))
        elif tag in dropped:
            verdicts.append(Verdict(tag, wanted=False, reasons=dropped[tag]))
        else:
            kept = (reason for narrowing in selection.narrows for reason in narrowing.why(tag, selected=True))
            verdicts.append(Verdict(tag, wanted=True, reasons=(*chosen[tag], *kept)))
    present = set(listed)
    absent = [exact.tag for exact in selection.exact if exact.tag is not None and exact.tag not in present]
    return (*verdicts, *(Verdict(tag, wanted=False, reasons=("not in the repository",)) for tag in absent))


def _chosen(selection: Selection, listed: Sequence[Tag]) -> dict[Tag, list[str]]:
    """Return the tags that are included, each with what includes it."""
    named = {exact.tag for exact in selection.exact}
    found = {tag: [EXACT] for tag in listed if tag in named}
    for including in selection.includes:
        for tag in including.select(listed):
            found.setdefault(tag, []).extend(including.why(tag, selected=True))
    return found


def _dropped(selection: Selection, tags: Sequence[Tag]) -> dict[Tag, tuple[str, ...]]:
    """Return the tags that a narrowing filter drops, each with the reason of the first one that does."""
    found: dict[Tag, tuple[str, ...]] = {}
    for narrowing in selection.narrows:
        kept = set(narrowing.select(tags))
        found |= {tag: tuple(narrowing.why(tag, selected=False)) for tag in tags if tag not in kept}
        tags = [tag for tag in tags if tag in kept]
    return found


def _not_chosen(selection: Selection, tag: Tag) -> str:
    reasons = dict.fromkeys(reason for including in selection.includes for reason in including.why(tag, selected=False))
    return "matches no filter" + (f" ({', '.join(reasons)})" if reasons else "")
