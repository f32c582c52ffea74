"""The difference between the wanted images and those at the destinations, as a plan. Pure: no I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from mirrorsync.errors import PolicyRefused
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.media_types import is_foreign_layer
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Observed, Outlined, blobs_of, closure, may_lack_images
from mirrorsync.plan.model import Amount, BlobFate, Change, Failure, Image, Plan, SpecStamp, State, Totals
from mirrorsync.plan.policies import Decision
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, MountBlob, PutManifest, SetTag, Step, end_of

# Verdicts on an absent tag that is wanted, now or later.
_WANTED: Final = frozenset({"update", "delay", "report"})


def diff(desired: Desired, observed: Observed, *, spec: SpecStamp, created: str) -> Plan:
    """Return the plan that brings the destinations from `observed` to `desired`.

    Equal work has an equal id, so a layer that many images share is copied once and then mounted. created: UTC,
    ISO 8601.
    """
    builder = _Builder(observed)
    changes, refused = [], []
    for image in desired.images:
        if image in observed.broken:
            continue
        decision = observed.decisions.get(image)
        if decision is not None and decision.verdict == "refuse":
            refused.append(replace(refusal(image, decision.reason, decision.remedy), policy=decision.policy))
        if decision is None or decision.verdict in _WANTED or observed.roots.get(image) is not None:
            # Otherwise the tag is absent and stays absent, which is not a change.
            change = _change(image, observed)
            first = _backup(image, change, observed)
            changes += [change] if first is None else [first, change]
            builder.add(image, change, first)
    return Plan(
        created=created,
        spec=spec,
        changes=tuple(changes),
        steps=builder.steps(),
        failures=(*desired.failures, *observed.failures, *refused),
        totals=totals_of(changes, builder.blobs),
        referrers=desired.referrers,
    )


def totals_of(changes: Iterable[Change], blobs: Mapping[tuple[str, BlobFate], Amount]) -> dict[str, Totals]:
    """Return the totals of changes at each store. blobs: the amount of blobs by store and fate."""
    states: defaultdict[str, Counter[State]] = defaultdict(Counter)
    for change in changes:
        states[change.target.store][change.state] += 1
    amounts: defaultdict[str, dict[BlobFate, Amount]] = defaultdict(dict)
    for (store, fate), amount in blobs.items():
        amounts[store][fate] = amount
    return {store: Totals(states[store], amounts[store]) for store in sorted(states.keys() | amounts.keys())}


def refusal(image: Image | Change, reason: str, remedy: str) -> Failure:
    """Return an image that a policy refuses as a failure of the run."""
    return Failure.of(image, PolicyRefused(reason, remedy=remedy, place=image.target.at(image.tag)))


def _change(image: Image, observed: Observed) -> Change:
    decision = observed.decisions.get(image)
    before, root = observed.roots.get(image), _as_read(image.root, observed)
    state = _decided(image, observed, decision) if decision is not None else _state(image, observed)
    after: Descriptor | None = root
    step = end_of(image.target, image.tag, root.digest) if state.changes else ""
    if state in (State.KEPT, State.REFUSED):
        after = before
    elif state == State.DELETED and before is not None:
        after, step = None, _deletion(image, before, observed).id
    return Change(
        image.target,
        image.tag,
        before,
        after,
        state,
        reason=decision.reason if decision else "",
        mirror=image.mirror,
        origin=None if state == State.DELETED else image.origin,
        step=step,
        policy=decision.policy if decision else "",
        verdict=decision.verdict if decision and decision.policy else None,
        until=decision.until if decision else None,
        whole=None if after is None or after.digest != root.digest else image.whole,
        older=observed.older.get(image, ""),
    )


def _backup(image: Image, change: Change, observed: Observed) -> Change | None:
    """Return the change that keeps the image of a tag under another name before the tag moves, None if it has none."""
    backup = observed.backups.get(image) if change.state == State.MOVED else None
    if backup is None:
        return None
    before = observed.roots.get(backup)
    return Change(
        backup.target,
        backup.tag,
        before,
        backup.root,
        State.NEW if before is None else State.UNCHANGED,
        reason=f"backup of {image.tag}",
        mirror=backup.mirror,
        origin=backup.origin,
        step=end_of(backup.target, backup.tag, backup.root.digest) if before is None else "",
        backup_of=image.tag,
    )


def _deletion(image: Image, present: Descriptor, observed: Observed) -> DeleteTag | DeleteManifest:
    if image.tag is not None:
        return DeleteTag(image.target, image.tag, present, observed.tags.get(image, ()), image in observed.stays)
    return DeleteManifest(image.target, present, observed.tags.get(image, ()))


def _decided(image: Image, observed: Observed, decision: Decision) -> State:
    """Return the state of an image after a policy's decision."""
    before = observed.roots.get(image)
    if decision.verdict == "refuse":
        return State.REFUSED
    if decision.verdict == "delete":
        return State.DELETED
    if decision.verdict == "delay":
        return State.DELAYED
    if decision.verdict == "keep" and before is not None and before.digest != image.root.digest:
        return State.KEPT
    return _state(image, observed)


def _as_read(root: Descriptor, observed: Observed) -> Descriptor:
    """Return the descriptor of a root from its manifest: that of a HEAD may be wrong in type and length."""
    manifest = observed.manifests.get(root.digest)
    return root if manifest is None else manifest.descriptor.bare()


