"""What sources have dropped, as text: an alarm by the first run that notices it, a count by later ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from mirrorsync.cli.output.render import count
from mirrorsync.plan.model import Vanished
from mirrorsync.text import printable, some_of

_SHOWN: Final = 5  # tags in one alarm


def alarm_lines(vanished: Iterable[Vanished], spec: str) -> list[str]:
    """Return three lines for each repository: what is gone, and what to do about it. spec: the path of the spec."""
    name = os.path.relpath(spec)
    lines = []
    for one in vanished:
        if one.refused:
            what = f"{one.source} refuses access, which it gave before, and may have been deleted or made private"
            what = f"{what}: {count(len(one.tags), 'tag')} {'is' if len(one.tags) == 1 else 'are'} kept"
        elif one.whole:
            verb = "is" if len(one.tags) == 1 else "are"
            what = f"{one.source} has vanished: {count(len(one.tags), 'tag')} {verb} kept"
        else:
            verb = "has vanished from it and is kept" if len(one.tags) == 1 else "have vanished from it and are kept"
            what = f"{count(len(one.tags), 'tag')} of {one.source} {verb}"
        lines += [
            printable(f"alarm: {what}: {some_of(one.tags, _SHOWN)}"),
            printable(f"  `mirrorsync impact {one.source} {name}` shows what depends on it"),
            printable(f"  `mirrorsync acknowledge {one.source} --spec {name}` accepts that it {_state(one)}"),
        ]
    return lines


def _state(vanished: Vanished) -> str:
    return "cannot be read" if vanished.refused else "is gone"


def vanished_lines(vanished: Iterable[Vanished]) -> Iterator[str]:
    """Yield lines about the tags that earlier runs have missed and that are not acknowledged: those that sources have
    dropped, and those that they refuse access to.
    """
    waiting = [one for one in vanished if one.since and not one.acknowledged]
    for what, found in (
        ("vanished from sources", [one for one in waiting if not one.refused]),
        ("refused by sources", [one for one in waiting if one.refused]),
    ):
        if found:
            sources = dict.fromkeys(str(one.source) for one in found)
            tags, first = sum(len(one.tags) for one in found), min(one.since for one in found)
            named = next(iter(sources)) if len(sources) == 1 else count(len(sources), "repository", "repositories")
            yield printable(
                f"{what} and kept: {count(tags, 'tag')} of {named}, since {first[:10]} (mirrorsync impact, acknowledge)"
            )
