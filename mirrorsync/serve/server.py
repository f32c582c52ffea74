"""The server: routes, error answers, startup and shutdown."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, cast

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from mirrorsync.errors import Locked, MirrorsyncError
from mirrorsync.events import Noticed, Observer, ignore
from mirrorsync.serve.access_log import access_log
from mirrorsync.serve.browse import Browse
from mirrorsync.serve.exposure import exposure
from mirrorsync.serve.guard import HEALTH, METRICS, Guard
from mirrorsync.serve.listening import Listener, is_exposed, listening_sockets
from mirrorsync.serve.metrics import Family, Traffic, one
from mirrorsync.serve.monitoring import Monitoring
from mirrorsync.serve.patience import Patience, Stalls
from mirrorsync.serve.pull import Pull
from mirrorsync.serve.push import Push
from mirrorsync.serve.refusals import Refusal, refusal
from mirrorsync.serve.shown import Shown, WholeStore
from mirrorsync.serve.tls import Tls
from mirrorsync.serve.uploads import Uploads
from mirrorsync.stores.base import Store

_REPOSITORY: Final = "/v2/{name:(?s:.+)}"
_READ_ONLY: Final = "this registry is read-only; `mirrorsync serve --writable` accepts pushes and deletes"
_REPORT_SECONDS: Final = 60.0
# Seconds for requests in flight when the server stops, and then for their answers.
_LAST_SECONDS: Final = 5.0
_LAST_ANSWER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a store is served.

    writable: otherwise writes are rejected with 405. patience: with clients. shown: which names of the store are
    answered, None for all. tls: the certificate, None for plain HTTP. guard: who may do what, None for everyone who can
    connect. `serving` closes its logins.
    """

    writable: bool = False
    patience: Patience = field(default_factory=Patience)
    shown: Shown | None = None
    tls: Tls | None = None
    guard: Guard | None = None


def _application(store: Store, settings: Settings, observer: Observer, traffic: Traffic, now: _Now) -> web.Application:
    """Return the distribution API over a store, as an aiohttp application. observer: gets notices of failures."""
    shown = settings.shown or WholeStore(store)
    pull, push = Pull(store, shown), Push(store, now.uploads, settings.patience)
    browse = Browse(store, shown, writable=settings.writable)
    monitoring = Monitoring(store, shown, traffic, now.families)
    middlewares = [now.in_flight.counting, _answering(observer)]
    if settings.guard is not None:
        middlewares.append(settings.guard.middleware(traffic.reject))
    app = web.Application(middlewares=middlewares, client_max_size=0)
    for path, handler in (
        ("/", browse.page),
        (HEALTH, monitoring.health),
        (METRICS, monitoring.metrics),
        ("/v2/", pull.version),
        ("/v2/_catalog", pull.catalog),
        (f"{_REPOSITORY}/tags/list", pull.tags),
        (f"{_REPOSITORY}/manifests/{{reference}}", pull.manifest),
        (f"{_REPOSITORY}/blobs/uploads/{{upload}}", push.status),
        (f"{_REPOSITORY}/blobs/{{digest}}", pull.blob),
        (f"{_REPOSITORY}/referrers/{{digest}}", pull.referrers),
    ):
        app.router.add_get(path, handler)
    for method, path, writer in (
        ("POST", f"{_REPOSITORY}/blobs/uploads/", push.start),
        ("PATCH", f"{_REPOSITORY}/blobs/uploads/{{upload}}", push.append),
        ("PUT", f"{_REPOSITORY}/blobs/uploads/{{upload}}", push.finish),
        ("DELETE", f"{_REPOSITORY}/blobs/uploads/{{upload}}", push.cancel),
        ("PUT", f"{_REPOSITORY}/manifests/{{reference}}", push.manifest),
        ("DELETE", f"{_REPOSITORY}/manifests/{{reference}}", push.delete),
    ):
        app.router.add_route(method, path, writer if settings.writable else _refuse_writing)

    async def forget_uploads(_: web.Application) -> None:
        now.uploads.close()

    app.on_cleanup.append(forget_uploads)
    return app


@asynccontextmanager
async def serving(
    store: Store,
    host: str,
    port: int,
    settings: Settings = Settings(),
    observer: Observer = ignore,
) -> AsyncIterator[int]:
    """Listen on `host` and `port` (0 for any free one) while the block runs; yields the port. Closes the store.

    Raises: StorageError if the address cannot be used.
    """
    traffic, now, patience = Traffic(), _Now(settings), settings.patience
    runner = web.AppRunner(
        _application(store, settings, observer, traffic, now),
        access_log_class=access_log(traffic.counting(observer)),
        logger=_logger(),
        handle_signals=False,
        shutdown_timeout=_LAST_ANSWER_SECONDS,
        auto_decompress=False,
        keepalive_timeout=patience.head_seconds,
    )
    try:
        await runner.setup()
        listeners = await listening_sockets(host, port)
        if is_exposed(listeners) and (warning := _exposure(host, settings)):
            observer(Noticed("serve", warning))
        server = cast("web.Server", runner.server)  # not None after the setup
        now.connected = lambda: len(server.connections)
        async with _listening(server, listeners, settings.tls, observer) as listener, _ending_stalls(server, patience):
            yield listener.port
            listener.close()
            await now.in_flight.over(_LAST_SECONDS)
    finally:
        await runner.cleanup()
        await store.close()
        if settings.guard is not None:
            settings.guard.logins.close()


