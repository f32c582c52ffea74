"""Write the pages that are made from the help and from the schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.pages.man import man_pages
from tests.pages.markdown import ROOT
from tests.pages.spec import spec_page
from tests.pages.verbs import verbs_page


def pages() -> Mapping[Path, str]:
    """Return the text of every page, by its path."""
    manual = {ROOT / "man" / name: text for name, text in man_pages().items()}
    return {ROOT / "docs/spec.md": spec_page(), ROOT / "docs/verbs.md": verbs_page(), **manual}


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
