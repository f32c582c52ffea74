"""A bundle that was made as a JSON document (schemas/bundle-creation.schema.json)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mirrorsync.bundle.model import Bundle
from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import failures_json, spec_json
from mirrorsync.plan.model import Plan


def bundle_creation_document(plan: Plan, bundle: Bundle | None, files: Sequence[str]) -> dict[str, Any]:
    """Return a bundle, or that there was nothing to carry, as a document. files: that were written."""
    return document(
        "bundle-creation",
        {
            "spec": spec_json(plan.spec),
            "bundle": _bundle(bundle) if bundle is not None else None,
            "files": list(files),
            "failures": failures_json(plan.failures, plan.spec),
        },
    )


def _bundle(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "sequence": bundle.sequence,
        "created": bundle.created,
        "images": len(bundle.images),
        "objects": len(bundle.objects),
        "bytes": sum(one.content.size for one in bundle.objects),
        "deltas": {"count": len(bundle.deltas), "saved": bundle.bytes_saved},
        "assumed": len(bundle.assumes),
        "parts": [{"name": part.name, "body": part.body} for part in bundle.parts],
    }
