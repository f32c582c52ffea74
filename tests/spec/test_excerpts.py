"""A problem of a spec is shown with its line and a caret under the value; what could be a secret is not shown."""

from __future__ import annotations

import pytest

from tests.parts.mirrorsync import Mirrorsync
from tests.spec.reader import SECRET, mirror, refusal

HEAD = "version: 1\ndestinations: {disk: oci:/srv/mirror}\n"


def shown(text: str) -> list[str]:
    """Return the excerpts of a wrong spec."""
    error = refusal(text)
    return [line for problem in error.problems for line in error.excerpts.get(problem, ())]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            f"{HEAD}mirrors:\n  - {{form: nginx, tags: ['1']}}\n",
            ["    4 |   - {form: nginx, tags: ['1']}", "      |      ^"],
        ),
        (f"{HEAD}mirrors:\n  - from: nginx\n    tags: [1.20]\n", ["    5 |     tags: [1.20]", "      |            ^"]),
        (f"{HEAD}mirrors: [nginx:1\n", ["    4 |", "      | ^"]),
        (f"{HEAD}mirrors:\n\t- nginx:1\n", ["    4 | \\t- nginx:1", "      | ^"]),
        (f"{HEAD}mirrors: ['日本:1', 'Nginx:1']\n", None),
        (f"{HEAD}registries:\n  h.example: {{plain_htp: true}}\nmirrors: [nginx:1]\n", None),
    ],
    ids=["a key", "a value", "the end of the file", "a tab", "wide characters", "a setting"],
)
def test_the_caret_is_under_the_value(text: str, lines: list[str] | None) -> None:
    found = shown(text)
    if lines is not None:
        assert found == lines
    assert all(line.isprintable() for line in found)
    assert found[1].endswith("^")


def test_the_caret_counts_the_columns_of_a_terminal() -> None:
    first, second, third, fourth = shown(f"{HEAD}mirrors: ['日本:1', 'Nginx:1']\n")
    assert first == third == "    3 | mirrors: ['日本:1', 'Nginx:1']"
    assert second.index("^") == first.index("'日本") == 18
    assert fourth.index("^") == third.index("'Nginx") + 2  # two characters that take two columns each


def test_a_long_line_is_cut_around_the_caret() -> None:
    line, caret = shown(f"{HEAD}mirrors: [{', '.join(f'nginx:{number}' for number in range(300))}, Nginx:1]\n")
    assert len(line) < 130
    assert line[caret.index("^") :].startswith("Nginx:1]")


@pytest.mark.parametrize(
    "registry",
    [
        f"{{username: [robot], password: {SECRET}}}",
        f"{{username: robot, pasword: {SECRET}}}",
        f"{{username: robot, pw: {SECRET}, ca: x}}",
        f'{{"username": "robot", "password": ["{SECRET}"]}}',
        f"\n    username: robot\n    password: |\n      first\n      {SECRET}: @x\n",
        f"\n    username: robot\n    password: 'first\n      {SECRET}: x\n",
        f"\n    username: robot\n    password:\n      {SECRET}: x\n",
        f'\n    username: robot\n    password: "first\n\n  {SECRET} \n',
        f"\n    username: robot\n    key: {SECRET}\n",
        f"\n    user: robot\n    pwd: >\n      {SECRET}\n    auth: [a\n",
        f"{SECRET}",
    ],
)
def test_a_line_that_could_have_a_password_is_not_shown(registry: str) -> None:
    assert SECRET not in "".join(shown(f"{HEAD}registries:\n  h.example: {registry}\nmirrors: [nginx:1, 2]\n"))


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}registries:\n  robot:{SECRET}@h.example: {{}}\nmirrors: [nginx:1]\n",
        f"{HEAD}mirrors: ['https://robot:{SECRET}@h.example/x:1']\n",
        f"{HEAD}mirrors:\n  - from: robot:{SECRET}@h.example/x\n    tags: ['1']\n",
        f'{{"version": 1, "registries": {{"h.example": {{"pass": "{SECRET}"}}}}, "mirrors": [1]}}',
    ],
)
def test_a_password_before_an_at_sign_or_in_json_is_not_shown(text: str) -> None:
    assert SECRET not in "".join(shown(text))


def test_a_misspelt_setting_is_shown_without_its_value() -> None:
    text = f"{HEAD}registries:\n  h.example:\n    usernam: robot\nmirrors: [nginx:1]\n"
    assert shown(text) == ["    5 |     usernam: ...", "      |     ^"]


def test_a_large_file_is_searched_once() -> None:
    text = f"{HEAD}mirrors:\n" + "- 1\n" * (2000)
    assert len(shown(text)) == 2 * (2000)


def test_excerpts_are_for_people_and_not_in_json(mirrorsync: Mirrorsync) -> None:
    (mirrorsync.directory / "mirror.yaml").write_text(mirror("{from: nginx, tags: [1.20]}"))
    for verb in ("validate", "plan"):
        assert (
            "    4 |   - {from: nginx, tags: [1.20]}\n      |                          ^\n"
            in mirrorsync(verb, code=2).err
        )
        assert " | " not in mirrorsync(verb, "--json", code=2).out
