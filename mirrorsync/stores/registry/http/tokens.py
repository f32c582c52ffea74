"""Tokens: the requests for them, and how to read the answers. Pure; origin_auth.py sends and caches."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from mirrorsync.errors import RegistryFailure
from mirrorsync.hosts import Credentials
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.http.challenge import Challenge
from mirrorsync.stores.registry.http.messages import MAX_TOKEN_BYTES, Answer, Outgoing, Request
from mirrorsync.stores.registry.http.scopes import Scopes

# A token is renewed so many seconds before it expires, so that it does not expire on its way to the registry.
_EARLY_SECONDS: Final = 10.0
# The token specification's default; c/image and distribution also assume at least this.
_SHORTEST_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 86_400.0
# If a token that replaced a rejected one is rejected within so many seconds, it lacks rights: another one would not be
# better, and thousands of requests would each ask for one.
_NEW_SECONDS: Final = 10.0
_CLIENT_ID: Final = "mirrorsync"
# The characters of a token; RFC 6750 allows fewer, but token services do not comply.
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Token:
    """A token, as the Authorization header that it is sent in.

    asked: the scopes it was requested for; given, ends: monotonic seconds; again: it replaces a rejected token.
    """

    header: str
    asked: Scopes
    given: float
    ends: float
    again: bool = False

    def is_final(self, asked: Scopes, now: float) -> bool:
        """Return whether a new token for some scopes would not be better than this one, which was rejected."""
        return self.again and self.asked == asked and now - self.given < _NEW_SECONDS


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer of a token service. refresh: an identity token to be used from now on, "" without one."""

    text: str
    seconds: float
    refresh: Secret

    def token(self, asked: Scopes, started: float, *, again: bool) -> Token:
        """Return the token. started: when it was requested, by our own clock; `issued_at` is by the server's clock,
        which may be wrong.
        """
        ends = started + self.seconds - min(_EARLY_SECONDS, self.seconds / 4)
        return Token(f"Bearer {self.text}", asked, started, ends, again)


def read_grant(answer: Answer) -> Grant:
    """Read the answer of a token service. Raises: RegistryFailure if it has no token."""
    try:
        document: Any = json.loads(answer.body)
        text = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError, RecursionError) as error:
        raise RegistryFailure("the token service sent no token: its answer is not a JSON object") from error
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise RegistryFailure("the token service sent no valid token")
    refresh = document.get("refresh_token")
    return Grant(text, _lifetime(document.get("expires_in")), Secret(refresh if isinstance(refresh, str) else ""))


def _lifetime(expires_in: object) -> float:
    """Return for how many seconds a token can be used."""
    if not isinstance(expires_in, int | float) or isinstance(expires_in, bool) or expires_in <= 0:
        return _SHORTEST_SECONDS
    return float(min(expires_in, _LONGEST_SECONDS))


def basic(credentials: Credentials | None) -> str:
    """Return the header of Basic authentication (RFC 7617), "" without a username, or with an identity token alone."""
    if credentials is None or not credentials.username or (credentials.identity_token and not credentials.password):
        return ""
    pair = f"{credentials.username}:{credentials.password.reveal()}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def get_request(realm: str, challenge: Challenge, scopes: Scopes, credentials: Credentials | None) -> Outgoing:
    """Return the request of distribution's token specification (token.md)."""
    query = urlencode(_parameters(challenge, scopes))
    url = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}" if query else realm
    return Outgoing(Request("GET", url, limit=MAX_TOKEN_BYTES), basic(credentials))


def oauth_request(realm: str, challenge: Challenge, scopes: Scopes, token: Secret) -> Outgoing:
    """Return the OAuth2 request of distribution's token specification (oauth.md): scopes are one, space-separated."""
    form = {
        "grant_type": "refresh_token",
        "service": challenge.get("service"),
        "client_id": _CLIENT_ID,
        "scope": " ".join(scopes),
        "refresh_token": token.reveal(),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Outgoing(Request("POST", realm, headers=headers, body=urlencode(form).encode(), limit=MAX_TOKEN_BYTES))


def _parameters(challenge: Challenge, scopes: Iterable[str]) -> list[tuple[str, str]]:
    service = challenge.get("service")
    return [*([("service", service)] if service else []), *(("scope", scope) for scope in scopes if scope)]
