"""Plans as JSON documents, to be saved, looked at, and carried out exactly; schemas/plan.schema.json describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from mirrorsync.documents.envelope import VERSIONS, document, full_name
from mirrorsync.documents.parts import (
    amount_json,
    bare_json,
    change_json,
    failure_json,
    location_json,
    spec_json,
)
from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_repository
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag, parse_ref
from mirrorsync.oci.reference import Location, canonical_repository
from mirrorsync.plan.model import (
    Amount,
    BlobFate,
    Change,
    Origin,
    Plan,
    Related,
    SpecStamp,
    State,
    Totals,
)
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, MountBlob, PutManifest, SetTag, Step

KIND: Final = full_name("plan")
VERSION: Final = VERSIONS["plan"]

_STEPS: Mapping[str, type[Any]] = {
    "copy": CopyBlob,
    "mount": MountBlob,
    "put": PutManifest,
    "tag": SetTag,
    "delete-tag": DeleteTag,
    "delete-manifest": DeleteManifest,
}
_WORDS = {kind: word for word, kind in _STEPS.items()}


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as a document."""
    return document(
        "plan",
        {
            "created": plan.created,
            "spec": spec_json(plan.spec),
            "images": [change_json(change) for change in plan.changes],
            "steps": [_step_json(step) for step in plan.steps],
            "failures": [failure_json(failure) for failure in plan.failures],
            "totals": {store: _totals_json(totals) for store, totals in plan.totals.items()},
            "read_bytes": plan.read_bytes,
        },
    )


def from_json(found: Mapping[str, Any]) -> Plan:
    """Read a plan that `plan_document` wrote and whose shape the schema has checked.

    The file is somebody's input by now: every digest, tag and name in it is checked again. Failures are not read; what
    failed when the plan was made is no part of what it does. Raises: UsageError when it is no plan of this version.
    """
    if found.get("kind") != KIND or found.get("version") != VERSION:
        raise UsageError(f"this is no plan of version {VERSION}", remedy="make one with `mirrorsync plan --output`")
    try:
        spec = found["spec"]
        plan = Plan(
            created=found["created"],
            spec=SpecStamp(spec["path"], Digest(spec["digest"]), tuple(spec["only"])),
            changes=tuple(_change(item) for item in found["images"]),
            steps=tuple(_step(item) for item in found["steps"]),
            totals={store: _totals(item) for store, item in found["totals"].items()},
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
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("kind") == KIND else None


def _totals_json(totals: Totals) -> dict[str, Any]:
    return {
        "images": {state.value: number for state, number in totals.states.items() if number},
        "blobs": {fate: amount_json(amount.blobs, amount.size) for fate, amount in totals.blobs.items()},
    }


def _change(item: Mapping[str, Any]) -> Change:
    origin = None
    if item["source"] is not None:
        followed = parse_ref(item["followed"]) if item["followed"] is not None else None
        platforms = tuple(Platform.parse(text) for text in item["platforms"])
        origin = Origin(_location(item["source"]), followed, platforms)
    return Change(
        _location(item["target"]),
        Tag(item["tag"]) if item["tag"] is not None else None,
        _content(item["before"]),
        _content(item["after"]),
        State(item["state"]),
        item["reason"],
        item["mirror"],
        origin,
        item["step"],
        tuple(Related(one["kind"], one["name"]) for one in item["stays"]),
    )


def _totals(item: Mapping[str, Any]) -> Totals:
    fates: dict[BlobFate, Amount] = {
        fate: Amount(amount["blobs"], amount["bytes"]) for fate, amount in item["blobs"].items()
    }
    return Totals({State(state): number for state, number in item["images"].items()}, fates)


def _content(item: Mapping[str, Any] | None) -> Descriptor | None:
    return Descriptor.from_json(item) if item else None


def _location(item: Mapping[str, str]) -> Location:
    repository = item["repository"]
    return Location(item["store"], canonical_repository(item["store"], repository) if repository else "")


# Every field of a step is one of few kinds, and a field's name tells which: how it is written, and how it is read.
_FIELDS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "blob": (bare_json, Descriptor.from_json),
    "manifest": (bare_json, Descriptor.from_json),
    "before": (bare_json, _content),
    "source": (location_json, _location),
    "target": (location_json, _location),
    "targets": (
        lambda targets: [location_json(target) for target in targets],
        lambda targets: tuple(_location(target) for target in targets),
    ),
    "origin": (str, check_repository),
    "tag": (str, Tag),
    "tags": (list, lambda tags: tuple(map(Tag, tags))),
    "needs": (list, tuple),
}


def _step_json(step: Any) -> dict[str, Any]:
    members = {field.name: _FIELDS[field.name][0](getattr(step, field.name)) for field in fields(type(step))}
    return {"do": _WORDS[type(step)], "id": step.id, **members}


def _step(item: Mapping[str, Any]) -> Step:
    kind = _STEPS[item["do"]]
    step: Step = kind(**{field.name: _FIELDS[field.name][1](item[field.name]) for field in fields(kind)})
    return step
