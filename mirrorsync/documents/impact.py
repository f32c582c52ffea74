"""What depends on sources as a JSON document (schemas/impact.schema.json)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import location_json
from mirrorsync.oci.reference import Location
from mirrorsync.state import Absence
from mirrorsync.sync.impact import Dependent, Impact


def impact_document(spec: str, impacts: Iterable[Impact]) -> dict[str, Any]:
    """Return what depends on some sources as a document. spec: the absolute path of the spec."""
    return document("impact", {"spec": spec, "sources": [_impact_json(one) for one in impacts]})


def _impact_json(impact: Impact) -> dict[str, Any]:
    return {
        "source": impact.source,
        "mirrors": [{"mirror": one.pointer, "line": one.line or None} for one in impact.mirrors],
        "tags": [_dependent_json(one, one.owned.source) for one in impact.tags if one.owned.source is not None],
    }


def _dependent_json(one: Dependent, source: Location) -> dict[str, Any]:
    return {
        "target": location_json(one.target),
        "tag": one.tag,
        "digest": str(one.owned.digest),
        "since": one.owned.since,
        "source": location_json(source),
        "vanished": _absence_json(one.absence) if one.absence is not None else None,
    }


def _absence_json(absence: Absence) -> dict[str, Any]:
    return {
        "since": absence.since,
        "acknowledged": absence.acknowledged,
        "by": absence.by,
        "why": absence.why,
        "refused": absence.refused,
    }
