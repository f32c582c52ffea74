"""A document as YAML: the same members, in block style, with strings in double quotes as JSON writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def yaml_text(document: dict[str, Any]) -> str:
    """Return a document as YAML 1.2, which YAML 1.1 reads in the same way. Its keys are words."""
    return "\n".join(_lines(document, ""))


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            if isinstance(one, dict | list) and one:
                yield f"{indent}{key}:"
                yield from _lines(one, f"{indent}  ")
            else:
                yield f"{indent}{key}: {_scalar(one)}"
    elif isinstance(value, list) and value:
        for one in value:
            first, *rest = _lines(one, f"{indent}  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from rest
    else:
        yield f"{indent}{_scalar(value)}"


def _scalar(value: Any) -> str:
    # YAML has no pairs of surrogates, which JSON writes without this, and no DEL outside of an escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f")
