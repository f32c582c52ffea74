"""What nodes have, compared with a mirror, as a JSON document (schemas/comparison.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import failures_json
from mirrorsync.sync.compare import Compared, Comparison


def comparison_document(found: Comparison) -> dict[str, Any]:
    """Return every image of the nodes with its finding, and the unused images of the mirror, as a document."""
    return document(
        "comparison",
        {
            "images": [_image_json(one) for one in found.images],
            "unused": [str(one) for one in found.unused],
            "failures": failures_json(found.failures, None),
        },
    )


def _image_json(one: Compared) -> dict[str, Any]:
    return {
        "image": str(one.used.reference),
        "at": one.used.at.split(", "),
        "finding": one.finding,
        "target": str(one.target) if one.target else None,
        "digest": one.digest,
        "digests": sorted(one.used.digests),
    }
