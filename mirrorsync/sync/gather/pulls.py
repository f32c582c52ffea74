"""Let images wait whose manifests cannot be read, because the pulls of the run or of their source are used up.

A registry that limits pulls counts the manifests that a plan is made from. So what an image needs is counted before it
is read: its root, the children of an index, and those of its referrers, without what is known from earlier runs or is
at the destination already. Images ask one after the other, in the order of the spec.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

from mirrorsync.errors import MirrorsyncError, RateLimited
from mirrorsync.hosts import Pulls
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.budget import Allowance
from mirrorsync.plan.model import Image
from mirrorsync.spec.model import Spec
from mirrorsync.stores.base import Metered
from mirrorsync.sync.session import Session, located

# Returns whether a repository of a destination has a manifest, with all its content.
IsPresent = Callable[[Location, Descriptor], Awaitable[bool]]


class PullGate:
    """Decides for each image of a run whether its manifests may be read."""

    def __init__(self, allowance: Allowance, sources: Iterable[Location], session: Session) -> None:
        self._allowance = allowance
        self._session = session
        addresses = sorted({source.store for source in sources if source.transport.is_registry})
        stores = {address: session.store(address) for address in addresses}
        self._sources = {address: store for address, store in stores.items() if isinstance(store, Metered)}
        self._counted: set[Digest] = set()
        self._carried: defaultdict[Image, list[Image]] = defaultdict(list)

    @classmethod
    def of(cls, spec: Spec, sources: Iterable[Location], session: Session) -> PullGate | None:
        """Return the gate for a run that reads from some repositories, None if its spec limits no pulls there."""
        most = spec.budget.pulls if spec.budget is not None else None
        keep = {host: settings.pulls.keep for host, settings in spec.registries.items() if settings.pulls is not None}
        known = set(sources)
        if most is None and not any(source.store in keep for source in known):
            return None
        return cls(Allowance(None if most is None else int(most.number), keep), known, session)

    def note_referrers(self, carriers: Mapping[Image, Iterable[Image]]) -> None:
        """Remember which images come along with others as their referrers."""
        for referrer, carrying in carriers.items():
            for carrier in carrying:
                self._carried[carrier].append(referrer)

    def knows(self, source: Location, root: Descriptor, *, whole: bool) -> bool:
        """Return whether a manifest needs no pull that was not taken. whole: with its children."""
        parts = self._parts(root) if whole else (root,)
        return source.store not in self._sources or not self._unknown(parts) - self._counted

    def _parts(self, root: Descriptor) -> tuple[Descriptor, ...]:
        known = self._session.known(root)
        return (root,) if known is None else (root, *known.children)

    def _unknown(self, parts: Iterable[Descriptor]) -> set[Digest]:
        return {one.digest for one in parts if self._session.known(one) is None}

    def refuses(self, source: Location, need: int = 1) -> str:
        """Return why an image cannot be read that needs so many pulls at least, "" if it can."""
        return self._allowance.refusal(source.store, need, self._pulls()) if source.store in self._sources else ""

    def promise(self, source: Location, root: Descriptor) -> None:
        """Keep the pulls for the rest of an image of which something was read: it is to be mirrored as a whole."""
        unknown = self._unknown(self._parts(root)) - self._counted
        self._allowance.promise(source.store, len(unknown))
        self._counted |= unknown

    def used(self, source: Location) -> int:
        """Return the number of pulls that were used so far where a repository is."""
        store = self._sources.get(source.store)
        return 0 if store is None else store.pulls.used

    def note_reading(self, source: Location, root: Descriptor, before: int) -> None:
        """Note the pulls that an image has used: it has begun, and pulls that were taken for it are used.

        before: the number that was used before.
        """
        if self.used(source) > before:
            taken = {one.digest for one in self._parts(root)} & self._counted
            used = taken - self._unknown(self._parts(root))
            self._counted -= used
            self._allowance.promise(source.store, -len(used))

    def refused(self, source: Location, error: MirrorsyncError) -> str:
        """Return why an image waits whose source has refused a pull; "" if that is a failure."""
        if not isinstance(error, RateLimited) or error.store != source.store:
            return ""
        return self._allowance.end(source.store, f"{source.store} refuses more pulls")

    async def take(self, image: Image, is_present: IsPresent) -> str:
        """Take the pulls for an image and its referrers; return why it has to wait, "" if it has not.

        An index is read to know its children. Raises: MirrorsyncError if that fails.
        """
        host = image.source.store
        if host not in self._sources:
            return ""
        needed: set[Digest] = set()
        read, pending = 0, [(one, one.root) for one in (image, *self._carried.get(image, ()))]
        while pending:
            one, content = pending.pop()
            if content.digest in self._counted | needed or await is_present(one.target, content):
                continue
            manifest = self._session.known(content)
            if manifest is None and content.media_type in media_types.INDEXES:
                if why := self._allowance.refusal(host, 1, self._pulls()):
                    return why
                with located("source", one.source, content.digest):
                    manifest = await self._session.manifest(one.source, content)
                read += 1
            if manifest is None:
                needed.add(content.digest)
            else:
                pending += [(one, child) for child in manifest.children if child.digest not in one.left_out]
        why = self._allowance.take(host, len(needed), self._pulls(), read)
        if not why:
            self._counted |= needed
        return why

    def take_parts(self, source: Location, parts: Iterable[Descriptor]) -> str:
        """Take the pulls for all manifests of an image; return why it has to wait, "" if it has not."""
        if source.store not in self._sources:
            return ""
        needed = self._unknown(parts) - self._counted
        why = self._allowance.take(source.store, len(needed), self._pulls())
        if not why:
            self._counted |= needed
        return why

    def _pulls(self) -> dict[str, Pulls]:
        return {address: store.pulls for address, store in self._sources.items()}