def _state(image: Image, observed: Observed) -> State:
    present = observed.roots.get(image)
    if present is None:
        return State.NEW
    if present.digest != image.root.digest:
        return State.MOVED
    if not observed.deep and not may_lack_images(image, observed.sparse, observed.decisions.get(image)):
        return State.UNCHANGED
    contents = observed.contents.get(image.target, frozenset())
    for manifest in closure(
        image.root, lambda wanted: observed.manifests[wanted.digest], skip=lambda part: observed.skips(part, image)
    ):
        if manifest.digest not in contents or any(blob.digest not in contents for blob in blobs_of(image, manifest)):
            return State.INCOMPLETE
    return State.UNCHANGED


class _Builder:
    """Collects the steps of many images, and merges equal ones."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._copies: dict[Digest, CopyBlob] = {}
        self._mounts: dict[str, MountBlob] = {}
        self._manifests: dict[str, PutManifest | SetTag] = {}
        self._deletions: dict[str, DeleteTag | DeleteManifest] = {}
        # The step that writes a blob (or child manifest) to a location, "" if it is present already.
        self._blob_steps: dict[tuple[Location, Digest], str] = {}
        self._child_steps: dict[tuple[Location, Digest], str] = {}
        # By store and blob: the repository to mount it from, and the step that writes it there.
        self._mount_sources: dict[tuple[str, Digest], tuple[str, str]] = {}
        self.blobs: defaultdict[tuple[str, BlobFate], Amount] = defaultdict(Amount)

    def steps(self) -> tuple[Step, ...]:
        """Return all steps, each after the steps that it needs."""
        return (*self._copies.values(), *self._mounts.values(), *self._manifests.values(), *self._deletions.values())

    def add(self, image: Image, change: Change, first: Change | None = None) -> None:
        """Add the steps that a change needs, if any. first: the backup without which it must not be made."""
        if first is not None and first.step and first.tag is not None and first.after is not None:
            backup = SetTag(first.after.bare(), first.target, first.target, first.tag)
            self._manifests[backup.id] = backup
        if change.state == State.DELETED and change.before is not None:
            step = _deletion(image, change.before.bare(), self._observed)
            self._deletions[step.id] = step
        elif change.state.changes:
            self._add_image(image, change, first.step if first is not None else "")

    def _add_image(self, image: Image, change: Change, first: str) -> None:
        needs: tuple[str, ...] = ()
        root = change.after or image.root
        for manifest in closure(root, self._manifest, skip=lambda child: self._observed.skips(child, image)):
            needs = self._needs(manifest, image)
            if manifest.digest != root.digest or image.tag is None:
                self._put_manifest(manifest.descriptor, image, needs)
        if image.tag is not None:
            needs = (*needs, *([first] if first else []))
            step = SetTag(root.bare(), image.source, image.target, image.tag, change.before, needs)
            self._manifests[step.id] = step

    def _manifest(self, descriptor: Descriptor) -> Outlined:
        return self._observed.manifests[descriptor.digest]

    def _needs(self, manifest: Outlined, image: Image) -> tuple[str, ...]:
        steps = [self._child_steps.get((image.target, child.digest), "") for child in manifest.children]
        steps += [self._blob_step(blob, image) for blob in blobs_of(image, manifest)]
        return tuple(dict.fromkeys(step for step in steps if step))

    def _put_manifest(self, manifest: Descriptor, image: Image, needs: tuple[str, ...]) -> None:
        key = (image.target, manifest.digest)
        if key in self._child_steps or (self._present(manifest.digest, image.target) and not needs):
            return
        step = PutManifest(manifest, image.source, image.target, needs)
        self._child_steps[key] = step.id
        self._manifests[step.id] = step

    def _blob_step(self, blob: Descriptor, image: Image) -> str:
        """Return the id of the step that writes a blob to an image's repository, "" if no step is needed."""
        key = (image.target, blob.digest)
        known = self._blob_steps.get(key)
        if known is None:
            known = self._blob_steps[key] = self._plan_blob(
                blob.with_urls() if is_foreign_layer(blob.media_type) else blob.bare(), image
            )
        return known

    def _plan_blob(self, blob: Descriptor, image: Image) -> str:
        store = image.target.store
        if self._present(blob.digest, image.target):
            self._count(store, "present", blob)
            return ""
        origin, step = self._mount_source(store, blob.digest)
        if not origin:
            return self._copy(blob, image)
        if store in self._observed.shared:
            # Repositories of this store share their blobs: the copy for another repository serves this one too.
            return step
        mount = MountBlob(blob, origin, image.target, image.source, (step,) if step else ())
        self._mounts[mount.id] = mount
        self._count(store, "mount", blob)
        return mount.id

    def _copy(self, blob: Descriptor, image: Image) -> str:
        store = image.target.store
        copy = self._copies.get(blob.digest) or CopyBlob(blob, image.source, ())
        copy = replace(copy, targets=(*copy.targets, image.target))
        self._copies[blob.digest] = copy
        self._mount_sources[store, blob.digest] = (image.target.repository, copy.id)
        self._count(store, "copy", blob)
        return copy.id

    def _present(self, digest: Digest, target: Location) -> bool:
        return digest in self._observed.contents.get(target, frozenset())

    def _mount_source(self, store: str, digest: Digest) -> tuple[str, str]:
        """Return a repository of `store` to mount the blob from, and the step that writes the blob there."""
        planned = self._mount_sources.get((store, digest))
        if planned is not None:
            return planned
        return self._observed.elsewhere.get(store, {}).get(digest, ""), ""

    def _count(self, store: str, fate: BlobFate, blob: Descriptor) -> None:
        self.blobs[store, fate] = self.blobs[store, fate].plus(blob)
