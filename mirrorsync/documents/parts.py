"""Objects that several documents share: locations, the spec's stamp, images, their changes, failures, amounts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mirrorsync.documents.error import error_json
from mirrorsync.durations import time_text
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure, Image, Origin, ReferrerCounts, SpecStamp, Vanished


def location_json(location: Location) -> dict[str, str]:
    """Return a location as an object."""
    return {"store": location.store, "repository": location.repository}


def bare_json(content: Descriptor | None) -> dict[str, Any] | None:
    """Return media type, digest and size of a descriptor, or null."""
    return content.bare().to_json() if content else None


def spec_json(spec: SpecStamp) -> dict[str, Any]:
    """Return the stamp of a spec as an object."""
    return {
        "path": spec.path,
        "digest": str(spec.digest),
        "only": list(spec.only),
        "destinations": {name: location_json(location) for name, location in spec.destinations.items()},
        "lines": dict(spec.lines),
        "lock": {"path": spec.lock.path, "digest": str(spec.lock.digest)} if spec.lock else None,
    }


def image_json(image: Image) -> dict[str, Any]:
    """Return a wanted image as an object."""
    return {
        "mirror": image.mirror,
        "target": location_json(image.target),
        "tag": image.tag,
        **_origin_json(image.origin),
        "root": image.root.to_json(),
    }


def decision_json(change: Change) -> dict[str, Any] | None:
    """Return the decision of a policy on a change as an object, or null."""
    if not change.policy:
        return None
    until = None if change.until is None else time_text(change.until)
    return {"policy": change.policy, "verdict": change.verdict, "until": until}


def _filters_json(filters: tuple[str, ...] | None) -> dict[str, list[str]]:
    return {} if filters is None else {"filters": list(filters)}


def change_json(change: Change) -> dict[str, Any]:
    """Return a change as an object."""
    return {
        "mirror": change.mirror,
        "state": change.state.value,
        "reason": change.reason,
        "target": location_json(change.target),
        "tag": change.tag,
        "before": bare_json(change.before),
        "after": bare_json(change.after),
        **_origin_json(change.origin),
        "step": change.step,
        "stays": [{"kind": one.kind, "name": one.name} for one in change.stays],
        "backup_of": change.backup_of,
        "older": change.older,
        "decision": decision_json(change),
        **_filters_json(change.filters),
        "whole": change.whole,
    }


def _origin_json(origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return {"source": None, "followed": None, "platforms": [], "index": None, "subject": None}
    return {
        "source": location_json(origin.location),
        "followed": origin.followed,
        "platforms": [str(platform) for platform in origin.platforms],
        "index": origin.index or None,
        "subject": origin.subject,
    }


def referrers_json(counts: ReferrerCounts | None) -> dict[str, int] | None:
    """Return numbers of referrers as an object, or null."""
    return None if counts is None else {"found": counts.found, "wanted": counts.wanted, "behind": counts.behind}


def failures_json(failures: Iterable[Failure], spec: SpecStamp | None) -> list[dict[str, Any]]:
    """Return failures as objects. spec: that of the run, for the lines of its mirrors; None without one."""
    return [
        {
            "subject": failure.subject,
            "mirror": failure.mirror,
            "line": spec.lines.get(failure.mirror) if spec else None,
            "source": location_json(failure.source) if failure.source is not None else None,
            "followed": failure.ref,
            "targets": [location_json(target) for target in failure.targets],
            "error": error_json(failure.error),
            "policy": failure.policy or None,
            **_filters_json(failure.filters),
        }
        for failure in failures
    ]


def vanished_json(vanished: Iterable[Vanished]) -> list[dict[str, Any]]:
    """Return the tags that sources have dropped as objects."""
    return [
        {
            "source": location_json(one.source),
            "tags": list(one.tags),
            "whole": one.whole,
            "since": one.since or None,
            "acknowledged": one.acknowledged,
            "refused": one.refused,
        }
        for one in vanished
    ]


def amount_json(blobs: int, size: int) -> dict[str, int]:
    """Return a number of blobs and their bytes as an object."""
    return {"blobs": blobs, "bytes": size}
