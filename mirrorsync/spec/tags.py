"""The `tags:` of a mirror, read into a selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.digest import ALGORITHMS, Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.filters import FILTERS, ExactTag, Newest, Selection, TagFilter
from mirrorsync.spec.versions import parse_version
from mirrorsync.spec.yaml_source import join

# Called with a JSON pointer, what is wrong there, and what to write instead.
Say = Callable[[str, str, str], None]
_DIGESTS = tuple(f"{algorithm}:" for algorithm in ALGORITHMS)


def read_tags(value: Sequence[str] | Mapping[str, Any], pointer: str, say: Say) -> Selection:
    """Read a list of exact tags, or a mapping of filters; what is wrong is said, and left out of the result."""
    if not isinstance(value, Mapping):
        exact, digests = _exact(value, pointer, say)
        return Selection(exact=exact, digests=digests)
    place = join(pointer, "exact")
    exact, digests = _exact(value.get("exact", ()), place, say)
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
    return Selection(exact, digests, includes, narrows)


def _exact(items: Sequence[str], pointer: str, say: Say) -> tuple[tuple[ExactTag, ...], tuple[Digest, ...]]:
    exact: dict[Tag, ExactTag] = {}
    digests: dict[Digest, None] = {}
    for number, item in enumerate(items):
        place = join(pointer, number)
        tag, at, encoded = ("", "", item) if item.startswith(_DIGESTS) else item.partition("@")
        try:
            digest = Digest(encoded) if at or not tag else None
            if tag or at:
                named = Tag(tag)
                known = exact.setdefault(named, ExactTag(named, digest))
                again = known.digest != digest or place != join(pointer, list(items).index(item))
            else:
                again = digest in digests
                digests.update({digest: None} if digest else {})
        except GrammarError as error:
            say(place, error.message, error.remedy)
            continue
        if again:
            say(place, f"{printable(item)!r} is wanted twice", "remove one of them")
    return tuple(exact.values()), tuple(digests)


def _check_narrowing(exact: Sequence[ExactTag], narrows: Sequence[TagFilter], pointer: str, say: Say) -> None:
    """An exact tag that the same mapping takes away again is a mistake, and would be a silent one."""
    for number, wanted in enumerate(exact):
        for narrowing in narrows:
            if isinstance(narrowing, Newest):
                if parse_version(wanted.tag) is None:
                    message = f"{wanted.tag!r} is no version, and newest: keeps only versions"
                    say(join(pointer, number), message, "give it an entry of its own")
            elif not narrowing.select([wanted.tag]):
                say(join(pointer, number), f"{wanted.tag!r} is excluded again", "remove one of them")
