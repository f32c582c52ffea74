"""docs/verbs.md and the man pages are those of this help, and in the wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.pages.__main__ import pages
from tests.pages.markdown import ROOT
from tests.pages.texts import verbs

PAGES = pages()
REMEDY = "run `python -m tests.pages`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_up_to_date(path: Path) -> None:
    assert path.exists(), REMEDY
    assert path.read_text("utf-8") == PAGES[path], REMEDY


def test_every_verb_has_a_man_page_and_no_other_is_left() -> None:
    assert {path.name for path in (ROOT / "man").iterdir()} == {
        "mirrorsync.1", *(f"mirrorsync-{verb.page}.1" for verb in verbs())
    }  # fmt: skip


def test_a_man_page_has_the_sections_that_man_1_asks_for() -> None:
    for path, text in PAGES.items():
        if path.suffix == ".1":
            names = re.findall(r"^\.SH (.+)$", text, re.MULTILINE)
            assert names[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
            assert names[-1] == "SEE ALSO"
            # A line that begins with a dot is a request: only those that are meant.
            requests = set(re.findall(r"^[.'](\S*)", text, re.MULTILINE))
            assert requests <= {'\\"', "TH", "SH", "SS", "TP", "PP", "RS", "RE", "nf", "fi", "BR"}
            assert not re.search(r"(?<!\\)-", "\n".join(line for line in text.splitlines() if line[:3] != '.\\"'))


def test_every_option_and_example_is_on_both_pages() -> None:
    markdown = PAGES[ROOT / "docs/verbs.md"]
    for verb in verbs():
        roff = PAGES[ROOT / f"man/mirrorsync-{verb.page}.1"].replace("\\-", "-").replace("\\(aq", "'")
        for example in verb.examples:
            assert example.line in markdown
        for _, options in verb.sections:
            for names, _ in options:
                assert f"- `{names}`: " in markdown
                assert f"\\fB{names}\\fR" in roff


def test_the_man_pages_are_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (path,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(path).namelist()
    shared = {name.rpartition("/")[2] for name in names if ".data/data/share/man/man1/" in name}
    assert shared == {page.name for page in PAGES if page.suffix == ".1"}
