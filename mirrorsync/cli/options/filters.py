"""`--filter WORD=VALUE`: the filters of a spec's `tags:`, on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mirrorsync.errors import UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.schema_files import load_schema
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.tags import read_tags
from mirrorsync.text import printable

_EXACT: Final = "exact"
_TRUTH: Final = {"": True, "true": True, "false": False}


def read_filters(words: Sequence[str]) -> Selection:
    """Read `WORD=VALUE` as the spec reads `WORD: VALUE`; without a filter that includes tags, all are included.

    The words and the form of their values come from the spec's schema. Raises: UsageError.
    """
    value = _collect(words)
    if not any(word == _EXACT or (word in FILTERS and not FILTERS[word].narrows) for word in value):
        value["all"] = True
    _check_shape(value)
    problems: list[UsageError] = []

    def report(pointer: str, message: str, remedy: str) -> None:
        problems.append(UsageError(f"--filter {pointer.split('/')[1]}: {message}", remedy=remedy))

    selection = read_tags(value, "", report)
    if problems:
        raise problems[0]
    if any(isinstance(wanted.ref, Digest) for wanted in selection.exact):
        raise UsageError("--filter exact: expected a tag, not a digest", remedy="leave out the digest")
    return selection


def _collect(words: Sequence[str]) -> dict[str, Any]:
    shapes = _shapes()
    value: dict[str, Any] = {}
    for text in words:
        word, _, given = text.partition("=")
        if word not in shapes:
            raise UsageError(f"--filter {printable(text, 80)}: unknown filter", remedy=f"known: {', '.join(shapes)}")
        kind = "string" if "enum" in shapes[word] else shapes[word].get("type")
        if isinstance(kind, list):
            kind = kind[0]  # the short form; the mapping, such as newest: {by: created}, reads images and needs a spec
        if kind == "array":
            value.setdefault(word, []).append(given)
            continue
        if word in value:
            raise UsageError(f"--filter {word} is given twice", remedy="give it once")
        value[word] = _scalar(word, given, kind)
    return value


def _scalar(word: str, given: str, kind: str | None) -> Any:
    if kind == "integer":
        if not (given.isascii() and given.isdigit() and len(given) < 10):
            raise UsageError(f"--filter {word}: {printable(given, 40)!r} is not a number", remedy=f"write {word}=3")
        return int(given)
    if kind == "string":
        return given
    if given not in _TRUTH:
        raise UsageError(f"--filter {word}: {printable(given, 40)!r} is not a valid value", remedy=f"write {word}=true")
    return _TRUTH[given]


def _shapes() -> Mapping[str, Mapping[str, Any]]:
    definitions = load_schema("mirror")["$defs"]
    shapes: Mapping[str, Mapping[str, Any]] = definitions["tags"]["properties"]
    return {word: definitions[shape["$ref"].rpartition("/")[2]] if "$ref" in shape else shape
            for word, shape in shapes.items()}  # fmt: skip


def _check_shape(value: Mapping[str, Any]) -> None:
    # Imported here: jsonschema takes 60 ms, and most lists have no filter.
    if set(value) == {"all"} and value["all"] is True:
        return
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator({**load_schema("mirror"), **_ONLY_TAGS})
    for error in validator.iter_errors(value):
        word = str(next(iter(error.absolute_path), "")) or "WORD=VALUE"
        raise UsageError(
            f"--filter {word}: {printable(error.message, 200)}", remedy="write it as under `tags:` in a spec"
        )


# The definitions of the spec's schema, and nothing of the spec itself.
_ONLY_TAGS: Final[Mapping[str, Any]] = {
    "type": "object", "required": [], "properties": {}, "additionalProperties": True, "$ref": "#/$defs/tags",
}  # fmt: skip
