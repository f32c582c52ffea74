"""YAML with positions: plain values, and the line and column of each.

Strict on purpose: no anchors and aliases (a few lines of them expand to gigabytes), no merge keys, no tags, no second
document, no duplicate keys. A mistake is reported with its line when the spec is read, and not by a run at night.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from mirrorsync.problems import Problem
from mirrorsync.text import printable

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32

# libyaml when PyYAML was built with it: ten times as fast, and the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_CORE = "tag:yaml.org,2002:"
_ALIAS_REMEDY = "write it out, or use defaults; a text that begins with '*' or '&' needs quotes"
_MERGE_REMEDY = "write it out, or use defaults"
_TAG_REMEDY = "remove it; a text that begins with '!' needs quotes"
_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_ARTICLES = {"int": "an"}
# The tags that values have without writing one, and `!!str`, which is harmless.
_TAGS = frozenset(_CORE + kind for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp"))
# Parts of libyaml's messages about frequent mistakes, with the remedy.
_SYNTAX_REMEDIES = {
    "tab character": "write spaces instead",
    "cannot start any token": "put a text that begins with '@', '`' or '%' in quotes",
    "alphabetic or numeric": "put a text that begins with '*' or '&' in quotes",
    "mapping values are not allowed": "put a text with ': ' in quotes, and indent the keys of one mapping alike",
    "unexpected end of stream": "close the quote that is opened there",
}
_SYNTAX_REMEDY = "check the quotes, brackets and indentation there"


class YamlProblem(Exception):
    """The file is not valid YAML, or not allowed YAML; `problem` has the message."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the file; line and column from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Source:
    """A parsed file. value: of dicts, lists, strings, numbers; positions and written (scalars as text): by pointer."""

    value: Any = None
    positions: dict[str, Position] = field(default_factory=dict)
    key_positions: dict[str, Position] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, pointer: str, message: str, remedy: str = "", *, at_key: bool = False) -> Problem:
        """Return a problem at a pointer, with the position of the nearest value around it."""
        candidates = [self.key_positions, self.positions] if at_key else [self.positions]
        for known in candidates:
            if pointer in known:
                return Problem(message, pointer, known[pointer].line, known[pointer].column, remedy)
        parent = pointer
        while parent and parent not in self.positions:
            parent = parent.rpartition("/")[0]
        found = self.positions.get(parent)
        return Problem(message, pointer, found.line if found else None, found.column if found else None, remedy)


def join(pointer: str, key: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of a member."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def read(text: bytes, limit: int = MAX_BYTES) -> Source:
    """Read one YAML document of at most `limit` bytes.

    Raises: YamlProblem if it cannot be read at all; other problems are in the result.
    """
    if len(text) > limit:
        raise YamlProblem(Problem(f"the file is larger than {limit} bytes", remedy="split it into several specs"))
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise YamlProblem(Problem("the file is not UTF-8", line=line, remedy="save it as UTF-8")) from error
    _check_characters(decoded)
    try:
        _check_events(decoded)
        node = yaml.compose(decoded, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise YamlProblem(_syntax(error, decoded)) from error
    except yaml.YAMLError as error:
        message = f"not valid YAML: {printable(str(error), 200)}"
        raise YamlProblem(Problem(message, line=1, remedy=_SYNTAX_REMEDY)) from error
    if node is None:
        raise YamlProblem(Problem("the file is empty", line=1, remedy="mirror.example.yaml shows what belongs in it"))
    source = Source()
    source.value = _value(node, "", source)
    return source


def _check_characters(text: str) -> None:
    found = _UNPRINTABLE.search(text)
    if found is not None:
        before = text[: found.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{ord(found[0]):04X} is not allowed in YAML"
        raise YamlProblem(Problem(message, "", line, column, "remove it"))


def _check_events(text: str) -> None:
    """Reject aliases and deep nesting before any value is built."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _at(event.start_mark, "anchors and aliases are not supported", _ALIAS_REMEDY)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > MAX_DEPTH:
            raise _at(event.start_mark, f"nested deeper than {MAX_DEPTH} levels", "check the brackets")
        if documents > 1:
            raise _at(event.start_mark, "a second document begins here", "one file holds one spec: remove the '---'")


def _at(mark: Any, message: str, remedy: str) -> YamlProblem:
    return YamlProblem(Problem(message, "", mark.line + 1, mark.column + 1, remedy))


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if mark and "\t" in _indentation(text, mark.line):
        return Problem("this line is indented with a tab", "", mark.line + 1, mark.column + 1, "indent it with spaces")
    message = error.problem or error.context or ""
    remedy = next((remedy for part, remedy in _SYNTAX_REMEDIES.items() if part in message), _SYNTAX_REMEDY)
    begun = error.context_mark
    if begun and mark and begun.line != mark.line:
        message += f" ({error.context}, which begins in line {begun.line + 1})"
    position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    return Problem(f"not valid YAML: {printable(message, 200)}", "", position.line, position.column, remedy)


def _indentation(text: str, line: int) -> str:
    """Return the white space at the beginning of a line, counted from 0."""
    found = next(itertools.islice(io.StringIO(text, newline=None), line, None), "")
    return found[: len(found) - len(found.lstrip())]


def _value(node: yaml.Node, pointer: str, source: Source) -> Any:
    source.positions[pointer] = Position(node.start_mark.line + 1, node.start_mark.column + 1)
    if node.tag not in _TAGS:
        # The tag is not shown: it could be a password that begins with '!'.
        source.problems.append(source.problem(pointer, "tags (!...) are not supported", _TAG_REMEDY))
    if isinstance(node, yaml.MappingNode):
        return {key: _value(child, join(pointer, key), source) for key, child in _members(node, pointer, source)}
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, join(pointer, number), source) for number, child in enumerate(node.value)]
    source.written[pointer] = node.value
    return _scalar(node, pointer, source)


def _members(node: yaml.MappingNode, pointer: str, source: Source) -> Iterator[tuple[str, yaml.Node]]:
    seen: set[str] = set()
    for key_node, child in node.value:
        position = Position(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        where = pointer
        if key_node.tag == f"{_CORE}merge":
            message, remedy = "merge keys (<<) are not supported", _MERGE_REMEDY
        elif not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_CORE}str":
            message, remedy = "a key is not a string", "write it in quotes"
        elif key_node.value in seen:
            message, remedy = f"duplicate key {printable(key_node.value, 80)!r}", "remove one of them"
            where = join(pointer, key_node.value)
        else:
            seen.add(key_node.value)
            source.key_positions[join(pointer, key_node.value)] = position
            yield key_node.value, child
            continue
        source.problems.append(Problem(message, where, position.line, position.column, remedy))


def _scalar(node: yaml.Node, pointer: str, source: Source) -> Any:
    if node.tag not in _TAGS:
        return str(node.value)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        kind = node.tag.removeprefix(_CORE)
        message = f"this looks like {_ARTICLES.get(kind, 'a')} {kind}, but is not one"
        source.problems.append(source.problem(pointer, message, "write it in quotes"))
        return str(node.value)
    finally:
        loader.dispose()
