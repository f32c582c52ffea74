"""What depends on a source, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

from mirrorsync.cli.output.render import count
from mirrorsync.cli.output.tables import Listing
from mirrorsync.state import Absence
from mirrorsync.sync.impact import Impact
from mirrorsync.text import printable


def impact_parts(impact: Impact, spec: str) -> Iterator[str | Listing]:
    """Yield what depends on a source: a line of counts, then each tag of a destination. spec: the path of the spec."""
    source = printable(impact.source)
    if not impact.tags and not impact.mirrors:
        yield f"nothing depends on {source}"
        return
    lines = dict.fromkeys(str(one.line) for one in impact.mirrors if one.line)
    where = f" ({PurePath(spec).name}:{', '.join(lines)})" if lines else ""
    yield printable(
        f"{count(len(impact.mirrors), 'mirror')}{where} and {count(len(impact.tags), 'tag')} depend on {source}"
    )
    yield Listing(
        [
            ((f"  {one.target}:{one.tag}", one.owned.digest.short), f"since {one.owned.since[:10]}{_gone(one.absence)}")
            for one in impact.tags
        ]
    )


def acknowledged_line(impact: Impact) -> str:
    """Return what was acknowledged of a source."""
    sources = Counter(source for source, _ in {(str(one.owned.source), one.tag) for one in impact.gone})
    listed = ", ".join(f"{count(number, 'tag')} of {source}" for source, number in sorted(sources.items()))
    return printable(f"acknowledged: {listed}")


def _gone(absence: Absence | None) -> str:
    if absence is None:
        return ""
    text = (
        f"; access refused since {absence.since[:10]}"
        if absence.refused
        else f"; vanished from its source {absence.since[:10]}"
    )
    if absence.acknowledged is None:
        return f"{text}, not acknowledged"
    reason = "; ".join(part for part in (absence.by, absence.why) if part)
    return f"{text}, acknowledged {absence.acknowledged[:10]}" + (f" ({printable(reason)})" if reason else "")
