"""The tags of a spec's sources with what decided on each, as a JSON document (schemas/explanation.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import decision_json, failures_json, location_json, spec_json
from mirrorsync.sync.explained import AtTarget, ExplainedSource, ExplainedTag, ExplainedTags


def explanation_document(found: ExplainedTags) -> dict[str, Any]:
    """Return all tags as a document."""
    return document(
        "explanation",
        {
            "spec": spec_json(found.spec),
            "sources": [_source_json(source, found) for source in found.sources],
            "failures": failures_json(found.failures, found.spec),
        },
    )


def _source_json(source: ExplainedSource, found: ExplainedTags) -> dict[str, Any]:
    return {
        "mirror": source.mirror,
        "line": found.spec.lines.get(source.mirror),
        "source": location_json(source.source),
        "listed": source.listed,
        "tags": [_tag_json(tag) for tag in source.tags],
    }


def _tag_json(tag: ExplainedTag) -> dict[str, Any]:
    return {
        "name": str(tag.name),
        "fates": list(tag.fates),
        "filters": list(tag.filters),
        "targets": [_at_target_json(one) for one in tag.targets],
    }


def _at_target_json(one: AtTarget) -> dict[str, Any]:
    refused = {"policy": one.failure.policy, "verdict": "refuse", "until": None} if one.failure else None
    return {
        "target": location_json(one.target),
        "fate": one.fate,
        "state": one.change.state.value if one.change else None,
        "reason": one.reason,
        "decision": decision_json(one.change) if one.change else (refused if one.fate == "refused" else None),
    }
