"""Stage the large blobs of a bundle while they are verified: what a directory lacks is then read and hashed once.

Nothing becomes visible by that, whatever is found of the bundle: blobs are published by the copies of the plan.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Self

from mirrorsync.bundle.model import Bundle, Member, Object, Whole, blob_name
from mirrorsync.errors import Interrupted, MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import Stages
from mirrorsync.stores.bundle import Sink, untapped
from mirrorsync.sync.bundle.availability import joined
from mirrorsync.sync.pool import SMALL_BYTES
from mirrorsync.sync.run.relay import Writer
from mirrorsync.sync.session import Session

# Blobs that are made durable while the next one is read.
_ENDING: Final = 2

Wanted = Mapping[str, tuple[Descriptor, Sequence[tuple[Location, Stages]]]]


class Staging:
    """Stages the blobs that some members are, as their bytes are read. wanted: by the name of the member.

    A blob that cannot be staged is copied later, and what is wrong is reported then. Use it as a context manager, whose
    end waits until all blobs are staged.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._ending: deque[Writer] = deque()

    @contextmanager
    def tap(self, member: Member) -> Iterator[Sink]:
        """Open where the bytes of a member go. For one thread."""
        if member.name not in self._wanted:
            with untapped(member) as nowhere:
                yield nowhere
            return
        blob, targets = self._wanted[member.name]
        staged = _Staged([Writer(blob, at, repository.stage) for at, repository in targets])
        try:
            yield staged
        finally:
            staged.end()
            self._ending += staged.writers
            self._wait(_ENDING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(0)

    def _wait(self, left: int) -> None:
        while len(self._ending) > left:
            self._ending.popleft().join()


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

    Only directories take blobs before they are known to be needed. A destination that does not tell gets none.
    """
    wanted: defaultdict[Digest, dict[Location, Stages]] = defaultdict(dict)
    for destination in destinations:
        with suppress(MirrorsyncError):
            for one, at in await _lacking(bundle, destination, session):
                repository = session.destination(at)
                if isinstance(repository, Stages):
                    wanted[one.digest][Location(at.store, "")] = repository
    contents = {blob_name(digest): bundle.by_digest[digest].content for digest in wanted}
    return Staging({name: (content, tuple(wanted[content.digest].items())) for name, content in contents.items()})


async def _lacking(bundle: Bundle, destination: Location, session: Session) -> list[tuple[Object, Location]]:
    """Return the large blobs that the images need which are not at a destination, each with its repository there."""
    found: dict[Digest, tuple[Object, Location]] = {}
    seen: set[Digest] = set()
    for image in bundle.images:
        at = Location(destination.store, joined(destination.repository, image.repository))
        repository = session.destination(at)
        if not isinstance(repository, Stages):
            return []
        present = await repository.resolve(image.ref)
        if present is not None and present.digest == image.content.digest:
            continue
        pending = [image.content.digest]
        while pending:
            one = bundle.by_digest.get(pending.pop())
            if one is None or one.digest in seen:
                continue
            seen.add(one.digest)
            pending += one.needs
            large = not one.manifest and isinstance(one.form, Whole) and one.content.size > SMALL_BYTES
            if large and not await repository.has(one.content):
                found[one.digest] = (one, at)
    return list(found.values())
