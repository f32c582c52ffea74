"""From a plan whose destination is the far side to the content of a bundle: images, objects, assumptions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mirrorsync.bundle.consistency import image_order
from mirrorsync.bundle.held import Held
from mirrorsync.bundle.model import Assumed, Image, Object, Whole
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Plan, State
from mirrorsync.plan.steps import CopyBlob, PutManifest, SetTag
from mirrorsync.sync.bundle.reading import ReadFrom
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

_UNPACKED = Whole((1,))  # until it is packed


@dataclass(frozen=True, slots=True)
class Draft:
    """What a bundle is to carry. origins: where each object is read."""

    images: tuple[Image, ...]
    objects: tuple[Object, ...]
    assumes: tuple[Assumed, ...]
    origins: Mapping[Digest, ReadFrom]


async def draft_of(plan: Plan, destination: Location, held: Held, session: Session) -> Draft:
    """Return what the far side lacks for the changes of a plan. destination: with the prefix of its names.

    Raises: MirrorsyncError if a manifest cannot be read any more.
    """
    prefix = f"{destination.repository}/" if destination.repository else ""
    drafting = _Drafting(prefix, held)
    steps = [step for step in plan.steps if isinstance(step, PutManifest | SetTag)]
    drafting.blobs = {step.blob.digest: step for step in plan.steps if isinstance(step, CopyBlob)}

    async def read(step: PutManifest | SetTag) -> None:
        with located("source", step.source):
            drafting.manifests[step.manifest.digest] = await session.manifest(step.source, step.manifest)

    # A backup is set to a manifest that the far side has, and only the far side has it.
    near = [step for step in steps if step.source.store != destination.store or not drafting.is_held(step)]
    await for_each({step.manifest.digest: step for step in near}.values(), read)
    drafting.carry(near)
    return drafting.draft(plan.changes)


@dataclass(slots=True)
class _Drafting:
    prefix: str
    held: Held
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    blobs: Mapping[Digest, CopyBlob] = field(default_factory=dict)
    put: defaultdict[Digest, set[str]] = field(default_factory=lambda: defaultdict(set))
    origins: dict[Digest, ReadFrom] = field(default_factory=dict)
    contents: dict[Digest, Descriptor] = field(default_factory=dict)
    needed: defaultdict[Digest, set[str]] = field(default_factory=lambda: defaultdict(set))
    needs: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)

    def name(self, target: Location) -> str:
        return target.repository.removeprefix(self.prefix)

    def is_held(self, step: PutManifest | SetTag) -> bool:
        repository = self.held.repositories.get(self.name(step.target))
        return repository is not None and step.manifest.digest in repository.manifests

    def carry(self, steps: Iterable[PutManifest | SetTag]) -> None:
        """Take the manifests of the steps, with what each needs that is carried or that the far side has."""
        listed = list(steps)
        for step in listed:
            self.put[step.manifest.digest].add(self.name(step.target))
        for step in listed:
            manifest = self.manifests[step.manifest.digest]
            repository = self.name(step.target)
            self.contents[manifest.digest] = manifest.descriptor.bare()
            self.origins.setdefault(manifest.digest, ReadFrom(step.source, manifest.descriptor.bare()))
            found = [child for child in manifest.children if self._child(child, repository)]
            found += [blob for blob in (*manifest.blobs, *manifest.foreign) if self._blob(blob, repository)]
            known = self.needs.get(manifest.digest, ())
            self.needs[manifest.digest] = tuple(dict.fromkeys([*known, *(one.digest for one in found)]))
        # A tag that moves to a complete image of its repository carries nothing.
        for step in listed:
            digest = step.manifest.digest
            if self.is_held(step) and not any(need in self.put or need in self.blobs for need in self.needs[digest]):
                self.put[digest].discard(self.name(step.target))

    def _child(self, child: Descriptor, repository: str) -> bool:
        """Return whether a child of an index is mirrored with it."""
        self.contents.setdefault(child.digest, child.bare())
        return repository in self.put.get(child.digest, ()) or repository in self.held.where(child.digest)

    def _blob(self, blob: Descriptor, repository: str) -> bool:
        """Return whether a blob is mirrored: a layer that may not be distributed only if the mirror asks for it."""
        carried = blob.digest in self.blobs
        if not carried and not self.held.where(blob.digest):
            return False
        self.contents.setdefault(blob.digest, blob.bare())
        if carried:
            self.needed[blob.digest].add(repository)
            step = self.blobs[blob.digest]
            self.origins.setdefault(blob.digest, ReadFrom(step.source, step.blob))
        return True

    def draft(self, changes: Iterable[Change]) -> Draft:
        """Return the content of the bundle."""
        put = {digest: set(names) for digest, names in self.put.items() if names}
        images = sorted(self._images(changes), key=image_order)
        for image in images:
            if image.content.digest in put:  # the far side has it in another repository
                put[image.content.digest].add(image.repository)
        objects = [
            Object(self.contents[digest], True, tuple(sorted(names)), self.needs[digest], _UNPACKED)
            for digest, names in put.items()
        ]
        needed = {need for one in objects for need in one.needs}
        objects += [
            Object(self.contents[digest], False, tuple(sorted(names)), (), _UNPACKED)
            for digest, names in self.needed.items()
            if digest in needed
        ]
        carried = {one.digest for one in objects}
        assumes = {digest: self._assumed(digest) for digest in needed - carried}
        for image in images:
            root = image.content.digest
            if root not in carried:
                here = {image.repository, *(assumes[root].repositories if root in assumes else self.held.where(root))}
                assumes[root] = Assumed(image.content, True, tuple(sorted(here)), self.held.sent.get(root, 0))
        return Draft(
            tuple(images),
            tuple(sorted(objects, key=lambda one: one.digest)),
            tuple(sorted(assumes.values(), key=lambda one: (one.sent, one.digest))),
            {digest: self.origins[digest] for digest in carried},
        )

    def _assumed(self, digest: Digest) -> Assumed:
        content = self.contents[digest]
        return Assumed(content, content.is_manifest, self.held.where(digest), self.held.sent.get(digest, 0))

    def _images(self, changes: Iterable[Change]) -> Iterable[Image]:
        """Return the images that the far side has after the import: also those that policies keep or let wait."""
        for change in changes:
            wanted = change.after if change.state.changes or change.state == State.UNCHANGED else change.before
            if wanted is None or change.state == State.DELETED:
                continue
            content = self.contents.setdefault(wanted.digest, wanted.bare())
            origin = change.origin
            source = str(origin.location) if origin is not None else str(change.target)
            subject = origin.subject if origin is not None else None
            is_sparse = origin is not None and origin.sparse and content.media_type in media_types.INDEXES
            # Of an image that a policy keeps it is not known what it was mirrored for.
            platforms = origin.platforms if origin is not None and is_sparse and wanted == change.after else ()
            yield Image(self.name(change.target), change.tag, content, source, subject, platforms)
