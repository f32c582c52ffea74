"""The HTTP client of one registry: both engines, authentication, retries and limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import urlsplit

from mirrorsync.environment import Environment
from mirrorsync.errors import ConnectionRefused, HostUnknown, MirrorsyncError, RegistryFailure, TlsFailed, TokenRanOut
from mirrorsync.events import Noticed
from mirrorsync.hosts import HostSettings, LoginTrouble
from mirrorsync.stores.registry.http.answers import checked
from mirrorsync.stores.registry.http.auth import Authorizer, Find, Troubles
from mirrorsync.stores.registry.http.conversation import Authorize, converse, reject_web_page
from mirrorsync.stores.registry.http.encoding import plain
from mirrorsync.stores.registry.http.limits import Meter
from mirrorsync.stores.registry.http.messages import Answer, Outgoing, Reply, Request
from mirrorsync.stores.registry.http.network import Network
from mirrorsync.stores.registry.http.origins import resolved, same_origin
from mirrorsync.stores.registry.http.questions import Questions
from mirrorsync.stores.registry.http.retry import ATTEMPTS, Gate, Persistence, Transient
from mirrorsync.stores.registry.http.tls_probe import answers_with_tls, answers_without_tls
from mirrorsync.stores.registry.http.traffic import ThreadTurns, Traffic
from mirrorsync.text import printable

if TYPE_CHECKING:
    from mirrorsync.stores.registry.http.streams import Streams

T = TypeVar("T")

# Connections that one reader keeps open: to the registry itself, and to the storage that it redirects to.
_KEPT_READING: Final = 2


class Client:
    """Talks to one registry. Made on the event loop; `ask` and `once` run there, the blocking methods in threads.

    host: as references name it. find: returns the credentials for a repository, and may block. url: of the registry,
    such as https://registry-1.docker.io; it becomes http:// if the host does not speak TLS and the settings allow that.
    """

    def __init__(self, host: str, environment: Environment, find: Find, troubles: Troubles = lambda _: ()) -> None:
        self._host = host
        self._environment = environment
        self._find = find
        self._troubles = troubles
        self._clock = environment.clock
        self._observer = environment.observer
        attempts = ATTEMPTS if environment.retries is None else environment.retries + 1
        gate = Gate(self._clock)
        self._persistence = Persistence(self._clock, gate, self._observer, attempts)
        settings = environment.settings(host)
        self._traffic = Traffic(self._clock, gate, settings)
        self._use(Network(host, settings, environment.variables), settings)
        self.name = urlsplit(self.url).netloc
        self._assumed_base = ""  # the URL that earlier requests begin with, if another one was found
        self._scheme_unknown = settings.plain_http_fallback and settings.insecure_skip_verify
        self._finding_scheme = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._making = threading.Lock()
        self._made: list[Streams] = []
        self._warnings: set[str] = set()
        self.meter = Meter()

    def _use(self, network: Network, settings: HostSettings) -> None:
        """Use a network from now on."""
        self.url = network.home
        self._network = network
        self._questions = Questions(network, self._traffic, self._check)
        self._authorizer = Authorizer(
            self.url, self._find, self._send, self._persistence, self._clock, self._observer, settings.realm_hosts
        )

    async def _find_scheme(self) -> None:
        """Find out, before the first request, whether the host speaks TLS. Raises: TlsFailed, Interrupted.

        A host that answers neither way counts as one with TLS: the error of the request itself is the better message.
        """
        async with self._finding_scheme:
            if not self._scheme_unknown:
                return
            secure, url = self._questions, self.url
            if not await answers_with_tls(secure, url):
                settings = replace(self._environment.settings(self._host), insecure_skip_verify=False, plain_http=True)
                network = Network(self._host, settings, self._environment.variables)
                plain = Questions(network, self._traffic, self._check)
                try:
                    answered = await answers_without_tls(plain, network.home)
                finally:
                    await plain.close()
                if answered:
                    await secure.close()
                    self._use(network, settings)
                    self._assumed_base = f"{url}/"
                    text = "speaks no TLS: everything, passwords too, can be read on the way"
                    self._observer(Noticed(self._host, text))
            self._scheme_unknown = False

    def _rebased(self, request: Request) -> Request:
        """Return a request with the URL that was found; it may have been built before the scheme was known."""
        if not self._assumed_base or not request.url.startswith(self._assumed_base):
            return request
        return request.to(f"{self.url}/{request.url.removeprefix(self._assumed_base)}")

    def _find_scheme_blocking(self) -> None:
        if self._scheme_unknown:
            asyncio.run_coroutine_threadsafe(self._find_scheme(), self._loop).result()

    async def ask(self, request: Request, doing: str) -> Answer:
        """Return the answer to a request that can be sent again, with retries.

        doing: the purpose for messages, such as "reading its tags". Raises: MirrorsyncError.
        """
        return await self._persistence.ask(f"{self.name}: {doing}", lambda: self.once(request, doing))

    async def once(self, request: Request, doing: str) -> Answer:
        """Return the answer to one attempt. Raises: Transient, MirrorsyncError."""
        if self._scheme_unknown:
            await self._find_scheme()
        request = self._rebased(request)
        conversation = converse(request, self.url)
        move = next(conversation)
        while True:
            result: str | Answer
            if isinstance(move, Authorize):
                result = await self._authorizer.header(move)
            else:
                result = await self._send(move)
            try:
                move = conversation.send(result)
            except StopIteration as end:
                return self._checked(cast("Answer", end.value), request, doing)

    async def _send(self, outgoing: Outgoing) -> Answer:
        """Send one request. A failure that concerns the host as a whole ends the requests to it for this run."""
        try:
            return plain(await self._questions.send(outgoing), outgoing.request)
        except (TlsFailed, HostUnknown) as error:
            if same_origin(outgoing.request.url, self.url):  # and not a storage that it redirects to
                raise self._persistence.end(error) from error.__cause__
            raise
        except Transient as error:
            error.final = isinstance(error.failure, ConnectionRefused) and same_origin(outgoing.request.url, self.url)
            raise

    async def persist(self, doing: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, retrying if it raises Transient. For requests that belong together."""
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
        """Return the error for callers that cannot retry; see `Persistence.noted`."""
        return self._persistence.noted(error)

    @contextmanager
    def reply(self, request: Request, streams: Streams, doing: str) -> Iterator[Reply]:
        """Send a request from a thread and return the answer with its body still to be read; one attempt.

        Raises: Transient, MirrorsyncError.
        """
        request = self._rebased(request)
        conversation = converse(request, self.url)
        move = next(conversation)
        while True:
            if isinstance(move, Authorize):
                header = self._authorization(move)
                try:
                    move = conversation.send(header)
                except StopIteration as end:
                    # An error answer: its body is in the answer.
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

        The Authorization header is determined before. The body cannot be sent again after a rejected token or a
        redirect: the first raises TokenRanOut, after the token was renewed, the second RegistryFailure.
        """
        writing = self.writing
        request = self._rebased(request)
        scopes = request.scopes if same_origin(request.url, self.url) else ()
        authorization = self._authorization(Authorize(scopes))
        with writing.exchange(Outgoing(request, authorization), body, size) as reply:
            answer = reply.answer
        if answer.status == 401 and scopes:
            self._authorization(Authorize(scopes, authorization, answer.all("WWW-Authenticate")))
            raise TokenRanOut(f"{doing}: the registry rejected a token that it had just issued")
        if 300 <= answer.status < 400:
            raise RegistryFailure(f"{doing}: the registry redirects an upload")
        reject_web_page(answer, request)
        return self._checked(answer, request, doing)

    def monotonic(self) -> float:
        """Return the seconds of a clock that only goes forward."""
        return self._clock.monotonic()

    async def check_login(self, scopes: tuple[str, ...]) -> bool:
        """Return whether the credentials for some scopes are valid; may ask once. Raises: Unauthorized."""
        return await self._authorizer.check(scopes)

    async def same_login(self, one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Return whether the same login is for the repositories of two scopes; may ask once."""
        return await self._authorizer.same_login(one, other)

    def accepts_login(self, scopes: tuple[str, ...]) -> bool:
        """Return whether the credentials for some scopes are known to be valid; sends no request. For any thread."""
        return self._authorizer.accepts(scopes)

    def login(self, scopes: tuple[str, ...]) -> str | None:
        """Return a name for the account that some scopes were asked for with, "" without one, None if not known."""
        return self._authorizer.login(scopes)

    def forget_tokens(self) -> None:
        """Get new tokens from now on: those that were asked for before lack new rights. For any thread."""
        self._authorizer.forget_tokens()

    def resolved(self, base: str, location: str) -> str:
        """Return the absolute URL of a Location or Link, relative to `base`. Raises: RegistryFailure if unsafe."""
        return resolved(base, location, self.url)

    def login_troubles(self) -> Sequence[LoginTrouble]:
        """Return why a login to this host may not have been found; sends no request. For any thread."""
        return self._troubles(self._host)

    @cached_property
    def reading(self) -> Streams:
        """The connections that blobs are read over; made when first needed."""
        self._find_scheme_blocking()
        return self._streams(self._traffic.reading, _KEPT_READING)

    @cached_property
    def writing(self) -> Streams:
        """The connections that blobs are written over; made when first needed."""
        self._find_scheme_blocking()
        return self._streams(self._traffic.writing, 1)

    def _streams(self, turns: ThreadTurns, kept: int) -> Streams:
        # Imported here: a run that finds nothing to copy starts 60 ms sooner without httpx.
        from mirrorsync.stores.registry.http.streams import Streams

        with self._making:
            self._made.append(Streams(self._network, self._traffic, turns, kept, self._check))
            return self._made[-1]

    def _authorization(self, wanted: Authorize) -> str:
        """Return the Authorization header, from a thread: tokens live on the event loop, where they are shared."""
        if not wanted.scopes:
            return ""
        return asyncio.run_coroutine_threadsafe(self._authorizer.header(wanted), self._loop).result()

    def _checked(self, answer: Answer, request: Request, doing: str) -> Answer:
        self.meter.see(request, answer)
        for warning in answer.all("Warning"):
            # Distribution spec, "Warnings": 299 is shown to the user once, and has no other effect.
            if warning.startswith("299") and warning not in self._warnings:
                self._warnings.add(warning)
                self._observer(Noticed(self.name, printable(warning.partition('"')[2].rstrip('"'), 300)))
        return checked(answer, doing, self._clock.now(), request.known)

    def _check(self) -> None:
        """Raise Interrupted if the run is to end: then not even a short wait begins."""
        self._clock.sleep(0.0)

    async def close(self) -> None:
        """Close all connections."""
        await self._questions.close()
        for streams in self._made:
            streams.close()
