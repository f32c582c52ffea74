"""Which requests need a login, and who sent them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from mirrorsync.secret import Secret
from mirrorsync.serve.access_log import USER
from mirrorsync.serve.logins import Logins
from mirrorsync.serve.refusals import Refusal

HEALTH: Final = "/healthz"
METRICS: Final = "/metrics"
_READING: Final = frozenset((hdrs.METH_GET, hdrs.METH_HEAD))
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="mirrorsync", charset="UTF-8"'}


class _Wrong(Exception):
    """The login is not that of a user."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets requests of users through. anonymous_pull: whether reading needs no login.

    The health needs none, for probes that cannot log in. The metrics always do: they are not for everyone who may pull.
    """

    logins: Logins
    anonymous_pull: bool = False

    def middleware(self, rejected: Callable[[], object]) -> Middleware:
        """Return the middleware that refuses the others. rejected: is called for each wrong login."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            user = ""
            if request.path != HEALTH:
                try:
                    user = await self._user(request)
                except _Wrong:
                    rejected()
                    raise _refused("wrong username or password") from None
            request[USER] = user
            response = await handler(request)
            if not user and request.path == "/v2/" and not response.prepared:
                # podman and skopeo look for it in this answer only, whatever its status: without, they would never send
                # the login that a push needs.
                response.headers.update(_CHALLENGE)
            return response

        return admit

    async def _user(self, request: web.Request) -> str:
        """Return the user who sent a request, "" for an anonymous one that is allowed. Raises: Refusal, _Wrong."""
        given = _basic(request.headers.get(hdrs.AUTHORIZATION, ""))
        if given is None:
            if self.anonymous_pull and request.method in _READING and request.path != METRICS:
                return ""
            raise _refused("a login is needed")
        user, password = given
        if not await self.logins.verify(user, password, request.remote or ""):
            raise _Wrong
        return user


def _refused(why: str) -> Refusal:
    return Refusal(401, "UNAUTHORIZED", why, _CHALLENGE)


def _basic(header: str) -> tuple[str, Secret] | None:
    """Return the username and password of an Authorization (RFC 7617); None if there are none. Raises: _Wrong."""
    scheme, _, encoded = header.strip().partition(" ")
    if not scheme:
        return None
    try:
        if scheme.lower() != "basic":
            raise _Wrong
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _Wrong from error
    if not user and not password:
        return None  # podman and skopeo send it if they are challenged and have no login
    if not colon:
        raise _Wrong
    return user, Secret(password)
