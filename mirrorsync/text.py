"""Text from servers and files, made safe to show to people."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_SHOWN_LIMIT = 400  # characters of foreign text in one message; error bodies of registries can be whole HTML pages


def printable(text: str, limit: int = _SHOWN_LIMIT) -> str:
    """Return foreign `text` safe for a terminal or a log: at most `limit` characters, on one line, without controls.

    Control characters (C0, C1, DEL), bidirectional overrides and line separators are escaped: a registry chooses tags
    and error messages, and must not be able to repaint the operator's screen or forge log lines.
    """
    shown: list[str] = []
    length = 0
    for char in text:
        active = unicodedata.category(char)[0] in "CZ" and char != " "
        piece = char.encode("unicode_escape").decode("ascii") if active else char
        length += len(piece)
        if length > limit:
            return "".join(shown) + "..."
        shown.append(piece)
    return "".join(shown)


def some_of(names: Sequence[str], limit: int) -> str:
    """Return at most `limit` foreign names for a message, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(printable(name) for name in names[:limit]) + more
