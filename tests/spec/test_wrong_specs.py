"""Every kind of mistake in a spec is reported with its line, its pointer, and what to write instead."""

from __future__ import annotations

import re
import traceback

import pytest

from mirrorsync.errors import ExitCode
from mirrorsync.spec.yaml_source import MAX_BYTES
from tests.parts.mirrorsync import Mirrorsync
from tests.spec.reader import ENVIRONMENT, SECRET, Case, mirror, refusal, wrong_specs

WRONG = list(wrong_specs())
EXCERPT = re.compile(r" *\d* \| ")
PROBLEM = re.compile(r"mirror\.yaml:\d+(:\d+)?:( (/\S*):)? [^;]+; \S.*")


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_mistake_has_this_message(case: Case) -> None:
    error = refusal(case.spec)
    assert error.lines() == [f"mirror.yaml:{line}" for line in case.says]
    assert error.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_mistake_is_one_printable_line_with_position_and_remedy(case: Case) -> None:
    for line in refusal(case.spec).lines():
        assert PROBLEM.fullmatch(line), line
        assert line.isprintable()


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_mistake_never_shows_a_secret(case: Case) -> None:
    error = refusal(case.spec)
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.problems) + repr(error.excerpts)
    assert SECRET not in shown
    assert "12345678" not in shown


def test_there_are_enough_cases_with_distinct_names() -> None:
    assert len(WRONG) > 150
    assert len({case.name for case in WRONG}) == len(WRONG)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'version: 1\nmirrors: ["caf\xe9:1"]\n', "2: the file is not UTF-8; save it as UTF-8"),
        ("version: 1\n".encode("utf-16"), "1: the file is not UTF-8; save it as UTF-8"),
        (b"version: 1\n\nmirrors: \0\n", "3:10: the character U+0000 is not allowed in YAML; remove it"),
        (b"version: 1\nmirrors: \x1b[31m\n", "2:10: the character U+001B is not allowed in YAML; remove it"),
        (b"#" * (MAX_BYTES + 1), " the file is larger than 1048576 bytes; split it into several specs"),
        # Far more than this, and some versions of libyaml stop by themselves, with another message.
        (b"[" * 500, "1:33: nested deeper than 32 levels; check the brackets"),
        (b"{a: " * 500, "1:129: nested deeper than 32 levels; check the brackets"),
    ],
    ids=["Latin-1", "UTF-16", "NUL", "escape", "large", "deep lists", "deep mappings"],
)
def test_bytes_that_are_not_a_spec_are_rejected(text: bytes, line: str) -> None:
    assert refusal(text).lines() == [f"mirror.yaml:{line}"]


def test_a_file_of_the_largest_size_is_read() -> None:
    text = mirror("nginx:1").encode()
    assert "larger" not in str(refusal(b"a" + b"#" * (MAX_BYTES - 1)))
    refusal(text + b"#" * (MAX_BYTES - len(text) + 1))


def test_problems_are_in_the_order_of_the_file() -> None:
    lines = [problem.line for problem in refusal("mirrors:\n- 1\n- {tags: [a]}\n- 3\nfoo: 1\n").problems]
    assert lines == sorted(lines, key=lambda line: line or 0)
    assert lines == [1, 2, 3, 4, 5]


def test_validate_reports_all_problems_and_exits_2(mirrorsync: Mirrorsync) -> None:
    case = next(case for case in WRONG if case.name == "yaml: several mistakes at once")
    (mirrorsync.directory / "mirror.yaml").write_text(case.spec)
    done = mirrorsync("validate", env=ENVIRONMENT, code=2)
    assert done.out == ""
    lines = [line.partition("mirror.yaml:")[2] for line in done.err.splitlines() if not EXCERPT.match(line)]
    assert lines == case.says


def test_validate_reports_problems_as_json(mirrorsync: Mirrorsync) -> None:
    (mirrorsync.directory / "mirror.yaml").write_text(mirror("{from: nginx, tags: [1.20]}"))
    (problem,) = mirrorsync("validate", "--json", code=2).json()["problems"]
    assert problem == {
        "message": "'1.20' without quotes is not a string in YAML",
        "pointer": "/mirrors/0/tags/0",
        "line": 4,
        "column": 26,
        "remedy": 'write "1.20"',
    }
