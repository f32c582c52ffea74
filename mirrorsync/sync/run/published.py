"""Announce an image when its tag is durable and visible: many stores write the names of images only at a flush."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from typing import Final

from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import TagSet
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.stores.base import Deferring
from mirrorsync.sync.session import Session

_EVERY_SECONDS: Final = 1.0


class Published:
    """The tags that were set in a run; each is announced once others can see it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._deferring: dict[str, Deferring | None] = {}
        self._waiting: defaultdict[str, deque[tuple[Location, Tag, TagSet]]] = defaultdict(deque)

    def tag_set(self, target: Location, tag: Tag, digest: str) -> None:
        """Announce a tag that was set: at once, or when its store has written it."""
        event = TagSet(str(Reference.of(target, tag)), digest)
        store = self._store(target.store)
        if store is None:
            self._session.announce(event)
            return
        self._waiting[target.store].append((target, tag, event))
        self._announce(target.store, store)

    def _announce(self, address: str, store: Deferring) -> None:
        waiting = self._waiting[address]
        # In the order of the run; a store that flushes from time to time has then written the first ones.
        while waiting and store.is_published(waiting[0][0].repository, waiting[0][1]):
            self._session.announce(waiting.popleft()[2])

    async def keep_up(self) -> None:
        """Let stores write from time to time what they defer, and announce it, until this is cancelled.

        A run whose only transfer takes an hour has then not lost what was done before, if it is killed.
        """
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            for address in [address for address, waiting in self._waiting.items() if waiting]:
                store = self._store(address)
                # What goes wrong here goes wrong at the flush after the last step, too, and is reported then.
                with suppress(MirrorsyncError):
                    if store is not None:
                        await store.flush_if_due()
                        self._announce(address, store)

    def flushed(self, address: str) -> None:
        """Announce the other tags of a store, after its flush has succeeded."""
        waiting = self._waiting[address]
        while waiting:
            self._session.announce(waiting.popleft()[2])

    def _store(self, address: str) -> Deferring | None:
        if address not in self._deferring:
            store = self._session.store(address)
            self._deferring[address] = store if isinstance(store, Deferring) else None
        return self._deferring[address]