def _exposure(host: str, settings: Settings) -> str:
    return exposure(host, writable=settings.writable, tls=settings.tls is not None, logins=settings.guard is not None)


@asynccontextmanager
async def _listening(
    server: web.Server, listeners: list[socket.socket], tls: Tls | None, observer: Observer
) -> AsyncIterator[Listener]:
    context = None if tls is None else tls.context
    listener = Listener(listeners, server, lambda: len(server.connections), observer, context)
    try:
        yield listener
    finally:
        listener.close()


@asynccontextmanager
async def _ending_stalls(server: web.Server, patience: Patience) -> AsyncIterator[None]:
    """Abort connections whose client reads nothing, while the block runs."""

    def transports() -> list[asyncio.Transport]:
        return [each.transport for each in server.connections if each.transport is not None]

    watch = asyncio.create_task(Stalls(patience, asyncio.get_running_loop().time).watch(transports))
    try:
        yield
    finally:
        watch.cancel()


class _InFlight:
    """Counts the requests in flight. When aiohttp shuts down it stops reading their bodies, so it is shut down last."""

    def __init__(self) -> None:
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()

    @property
    def counting(self) -> Middleware:
        """The middleware that counts them."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.count += 1
            self._none.clear()
            try:
                return await handler(request)
            finally:
                self.count -= 1
                if not self.count:
                    self._none.set()

        return count

    async def over(self, seconds: float) -> None:
        """Wait until no request is in flight, at most so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), seconds)


class _Now:
    """What the server is doing at the moment."""

    def __init__(self, settings: Settings) -> None:
        self.uploads = Uploads()
        self.in_flight = _InFlight()
        self.connected: Callable[[], int] = lambda: 0
        self._settings = settings

    def families(self) -> list[Family]:
        """Return it as metrics."""
        tls, guard = self._settings.tls, self._settings.guard
        found = [
            one("requests_in_flight", "Requests that are being answered.", self.in_flight.count),
            one("connections", "Connections that are open.", self.connected()),
            one("uploads", "Uploads that have begun and not ended.", len(self.uploads.all())),
        ]
        if guard is not None:
            text = "Logins that were compared with a bcrypt hash; the others were remembered."
            found.append(one("verified_logins_total", text, guard.logins.verified, "counter"))
        if tls is not None:
            text = "When the certificate expires, in Unix time."
            found.append(one("certificate_end_timestamp_seconds", text, tls.end.timestamp()))
        return found


class _OwnErrors(logging.Filter):
    """Passes errors of this program, and drops those of clients that hang up or do not speak HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of aiohttp is logged."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | OSError)


def _logger() -> logging.Logger:
    logger = logging.getLogger("mirrorsync.serve")
    if not logger.filters:
        logger.addFilter(_OwnErrors())
    return logger


class _StoreFailures:
    """Reports failures of the store to the operator: once a minute for each kind, since clients retry."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._reported_at: dict[type[MirrorsyncError], float] = {}

    def report(self, error: MirrorsyncError) -> None:
        """Report an error, unless one of its kind was just reported."""
        now = time.monotonic()
        if now - self._reported_at.get(type(error), -math.inf) >= _REPORT_SECONDS:
            self._reported_at[type(error)] = now
            self._observer(Noticed("serve", f"{error}; {error.remedy}" if error.remedy else str(error)))


async def _refuse_writing(_: web.Request) -> web.StreamResponse:
    raise Refusal(405, "UNSUPPORTED", _READ_ONLY)


def _answering(observer: Observer) -> Middleware:
    """Return the middleware that turns errors into the spec's answers."""
    report = _StoreFailures(observer).report

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Refusal as refused:
            response = refused.response()
        except Locked:
            response = Refusal(503, "UNAVAILABLE", "another run is writing to this store").response()
        except MirrorsyncError as error:
            answered = refusal(error)
            if answered.status >= 500:
                report(error)
            response = answered.response()
        except web.HTTPException as error:
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            response = Refusal(error.status, "UNSUPPORTED", error.reason, allowed).response()
        if not response.prepared and request.can_read_body and response.status >= 400:
            # The unread body would be parsed as the next request.
            response.force_close()
        return response

    return answer
