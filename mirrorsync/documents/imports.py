"""The bundles that were imported on a machine as a JSON document (schemas/imports.schema.json)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.state import PastImport


def imports_document(imports: Iterable[PastImport]) -> dict[str, Any]:
    """Return imports, in their order, as a document."""
    return document("imports", {"imports": [_import_json(one) for one in imports]})


def _import_json(one: PastImport) -> dict[str, Any]:
    return {
        "bundle": one.bundle,
        "digest": str(one.digest),
        "destinations": list(one.destinations),
        "started": one.started,
        "finished": one.finished,
        "exit_code": one.exit_code,
        "counts": dict(one.counts),
        "bytes_written": one.bytes_written,
        "error": one.error or None,
    }
