"""Add to a plan the blobs of images that wait: the medium that has them can be taken away, and the next one put in."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import NamedTuple

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Plan
from mirrorsync.plan.steps import CopyBlob, MountBlob, Step


class Early(NamedTuple):
    """A blob of an image that waits."""

    blob: Descriptor
    source: Location
    target: Location


def with_early_blobs(plan: Plan, early: Iterable[Early], shared: Set[str]) -> Plan:
    """Return a plan that also copies some blobs, each read once. shared: stores whose repositories share all blobs."""
    copies = {step.blob.digest: step for step in plan.steps if isinstance(step, CopyBlob)}
    mounts = {step.id: step for step in plan.steps if isinstance(step, MountBlob)}
    for one in early:
        _add(one, copies, mounts, shared)
    rest: Iterable[Step] = (step for step in plan.steps if not isinstance(step, CopyBlob | MountBlob))
    return replace(plan, steps=(*copies.values(), *mounts.values(), *rest))


def _add(one: Early, copies: dict[Digest, CopyBlob], mounts: dict[str, MountBlob], shared: Set[str]) -> None:
    copy = copies.get(one.blob.digest) or CopyBlob(one.blob, one.source, ())
    same = next((target for target in copy.targets if target.store == one.target.store), None)
    if same is None:
        copies[one.blob.digest] = replace(copy, targets=(*copy.targets, one.target))
    elif same != one.target and one.target.store not in shared:
        mount = MountBlob(one.blob, same.repository, one.target, one.source, (copy.id,))
        mounts.setdefault(mount.id, mount)
