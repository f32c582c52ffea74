"""One stream of bytes to several writers: a blob is read once and written to all its targets."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

from mirrorsync.errors import Interrupted, MirrorsyncError
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import LimitsWrites, WritableRepository
from mirrorsync.sync.session import Session, located

# Chunks of CHUNK_BYTES that are queued for a slow writer before the reader waits too: this bounds memory.
_AHEAD = 4
Put = Callable[[Descriptor, VerifiedChunks], object]


def relay(
    blob: Descriptor, content: VerifiedChunks, targets: Mapping[Location, WritableRepository]
) -> dict[Location, MirrorsyncError]:
    """Write `content` to every target at the pace of the slowest; return the errors of the targets that failed.

    If one target fails, the others go on. If reading fails, no target keeps the blob. Blocking.
    """
    if len(targets) == 1:
        ((target, repository),) = targets.items()
        error = _put(blob, content, target, repository.put)
        return {target: error} if error else {}
    writers = [Writer(blob, target, repository.put) for target, repository in targets.items()]
    ending: MirrorsyncError | None = Interrupted("reading was aborted")
    try:
        for chunk in content:
            for writer in writers:
                writer.send(chunk)
            if not any(writer.open for writer in writers):
                break
        ending = None
    except MirrorsyncError as error:
        ending = error
    finally:
        for writer in writers:
            writer.send(ending)
    outcomes = {writer.target: writer.join() for writer in writers}
    return {target: failure for target, failure in outcomes.items() if failure is not None}


def _put(blob: Descriptor, content: VerifiedChunks, target: Location, put: Put) -> MirrorsyncError | None:
    try:
        # An error of the source passes through `put` and has its location already; other errors are the destination's.
        with located("destination", target):
            put(blob, content)
    except MirrorsyncError as error:
        return error
    return None


class WriteTurns:
    """Turns of streams that write to several stores, each of which takes only some blobs at a time.

    A stream takes its turns at all its stores before it begins, always in the same order. Streams that take one while
    they hold another wait for each other for ever: each has a connection that the other one needs.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._making = threading.Lock()
        self._turns: dict[str, threading.Semaphore] = {}

    @contextmanager
    def taken(self, targets: Iterable[Location]) -> Iterator[None]:
        """Wait for the turns at the stores of some targets, and hold them while the block runs. Blocking."""
        with ExitStack() as held:
            for address in sorted({target.store for target in targets}):
                store = self._session.store(address)
                if isinstance(store, LimitsWrites):
                    with self._making:
                        turns = self._turns.setdefault(address, threading.Semaphore(store.writes_at_once))
                    held.enter_context(turns)
            yield


class Writer:
    """One target's writer in its own thread, fed through a short queue.

    put: writes the blob from its chunks, which the caller verifies: it ends the queue without an error only after that.
    sent, waited: how many times `send` was called, and how many of these found the queue full.
    """

    def __init__(self, blob: Descriptor, target: Location, put: Put) -> None:
        self.target = target
        self.open = True
        self.sent = self.waited = 0
        self._queue: queue.Queue[bytes | MirrorsyncError | None] = queue.Queue(_AHEAD)
        self._outcome: Future[MirrorsyncError | None] = Future()
        self._thread = threading.Thread(target=self._write, args=(blob, put), name=f"write {target}")
        self._thread.start()

    def _write(self, blob: Descriptor, put: Put) -> None:
        try:
            # The reader verifies, once for all writers, and ends the queue only after that.
            verified = VerifiedChunks.elsewhere(blob, self._received())
            self._outcome.set_result(_put(blob, verified, self.target, put))
        except BaseException as crash:  # noqa: BLE001 - a bug in a thread: `join` raises it where it is seen
            self._outcome.set_exception(crash)
        finally:
            self.open = False

    def send(self, item: bytes | MirrorsyncError | None) -> None:
        """Queue a chunk, the reader's error, or None at the end; waits while the queue is full."""
        self.sent += 1
        self.waited += self._queue.full()
        while self.open:
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def join(self) -> MirrorsyncError | None:
        """Wait for the writer to end; return its error."""
        self._thread.join()
        return self._outcome.result()

    def _received(self) -> Iterator[bytes]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, MirrorsyncError):
                raise item
            yield item
