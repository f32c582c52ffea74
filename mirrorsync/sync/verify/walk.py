"""Walk over images at their store: read every manifest, and check that every blob is present with its size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mirrorsync.errors import ContentNotFound, IntegrityError, MirrorsyncError, Mismatch
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.oci.referrer_types import kind_of
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.plan.model import Amount
from mirrorsync.stores.base import Confirming, ListsRoots, ReadsBack, Repository, Unpacked
from mirrorsync.stores.located import located_at
from mirrorsync.sync.gather.roots import unselected
from mirrorsync.sync.pool import Answers, all_of
from mirrorsync.sync.session import Session
from mirrorsync.sync.verify.model import Found, Health, Part, Subject
from mirrorsync.sync.verify.parts import Needs, needs_of, needs_unpacked, origin_of, root_part

# Content, by where it is stored: the store if its repositories share their blobs, otherwise the repository.
Key = tuple[Location, Digest]


@dataclass(slots=True)
class State:
    """What is known of one piece of content. location: a repository that it is in. error: why it is not checked."""

    location: Location
    part: Part
    health: Health = Health.COMPLETE
    found: Found | None = None
    error: MirrorsyncError | None = None


@dataclass(frozen=True, slots=True)
class Walked:
    """An image after the walk. root: None if there is no such image. needs: its content, the root included."""

    subject: Subject
    root: Descriptor | None
    needs: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a spec wants of an image: not the children `left_out`; foreign: also layers that may not be distributed."""

    left_out: frozenset[Digest]
    foreign: bool


