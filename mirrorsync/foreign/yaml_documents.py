"""YAML of other tools, read as what it says: any number of documents, with anchors, and texts as they are written.

`1.20` stays "1.20", as Go's readers of these files keep it in a field of text. Anchors and merge keys are read, since
Kubernetes manifests and dregsy's specs have them; what they expand to is limited, so that a few lines cannot become
gigabytes. Tags (`!reference`) are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import yaml

from mirrorsync.errors import UsageError
from mirrorsync.text import printable

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_DEPTH: Final = 100
MAX_VALUES: Final = 2_000_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"


class NotYaml(Exception):
    """The text is not YAML; str() says where and why."""


class Written(str):
    """A scalar that knows where it is in its file: the characters from `start` to `end`."""

    __slots__ = ("end", "line", "start", "style")

    start: int
    end: int
    line: int
    style: str | None

    @classmethod
    def of(cls, node: yaml.ScalarNode, start: int = 0, line: int = 0) -> Written:
        """Return the text of a scalar. style: as PyYAML names it, None for a plain one.

        start, line: the characters and lines of the file before the text that was read.
        """
        made = cls(node.value)
        made.start, made.end = start + node.start_mark.index, start + node.end_mark.index
        made.line, made.style = line + node.start_mark.line + 1, node.style
        return made


def documents(
    text: bytes, name: str, scalar: Callable[[yaml.ScalarNode], str] = lambda node: str(node.value)
) -> list[Any]:
    """Return the documents of a file: dicts, lists, texts and None; empty documents are left out.

    name: of the file, for errors. scalar: makes the text of a scalar, keys too; its marks count the characters of the
    file, without a byte order mark. Raises: NotYaml; UsageError if it is too large, too deep, or expands to too much.
    """
    if len(text) > MAX_BYTES:
        raise UsageError(f"{printable(name)} is larger than {MAX_BYTES} bytes", remedy="give it in parts")
    try:
        decoded = text.decode("utf-8-sig")
        _check_depth(decoded, name)
        nodes = list(yaml.compose_all(decoded, Loader=_Loader))
    except UnicodeDecodeError as error:
        raise NotYaml("not UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise NotYaml(f"{where}{printable(error.problem or 'not valid YAML', 120)}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise NotYaml(printable(str(error).partition("\n")[0], 120)) from error
    reader = _Reader(name, scalar)
    return [value for value in (reader.value(node, 0) for node in nodes) if value is not None]


def _check_depth(text: str, name: str) -> None:
    """Reject deep nesting before nodes are made, which takes a stack as deep. Raises: UsageError, yaml.YAMLError."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _deep(name)


def _deep(name: str) -> UsageError:
    return UsageError(f"{printable(name)} is nested deeper than {MAX_DEPTH} levels", remedy="check its brackets")


class _Reader:
    def __init__(self, name: str, scalar: Callable[[yaml.ScalarNode], str]) -> None:
        self._name, self._scalar = name, scalar
        self._left = MAX_VALUES

    def value(self, node: yaml.Node, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            message = f"{printable(self._name)} expands to more than {MAX_VALUES} values"
            raise UsageError(message, remedy="write its anchors out")
        if depth > MAX_DEPTH:  # an anchor that contains itself
            raise _deep(self._name)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        return self._scalar(node) if isinstance(node, yaml.ScalarNode) and node.tag != _NULL else None

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, child in node.value:
            if key.tag == _MERGE:
                found = self.value(child, depth + 1)
                for part in found if isinstance(found, list) else [found]:
                    # Plain texts: these keys are elsewhere in the file.
                    merged = {**{str(name): one for name, one in mapping(part).items()}, **merged}
            elif isinstance(key, yaml.ScalarNode):
                own[self._scalar(key)] = self.value(child, depth + 1)
        return {**{name: one for name, one in merged.items() if name not in own}, **own}


def mappings(value: Any) -> Sequence[dict[str, Any]]:
    """Return the mappings of a list, () if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else ()


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping, {} if it is not one."""
    return value if isinstance(value, dict) else {}


def texts(value: Any) -> list[str]:
    """Return the texts of a list, or a text as a list of one; [] for other values."""
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    return [value] if isinstance(value, str) else []


def text(value: Any) -> str:
    """Return a text, "" if it is not one."""
    return value if isinstance(value, str) else ""


def true(value: Any) -> bool:
    """Return whether a value is YAML's true."""
    return isinstance(value, str) and value.lower() in ("true", "yes", "on")
