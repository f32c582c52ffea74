"""The JSON Schemas of the spec and of our documents: inside the package, or next to it in a checkout."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

# The wheel has them inside the package; a checkout has them at its top, where editors look for them.
_HERE = Path(__file__).parent
_DIRECTORIES = (_HERE / "schemas", _HERE.parent / "schemas")


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return a schema (JSON Schema 2020-12). name: `mirror` for the spec, a document's kind, or `common`."""
    directory = next(path for path in _DIRECTORIES if path.is_dir())
    schema: dict[str, Any] = json.loads((directory / f"{name}.schema.json").read_text("utf-8"))
    return schema
