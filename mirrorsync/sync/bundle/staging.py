"""Stage the large blobs of a bundle while they are verified, so that each byte is read and hashed once.

A directory has them under temporary names, and a registry in uploads that are not closed. Nothing becomes visible by
that, whatever is found of the bundle: blobs are published by the copies of the plan.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Self

from mirrorsync.bundle.model import Bundle, Image, Member, Object, Whole, blob_name
from mirrorsync.errors import Interrupted, MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import LimitsWrites, Stages, Store
from mirrorsync.stores.bundle import UNTAPPED, Sink
from mirrorsync.sync.bundle.availability import joined
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.pool import SMALL_BYTES, for_each
from mirrorsync.sync.run.relay import Writer, WriteTurns
from mirrorsync.sync.session import Session

# Blobs that are made durable while the next one is read.
_ENDING: Final = 2

Wanted = Mapping[str, tuple[Descriptor, Sequence[tuple[Location, Stages]]]]


class Staging:
    """Stages the blobs that some members are, as their bytes are read (a Tap). wanted: by the name of the member.

    A blob that cannot be staged is copied later, and what is wrong is reported then. Use it as a context manager, whose
    end waits until all blobs are staged.
    """

    def __init__(self, wanted: Wanted, session: Session) -> None:
        self._wanted = wanted
        self._registries = {
            at.store for _, targets in wanted.values() for at, _ in targets if _is_registry(session.store(at.store))
        }
        self._turns = WriteTurns(session)
        self._ending: deque[Writer] = deque()
        self._lock = threading.Lock()
        self._sent = self._waited = 0

    @property
    def waits(self) -> bool:
        """Whether reading waits for registries more often than not: they take several blobs at a time faster."""
        return self._waited * 2 > self._sent

    @contextmanager
    def open(self, member: Member) -> Iterator[Sink]:
        """Open where the bytes of a member go, for one thread."""
        if member.name not in self._wanted:
            with UNTAPPED.open(member) as nowhere:
                yield nowhere
            return
        blob, targets = self._wanted[member.name]
        with self._turns.taken(at for at, _ in targets):
            staged = _Staged([Writer(blob, at, repository.stage) for at, repository in targets])
            try:
                yield staged
            finally:
                staged.end()
                self._note(staged.writers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._ending:
            writer.join()

    def _note(self, writers: Sequence[Writer]) -> None:
        """Let writers end, after some of those before them have."""
        with self._lock:
            for writer in writers:
                if writer.target.store in self._registries:
                    self._sent += writer.sent
                    self._waited += writer.waited
            self._ending += writers
            old = [self._ending.popleft() for _ in range(len(self._ending) - _ENDING)]
        for writer in old:
            writer.join()


def _is_registry(store: Store) -> bool:
    return isinstance(store, LimitsWrites)


class _Staged:
    """One blob for several writers."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.writers = writers
        self._error: MirrorsyncError | None = Interrupted("it was not read to its end, or is damaged")

    def write(self, data: bytes) -> None:
        for writer in self.writers:
            writer.send(data)

    def keep(self) -> None:
        self._error = None

    def end(self) -> None:
        for writer in self.writers:
            writer.send(self._error)


async def staging(bundle: Bundle, destinations: Sequence[Location], session: Session) -> Staging:
    """Return what stages the blobs that destinations lack of the images of a bundle, by its document alone.

    A destination that does not tell, or that takes no blobs before they are known to be needed, gets none.
    """
    wanted: defaultdict[Digest, dict[Location, Stages]] = defaultdict(dict)
    for destination in destinations:
        with suppress(MirrorsyncError):
            for digest, at in (await _Lacking(bundle, destination, session).blobs()).items():
                repository = session.destination(at)
                if isinstance(repository, Stages):
                    wanted[digest][at] = repository
    contents = {blob_name(digest): bundle.by_digest[digest].content for digest in wanted}
    blobs = {name: (content, tuple(wanted[content.digest].items())) for name, content in contents.items()}
    return Staging(blobs, session)


class _Lacking:
    """Finds the large blobs that a destination lacks, and the repository that the plan will copy each one to."""

    def __init__(self, bundle: Bundle, destination: Location, session: Session) -> None:
        self._bundle = bundle
        self._destination = destination
        self._session = session
        self._tags = DestinationTags(session)

    async def blobs(self) -> dict[Digest, Location]:
        """Return the blobs, each with the repository of the first image that needs it.

        Without those of which the destination does not tell. Raises: MirrorsyncError if it cannot be opened.
        """
        needed = _needed(self._bundle, await self._changed())
        lacking: set[Digest] = set()

        async def ask(one: tuple[Object, str]) -> None:
            blob, first = one
            with suppress(MirrorsyncError):
                if not await self._has(blob, first):
                    lacking.add(blob.digest)

        await for_each(needed.values(), ask)
        return {digest: self._at(first) for digest, (_, first) in needed.items() if digest in lacking}

    async def _has(self, blob: Object, first: str) -> bool:
        """Return whether a repository has a blob, or another one that it can be mounted from."""
        for name in dict.fromkeys((first, *blob.repositories)):
            at = self._at(name)
            if at not in self._tags.absent and await self._session.destination(at).has(blob.content):
                return True
        return False

    async def _changed(self) -> list[Image]:
        """Return the images with large blobs that are not at the destination, or are another one there.

        The plan asks for their tags again: until then all of the bundle is read, which may take hours.
        """
        images = _with_large_blobs(self._bundle)
        if not (images and isinstance(self._session.destination(self._at(images[0].repository)), Stages)):
            return []
        wanted: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
        for image in images:
            wanted[self._at(image.repository)].append(image.tag or image.content.digest)
        await self._tags.ask(wanted)
        changed: set[Image] = set()

        async def look(image: Image) -> None:
            with suppress(MirrorsyncError):
                present = await self._tags.named(self._at(image.repository), image.tag or image.content.digest)
                if present is None or present.digest != image.content.digest:
                    changed.add(image)

        await for_each(images, look)
        return [image for image in images if image in changed]

    def _at(self, repository: str) -> Location:
        return Location(self._destination.store, joined(self._destination.repository, repository))


def _needed(bundle: Bundle, images: Iterable[Image]) -> dict[Digest, tuple[Object, str]]:
    """Return the large blobs that are whole in a bundle and that images need, with the repository of the first one."""
    found: dict[Digest, tuple[Object, str]] = {}
    seen: set[Digest] = set()
    for image in images:
        pending = [image.content.digest]
        while pending:
            one = bundle.by_digest.get(pending.pop())
            if one is None or one.digest in seen:
                continue
            seen.add(one.digest)
            pending += one.needs
            if _is_staged(one):
                found[one.digest] = (one, image.repository)
    return found


def _with_large_blobs(bundle: Bundle) -> list[Image]:
    """Return the images of a bundle that need large blobs which are whole in it."""
    users: defaultdict[Digest, list[Digest]] = defaultdict(list)
    for one in bundle.objects:
        for need in one.needs:
            users[need].append(one.digest)
    pending = [one.digest for one in bundle.objects if _is_staged(one)]
    found: set[Digest] = set()
    while pending:
        digest = pending.pop()
        if digest not in found:
            found.add(digest)
            pending += users[digest]
    return [image for image in bundle.images if image.content.digest in found]


def _is_staged(one: Object) -> bool:
    return not one.manifest and isinstance(one.form, Whole) and one.content.size > SMALL_BYTES
