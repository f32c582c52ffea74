"""Locks, snapshots and what differs between two, as JSON documents (schemas/lock.schema.json, difference...)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import failures_json, location_json, spec_json
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, SpecStamp
from mirrorsync.spec.lock import Lock, LockChange, Name


def lock_document(
    lock: Lock,
    found: Iterable[LockChange],
    failures: Iterable[Failure],
    spec: SpecStamp | None = None,
    waiting: Mapping[Name, str] | None = None,
) -> dict[str, Any]:
    """Return a lock as a document. found: what changed since the old one. spec: None for a snapshot."""
    return document(
        "lock",
        {
            "spec": spec_json(spec) if spec else None,
            "images": [{**_name_json(*name), "digest": lock.images[name]} for name in lock],
            "changes": [_change_json(one) for one in found],
            "waiting": [{**_name_json(*name), "reason": reason} for name, reason in (waiting or {}).items()],
            "failures": failures_json(failures, spec),
        },
    )


def difference_document(old: str, new: str, found: Iterable[LockChange]) -> dict[str, Any]:
    """Return what differs between two files as a document. old, new: their names as given."""
    return document("difference", {"old": old, "new": new, "changes": [_change_json(one) for one in found]})


def _name_json(location: Location, ref: str) -> dict[str, Any]:
    return {"location": location_json(location), "ref": ref}


def _change_json(change: LockChange) -> dict[str, Any]:
    return {
        **_name_json(change.location, change.ref),
        "state": change.state,
        "before": change.before,
        "after": change.after,
    }
