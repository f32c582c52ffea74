"""Find the manifests without a tag that fell out of the kept generations, and add their deletion to a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from mirrorsync.errors import MirrorsyncError, NotFound
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Failure
from mirrorsync.plan.untagged import Untagged, drop_decisions, drops, expired
from mirrorsync.spec.model import Spec
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


class Expired:
    """The manifests that this mirror has put, that have no tag any more, and that no kept generation needs.

    forget: called with those that are gone, or that another tag or an index uses now: they are not of this mirror then.
    """

    def __init__(
        self,
        spec: Spec,
        untagged: Untagged,
        session: Session,
        forget: Callable[[Iterable[tuple[Location, Digest]]], None],
    ) -> None:
        self._stores = frozenset(one.location.store for one in spec.destinations.values())
        self._untagged = untagged
        self._session = session
        self._forget = forget

    async def added_to(self, desired: Desired, observed: Observed) -> tuple[Desired, Observed]:
        """Add the deletions to what a plan is made from. If nothing has expired, nothing is asked."""
        gone = expired(self._untagged, self._stores)
        if not gone:
            return desired, observed
        found: list[tuple[Location, Descriptor]] = []
        failures: list[Failure] = []

        async def look(one: tuple[Location, frozenset[Digest]]) -> None:
            target, digests = one
            try:
                with located("destination", target):
                    found.extend((target, content) for content in await self._unused(target, digests, desired))
            except MirrorsyncError as error:
                failures.append(Failure(str(target), error))

        await for_each(gone.items(), look)
        images = drops(found)
        return (
            replace(desired, images=(*desired.images, *images), failures=(*desired.failures, *failures)),
            replace(
                observed,
                roots={**observed.roots, **images},
                decisions={**observed.decisions, **drop_decisions(images)},
            ),
        )

    async def _unused(self, target: Location, digests: frozenset[Digest], desired: Desired) -> list[Descriptor]:
        """Return the manifests of a repository that nothing uses: no tag, no kept generation, and no wanted image."""
        present = await self._resolved(target, sorted(digests))
        self._forget((target, digest) for digest in digests - {content.digest for content in present})
        if not present:
            return []
        tags = [tag async for tag in self._session.repository(target).tags()]
        used = await self._led_to(target, await self._resolved(target, tags))
        self._forget((target, content.digest) for content in present if content.digest in used)
        used |= await self._led_to(target, await self._resolved(target, self._untagged.needed_at(target)))
        for image in desired.images:
            if image.target == target and image.root.digest not in used:
                used |= await self._led_to(image.source, [image.root])
        return [content for content in present if content.digest not in used]

    async def _resolved(self, target: Location, refs: Iterable[Tag | Digest]) -> list[Descriptor]:
        """Return what some tags and digests name, as far as they are present. Raises: MirrorsyncError."""
        found: list[Descriptor] = []
        failures: list[MirrorsyncError] = []

        async def resolve(ref: Tag | Digest) -> None:
            try:
                content = await named_at(self._session, target, ref) if not failures else None
            except MirrorsyncError as error:
                failures.append(error)
                return
            found.extend([content] if content is not None else [])

        await for_each(refs, resolve)
        if failures:
            raise failures[0]
        return found

    async def _led_to(self, location: Location, roots: Iterable[Descriptor]) -> set[Digest]:
        """Return the digests of roots, and of all manifests that they lead to. A missing one leads to nothing."""
        seen: set[Digest] = set()
        waiting = list(roots)
        while waiting:
            content = waiting.pop()
            if content.digest in seen:
                continue
            seen.add(content.digest)
            if content.media_type in media_types.INDEXES:
                waiting += await self._children(location, content)
        return seen

    async def _children(self, location: Location, index: Descriptor) -> tuple[Descriptor, ...]:
        try:
            return (await self._session.manifest(location, index.bare())).children
        except NotFound:
            return ()
