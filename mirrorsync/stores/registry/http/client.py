"""One registry to talk to: both engines, its credentials, its limits and its moods."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import urlsplit

from mirrorsync.errors import MirrorsyncError, RegistryFailure, TokenRanOut, printable
from mirrorsync.events import Noticed, Observer
from mirrorsync.stores.registry.http.answers import checked
from mirrorsync.stores.registry.http.auth import Authorizer, Find
from mirrorsync.stores.registry.http.conversation import Authorize, converse, refuse_web_page
from mirrorsync.stores.registry.http.encoding import plain
from mirrorsync.stores.registry.http.messages import Answer, Outgoing, Reply, Request
from mirrorsync.stores.registry.http.network import Network
from mirrorsync.stores.registry.http.origins import resolved, same_origin
from mirrorsync.stores.registry.http.questions import Questions
from mirrorsync.stores.registry.http.retry import ATTEMPTS, Clock, Gate, Persistence, Transient

if TYPE_CHECKING:
    from mirrorsync.stores.registry.http.streams import Streams

T = TypeVar("T")

# Connections that one reader keeps open: to the registry itself, and to the storage that it redirects to.
_KEPT_READING: Final = 2


class Client:
    """Talks to one registry. Made on the event loop; `ask` and `once` run there, the blocking methods in threads.

    url: of the registry, such as https://registry-1.docker.io. find: returns the credentials for a
    repository, and may block. attempts: how often a request is sent that fails for a moment.
    """

    def __init__(
        self,
        url: str,
        network: Network,
        find: Find,
        *,
        realm_hosts: Iterable[str] = (),
        clock: Clock | None = None,
        observer: Observer,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.url = url
        self.name = urlsplit(url).netloc
        self._network = network
        self._clock = clock or Clock()
        self._observer = observer
        self._persistence = Persistence(self._clock, Gate(self._clock), observer, attempts)
        self._questions = Questions(network, self._check)
        self._authorizer = Authorizer(url, find, self._send, self._persistence, self._clock, observer, realm_hosts)
        self._loop = asyncio.get_running_loop()
        self._making = threading.Lock()
        self._made: list[Streams] = []
        self._warnings: set[str] = set()

    async def ask(self, request: Request, doing: str) -> Answer:
        """Return the answer to a request that may be sent again, trying as long as that can help.

        doing: what it is for, such as "reading its tags". Raises: MirrorsyncError.
        """
        return await self._persistence.ask(f"{self.name}: {doing}", lambda: self.once(request, doing))

    async def once(self, request: Request, doing: str) -> Answer:
        """Return the answer to one attempt. Raises: Transient, MirrorsyncError."""
        conversation = converse(request, self.url)
        move = next(conversation)
        while True:
            came: str | Answer
            if isinstance(move, Authorize):
                came = await self._authorizer.header(move)
            else:
                came = plain(await self._questions.send(move), move.request)
            try:
                move = conversation.send(came)
            except StopIteration as end:
                return self._checked(cast("Answer", end.value), request, doing)

    async def _send(self, outgoing: Outgoing) -> Answer:
        return plain(await self._questions.send(outgoing), outgoing.request)

    async def persist(self, doing: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, trying again when it raises Transient. For requests that belong together."""
        return await self._persistence.ask(f"{self.name}: {doing}", attempt)

    def ask_blocking(self, request: Request, doing: str) -> Answer:
        """Do the same as `ask` from a thread."""

        def attempt() -> Answer:
            with self.reply(request, self.writing, doing) as reply:
                return reply.answer

        return self._persistence.call(f"{self.name}: {doing}", attempt)

    def persist_blocking(self, doing: str, attempt: Callable[[], T]) -> T:
        """Do the same as `persist` from a thread."""
        return self._persistence.call(f"{self.name}: {doing}", attempt)

    def noted(self, error: Transient) -> MirrorsyncError:
        """Return the failure for who cannot try again here; see `Persistence.noted`."""
        return self._persistence.noted(error)

    @contextmanager
    def reply(self, request: Request, streams: Streams, doing: str) -> Iterator[Reply]:
        """Send a request from a thread and return the answer with its body still to be read; one attempt.

        Raises: Transient, MirrorsyncError.
        """
        conversation = converse(request, self.url)
        move = next(conversation)
        while True:
            if isinstance(move, Authorize):
                header = self._authorization(move)
                try:
                    move = conversation.send(header)
                except StopIteration as end:
                    # Nothing else to say than what was refused; a refusal's body is in its answer.
                    yield Reply(self._checked(cast("Answer", end.value), request, doing), iter(()))
                    return
                continue
            with streams.exchange(move) as reply:
                try:
                    move = conversation.send(reply.answer)
                except StopIteration:
                    self._checked(reply.answer, request, doing)
                    yield reply
                    return

    def send(self, request: Request, body: Iterable[bytes], size: int, doing: str) -> Answer:
        """Send a request whose body can be taken only once, from a thread. Raises: Transient, MirrorsyncError.

        It is authorised before. A token that is refused all the same, and a redirect, cannot be answered with the
        same body again: the first raises TokenRanOut, after the token was renewed, the second RegistryFailure.
        """
        scopes = request.scopes if same_origin(request.url, self.url) else ()
        authorization = self._authorization(Authorize(scopes))
        with self.writing.exchange(Outgoing(request, authorization), body, size) as reply:
            answer = reply.answer
        if answer.status == 401 and scopes:
            self._authorization(Authorize(scopes, authorization, answer.all("WWW-Authenticate")))
            raise TokenRanOut(f"{doing}: the registry did not take a token that it had just given")
        if 300 <= answer.status < 400:
            raise RegistryFailure(f"{doing}: the registry redirects an upload")
        refuse_web_page(answer, request)
        return self._checked(answer, request, doing)

    def monotonic(self) -> float:
        """Return the seconds of a clock that only goes forward."""
        return self._clock.monotonic()

    async def check_login(self, scopes: tuple[str, ...]) -> bool:
        """Tell whether the credentials for some scopes are right; may ask once. Raises: Unauthorized."""
        return await self._authorizer.check(scopes)

    def accepts_login(self, scopes: tuple[str, ...]) -> bool:
        """Tell whether the credentials for some scopes are known to be right; asks nothing. For any thread."""
        return self._authorizer.accepts(scopes)

    def resolved(self, base: str, location: str) -> str:
        """Return where a Location or Link leads, seen from `base`. Raises: RegistryFailure when it may not."""
        return resolved(base, location, self.url)

    @cached_property
    def reading(self) -> Streams:
        """The connections that blobs are read over; made when first needed."""
        return self._streams(self._network.connections.reading, _KEPT_READING)

    @cached_property
    def writing(self) -> Streams:
        """The connections that blobs are written over; made when first needed."""
        return self._streams(self._network.connections.writing, 1)

    def _streams(self, connections: int, kept: int) -> Streams:
        # Imported here: a run that finds nothing to copy starts 60 ms sooner without httpx.
        from mirrorsync.stores.registry.http.streams import Streams

        with self._making:
            self._made.append(Streams(self._network, connections, kept, self._check))
            return self._made[-1]

    def _authorization(self, wanted: Authorize) -> str:
        """Return the Authorization header, from a thread: tokens live on the event loop, where they are shared."""
        if not wanted.scopes:
            return ""
        return asyncio.run_coroutine_threadsafe(self._authorizer.header(wanted), self._loop).result()

    def _checked(self, answer: Answer, request: Request, doing: str) -> Answer:
        for warning in answer.all("Warning"):
            # Distribution spec, "Warnings": 299, shown to people once, never acted upon.
            if warning.startswith("299") and warning not in self._warnings:
                self._warnings.add(warning)
                self._observer(Noticed(self.name, printable(warning.partition('"')[2].rstrip('"'), 300)))
        return checked(answer, doing, self._clock.now(), request.known)

    def _check(self) -> None:
        """Raise Interrupted when the run was told to stop: no wait, however short, is begun then."""
        self._clock.sleep(0.0)

    async def close(self) -> None:
        """Close all connections."""
        await self._questions.close()
        for streams in self._made:
            streams.close()
