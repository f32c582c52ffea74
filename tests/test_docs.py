"""The pages for maintainers are true: what they name exists, what they link to is there, and recipes are short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DECISIONS = sorted(path for path in (DOCS / "adr").glob("*.md") if path.name != "README.md")
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [*sorted(DOCS.rglob("*.md")), CONTRIBUTING]
MAX_DECISION_LINES = 60
MAX_HOUSE_LINES = 270
MAX_RECIPE_FILES = 4
RECIPES = ["A tag filter", "A policy", "A store", "A foreign format", "A verb"]
SECTIONS = ["Context", "Decision", "Consequences", "What would change it"]

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path in the repository or in the package, and behind a colon what is defined there: `sync/road.py:make_plan`.
_PATH = re.compile(r"(?P<path>[\w.][\w./-]*)(?::(?P<name>[A-Za-z_]\w*(?:\.\w+)*))?")
# What the reader of a recipe writes instead: `plan/policies/NAME.py`.
_CHOSEN = re.compile(r"(?<![A-Za-z])[A-Z]{4,}(?![A-Za-z])")
# A class or what it has, without the file that it is in: `DeleteTag`, `Transfer.copy`.
_CLASS = re.compile(r"[A-Z][a-z]+[A-Z]\w*|[A-Z]\w+\.[a-z_]\w*")
_SUFFIXES = (".py", ".md", ".toml", ".schema.json")


def text_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCED.sub("", page.read_text("utf-8"))


def bases(page: Path) -> tuple[Path, ...]:
    """Return the directories that paths of a page start from."""
    return ROOT, ROOT / "mirrorsync", page.parent


def named_files(page: Path) -> Iterator[tuple[str, str | None]]:
    """Yield every path in backticks, and the name behind its colon."""
    for quoted in _QUOTED.findall(text_of(page)):
        found = _PATH.fullmatch(quoted)
        if found is None:
            continue
        path = found["path"]
        begins = path.partition("/")[0]
        is_ours = any((base / begins).exists() for base in bases(page)[:2]) and "/" in path
        if is_ours or path.endswith(_SUFFIXES):
            yield path, found["name"]


def located(page: Path, path: str) -> Path | None:
    """Return the file that a page names, None if there is no such file."""
    return next((base / path for base in bases(page) if (base / path).exists()), None)


@cache
def defined(path: Path) -> frozenset[str]:
    """Return what a file defines: functions, classes, constants, and `Class.method`."""
    return frozenset(_defined(ast.parse(path.read_text("utf-8")), ""))


def _defined(node: ast.AST, inside: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield f"{inside}{child.name}"
            yield from _defined(child, f"{inside}{child.name}.")
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            yield from (f"{inside}{target.id}" for target in targets if isinstance(target, ast.Name))


def defined_anywhere() -> set[str]:
    """Return what any file of the product or of the tests defines."""
    return {
        name for folder in ("mirrorsync", "tests") for path in (ROOT / folder).rglob("*.py") for name in defined(path)
    }


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def recipes() -> dict[str, list[str]]:
    """Return the files of each recipe, by its heading."""
    section = CONTRIBUTING.read_text("utf-8").partition("\n## Recipes\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (.+)$", section, flags=re.MULTILINE)[1:]
    return {
        heading: re.findall(r"^\d+\. `([^`]+)`", body, re.MULTILINE)
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_exist_and_define_what_is_said_of_them(page: Path) -> None:
    for path, symbol in named_files(page):
        if _CHOSEN.search(path):
            assert located(page, str(Path(path).parent)), f"`{path}`: no such directory"
            continue
        found = located(page, path)
        assert found is not None, f"`{path}` does not exist"
        assert symbol is None or symbol in defined(found), f"`{path}` does not define {symbol}"


def test_classes_and_their_methods_exist() -> None:
    known = defined_anywhere()
    for page in PAGES:
        for quoted in _QUOTED.findall(text_of(page)):
            if _CLASS.fullmatch(quoted) and not quoted.endswith(_SUFFIXES):
                assert quoted in known, f"{name(page)}: no class `{quoted}`"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(text_of(page)):
        if ":" in link:
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        assert path.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(path), f"{link}: no such heading"


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_is_one_page_with_its_four_sections_and_is_in_the_index(page: Path) -> None:
    assert len(page.read_text("utf-8").splitlines()) < MAX_DECISION_LINES
    assert re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE) == SECTIONS
    number, title = re.match(r"# (\d{4}): (.+)", page.read_text("utf-8")).groups()  # type: ignore[union-attr]
    assert page.name.startswith(f"{number}-")
    assert title
    assert f"[{number}]({page.name})" in (DOCS / "adr/README.md").read_text("utf-8")


def test_the_page_of_the_house_is_short() -> None:
    assert len((DOCS / "house.md").read_text("utf-8").splitlines()) < MAX_HOUSE_LINES


def test_the_table_of_floors_has_every_room() -> None:
    table = (DOCS / "house.md").read_text("utf-8").partition("## Floors and rooms")[2].partition("\n## ")[0]
    rooms = [path.name for path in (ROOT / "mirrorsync").iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(rooms) > 8
    assert [room for room in rooms if f"`{room}/`" not in table] == []


def test_the_recipes_are_those_that_are_asked_for() -> None:
    assert list(recipes()) == RECIPES


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_lists_at_most_four_files_each_once(heading: str) -> None:
    files = recipes()[heading]
    assert 0 < len(files) <= MAX_RECIPE_FILES
    assert len({path.partition(":")[0] for path in files}) == len(files)


def test_a_word_of_the_glossary_has_one_entry() -> None:
    glossary = (DOCS / "words.md").read_text("utf-8").partition("\n## Words that are not used\n")[0]
    tables = [re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for table in glossary.split("|---|---|\n")[1:]]
    verbs = next(words for words in tables if "publish" in words)
    nouns = [word for words in tables if words is not verbs for word in words if word not in ("word", "verb")]
    assert len(nouns) > 80
    assert len({*nouns}) == len(nouns)
    assert len({*verbs}) == len(verbs)


def test_the_readme_leads_to_the_pages_for_maintainers() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in ("docs/house.md", "docs/adr/README.md", "docs/words.md", "CONTRIBUTING.md"):
        assert f"]({page})" in readme
