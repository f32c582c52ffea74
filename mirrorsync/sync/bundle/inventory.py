"""Take the inventory of a location: its manifests are read, and name its blobs; no blob is read or asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mirrorsync.bundle.held import Held, HeldRepository, Inventory, Unread
from mirrorsync.errors import ContentNotFound, MirrorsyncError, RepositoryNotFound, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Pick, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import MAX_DEPTH
from mirrorsync.plan.model import Failure
from mirrorsync.stores.base import ListsRoots
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.verify.model import Subject
from mirrorsync.sync.verify.scope import Scope, subjects_at
from mirrorsync.version import __version__


async def take_inventory(
    scope: Scope, session: Session, clock: Callable[[], str], repositories: Iterable[Location] | None = None
) -> tuple[Inventory, tuple[Failure, ...]]:
    """Return what a location has, and what could not be read: that is left out, so that more is sent, never less.

    repositories: those to look into, if the registry does not list them. clock: returns the time, as documents have it.
    Raises: UsageError for a store that keeps no manifests; Denied if the registry does not list its repositories.
    """
    created = clock()
    transport = scope.location.transport
    if not (transport.keeps_manifests and transport.many):
        raise UsageError(
            f"{scope.location.store} does not keep images with their manifests, and takes no bundle",
            remedy="take the inventory of a registry, or of an oci: layout",
        )
    if repositories is None:
        subjects, failures = await _subjects(session, scope)
    else:
        subjects, failures = [], []
        for location in repositories:
            found, lost = await _subjects(session, Scope(location))
            subjects += found
            failures += lost
    taking = _Taking(session, scope.location, failures)
    await for_each(subjects, taking.take)
    unread = tuple(Unread(one.subject, one.error.message) for one in taking.failures)
    held = Held(dict(sorted((name, taking.repository(name)) for name in taking.found)))
    return Inventory(created, str(scope.location), f"mirrorsync {__version__}", held, unread), tuple(taking.failures)


async def _subjects(session: Session, scope: Scope) -> tuple[list[Subject], list[Failure]]:
    try:
        return await subjects_at(session, scope)
    except (ContentNotFound, RepositoryNotFound):
        return [], []  # a mirror that is new has nothing


@dataclass(slots=True)
class _Taking:
    session: Session
    location: Location
    failures: list[Failure]
    found: dict[str, HeldRepository] = field(default_factory=dict)
    walked: set[tuple[str, Digest]] = field(default_factory=set)

    def name(self, target: Location) -> str:
        """Return a repository's name below the location."""
        prefix = self.location.repository
        return target.repository.removeprefix(f"{prefix}/") if target.repository != prefix else target.repository

    def repository(self, name: str) -> HeldRepository:
        """Return what was found of a repository, sorted."""
        one = self.found[name]
        return HeldRepository(
            dict(sorted(one.tags.items())),
            dict(sorted(one.manifests.items())),
            dict(sorted(one.blobs.items())),
            one.sparse,
        )

    async def take(self, subject: Subject) -> None:
        """Read an image with its referrers; if that fails, it is left out as a whole."""
        target, ref = subject.target, subject.ref
        try:
            with located("destination", target, ref):
                await self._take(subject)
        except MirrorsyncError as error:
            self.failures.append(Failure(str(subject), error, source=target, ref=ref))

    async def _take(self, subject: Subject) -> None:
        repository = self.session.repository(subject.target)
        root = subject.root or await repository.resolve(subject.ref)
        if root is None or isinstance(subject.ref, Pick):
            return
        found = HeldRepository()
        await self._walk(subject.target, root, found, 1)
        store = self.session.store(subject.target.store)
        if not isinstance(store, ListsRoots):  # those list referrers among their roots
            for referrer in await repository.referrers(root.digest):
                await self._walk(subject.target, referrer.bare(), found, 2)
        one = self.found.setdefault(self.name(subject.target), HeldRepository())
        one.manifests |= found.manifests
        one.blobs |= found.blobs
        one.sparse |= found.sparse
        if isinstance(subject.ref, Tag):
            one.tags[subject.ref] = root.digest

    async def _walk(self, target: Location, content: Descriptor, found: HeldRepository, depth: int) -> None:
        """Read a manifest and its children; of an index that lacks some, those that are present."""
        if content.digest in found.manifests or depth > MAX_DEPTH:
            return
        taken = self.found.get(self.name(target))
        manifest = await self.session.manifest(target, content)
        for child in manifest.children:
            if taken is not None and child.digest in taken.manifests:
                continue
            # An index may be mirrored without all its images, also if they are known from another repository or run.
            known = self.session.known(child) is not None
            if known and await self.session.repository(target).resolve(child.digest) is None:
                found.sparse.add(content.digest)
                continue
            try:
                await self._walk(target, child, found, depth + 1)
            except ContentNotFound:
                found.sparse.add(content.digest)
        found.blobs |= {blob.digest: blob.bare() for blob in manifest.blobs}
        found.manifests[content.digest] = manifest.descriptor.bare()
