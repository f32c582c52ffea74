"""The parts of pages that are made of the product itself, so that they cannot part from it.

`python -m tests.docs` writes them; a test fails if one is not up to date. Whatever is above the marker of a page is
written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.docs import spec_page
from tests.docs.pages import ROOT, read

MARKER: Final = "<!-- The rest of this page is generated: python -m tests.docs -->\n"
GENERATED: Final[Mapping[str, Callable[[], str]]] = {"docs/spec.md": spec_page.page}


def up_to_date(page: str) -> str:
    """Return a page as it should be."""
    above, marker, _ = read(page).partition(MARKER)
    assert marker, f"{page} has no marker {MARKER!r}"
    return f"{above}{marker}\n{GENERATED[page]()}"


def write() -> None:
    """Write all pages that have a generated part."""
    for page in GENERATED:
        (ROOT / page).write_text(up_to_date(page), "utf-8")
