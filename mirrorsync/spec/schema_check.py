"""The spec's shape against its JSON Schema, told in words that say what to write."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mirrorsync.errors import Problem, printable
from mirrorsync.schema_files import load_schema
from mirrorsync.spec.yaml_source import Source, join

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    Tell = Callable[[ValidationError, str, Source], Iterator[Problem]]

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
}


def check_shape(source: Source, value: Any) -> list[Problem]:
    """Return what is wrong with the shape of a spec, in the order of the file; empty when it fits the schema."""
    # jsonschema takes 60 ms to import; only what reads a spec pays for it.
    from jsonschema import Draft202012Validator

    errors: Iterable[ValidationError] = Draft202012Validator(load_schema("mirror")).iter_errors(value)
    return [problem for error in errors for problem in _problems(error, source)]


def _problems(error: ValidationError, source: Source) -> Iterator[Problem]:
    pointer = ""
    for key in error.absolute_path:
        pointer = join(pointer, key)
    tell = _TOLD.get(str(error.validator))
    if tell is None:
        yield source.problem(pointer, f"does not fit the schema ({error.validator})")
        return
    yield from tell(error, pointer, source)


def _type(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    value: Any = error.validator_value
    wanted = [value] if isinstance(value, str) else value
    expected = " or ".join(_KINDS.get(kind, kind) for kind in wanted)
    written = source.written.get(pointer)
    if "string" in wanted and written is not None:
        shown = printable(written, 80)
        message = f"{shown!r} without quotes is not a string in YAML" if shown else "there is no value"
        yield source.problem(pointer, message, f'write "{shown}"' if shown else f"write {expected}")
        return
    yield source.problem(pointer, f"this must be {expected}")


def _unknown(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    schema: Any = error.schema
    known = schema.get("properties", {})
    instance: Any = error.instance
    for key in instance:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            yield source.problem(join(pointer, key), f"unknown key {printable(key, 80)!r}", remedy, at_key=True)


def _missing(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    required: Any = error.validator_value
    present: Any = error.instance
    for key in required:
        # jsonschema reports each missing key as an error of its own, and names it only in the message.
        if key not in present and error.message.startswith(f"{key!r} "):
            yield source.problem(pointer, f"{key!r} is missing", _MISSING.get(key, f"add {key}:"))


_MISSING = {
    "version": "begin the file with version: 1",
    "mirrors": "list what to mirror under mirrors:",
    "from": "write the source repository, such as from: docker.io/library/nginx",
    "tags": 'say which tags are wanted, such as tags: ["1.27"] or tags: {all: true}',
}


def _constant(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    yield source.problem(pointer, f"this must be {str(error.validator_value).lower()}")


def _low(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    yield source.problem(pointer, f"this must be {error.validator_value} or more")


def _always(message: str, remedy: str) -> Tell:
    """Return what says the same of every error of one kind."""

    def tell(_: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
        yield source.problem(pointer, message, remedy)

    return tell


_EMPTY = _always("this is empty", "write something here, or remove the key")

_TOLD: Mapping[str, Tell] = {
    "type": _type,
    "additionalProperties": _unknown,
    "required": _missing,
    "anyOf": _always(
        "nothing says which tags to include",
        "add exact, glob, regex, semver or all; exclude and newest only narrow what these choose",
    ),
    "const": _constant,
    "minItems": _EMPTY,
    "minLength": _EMPTY,
    "minProperties": _EMPTY,
    "minimum": _low,
    "uniqueItems": _always("an item stands here twice", "remove one of them"),
}
