"""The files for a client as a JSON document (schemas/configuration.schema.json)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mirrorsync.clients.model import Lost, Site, Written
from mirrorsync.documents.envelope import document


def configuration_document(client: str, site: Site, written: Written, paths: Sequence[str] = ()) -> dict[str, Any]:
    """Return the files for a client as a document. paths: where they were written, () if they were not."""
    places: Sequence[str | None] = paths or [None] * len(written.files)
    return document(
        "configuration",
        {
            "client": client,
            "destination": site.destination,
            "address": site.registry.host,
            "fallback": site.fallback,
            "files": [
                {"path": file.path, "written": path, "text": file.text}
                for file, path in zip(written.files, places, strict=True)
            ],
            "lost": [_lost_json(site, one) for one in written.lost],
            "notes": list(written.notes),
        },
    )


def _lost_json(site: Site, lost: Lost) -> dict[str, Any]:
    rule = lost.rule
    return {
        "mirrors": list(rule.mirrors),
        "source": rule.source,
        "target": site.registry.location(rule.target),
        "reason": lost.reason,
    }
