"""JSON that a stranger wrote, and that is read before or after its signature is verified."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from mirrorsync.oci.json_weight import MAX_WEIGHT, json_weight
from mirrorsync.text import printable
from mirrorsync.trust.evidence import NotProven

_SHOWN: Final = 120


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object. what: its noun in messages. Raises: NotProven if it is not one unambiguous object."""
    if json_weight(raw) > MAX_WEIGHT:
        raise NotProven(f"{what} has too many members")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise NotProven(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise NotProven(f"{what} is not a JSON object")
    return value


def member(value: dict[str, Any], *keys: str) -> Any:
    """Return a member of a member of an object, None if one of them is missing or is not an object."""
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def decoded(text: object, what: str) -> bytes:
    """Return the bytes of a base64 text. what: its noun in messages. Raises: NotProven."""
    if not isinstance(text, str) or not text.strip():
        raise NotProven(f"{what} is missing")
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NotProven(f"{what} is not base64") from error


def shown(value: object) -> str:
    """Return a value of a signature for messages."""
    return "that it does not name" if value is None else printable(str(value), _SHOWN)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same key twice")
    return members
