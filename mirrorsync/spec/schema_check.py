"""Check a spec against its JSON Schema, with messages that say what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mirrorsync.problems import Problem
from mirrorsync.schema_files import load_schema
from mirrorsync.spec.shape import fits
from mirrorsync.spec.yaml_source import Source, join
from mirrorsync.text import printable

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    Report = Callable[[ValidationError, str, Source], Iterator[Problem]]

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
}

# Keys that take one text, and what is meant by a list or mapping there: message and remedy.
_ONE_TEXT = {
    "from": ("from: takes repositories", "write the source, or a list of sources in [ ]"),
    "tag": ("tag: is one tag, the image's at the destination", "write lists of tags and filters under tags:"),
}
# A pattern that stands for some words, for a key that takes a mapping too.
_WORDS: Final = re.compile(r"\^\(([a-z_]+(?:\|[a-z_]+)+)\)\$")
# The remedy for a value of the wrong type, by the first expected type.
_FORMS = {
    "object": "write its keys below it, indented",
    "array": "write a list in [ ], or one item in each line after '- '",
    "string": 'write it in quotes: "..."',
    "integer": "write digits only, without quotes",
    "boolean": "write true or false, without quotes",
}


def check_shape(source: Source, value: Any) -> list[Problem]:
    """Return where a spec does not fit the schema, in the order of the file; empty if it does."""
    schema = load_schema("mirror")
    if fits(schema, value):
        return []
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # 3.0 is a whole number in JSON Schema, but a float in Python.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, number: type(number) is int)
    strict = extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]  # types-jsonschema leaves it untyped
    errors: Iterable[ValidationError] = strict(schema).iter_errors(value)
    return [problem for error in errors for problem in _problems(error, source)]


def _problems(error: ValidationError, source: Source) -> Iterator[Problem]:
    pointer = ""
    for key in error.absolute_path:
        pointer = join(pointer, key)
    report = _REPORTS.get(str(error.validator))
    if report is None:
        yield source.problem(pointer, f"does not fit the schema ({error.validator})")
        return
    yield from report(error, pointer, source)


def _type(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    value: Any = error.validator_value
    wanted = [value] if isinstance(value, str) else value
    expected = " or ".join(_KINDS.get(kind, kind) for kind in wanted)
    written = source.written.get(pointer)
    key = pointer.rpartition("/")[2]
    if key in _ONE_TEXT and written is None:
        yield source.problem(pointer, *_ONE_TEXT[key])
    elif written == "" or (error.instance is None and "string" not in wanted):
        needed = _MISSING.get(key)
        yield source.problem(pointer, "missing value", needed or f"write {expected}, or remove the key")
    elif "string" in wanted and written is not None:
        yield source.problem(pointer, *_unquoted(written, error))
    elif "array" in wanted and written is not None:
        shown = printable(written, 80)
        yield source.problem(pointer, f"this must be {expected}", f'write ["{shown}"]')
    else:
        remedy = _FORMS[wanted[0]] if pointer else "begin with version: 1; mirror.example.yaml shows the rest"
        yield source.problem(pointer, f"this must be {expected}", remedy)


def _unquoted(written: str, error: ValidationError) -> tuple[str, str]:
    """Return message and remedy for a scalar that YAML does not read as a string; a secret is not repeated."""
    schema: Any = error.schema
    if schema.get("writeOnly"):
        return "without quotes this is not a string in YAML", "put it in quotes"
    shown = printable(written, 80)
    return f"{shown!r} without quotes is not a string in YAML", f'write "{shown}"'


def _unknown(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    schema: Any = error.schema
    known = schema.get("properties", {})
    instance: Any = error.instance
    for key in instance:
        if key not in known:
            close = _close(key, known)
            remedy = f"did you mean {close!r}?" if close else f"known here: {', '.join(known)}"
            yield source.problem(join(pointer, key), f"unknown key {printable(key, 80)!r}", remedy, at_key=True)


def _close(key: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(key, known, n=1)), "")


def _suggested(error: ValidationError, known: Iterable[str]) -> set[str]:
    """Return the known keys that are closest to the unknown keys of a mapping."""
    instance: Any = error.instance
    return {_close(key, known) for key in instance if key not in known}


def _missing(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    required: Any = error.validator_value
    present: Any = error.instance
    schema: Any = error.schema
    suggested = _suggested(error, schema.get("properties", {}))
    for key in required:
        # jsonschema reports each missing key as an error of its own, and names it only in the message.
        if key in present or not error.message.startswith(f"{key!r} "):
            continue
        if key not in suggested:  # a misspelt key is one mistake, reported as an unknown key
            yield source.problem(pointer, f"{key!r} is missing", _MISSING.get(key, f"add {key}:"))


_MISSING = {
    "version": "begin the file with version: 1",
    "mirrors": "list what to mirror under mirrors:",
    "from": "write the source repository, such as from: docker.io/library/nginx",
    "tags": 'list the wanted tags, such as tags: ["1.27"] or tags: {all: true}',
}


def _no_alternative(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    alternatives: Any = error.validator_value
    words = [str(alternative["required"][0]) for alternative in alternatives]
    if words[0] == "from":
        if _suggested(error, words).isdisjoint(words):
            yield source.problem(pointer, "'from' is missing", _MISSING["from"])
        return
    if _suggested(error, words).isdisjoint(words):
        listed = f"{', '.join(words[:-1])} or {words[-1]}"
        narrowing = " and ".join(
            word for word in load_schema("mirror")["$defs"]["tags"]["properties"] if word not in (*words, "per")
        )
        remedy = f"add {listed}; {narrowing} only narrow these"
        yield source.problem(pointer, "no filter includes tags", remedy)


def _constant(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    value = str(error.validator_value).lower()
    yield source.problem(pointer, f"this must be {value}", f"write {value}, without quotes")


def _one_of(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    words: Any = error.validator_value
    yield from _other_word(words, error, pointer, source)


def _other_word(words: Sequence[str], error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    listed = f"{', '.join(words[:-1])} or {words[-1]}"
    close = _close(error.instance, words) if isinstance(error.instance, str) else ""
    remedy = f"did you mean {close!r}?" if close else f"write {listed}"
    yield source.problem(pointer, f"this must be {listed}", remedy)


def _pattern(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    """Report a text that is not one of a few words (where a mapping is possible too), or not of the right form."""
    words = _WORDS.fullmatch(str(error.validator_value))
    if words is not None:
        yield from _other_word(words[1].split("|"), error, pointer, source)
        return
    schema: Any = error.schema
    forms = " or ".join(str(example) for example in schema.get("examples", ()))
    yield source.problem(pointer, f"{printable(str(error.instance), 80)!r} is not of the right form", f"write {forms}")


def _low(error: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    least = error.validator_value
    yield source.problem(pointer, f"this must be {least} or more", f"write {least} or more, or remove the key")


def _empty(_: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
    if "${" in source.written.get(pointer, ""):
        yield source.problem(pointer, "the variable is empty", "set it to a value, or remove the key")
    else:
        yield source.problem(pointer, "this is empty", "add a value, or remove it")


def _fixed(message: str, remedy: str) -> Report:
    """Return a report with the same message for every error."""

    def report(_: ValidationError, pointer: str, source: Source) -> Iterator[Problem]:
        yield source.problem(pointer, message, remedy)

    return report


# By keyword of JSON Schema: yields the problems of one of its errors.
_REPORTS: Mapping[str, Report] = {
    "type": _type,
    "additionalProperties": _unknown,
    "required": _missing,
    "anyOf": _no_alternative,
    "const": _constant,
    "enum": _one_of,
    "minItems": _empty,
    "minLength": _empty,
    "minProperties": _empty,
    "minimum": _low,
    "pattern": _pattern,
    "uniqueItems": _fixed("duplicate item", "remove one of them"),
}
