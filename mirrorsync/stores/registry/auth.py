"""Who we are to a registry: challenges learned once, tokens fetched once for each scope and renewed in time."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

from mirrorsync.errors import MirrorsyncError, RegistryFailure, Unauthorized, printable
from mirrorsync.events import Noticed, Observer
from mirrorsync.secret import Secret
from mirrorsync.stores.registry import challenge as challenges
from mirrorsync.stores.registry.accounts import Credentials
from mirrorsync.stores.registry.answers import checked, failure
from mirrorsync.stores.registry.challenge import Challenge
from mirrorsync.stores.registry.conversation import Authorize
from mirrorsync.stores.registry.messages import MAX_TOKEN_BYTES, Answer, Outgoing, Request
from mirrorsync.stores.registry.origins import resolved
from mirrorsync.stores.registry.retry import RETRIED_STATUSES, Clock, Persistence

# A token is renewed so many seconds before it ends, so that none runs out between being chosen and being read.
_EARLY_SECONDS: Final = 10.0
# The token specification's default; c/image and distribution also take no less for granted.
_SHORTEST_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 86_400.0
_CLIENT_ID: Final = "mirrorsync"
# Token services on another host than their registry that are known to be the registry's own. Nobody else gets
# credentials, unless the spec names them in realm_hosts (CVE-2026-33540, CVE-2026-48978 are what happens without).
_OWN_REALMS: Final = {
    "registry-1.docker.io": frozenset({"auth.docker.io"}),
    "registry.gitlab.com": frozenset({"gitlab.com"}),
}
# What a token may consist of; RFC 6750 allows less, and nobody keeps to it.
_TOKEN = re.compile(r"[!-~]+")
_FINAL: Final = frozenset(range(300, 600)) - RETRIED_STATUSES
# When to ask otherwise: not every token service speaks OAuth2 (go-containerregistry, bearer.go), and not every identity
# token that is given can be used.
_NO_OAUTH: Final = frozenset({404, 405})
_NOT_RENEWED: Final = _NO_OAUTH | {400, 401, 403}
T = TypeVar("T")
Find = Callable[[str], Credentials | None]
Send = Callable[[Outgoing], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    ends: float  # monotonic seconds


def trusted_realms(registry: str, realm_hosts: Iterable[str]) -> frozenset[str]:
    """Return the hosts whose token services get the credentials of a registry (its URL). realm_hosts: others named."""
    host = urlsplit(registry).hostname or ""
    return _OWN_REALMS.get(host, frozenset()) | {host, *realm_hosts}


class Authorizer:
    """The Authorization headers of one registry. All methods run on the event loop.

    The scope "" asks for a token that allows nothing and still says who we are, as `docker login` does.

    registry: its URL. find: returns the credentials for one of its repositories, and may block. send: sends one request
    without conversation.
    """

    def __init__(
        self,
        registry: str,
        find: Find,
        send: Send,
        persistence: Persistence,
        clock: Clock,
        observer: Observer,
        realm_hosts: Iterable[str] = (),
    ) -> None:
        self._registry = registry
        self._find = find
        self._send = send
        self._persistence = persistence
        self._clock = clock
        self._observer = observer
        self._trusted_realms = trusted_realms(registry, realm_hosts)
        self._found: dict[str, Credentials | None] = {}
        # Identity tokens that came with a token, for the credentials that it was given for.
        self._renewed: dict[Credentials, Secret] = {}
        self._refused: dict[tuple[str, ...], Unauthorized] = {}
        self._told: set[str] = set()
        self._challenge: Challenge | None = None
        self._ready: asyncio.Task[None] | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._fetching: dict[tuple[str, ...], asyncio.Task[str]] = {}

    async def header(self, wanted: Authorize) -> str:
        """Return the Authorization header for some scopes, "" when there is none to send.

        The registry is asked once (`/v2/`) how it wants to be spoken to, so that thousands of questions do not each
        begin with a 401. Raises: Unauthorized, and what asking raises.
        """
        if not wanted.scopes:
            return ""
        if self._ready is None or (self._ready.done() and self._ready.exception() is not None):
            self._ready = asyncio.create_task(self._greet())
        if not self._ready.done() or self._ready.exception() is not None:
            await _shared(self._ready)
        if wanted.rejected is not None:
            self._learn(wanted.challenges)
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            return _basic(await self._credentials(wanted.scopes))
        return f"Bearer {await self._token(wanted, self._challenge)}"

    async def _greet(self) -> None:
        async def ask() -> Answer:
            answer = await self._send(Outgoing(Request("GET", f"{self._registry}/v2/")))
            return checked(answer, "asking for its API", self._clock.now(), frozenset({401, 403, 404, 405}))

        answer = await self._persistence.ask(f"asking {urlsplit(self._registry).netloc} for its API", ask)
        if answer.status == 401:
            self._learn(answer.all("WWW-Authenticate"))

    async def _credentials(self, scopes: tuple[str, ...]) -> Credentials | None:
        """Return the credentials for the repository that the first of the scopes is about."""
        kind, _, rest = scopes[0].partition(":")
        repository = rest.rpartition(":")[0] if kind == "repository" else ""
        if repository not in self._found:
            self._found[repository] = await asyncio.to_thread(self._find, repository)
        return self._found[repository]

    def _learn(self, values: Iterable[str]) -> None:
        # gcr.io answers 401 without a challenge on some paths: the one that is known stays.
        found = challenges.choose(values)
        if found is not None:
            self._challenge = found

    async def _token(self, wanted: Authorize, challenge: Challenge) -> str:
        scopes = wanted.scopes
        known = await self._credentials(scopes)
        if known is not None and known.registry_token:
            return known.registry_token.reveal()
        token = self._tokens.get(scopes)
        if token is not None and f"Bearer {token.text}" != wanted.rejected and token.ends > self._clock.monotonic():
            return token.text
        if scopes in self._refused:
            # The same question has the same answer, and accounts are locked for asking it again and again.
            raise copy.copy(self._refused[scopes])
        if scopes not in self._fetching:
            asked = scopes
            if wanted.rejected and challenge.get("error") == "insufficient_scope":
                asked = tuple(dict.fromkeys((*scopes, *challenge.get("scope").split())))
            self._fetching[scopes] = asyncio.create_task(self._fetch(challenge, scopes, asked))
        return await _shared(self._fetching[scopes])

    async def _fetch(self, challenge: Challenge, scopes: tuple[str, ...], asked: tuple[str, ...]) -> str:
        """Get a token for the scopes `asked`, and remember it for `scopes`."""
        try:
            token = await self._persistence.ask("asking for a token", lambda: self._ask(challenge, asked))
            self._tokens[scopes] = token
            return token.text
        except Unauthorized as refused:
            self._refused[scopes] = copy.copy(refused)
            raise
        finally:
            del self._fetching[scopes]

    async def _ask(self, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        realm = resolved(f"{self._registry}/v2/", challenge.get("realm"), self._registry)
        credentials = self._for_realm(await self._credentials(scopes), realm)
        started = self._clock.monotonic()
        answer = await self._answered(realm, challenge, scopes, credentials)
        checked(answer, "getting a token", self._clock.now(), known=_FINAL)
        if answer.status in (401, 403):
            told = failure(answer, "getting a token").message
            raise Unauthorized(told if credentials else f"{told} (without credentials)")
        if 300 <= answer.status < 400:
            raise RegistryFailure("the token service redirects, and tokens are not fetched across redirects")
        if not answer.ok:
            raise RegistryFailure(failure(answer, "getting a token").message)
        return self._read(answer, started, credentials)

    async def _answered(
        self, realm: str, challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials | None
    ) -> Answer:
        """Ask with an identity token where there is one, and otherwise, or when it does not help, with the password."""
        if credentials is not None:
            attempts = (
                (self._renewed.pop(credentials, None), _NOT_RENEWED),
                (credentials.identity_token, _NO_OAUTH),
            )
            for token, of_no_use in attempts:
                if token:
                    answer = await self._send(_oauth_request(realm, challenge, scopes, token))
                    if answer.status not in of_no_use:
                        if token != credentials.identity_token:
                            self._renewed.setdefault(credentials, token)
                        return answer
        return await self._send(_get_request(realm, challenge, scopes, credentials))

    def _for_realm(self, credentials: Credentials | None, realm: str) -> Credentials | None:
        """Return the credentials when the token service is the registry's own, or named in the spec."""
        parts = urlsplit(realm)
        if credentials is None or parts.hostname in self._trusted_realms:
            return credentials
        message = (
            f"its token service {printable(parts.netloc)} is another host and gets no credentials; "
            "name it in realm_hosts of this registry if it is right"
        )
        if message not in self._told:
            self._told.add(message)
            self._observer(Noticed(urlsplit(self._registry).netloc, message))
        return None

    def _read(self, answer: Answer, started: float, credentials: Credentials | None) -> _Token:
        try:
            document: Any = json.loads(answer.body)
            text = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError, RecursionError) as error:
            raise RegistryFailure("the token service gave no token: its answer is not a JSON object") from error
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise RegistryFailure("the token service gave no token")
        renewed = document.get("refresh_token")
        if credentials is not None and isinstance(renewed, str) and renewed:
            self._renewed[credentials] = Secret(renewed)
        seconds = _lifetime(document.get("expires_in"))
        # Counted from before the question, by our own clock: `issued_at` is by the server's, which may be wrong.
        return _Token(text, started + seconds - min(_EARLY_SECONDS, seconds / 4))


