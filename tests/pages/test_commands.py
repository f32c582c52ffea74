"""Every command in README.md and docs/ works: blocks for the shell are run, and all others are parsed."""

from __future__ import annotations

import re

import click
import pytest

from mirrorsync.cli.main import cli
from tests.cli.site import Site
from tests.conftest import Locked
from tests.pages.markdown import DOCS, Block, blocks, read
from tests.pages.stage import Stage, calls
from tests.parts.mirrorsync import Mirrorsync

# Pages whose commands other tests run: tests/cli/test_examples.py and tests/cli/test_coming_from_skopeo.py.
ELSEWHERE = {"verbs.md", "coming-from-skopeo.md"}
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")) if path.name not in ELSEWHERE)]
# Blocks that are not run: the page, how the block begins, and why. Their calls of mirrorsync are parsed all the same.
NOT_RUN = {
    ("README.md", "(python3 -m venv"): "installs from a package index",
    ("README.md", "tests/run"): "runs this test",
    ("docs/init.md", "helm template"): "needs helm; tests/cli/test_init.py pipes such a text into it",
    ("docs/running.md", "python3 -m venv /opt"): "installs into the system; tests/test_systemd.py runs the service",
    ("docs/running.md", "systemctl start"): "needs systemd as the first process",
    ("docs/running.md", "podman build"): "pulls the base image; tests/test_deploy.py builds with another one",
    ("docs/running.md", "podman run"): "runs the image; tests/test_deploy.py runs it in a build",
    ("docs/running.md", "kubectl"): "needs a cluster; tests/test_deploy.py runs the container's command",
    ("docs/registries.md", "aws ecr"): "needs an account at AWS",
    ("docs/registries.md", "mirrorsync login --username _json_key"): "needs an account at Google",
}
BLOCKS = [block for page in PAGES for block in blocks(page) if block.language in ("", "sh", "console")]
SHELL = [block for block in BLOCKS if block.language == "sh"]
INLINE = sorted({(page, found) for page in PAGES for found in re.findall(r"`(mirrorsync [^`]*)`", read(page))})

VERBS = cli.list_commands(click.Context(cli))


def excused(block: Block) -> bool:
    return any(block.page == page and block.text.startswith(begin) for page, begin in NOT_RUN)


WALK = "docs/air-gap.md"  # its blocks belong together: test_air_gap.py
RUN = [block for block in SHELL if not excused(block) and block.page != WALK]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, tls_registry: Locked) -> Stage:
    return Stage(Site(Mirrorsync(tmp_path_factory.mktemp("stage")), tls_registry, "pages"))


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"{block.page} line {block.line}")
def test_a_block_runs(stage: Stage, block: Block) -> None:
    stage.prepare(has_spec=block.page != "docs/init.md")
    stage(block.text)


def test_only_blocks_that_exist_are_excused() -> None:
    for page, begin in NOT_RUN:
        assert any(block.page == page and block.text.startswith(begin) for block in SHELL), (page, begin)


def test_most_blocks_are_run() -> None:
    assert len(RUN) > 10


def command(verb: str, words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command of a call, and its words: those behind `bundle verify`, too."""
    found: click.Command | None = cli.get_command(click.Context(cli), verb)
    assert found is not None, f"there is no verb {verb}"
    if isinstance(found, click.Group) and words:
        found, words = found.get_command(click.Context(found), words[0]), words[1:]
        assert found is not None, f"there is no verb {verb} {words[0]}"
    return found, words


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page} line {block.line}")
def test_every_call_in_a_block_is_parsed(block: Block) -> None:
    for verb, *words in calls(block.text.replace("$ ", ""), VERBS):
        found, rest = command(verb, words)
        with found.make_context(verb, rest, parent=click.Context(cli)):
            pass


@pytest.mark.parametrize(("page", "text"), INLINE)
def test_a_command_in_a_sentence_has_a_verb_and_options_that_exist(page: str, text: str) -> None:
    for verb, *words in calls(text, VERBS):
        if not verb.islower():
            continue  # `mirrorsync VERB`
        found, rest = command(verb, words)
        known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert [word for word in rest if word[:1] == "-" != word and word.partition("=")[0] not in known] == []


def test_the_plan_that_is_shown_is_the_one_of_the_demo(mirrorsync: Mirrorsync) -> None:
    (shown,) = [block.text for block in blocks("docs/plans.md") if block.language == "console"]
    assert shown in mirrorsync("demo", code=0).out
