"""Report every answer with its client, its bytes and its duration, after its last byte was sent."""

from __future__ import annotations

from logging import Logger
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from mirrorsync.events import Observer, Served

# Where an answer counts the bytes of its body, if aiohttp does not send them all (`serve.sending`).
SENT: Final = web.ResponseKey("sent", int)
# The user whose login was verified; "" without one.
USER: Final = web.RequestKey("user", str)


def access_log(observer: Observer) -> type[AbstractAccessLogger]:
    """Return the class that aiohttp makes of each connection's log.

    aiohttp calls it after every answer, also if the client hung up, or if what it sent is not HTTP. A middleware runs
    before the answer is sent, and not at all for a request that cannot be parsed.
    """

    class AccessLog(AbstractAccessLogger):
        """Announces every answer."""

        def __init__(self, logger: Logger, log_format: str) -> None:
            super().__init__(logger, log_format)

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            """Announce an answer. time: seconds from the head of the request to the end of the answer."""
            observer(
                Served(
                    client=request.remote or "",
                    method=request.method,
                    path=request.path,
                    status=response.status,
                    received=request.content.total_bytes,
                    sent=_sent(request, response),
                    seconds=time,
                    user=request.get(USER, ""),
                )
            )

    return AccessLog


def _sent(request: web.BaseRequest, response: web.StreamResponse) -> int:
    """Return how many bytes of the body were sent, without the head."""
    if not isinstance(response, web.Response):
        count: int = response.get(SENT, 0)
        return count
    # body_length is set when everything was written; it includes the head.
    if request.method == "HEAD" or not response.body_length or not isinstance(response.body, bytes):
        return 0
    return len(response.body)
