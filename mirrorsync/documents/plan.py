"""Plans as JSON documents, to be saved, looked at, and carried out exactly; schemas/plan.schema.json describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from mirrorsync.errors import GrammarError, MirrorsyncError, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_repository, check_tag
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location, canonical_repository
from mirrorsync.oci.transports import is_pick
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import (
    Amount,
    Change,
    CopyBlob,
    Failure,
    Image,
    MountBlob,
    Plan,
    PutManifest,
    SetTag,
    SpecStamp,
    Step,
    Totals,
)

KIND: Final = "mirrorsync.plan"
VERSION: Final = 1

_STEPS: Mapping[str, type[Step]] = {"copy": CopyBlob, "mount": MountBlob, "put": PutManifest, "tag": SetTag}
_WORDS = {kind: word for word, kind in _STEPS.items()}


def location_json(location: Location) -> dict[str, str]:
    """Return a location as an object."""
    return {"store": location.store, "repository": location.repository}


def error_json(error: MirrorsyncError) -> dict[str, Any]:
    """Return an error as an object, with only the members that are known."""
    members = {
        "message": error.message,
        "remedy": error.remedy,
        "exit_code": int(error.exit_code),
        "side": error.side,
        "store": error.store,
        "repository": error.repository,
        "reference": error.reference,
        "step": error.step,
    }
    return {key: value for key, value in members.items() if value}


def failure_json(failure: Failure) -> dict[str, Any]:
    """Return a failure as an object."""
    return {"subject": failure.subject, "error": error_json(failure.error)}


def to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as a JSON document (kind `mirrorsync.plan`)."""
    return {
        "kind": KIND,
        "version": VERSION,
        "created": plan.created,
        "spec": {"path": plan.spec.path, "digest": str(plan.spec.digest), "only": list(plan.spec.only)},
        "images": [change_json(change) for change in plan.changes],
        "steps": [_step_json(step) for step in plan.steps],
        "failures": [failure_json(failure) for failure in plan.failures],
        "totals": {store: totals_json(totals) for store, totals in plan.totals.items()},
        "read_bytes": plan.read_bytes,
    }


def from_json(document: Mapping[str, Any]) -> Plan:
    """Read a plan that `to_json` wrote and whose shape the schema has checked.

    The file is somebody's input by now: every digest, tag and name in it is checked again. Failures are not read; what
    failed when the plan was made is no part of what it does. Raises: UsageError when it is no plan of this version.
    """
    if document.get("kind") != KIND or document.get("version") != VERSION:
        raise UsageError(f"this is no plan of version {VERSION}", remedy="make one with `mirrorsync plan --output`")
    try:
        spec = document["spec"]
        plan = Plan(
            created=document["created"],
            spec=SpecStamp(spec["path"], Digest(spec["digest"]), tuple(spec["only"])),
            changes=tuple(_change(item) for item in document["images"]),
            steps=tuple(_step(item) for item in document["steps"]),
            totals={store: _totals(item) for store, item in document["totals"].items()},
        )
        _check_order(plan.steps)
    except GrammarError as error:
        raise UsageError(f"the plan is damaged: {error.message}", remedy="make a new plan") from error
    return plan


def _check_order(steps: Iterable[Step]) -> None:
    """A step whose needs never come would be waited for without end. Raises: GrammarError."""
    known: set[str] = set()
    for step in steps:
        if step.id in known or not known.issuperset(step.needs):
            raise GrammarError(f"step {step.id} stands there twice, or before what it needs")
        known.add(step.id)


def sniff(text: bytes) -> dict[str, Any] | None:
    """Return the document when `text` is a plan as JSON, None when it is something else (a spec, in YAML)."""
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("kind") == KIND else None


def change_json(change: Change) -> dict[str, Any]:
    """Return an image and its state as an object."""
    image = change.image
    return {
        "source": location_json(image.source),
        "target": location_json(image.target),
        "tag": image.tag,
        "followed": image.followed,
        "platforms": [str(platform) for platform in image.platforms],
        "root": image.root.to_json(),
        "state": change.state,
        "was": change.was.bare().to_json() if change.was else None,
    }


def totals_json(totals: Totals) -> dict[str, Any]:
    """Return what is done at one store as an object; bytes are bytes."""
    members: dict[str, Any] = {key: getattr(totals, key) for key in ("new", "moved", "incomplete", "unchanged")}
    for key in ("copy", "mount", "present"):
        amount = getattr(totals, key)
        members[key] = {"blobs": amount.blobs, "bytes": amount.size}
    return members


def _change(item: Mapping[str, Any]) -> Change:
    image = Image(
        _location(item["source"]),
        _location(item["target"]),
        check_tag(item["tag"]) if item["tag"] is not None else None,
        Descriptor.from_json(item["root"]),
        _followed(item["followed"]) if item["followed"] is not None else None,
        tuple(Platform.parse(text) for text in item["platforms"]),
    )
    return Change(image, item["state"], Descriptor.from_json(item["was"]) if item["was"] else None)


def _followed(text: str) -> str:
    if is_pick(text):
        return text
    return str(Digest(text)) if ":" in text else check_tag(text)


def _totals(item: Mapping[str, Any]) -> Totals:
    members: dict[str, Any] = {key: item[key] for key in ("new", "moved", "incomplete", "unchanged")}
    for key in ("copy", "mount", "present"):
        members[key] = Amount(item[key]["blobs"], item[key]["bytes"])
    return Totals(**members)


def _location(item: Mapping[str, str]) -> Location:
    repository = item["repository"]
    return Location(item["store"], canonical_repository(item["store"], repository) if repository else "")


# Every field of a step is one of few kinds, and a field's name tells which: how it is written, and how it is read.
_FIELDS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "blob": (Descriptor.to_json, Descriptor.from_json),
    "manifest": (Descriptor.to_json, Descriptor.from_json),
    "was": (
        lambda value: value.bare().to_json() if value else None,
        lambda value: Descriptor.from_json(value) if value else None,
    ),
    "source": (location_json, _location),
    "target": (location_json, _location),
    "targets": (
        lambda targets: [location_json(target) for target in targets],
        lambda targets: tuple(_location(target) for target in targets),
    ),
    "origin": (str, check_repository),
    "tag": (str, check_tag),
    "needs": (list, tuple),
}


def _step_json(step: Step) -> dict[str, Any]:
    members = {field.name: _FIELDS[field.name][0](getattr(step, field.name)) for field in fields(step)}
    return {"do": _WORDS[type(step)], "id": step.id, **members}


def _step(item: Mapping[str, Any]) -> Step:
    kind = _STEPS[item["do"]]
    return kind(**{field.name: _FIELDS[field.name][1](item[field.name]) for field in fields(kind)})


def inventory_json(desired: Desired, spec: SpecStamp) -> dict[str, Any]:
    """Return what a spec comes to now as a JSON document (kind `mirrorsync.inventory`)."""
    return {
        "kind": "mirrorsync.inventory",
        "version": VERSION,
        "spec": {"path": spec.path, "digest": str(spec.digest), "only": list(spec.only)},
        "images": [
            {
                "source": location_json(image.source),
                "target": location_json(image.target),
                "tag": image.tag,
                "followed": image.followed,
                "platforms": [str(platform) for platform in image.platforms],
                "root": image.root.to_json(),
            }
            for image in desired.images
        ],
        "failures": [failure_json(failure) for failure in desired.failures],
    }
