"""The tags of a spec's sources for people: a paragraph for each source, the highest versions first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mirrorsync.cli.output.destinations import Destinations
from mirrorsync.cli.output.render import count, numbers
from mirrorsync.cli.output.tables import Listing
from mirrorsync.spec.versions import parse_version
from mirrorsync.sync.explained import ExplainedSource, ExplainedTag, ExplainedTags, Fate
from mirrorsync.text import printable

# Up to so many dropped tags of a source are shown.
_DROPPED: Final = 20
_COUNTED: Final = ("wanted", "frozen", "delayed", "refused", "failed", "dropped")
_STYLES: Final = {
    "  wanted": "green", "  dropped": "dim", "  frozen": "cyan", "  delayed": "blue", "  refused": "bold red",
    "  failed": "bold red",
}  # fmt: skip


def explained_parts(found: ExplainedTags, *, everything: bool = False) -> list[str | Listing]:
    """Return all sources. everything: also more dropped tags than a screen has."""
    destinations = Destinations(found.spec.destinations)
    parts: list[str | Listing] = []
    for source in found.sources:
        line = found.spec.lines.get(source.mirror)
        counted: Counter[str] = Counter(fate for tag in source.tags for fate in tag.fates)
        where = f" (line {line})" if line else ""
        parts.append(f"{source.source}{where}: {numbers(counted, _COUNTED) or 'no tags'}")
        parts += _tags(source, destinations, everything=everything)
    return parts


def _tags(source: ExplainedSource, destinations: Destinations, *, everything: bool) -> Iterator[str | Listing]:
    ordered = _highest_first(source.tags)
    dropped = [tag for tag in ordered if not tag.wanted]
    hidden = set() if everything else {tag.name for tag in dropped[_DROPPED:]}
    rows = [row for tag in ordered if tag.name not in hidden for row in _rows(tag, destinations)]
    if rows:
        yield Listing(rows, _STYLES)
    if hidden:
        yield f"  and {count(len(hidden), 'more dropped tag')}: tags --all"


def _rows(tag: ExplainedTag, destinations: Destinations) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield a row for each different fate and reason; with the names of its destinations, if there are several."""
    filters = ", ".join(tag.filters)
    found: defaultdict[tuple[Fate, str], list[str]] = defaultdict(list)
    for one in tag.targets if tag.wanted else ():
        found[one.fate, one.reason].append(destinations.of(one.target)[0])
    for (fate, reason), names in (found or {(tag.fates[0], ""): []}).items():
        at = f"at {', '.join(names)}: " if len(found) > 1 else ""
        why = "; ".join(part for part in (filters if fate in ("wanted", "dropped") else "", reason) if part)
        yield (f"  {fate}", str(tag.name)), printable(f"{at}{why or filters}")


def _highest_first(tags: Iterable[ExplainedTag]) -> Sequence[ExplainedTag]:
    """Return the tags: versions by prefix, the highest first, each with its variants; then other tags by name."""
    versions, others = [], []
    for tag in tags:
        version = parse_version(str(tag.name))
        if version is None:
            others.append(tag)
        else:
            versions.append((version, tag))
    versions.sort(key=lambda item: (item[0].line.variant, str(item[1].name)))
    versions.sort(key=lambda item: item[0].key, reverse=True)
    versions.sort(key=lambda item: item[0].line.prefix)
    return [*(tag for _, tag in versions), *sorted(others, key=lambda tag: str(tag.name))]
