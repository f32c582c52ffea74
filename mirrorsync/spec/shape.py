"""A quick check whether a value fits a JSON Schema, for the keywords that our schema uses.

A "no" is only a "maybe": jsonschema decides and words the messages then. A valid spec does not pay for it: 39 ms for
its import and 18 microseconds for each tag, as long as a run with nothing to do takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int,
    "boolean": lambda value: isinstance(value, bool),
}
# Keywords that do not constrain values.
_NOTES: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "examples", "writeOnly", "then"})


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Return whether `value` certainly fits `schema` (draft 2020-12). False: it does not, or it is unknown."""
    return isinstance(schema, Mapping) and _Shape(schema).fits(schema, value)


class _Shape:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions = root.get("$defs", {})

    def fits(self, schema: Any, value: Any) -> bool:
        if not isinstance(schema, Mapping):
            return False
        for keyword, wanted in schema.items():
            if keyword in _NOTES:
                continue
            check = _CHECKS.get(keyword)
            if check is None or not check(self, wanted, value, schema):
                return False
        return True

    def reference(self, wanted: str, value: Any) -> bool:
        prefix, _, name = wanted.rpartition("/")
        return prefix == "#/$defs" and self.fits(self._definitions.get(name), value)

    def members(self, schema: Mapping[str, Any], value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return all(
            self.fits(known[key], member) if key in known else others is not False and self.fits(others, member)
            for key, member in value.items()
        )


def _is(wanted: str | list[str], value: Any) -> bool:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    return any(kind in _TYPES and _TYPES[kind](value) for kind in kinds)


def _unlike(value: list[Any]) -> bool:
    return all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


# By keyword: takes the shape, the keyword's value in the schema, the value to check, and the schema around it.
_CHECKS: Final[Mapping[str, Callable[[_Shape, Any, Any, Mapping[str, Any]], bool]]] = {
    "type": lambda _, wanted, value, __: _is(wanted, value),
    "const": lambda _, wanted, value, __: type(value) is type(wanted) and bool(value == wanted),
    "enum": lambda _, wanted, value, __: isinstance(value, str) and value in wanted,
    "minimum": lambda _, wanted, value, __: not _is("integer", value) or value >= wanted,
    "minLength": lambda _, wanted, value, __: not isinstance(value, str) or len(value) >= wanted,
    "pattern": lambda _, wanted, value, __: not isinstance(value, str) or re.search(wanted, value) is not None,
    "minItems": lambda _, wanted, value, __: not isinstance(value, list) or len(value) >= wanted,
    "minProperties": lambda _, wanted, value, __: not isinstance(value, dict) or len(value) >= wanted,
    "uniqueItems": lambda _, wanted, value, __: not isinstance(value, list) or not wanted or _unlike(value),
    "required": lambda _, wanted, value, __: not isinstance(value, dict) or all(key in value for key in wanted),
    "items": lambda shape, wanted, value, __: (
        not isinstance(value, list) or all(shape.fits(wanted, item) for item in value)
    ),
    "properties": lambda shape, _, value, schema: shape.members(schema, value),
    "additionalProperties": lambda shape, _, value, schema: "properties" in schema or shape.members(schema, value),
    "anyOf": lambda shape, wanted, value, _: any(shape.fits(one, value) for one in wanted),
    # `fits` cannot tell that a condition is false, so the consequence must hold in any case.
    "if": lambda shape, _, value, schema: shape.fits(schema.get("then", {}), value),
    "$ref": lambda shape, wanted, value, _: shape.reference(wanted, value),
}
