"""`inspect --format`: the part of Go's templates that scripts use, on skopeo's names. Nothing is run or looked up.

`{{.Name}}`, `{{.Labels.key}}`, `{{json .Labels}}` and `{{index .Labels "key"}}`; other templates are refused, with
the way to write them with jq.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mirrorsync.cli.skopeo.go_values import Moment, compact
from mirrorsync.errors import UsageError
from mirrorsync.text import printable

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_FORM = re.compile(
    r"""\s*(?:(?P<function>json|index)\s+)?
    (?P<path>\.|(?:\.[A-Za-z_]\w*)+)
    (?P<keys>(?:\s+(?:"(?:[^"\\]|\\.)*"|\d+))*)\s*""",
    re.VERBOSE,
)
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"|(\d+)')
# How a value that is missing is printed, by its type.
_NIL: Final = {"Labels": "map[]", "Env": "[]", "Layers": "[]", "LayersData": "[]"}
# Left out of the values if they are empty. A tag is only in the oldest manifests.
_LEFT_OUT: Final = (["Name"], ["Tag"])
# What templates mean by a key that a map lacks.
_NO_VALUE: Final = "<no value>"


@dataclass(frozen=True, slots=True)
class Template:
    """A template. parts: text, and functions of the values; names: those of the values that it uses."""

    parts: Sequence[str | Callable[[Mapping[str, Any]], str]]
    names: frozenset[str]

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text for values, with a line break at its end, as skopeo prints it. Raises: UsageError."""
        text = "".join(part if isinstance(part, str) else part(values) for part in self.parts)
        return text if text.endswith("\n") else f"{text}\n"


def parse(text: str, known: Sequence[str]) -> Template:
    """Read a template. known: the names that it may use. Raises: UsageError for others."""
    if text.startswith("table "):
        raise UsageError("--format: tables are not supported", remedy="leave out `table `")
    names: set[str] = set()
    return Template(tuple(_parts(text, known, names)), frozenset(names))


def _parts(text: str, known: Sequence[str], names: set[str]) -> Iterator[str | Callable[[Mapping[str, Any]], str]]:
    pieces = _ACTION.split(text)
    for literal, action in zip(pieces[::2], [*pieces[1::2], None], strict=True):
        if "{{" in literal:
            raise UsageError("--format: a {{ is not closed", remedy="write it as {{.Digest}}")
        yield literal.replace("\\t", "\t").replace("\\n", "\n")
        if action is not None:
            yield _action(action, known, names)


def _action(action: str, known: Sequence[str], names: set[str]) -> Callable[[Mapping[str, Any]], str]:
    found = _FORM.fullmatch(action)
    if found is None or bool(found["keys"]) != (found["function"] == "index"):
        raise UsageError(
            f"--format: {{{{{printable(action, 100)}}}}} is not supported",
            remedy='write {{.Name}}, {{json .Name}} or {{index .Labels "KEY"}}; for others --format json, and jq',
        )
    path = [part for part in found["path"].split(".") if part]
    if path and path[0] not in known:
        raise UsageError(
            f"--format: {printable(path[0], 60)!r} is not a name of an image's values",
            remedy=f"known: {', '.join(known)}",
        )
    names.update(path[:1] or known)
    keys = [int(number) if number else re.sub(r"\\(.)", r"\1", text) for text, number in _KEY.findall(found["keys"])]

    def render(values: Mapping[str, Any]) -> str:
        value = _within(values, path)
        if found["function"] == "json":
            return ('""' if path in _LEFT_OUT else "null") if value is _MISSING else compact(value)
        if value is _MISSING and not keys:
            return "" if path in _LEFT_OUT else _NO_VALUE
        for key in keys:
            value = _indexed(value, key)
        return _NIL.get(path[0], "<nil>") if value is None and path else _shown(value)

    return render


_MISSING: Final = object()


def _within(value: Any, path: Sequence[str]) -> Any:
    """Return what a path leads to; _MISSING if the last map lacks it, as a map that is null does."""
    for number, name in enumerate(path, start=1):
        if not isinstance(value, Mapping | None) or (value is None and number < len(path)) or number > 2:
            raise UsageError(
                f"--format: .{'.'.join(path)} is not a value",
                remedy=f'{{{{json .{path[0]}}}}} shows all; write a key with dots as {{{{index .{path[0]} "KEY"}}}}',
            )
        value = _MISSING if value is None else value.get(name, _MISSING)
        if value is _MISSING and number == len(path):
            return value
    return value


def _indexed(value: Any, key: str | int) -> Any:
    """Return what Go's index returns: "" for a key that a map of texts lacks."""
    if isinstance(key, str) and isinstance(value, Mapping | None):
        return (value or {}).get(key, "")
    if isinstance(key, int) and isinstance(value, list) and key < len(value):
        return value[key]
    raise UsageError(
        f"--format: there is no index {key!r}", remedy='write {{index .Labels "KEY"}}, or {{index .Layers 0}}'
    )


def _shown(value: Any) -> str:
    """Return a value as Go prints it."""
    match value:
        case str() | int() | Moment():
            return str(value)
        case [*texts] if all(isinstance(text, str) for text in texts):
            return f"[{' '.join(texts)}]"
        case {**members} if all(isinstance(text, str) for text in members.values()):
            return f"map[{' '.join(f'{key}:{text}' for key, text in sorted(members.items()))}]"
    raise UsageError("--format: this value is not a text or a list of texts", remedy="write {{json ...}}")
