"""The `tags:` of a mirror, read into a selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.digest import ALGORITHMS, Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.spec.filters import FILTERS, Newest, TagFilter
from mirrorsync.spec.selection import Selection, Wanted
from mirrorsync.spec.versions import parse_version
from mirrorsync.spec.yaml_source import join

# Called with a JSON pointer, what is wrong there, and what to write instead.
Say = Callable[[str, str, str], None]
_DIGESTS = tuple(f"{algorithm}:" for algorithm in ALGORITHMS)


def read_tags(value: Sequence[str] | Mapping[str, Any], pointer: str, say: Say) -> Selection:
    """Read a list of exact tags, or a mapping of filters; what is wrong is said, and left out of the result."""
    if not isinstance(value, Mapping):
        return Selection(_exact(value, pointer, say))
    place = join(pointer, "exact")
    exact = _exact(value.get("exact", ()), place, say)
    filters: list[TagFilter] = []
    for word, kind in FILTERS.items():
        if word in value:
            try:
                filters.append(kind.parse(value[word]))
            except GrammarError as error:
                say(join(pointer, word), error.message, error.remedy)
    narrows = tuple(chosen for chosen in filters if chosen.narrows)
    _check_narrowing(exact, narrows, place, say)
    includes = tuple(chosen for chosen in filters if not chosen.narrows)
    return Selection(exact, includes, narrows)


def _exact(items: Sequence[str], pointer: str, say: Say) -> tuple[Wanted, ...]:
    found: dict[Tag | Ref, Wanted] = {}
    for number, item in enumerate(items):
        place = join(pointer, number)
        try:
            wanted = _wanted(item)
        except GrammarError as error:
            say(place, error.message, error.remedy)
            continue
        if found.setdefault(wanted.tag or wanted.ref, wanted) is not wanted:
            say(place, f"{printable(item)!r} is wanted twice", "remove one of them")
    return tuple(found.values())


def _wanted(item: str) -> Wanted:
    """Read `TAG`, `TAG@DIGEST` or `DIGEST`. Raises: GrammarError."""
    if item.startswith(_DIGESTS):
        return Wanted(None, Digest(item))
    text, at, digest = item.partition("@")
    tag = Tag(text)
    return Wanted(tag, Digest(digest), tag) if at else Wanted(tag, tag)


def _check_narrowing(exact: Sequence[Wanted], narrows: Sequence[TagFilter], pointer: str, say: Say) -> None:
    """An exact tag that the same mapping takes away again is a mistake, and would be a silent one."""
    for number, tag in ((number, wanted.tag) for number, wanted in enumerate(exact) if wanted.tag is not None):
        for narrowing in narrows:
            if isinstance(narrowing, Newest):
                if parse_version(tag) is None:
                    message = f"{tag!r} is no version, and newest: keeps only versions"
                    say(join(pointer, number), message, "give it an entry of its own")
            elif not narrowing.select([tag]):
                say(join(pointer, number), f"{tag!r} is excluded again", "remove one of them")
