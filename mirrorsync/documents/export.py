"""An export of a bundle as a JSON document (schemas/bundle-export.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.sync.bundle.exporting import Exported


def export_document(runtime: str, done: Exported) -> dict[str, Any]:
    """Return the archives of a bundle's images as a document. runtime: that they are for."""
    return document(
        "bundle-export",
        {
            "for": runtime,
            "archives": [
                {
                    "file": str(one.path),
                    "image": one.name,
                    "digest": str(one.content),
                    "size": one.size,
                    "written": one.written,
                }
                for one in done.archives
            ],
            "unwritten": [
                {"image": one.name, "reason": one.reason, "failed": one.error is not None} for one in done.unwritten
            ],
        },
    )
