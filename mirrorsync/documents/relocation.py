"""Image references that were rewritten in files, as a JSON document (schemas/relocation.schema.json)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.sync.relocate import Moved, Relocated


def relocation_document(files: Iterable[Relocated]) -> dict[str, Any]:
    """Return what became of every image in files, as a document."""
    return document(
        "relocation",
        {"files": [{"file": file.name, "images": [_image_json(one) for one in file.images]} for file in files]},
    )


def _image_json(one: Moved) -> dict[str, Any]:
    return {
        "image": one.use.image,
        "key": one.use.key,
        "line": one.use.line,
        "outcome": one.fate,
        "target": str(one.target) if one.target else None,
        "reason": one.trouble or None,
    }