def _lifetime(told: object) -> float:
    """Return for how many seconds a token can be used, by what the token service says."""
    if not isinstance(told, int | float) or isinstance(told, bool) or told <= 0:
        return _SHORTEST_SECONDS
    return float(min(told, _LONGEST_SECONDS))


async def _shared(task: asyncio.Task[T]) -> T:
    """Return what a task returns that many wait for; each gets an error of its own, to say in it what it was for."""
    try:
        return await asyncio.shield(task)
    except MirrorsyncError as error:
        raise copy.copy(error) from error.__cause__


def _basic(credentials: Credentials | None) -> str:
    """Return the header of Basic authentication (RFC 7617), "" without a username, or with an identity token alone."""
    if credentials is None or not credentials.username or (credentials.identity_token and not credentials.password):
        return ""
    pair = f"{credentials.username}:{credentials.password.reveal()}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _parameters(challenge: Challenge, scopes: Iterable[str]) -> list[tuple[str, str]]:
    service = challenge.get("service")
    return [*([("service", service)] if service else []), *(("scope", scope) for scope in scopes if scope)]


def _get_request(
    realm: str, challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials | None
) -> Outgoing:
    query = urlencode(_parameters(challenge, scopes))
    url = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}" if query else realm
    return Outgoing(Request("GET", url, limit=MAX_TOKEN_BYTES), _basic(credentials))


def _oauth_request(realm: str, challenge: Challenge, scopes: tuple[str, ...], token: Secret) -> Outgoing:
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
