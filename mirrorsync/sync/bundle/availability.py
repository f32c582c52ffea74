"""Which content of a bundle's images can be had: from the parts that are here, or from the destination itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mirrorsync.bundle.model import Assumed, Delta, Object
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import MAX_DEPTH, check_bounds
from mirrorsync.plan.model import Image
from mirrorsync.stores.bundle import BundleStore
from mirrorsync.sync.bundle.imported import Lack
from mirrorsync.sync.bundle.rebuilding import Rebuilding, base_of
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.pool import Answers
from mirrorsync.sync.session import Session, located


@dataclass(frozen=True, slots=True)
class Need:
    """Content, whether it is a manifest, and the repositories of the destination (without prefix) that may have it."""

    content: Descriptor
    manifest: bool
    repositories: tuple[str, ...]


class Availability:
    """Finds the content of images at one or more destinations; each question is asked once.

    rebuilding: offers the store what its deltas are applied to. prefixes: of the destinations, by store.
    contents, elsewhere: what was found at the destinations, as in `Observed`.
    """

    def __init__(
        self,
        store: BundleStore,
        session: Session,
        tags: DestinationTags,
        rebuilding: Rebuilding,
        prefixes: Mapping[str, str],
    ) -> None:
        self._store = store
        self._session = session
        self._tags = tags
        self._rebuilding = rebuilding
        self._not_rebuilt: dict[Digest, str] = {}
        self._prefixes = prefixes
        self._has: Answers[tuple[Location, Digest], bool] = Answers()
        self._manifests: Answers[tuple[str, Digest], Manifest | None] = Answers()
        self._whole: dict[Digest, bool] = {}
        assumed = {one.digest: one for one in store.bundle.assumes}
        self._known: Mapping[Digest, Object | Assumed] = {**assumed, **store.bundle.by_digest}
        self.contents: defaultdict[Location, set[Digest]] = defaultdict(set)
        self.elsewhere: defaultdict[str, dict[Digest, str]] = defaultdict(dict)

    async def lacks(self, image: Image, *, sparse: bool = False) -> tuple[Lack, ...]:
        """Return what an image cannot be completed without, () if nothing is missing.

        sparse: its destination may have it without all images that it is mirrored with. Raises: MirrorsyncError.
        """
        if self._is_whole(image.root.digest):
            return ()
        found: dict[Digest, Lack] = {}
        root = self._need(image.root.digest, image.root)
        one = self._store.bundle.by_digest.get(root.content.digest)
        if sparse and one is not None and await self._is_at(image.target, root):
            for need in one.needs:
                await self._walk(image.target, self._need(need), found, set(), 2)
        await self._walk(image.target, root, found, set(), 1)
        if not found and await self._is_at(image.target, root):
            await self._read(image.target, root)  # for its tag, which is set with the manifest's bytes
        return tuple(found.values())

    async def early(self, image: Image) -> list[Descriptor]:
        """Return the blobs of an image that are in the parts here and not at its destination."""
        blobs = []
        pending, seen = [image.root.digest], set[Digest]()
        while pending:
            digest = pending.pop()
            one = self._store.bundle.by_digest.get(digest)
            if digest in seen or one is None:
                continue
            seen.add(digest)
            pending += one.needs
            if not one.manifest and self._store.has(one) and not await self._blob(image.target, _of(one)):
                blobs.append(one.content)
        return blobs

    def _is_whole(self, digest: Digest, depth: int = 0) -> bool:
        """Return whether content and all that it needs is in the parts here; not if that is too deep."""
        known = self._whole.get(digest)
        if known is None:
            one = self._store.bundle.by_digest.get(digest)
            self._whole[digest] = False  # a document that lies may have circles
            known = (
                one is not None
                and self._store.has(one)
                and depth <= MAX_DEPTH
                and all(self._is_whole(need, depth + 1) for need in one.needs)
            )
            self._whole[digest] = known
        return known

    async def _walk(
        self, target: Location, need: Need, found: dict[Digest, Lack], seen: set[Digest], depth: int
    ) -> None:
        digest = need.content.digest
        if digest in seen or self._is_whole(digest):
            return
        seen.add(digest)
        check_bounds(depth if need.manifest else 1, len(seen))
        if not need.manifest:
            if not await self._blob(target, need) and not await self._is_rebuilt(need):
                found[digest] = self._lack(need)
            return
        if await self._is_at(target, need):
            return  # the destination has accepted it only after its content
        for one in await self._needs(target, need, found):
            await self._walk(target, one, found, seen, depth + 1)

    async def _needs(self, target: Location, need: Need, found: dict[Digest, Lack]) -> Iterable[Need]:
        """Return what a manifest needs, which the destination's repository lacks."""
        one = self._store.bundle.by_digest.get(need.content.digest)
        if one is not None and self._store.has(one):
            return [self._need(digest) for digest in one.needs]
        manifest = await self._manifests.get(
            (target.store, need.content.digest), lambda: self._manifest_elsewhere(target, need)
        )
        if manifest is None:
            found[need.content.digest] = self._lack(need)
            return [self._need(digest) for digest in one.needs] if one is not None else ()
        repositories = need.repositories
        children = [Need(child.bare(), True, repositories) for child in manifest.children]
        return [*children, *(Need(blob.bare(), False, repositories) for blob in manifest.blobs)]

    async def _manifest_elsewhere(self, target: Location, need: Need) -> Manifest | None:
        """Return a manifest that another repository of the destination has; the session remembers it."""
        for other in self._others(target, need):
            with located("destination", other):
                if await self._session.repository(other).resolve(need.content.digest) is None:
                    continue
            return await self._read(other, need)
        return None

    async def _read(self, at: Location, need: Need) -> Manifest:
        """Return a manifest that the destination has; the session remembers it, since no part has it."""
        with located("destination", at):
            manifest = await self._session.repository(at).manifest(need.content)
        self._session.remember(manifest)
        return manifest

    async def _blob(self, target: Location, need: Need) -> bool:
        """Return whether the destination has a blob, in a repository or in another one that it is mounted from."""
        if await self._is_at(target, need):
            return True
        if self._session.store(target.store).shares_blobs:
            return False
        for other in self._others(target, need):
            if await self._is_at(other, need):
                self.elsewhere[target.store].setdefault(need.content.digest, other.repository)
                return True
        return False

    async def _is_rebuilt(self, need: Need) -> bool:
        """Return whether a blob can be rebuilt from a delta that is here: if a destination has what that is against."""
        one = self._store.bundle.by_digest.get(need.content.digest)
        if one is None or not isinstance(one.form, Delta):
            return False
        names = base_of(self._store, one).repositories
        places = (Location(at, joined(prefix, name)) for at, prefix in self._prefixes.items() for name in names)
        self._not_rebuilt[one.digest] = why = await self._rebuilding.offer(self._store, one, places)
        return not why

    async def _is_at(self, target: Location, need: Need) -> bool:
        digest = need.content.digest
        if need.manifest and target in self._tags.absent:
            return False

        async def ask() -> bool:
            repository = self._session.destination(target)
            with located("destination", target):
                if need.manifest:
                    return await repository.resolve(digest) is not None
                return await repository.has(need.content)

        if not await self._has.get((target, digest), ask):
            return False
        self.contents[target].add(digest)
        return True

    def _others(self, target: Location, need: Need) -> Iterable[Location]:
        prefix = self._prefixes[target.store]
        others = (Location(target.store, joined(prefix, name)) for name in need.repositories)
        return [other for other in others if other != target]

    def _need(self, digest: Digest, content: Descriptor | None = None) -> Need:
        one = self._known[digest]
        return Need(content or one.content, one.manifest, one.repositories)

    def _lack(self, need: Need) -> Lack:
        one = self._store.bundle.by_digest.get(need.content.digest)
        if one is not None:
            why = self._not_rebuilt.get(one.digest) or self._store.why_not(one)
            return Lack(need.content, why, self._store.missing_part(one))
        assumed = self._known.get(need.content.digest)
        sent = assumed.sent if isinstance(assumed, Assumed) else 0
        by = f"bundle {sent} brought it" if sent else "the bundle assumes that it is there"
        return Lack(need.content, f"the destination lacks it; {by}")


def _of(one: Object) -> Need:
    return Need(one.content, one.manifest, one.repositories)


def joined(prefix: str, name: str) -> str:
    """Return a repository's name below a destination's prefix."""
    return f"{prefix}/{name}" if prefix and name else prefix or name
