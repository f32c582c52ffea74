"""Let images wait whose manifests cannot be read, because the pulls of the run or of their source are used up.

A registry that limits pulls counts the manifests that a plan is made from. So what an image needs is counted before it
is read: its root, the children of an index, and those of its referrers, without what is known from earlier runs or is
at the destination already. Images ask one after the other, in the order of the spec.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable

from mirrorsync.errors import MirrorsyncError, RateLimited
from mirrorsync.hosts import Pulls
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.budget import Allowance
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import Image
from mirrorsync.spec.model import Spec
from mirrorsync.sync.session import Session, located

# Returns whether a repository of a destination has a manifest, with all its content.
IsPresent = Callable[[Location, Descriptor], Awaitable[bool]]


class PullGate:
    """Decides for each image of a run whether its manifests may be read."""

    def __init__(self, allowance: Allowance, desired: Desired, session: Session) -> None:
        self._allowance = allowance
        self._session = session
        self._sources = {image.source.store for image in desired.images if image.source.transport.is_registry}
        self._counted: set[Digest] = set()
        self._carried: defaultdict[Image, list[Image]] = defaultdict(list)
        for referrer, carriers in desired.carriers.items():
            for carrier in carriers:
                self._carried[carrier].append(referrer)

    @classmethod
    def of(cls, spec: Spec, desired: Desired, session: Session) -> PullGate | None:
        """Return the gate for a run, None if its spec limits no pulls."""
        most = spec.budget.pulls if spec.budget is not None else None
        keep = {host: settings.pulls.keep for host, settings in spec.registries.items() if settings.pulls is not None}
        limited = most is not None or any(image.source.store in keep for image in desired.images)
        return cls(Allowance(None if most is None else int(most.number), keep), desired, session) if limited else None

    def used_up(self, image: Image) -> str:
        """Return why nothing more may be read for an image, "" if something may."""
        return self._allowance.used_up(image.source.store) if image.source.store in self._sources else ""

    def refused(self, image: Image, error: MirrorsyncError) -> str:
        """Return why an image waits whose source has refused a pull; "" if that is a failure."""
        if not isinstance(error, RateLimited) or error.store != image.source.store:
            return ""
        return self._allowance.end(image.source.store, f"{image.source.store} refuses more pulls")

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
                pending += [(one, child) for child in manifest.children]
        why = self._allowance.take(host, len(needed), self._pulls(), read)
        if not why:
            self._counted |= needed
        return why

    def _pulls(self) -> dict[str, Pulls]:
        return self._session.pulls(self._sources)
