"""The images that a spec wants now, as a JSON document (schemas/images.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import failures_json, image_json, spec_json
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import SpecStamp


def images_document(desired: Desired, spec: SpecStamp) -> dict[str, Any]:
    """Return the wanted images, each with its source and destination, as a document."""
    return document(
        "images",
        {
            "spec": spec_json(spec),
            "images": [image_json(image) for image in desired.images],
            "failures": failures_json(desired.failures, spec),
        },
    )