class Walker:
    """Walks over many images; content that they share is checked once.

    open_repository: returns the repository to ask. referrers: whether the referrers of a root belong to its image, in
    stores that do not list them with their roots. read: the manifests that were read.
    """

    def __init__(
        self, session: Session, open_repository: Callable[[Location], Repository], *, referrers: bool = False
    ) -> None:
        self._session = session
        self._open = open_repository
        self._referrers = referrers
        self._roots: Answers[str, Mapping[tuple[str, Ref], Descriptor] | None] = Answers()
        self._manifests: Answers[Key, Needs] = Answers()
        self._presence: Answers[Key, None] = Answers()
        self.states: dict[Key, State] = {}
        self.read = Amount()

    def repository(self, location: Location) -> Repository:
        """Return the repository at `location`."""
        return self._open(location)

    async def walk(self, subject: Subject) -> Walked:
        """Walk over one image. Raises: MirrorsyncError if its root cannot be resolved, or it is out of bounds."""
        repository = self._open(subject.target)
        if isinstance(repository, Unpacked):
            return await self._walk_unpacked(subject, repository)
        root = subject.root or await self._resolve(subject, repository)
        if root is None:
            return Walked(subject, None)
        needs: dict[Key, None] = {}
        part = root_part(root)
        if root.is_manifest:
            await self._descend(subject.target, part, 1, needs, await self._wanted(subject, root))
            await self._descend_to_referrers(subject.target, root, needs)
        else:
            await self._check(subject.target, part, needs)
        return Walked(subject, root, tuple(needs))

    async def _walk_unpacked(self, subject: Subject, repository: Unpacked) -> Walked:
        image = await repository.unpacked(subject.ref)
        if image is None:
            return Walked(subject, None)
        config = self._state(subject.target, Part(image.descriptor, "config"))
        layers = [self._state(subject.target, part) for part in needs_unpacked(image).blobs]
        return Walked(subject, image.descriptor, tuple(dict.fromkeys([config, *layers])))

    async def _resolve(self, subject: Subject, repository: Repository) -> Descriptor | None:
        named = await self._roots.get(subject.target.store, lambda: self._named(subject.target.store))
        if named is not None and (subject.target.repository, subject.ref) in named:
            return named[subject.target.repository, subject.ref]
        found = await repository.resolve(subject.ref)
        if found is None and isinstance(repository, Confirming):
            return await repository.confirm(subject.ref)
        return found

    async def _named(self, address: str) -> Mapping[tuple[str, Ref], Descriptor] | None:
        store = self._session.store(address)
        return await store.roots() if isinstance(store, ListsRoots) else None

    async def _wanted(self, subject: Subject, root: Descriptor) -> _Wanted | None:
        """Return what a spec wants of an image, None if all of it but its foreign layers."""
        if not subject.only and not subject.foreign:
            return None
        left_out = await unselected(self._session, subject.target, root, subject.only) if subject.only else frozenset()
        return _Wanted(left_out, subject.foreign)

    async def _descend(
        self,
        location: Location,
        part: Part,
        depth: int,
        needs: dict[Key, None],
        wanted: _Wanted | None = None,
    ) -> None:
        key = self._state(location, part)
        if key in needs:
            return
        needs[key] = None
        check_bounds(depth, len(needs))
        below = await self._manifests.get(key, lambda: self._read(location, part, key))
        named = below.blobs + below.foreign if wanted is not None and wanted.foreign else below.blobs
        blobs = [blob for blob in named if (key[0], blob.content.digest) not in needs]
        check_bounds(depth, 1, len(needs) + len(blobs))
        await all_of(self._check(location, blob, needs) for blob in blobs)
        left_out = wanted.left_out if wanted is not None else ()
        children = [child for child in below.children if child.content.digest not in left_out]
        await all_of(self._descend(location, child, depth + 1, needs, wanted) for child in children)

    async def _descend_to_referrers(self, location: Location, root: Descriptor, needs: dict[Key, None]) -> None:
        repository = self._open(location)
        if not self._referrers or isinstance(repository, ReadsBack):
            return
        for referrer in await repository.referrers(root.digest):
            kind = kind_of(referrer)
            role = "referrer" if kind == "other" else f"referrer ({kind})"
            await self._descend(location, Part(referrer.bare(), role), 2, needs)

    async def _read(self, location: Location, part: Part, key: Key) -> Needs:
        """Read a manifest and return what it names; nothing if it cannot be read, which is then in its state."""
        state, content = self.states[key], part.content
        try:
            manifest = await self._open(location).manifest(content)
        except ContentNotFound:
            state.health = Health.MISSING
        except IntegrityError as error:
            state.health, state.found = Health.DAMAGED, found_of(error)
        except MirrorsyncError as error:
            state.health, state.error = Health.UNCHECKED, error
        else:
            self.read = self.read.plus(manifest.descriptor)
            return needs_of(manifest, origin_of(part))
        return Needs()

    async def _check(self, location: Location, part: Part, needs: dict[Key, None]) -> None:
        key = self._state(location, part)
        needs[key] = None
        await self._presence.get(key, lambda: self._find(location, part, self.states[key]))

    async def _find(self, location: Location, part: Part, state: State) -> None:
        """Check that a blob is present with its size."""
        repository, content = self._open(location), part.content
        try:
            with located_at(location.store, location.repository, content.digest):
                if await repository.has(content):
                    return
                present = await repository.blob(content.digest)
                if present is not None and present.size != content.size:
                    state.health, state.found = Health.DAMAGED, Found(present.size)
                elif present is None and not await _can_be_read(repository, content):
                    state.health = Health.MISSING
        except MirrorsyncError as error:
            state.health, state.error = Health.UNCHECKED, error

    def _state(self, location: Location, part: Part) -> Key:
        key = (self._session.blobs_of(location), part.content.digest)
        self.states.setdefault(key, State(location, part))
        return key


async def _can_be_read(repository: Repository, blob: Descriptor) -> bool:
    """Return whether a blob that a HEAD did not find can be read all the same: some registries answer HEADs wrongly."""
    if isinstance(repository, ReadsBack):
        return False

    def read() -> bool:
        try:
            with repository.open(blob) as chunks:
                next(chunks, b"")
        except ContentNotFound:
            return False
        return True

    return await asyncio.to_thread(read)


def found_of(error: IntegrityError) -> Found:
    """Return what was found instead of content."""
    if not isinstance(error, Mismatch):
        return Found()
    return Found(error.size, Digest(error.digest) if error.digest else None)
