"""Write the pages that are made from the help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.pages.man import man_pages
from tests.pages.verbs import verbs_page

ROOT = Path(__file__).parents[2]


def pages() -> Mapping[Path, str]:
    """Return the text of every page, by its path."""
    manual = {ROOT / "man" / name: text for name, text in man_pages().items()}
    return {ROOT / "docs/verbs.md": verbs_page(), **manual}


def main() -> None:
    """Write them all, and remove the pages of verbs that no longer exist."""
    written = pages()
    for path in set((ROOT / "man").glob("*.1")) - set(written):
        path.unlink()
    for path, text in written.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
