"""The `tags:` of a mirror, as a selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import ALGORITHMS, Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.spec.created import NewestCreated
from mirrorsync.spec.filters import FILTERS, Newest, TagFilter
from mirrorsync.spec.selection import Selection, Wanted
from mirrorsync.spec.yaml_source import join
from mirrorsync.text import printable

# Called with a JSON pointer, a message, and a remedy.
AddProblem = Callable[[str, str, str], None]
_DIGESTS = tuple(f"{algorithm}:" for algorithm in ALGORITHMS)


def read_tags(value: Sequence[str] | Mapping[str, Any], pointer: str, add_problem: AddProblem) -> Selection:
    """Read a list of exact tags, or a mapping of filters; invalid ones are reported and left out of the result."""
    if not isinstance(value, Mapping):
        return Selection(_exact(value, pointer, add_problem))
    exact_pointer = join(pointer, "exact")
    exact = _exact(value.get("exact", ()), exact_pointer, add_problem)
    filters: list[TagFilter] = []
    for word, kind in FILTERS.items():
        if word in value:
            try:
                filters.append(kind.parse(value[word]))
            except GrammarError as error:
                add_problem(join(pointer, word), error.message, error.remedy)
    filters = [_newest(value, pointer, add_problem) if isinstance(one, Newest) else one for one in filters]
    if "per" in value and "newest" not in value:
        add_problem(join(pointer, "per"), "this has no effect without newest:", "add newest: N")
    narrows = tuple(chosen for chosen in filters if chosen.narrows)
    _check_narrowing(exact, narrows, exact_pointer, add_problem)
    includes = tuple(chosen for chosen in filters if not chosen.narrows)
    return Selection(exact, includes, narrows)


def _newest(value: Mapping[str, Any], pointer: str, add_problem: AddProblem) -> TagFilter:
    """Return the filter of `newest:`, with the keys that say how it compares."""
    newest, per = value["newest"], value.get("per", "")
    if not isinstance(newest, Mapping) or newest.get("by") != "created":
        return replace(Newest.parse(newest), per=per)
    if per:
        message = "this has no effect with by: created, which compares times and not versions"
        add_problem(join(pointer, "per"), message, "remove one of them")
    return NewestCreated.parse(newest)


def _exact(items: Sequence[str], pointer: str, add_problem: AddProblem) -> tuple[Wanted, ...]:
    found: dict[Tag | Ref, Wanted] = {}
    for number, item in enumerate(items):
        try:
            wanted = _wanted(item)
        except GrammarError as error:
            add_problem(join(pointer, number), error.message, error.remedy)
            continue
        if found.setdefault(wanted.tag or wanted.ref, wanted) is not wanted:
            add_problem(join(pointer, number), f"{printable(item)!r} is wanted twice", "remove one of them")
    return tuple(found.values())


def _wanted(item: str) -> Wanted:
    """Read `TAG`, `TAG@DIGEST` or `DIGEST`. Raises: GrammarError."""
    if item.startswith(_DIGESTS):
        return Wanted(None, Digest(item))
    text, at, digest = item.partition("@")
    tag = Tag(text)
    return Wanted(tag, Digest(digest), tag) if at else Wanted(tag, tag)


def _check_narrowing(
    exact: Sequence[Wanted], narrows: Sequence[TagFilter], pointer: str, add_problem: AddProblem
) -> None:
    """Report exact tags that the same mapping always drops: they would be missing without a message."""
    for number, tag in ((number, wanted.tag) for number, wanted in enumerate(exact) if wanted.tag is not None):
        for narrowing in narrows:
            if not narrowing.select([tag]):
                reasons = ", ".join(narrowing.why(tag, selected=False))
                message = f"{tag!r} is dropped by {narrowing.key}: {reasons}"
                add_problem(join(pointer, number), message, "give it an entry of its own, or remove it")
