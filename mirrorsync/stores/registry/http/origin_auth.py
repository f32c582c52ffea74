"""Authentication at one origin: its challenge, its tokens, and whether it accepts the credentials."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from mirrorsync.environment import Clock
from mirrorsync.errors import Denied, MirrorsyncError, RegistryFailure, Unauthorized
from mirrorsync.events import Noticed, Observer
from mirrorsync.hosts import Credentials
from mirrorsync.oci.digest import Digest
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.http import challenge as challenges
from mirrorsync.stores.registry.http import scopes as scoping
from mirrorsync.stores.registry.http.answers import checked, failure
from mirrorsync.stores.registry.http.challenge import Challenge
from mirrorsync.stores.registry.http.conversation import REDIRECTS, Authorize, converse
from mirrorsync.stores.registry.http.messages import Answer, Outgoing, Request
from mirrorsync.stores.registry.http.origins import resolved
from mirrorsync.stores.registry.http.realms import Realms
from mirrorsync.stores.registry.http.retry import RETRIED_STATUSES, Persistence
from mirrorsync.stores.registry.http.scopes import Scopes
from mirrorsync.stores.registry.http.tokens import Token, basic, get_request, oauth_request, read_grant
from mirrorsync.text import printable

_FINAL: Final = frozenset(range(300, 600)) - RETRIED_STATUSES
# Answers after which to fall back: not every token service supports OAuth2 (go-containerregistry, bearer.go), and not
# every identity token that was issued can be used.
_NO_OAUTH: Final = frozenset({404, 405})
_NOT_RENEWED: Final = _NO_OAUTH | {400, 401, 403}
_SILENT: Final = frozenset({401, 403, 404, 405}) | REDIRECTS
T = TypeVar("T")
Send = Callable[[Outgoing], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Grants:
    """What the token service says of some scopes: tokens, refusals, and requests that are not answered yet."""

    tokens: dict[Scopes, Token] = field(default_factory=dict)
    refused: dict[Scopes, MirrorsyncError] = field(default_factory=dict)
    fetching: dict[Scopes, asyncio.Task[Token]] = field(default_factory=dict)


class OriginAuthorizer:
    """The Authorization headers for one origin. All methods run on the event loop but for `accepts`.

    url: of the origin. find: returns the credentials for one of its repositories, and may block. send: sends one
    request without conversation. realms: the token services that may see credentials.

    The scope "" asks for a token without rights, which still proves the login, as `docker login` does.
    """

    def __init__(
        self,
        url: str,
        find: Callable[[str], Credentials | None],
        send: Send,
        persistence: Persistence,
        clock: Clock,
        observer: Observer,
        realms: Realms,
    ) -> None:
        self._url = url
        self._find = find
        self._send = send
        self._persistence = persistence
        self._clock = clock
        self._observer = observer
        self._realms = realms
        self._found: dict[str, Credentials | None] = {}
        # Identity tokens that were issued together with a token, by the credentials of that request.
        self._renewed: dict[Credentials, Secret] = {}
        self._notices: set[str] = set()
        self._challenge: Challenge | None = None
        self._ready: asyncio.Task[None] | None = None
        self._asked_api = False  # whether `/v2/` was asked: without a challenge then, no login is needed
        self._guarded = False  # whether the API itself (`/v2/`) requires a login
        self._accepted: set[Credentials] = set()
        # Logins that were rejected are not sent again: accounts are locked for repeated failures. Until the first
        # request with a login is answered, no second one is sent.
        self._rejected: dict[Credentials, MirrorsyncError] = {}
        self._proving: defaultdict[Credentials, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._checks: dict[Credentials, asyncio.Task[None]] = {}
        self._grants = _Grants()
        self._own_scopes: dict[Scopes, Scopes] = {}  # the registry's own names for some scopes

    async def header(self, wanted: Authorize) -> str:
        """Return the Authorization header for some scopes, "" without one.

        The registry is asked once (`/v2/`) for its challenge, so that thousands of requests do not each begin with a
        401. Another origin gets only the request that was redirected there. Raises: Unauthorized, Denied, and the
        errors of the requests.
        """
        if not wanted.scopes:
            return ""
        if wanted.rejected is None and (known := self._known(wanted.scopes)) is not None:
            return known
        if not wanted.elsewhere:
            await self._asked_for_challenge()
        rejection = challenges.choose(wanted.challenges) if wanted.rejected is not None else None
        # gcr.io answers 401 without a challenge on some paths: the known one stays.
        self._challenge = rejection or self._challenge
        if self._challenge is None:
            return ""
        credentials = await self._credentials(wanted.scopes)
        if scoping.needs_password(wanted.scopes):
            return basic(credentials)
        header = self._fixed(self._challenge, credentials)
        if header is not None:
            return await self._same(wanted, credentials, header)
        return (await self._token(wanted, self._challenge, rejection, credentials)).header

    @staticmethod
    def _fixed(challenge: Challenge, credentials: Credentials | None) -> str | None:
        """Return the header that is the same for every request, None if it is a token for some scopes."""
        if challenge.scheme == "basic":
            return basic(credentials)
        registry_token = credentials.registry_token if credentials else None
        return f"Bearer {registry_token.reveal()}" if registry_token else None

    async def check(self, scopes: Scopes) -> bool:
        """Return whether the credentials for some scopes are valid; asks the API if that can decide it.

        Raises: Unauthorized if it rejects them, and the errors of the request.
        """
        credentials = self._found.get(scoping.repository_of(scopes))
        header = self._fixed(self._challenge, credentials) if self._challenge else None
        if header:
            await self._same(Authorize(scopes, header), credentials, header)
        return self.accepts(scopes)

    async def same_login(self, one: Scopes, other: Scopes) -> bool:
        """Return whether the same login is for two repositories; so it is if the registry requires none."""
        await self._asked_for_challenge()
        return self._challenge is None or await self._credentials(one) == await self._credentials(other)

    def accepts(self, scopes: Scopes) -> bool:
        """Return whether the credentials for some scopes are known to be valid. For any thread; sends no request.

        That is so if a token was issued for them, or if the API (`/v2/`) requires a login and accepted them.
        """
        credentials = self._found.get(scoping.repository_of(scopes))
        return credentials is not None and credentials in self._accepted

    def login(self, scopes: Scopes) -> str | None:
        """Return a name for the account that some scopes were asked for with, "" without one. Sends no request.

        It is part of the username's hash: enough to compare, and nothing to log in with. None = not known: the registry
        has not answered, or rejects the login, whatever is asked for.
        """
        credentials = self._found.get(scoping.repository_of(scopes))
        if not self._asked_api or credentials in self._rejected:
            return None
        return "" if credentials is None else Digest.of(credentials.username.encode()).short

    def forget_tokens(self) -> None:
        """Get new tokens from now on: those that were asked for before lack new rights. For any thread."""
        self._grants = _Grants()

    def _known(self, scopes: Scopes) -> str | None:
        """Return the header if it is already known, as for nearly all of thousands of requests."""
        if self._challenge is None:
            return "" if self._asked_api else None
        token = self._grants.tokens.get(scopes)
        return token.header if token is not None and token.ends > self._clock.monotonic() else None

    async def _asked_for_challenge(self) -> None:
        if self._ready is None or (self._ready.done() and self._ready.exception() is not None):
            self._ready = asyncio.create_task(self._ask_for_challenge())
        if not self._ready.done() or self._ready.exception() is not None:
            await _shared(self._ready)

    async def _ask_for_challenge(self) -> None:
        answer = await self._api_answer("")
        self._asked_api = True
        if answer.status == 401:
            self._guarded = True
            self._challenge = challenges.choose(answer.all("WWW-Authenticate")) or self._challenge

    async def _api_answer(self, authorization: str) -> Answer:
        """Request the API. A gateway may redirect to another host (go-containerregistry#2333), which is ignored."""

        async def ask() -> Answer:
            # No credentials for the target of a redirect: the conversation has no scopes.
            conversation = converse(Request("GET", f"{self._url}/v2/", stays=True), self._url)
            move = next(conversation)
            while True:
                request = cast("Outgoing", move).request
                try:
                    move = conversation.send(await self._send(Outgoing(request, authorization)))
                except StopIteration as end:
                    answer: Answer = end.value
                    return checked(answer, "asking for its API", self._clock.now(), _SILENT)

        return await self._persistence.ask(f"asking {urlsplit(self._url).netloc} for its API", ask)

    async def _credentials(self, scopes: Scopes) -> Credentials | None:
        """Return the credentials for the repository of the first of the scopes."""
        repository = scoping.repository_of(scopes)
        if repository not in self._found:
            self._found[repository] = await asyncio.to_thread(self._find, repository)
        return self._found[repository]

    async def _same(self, wanted: Authorize, credentials: Credentials | None, header: str) -> str:
        """Return a header that is the same for every request.

        If the API itself requires a login, it shows whether the password is wrong or the repository is denied: a
        password is checked there first, so that a wrong one is sent once and not for every image; a registry token,
        which may be valid for one repository only, after a 401. Raises: Unauthorized.
        """
        if credentials is None or not header or not self._guarded or wanted.scopes == scoping.NOTHING:
            return header
        check = self._checks.get(credentials)
        failed = check is not None and check.done() and isinstance(check.exception(), MirrorsyncError)
        unchecked = check is None or (failed and credentials not in self._rejected)
        if unchecked and (wanted.rejected == header or not credentials.registry_token):
            self._checks[credentials] = asyncio.create_task(self._check(credentials, header))
        check = self._checks.get(credentials)
        if check is not None and credentials not in self._accepted:
            await _shared(check)
        return header

    async def _check(self, credentials: Credentials, header: str) -> None:
        answer = await self._api_answer(header)
        if answer.status == 401:
            self._rejected[credentials] = Unauthorized(failure(answer, "logging in").message)
            raise self._rejected[credentials].with_()
        if answer.ok:
            self._accepted.add(credentials)

    async def _token(
        self, wanted: Authorize, challenge: Challenge, rejection: Challenge | None, credentials: Credentials | None
    ) -> Token:
        scopes, now, grants = wanted.scopes, self._clock.monotonic(), self._grants
        token = grants.tokens.get(scopes)
        rejected = token is not None and token.header == wanted.rejected
        if token is not None and not rejected and token.ends > now:
            return token
        asked = self._own_scopes.get(scopes, scopes)
        if rejection is not None:
            asked = scoping.after_refusal(asked, rejection)
        if token is not None and rejected and wanted.reads and token.is_final(asked, now):
            return token
        if scopes in grants.refused:
            # A retry would get the same answer, and accounts are locked for repeated failures.
            raise grants.refused[scopes].with_()
        if scopes not in grants.fetching:
            fetch = self._fetch(grants, challenge, wanted, asked, credentials)
            grants.fetching[scopes] = asyncio.create_task(fetch)
        return await _shared(grants.fetching[scopes])

    async def _fetch(
        self,
        grants: _Grants,
        challenge: Challenge,
        wanted: Authorize,
        asked: Scopes,
        credentials: Credentials | None,
    ) -> Token:
        """Get a token for the scopes `asked`, and store it, or the error, for the wanted scopes."""
        scopes = wanted.scopes
        try:
            token = await self._granted(challenge, wanted, asked, credentials, again=wanted.rejected is not None)
        except (Unauthorized, Denied) as refused:
            grants.refused[scopes] = refused
            raise
        finally:
            del grants.fetching[scopes]
        grants.tokens[scopes] = token
        return token

    async def _granted(
        self, challenge: Challenge, wanted: Authorize, asked: Scopes, credentials: Credentials | None, *, again: bool
    ) -> Token:
        try:
            token = await self._asked(challenge, asked, credentials, again=again)
        except (Unauthorized, Denied) as refused:
            narrowed = scoping.narrowed(asked)
            # More accounts may read a repository than write it. A password that may be wrong is not sent again.
            doubtful = isinstance(refused, Unauthorized) and credentials and credentials not in self._accepted
            if not wanted.reads or narrowed == asked or doubtful:
                raise
            return await self._asked(challenge, narrowed, credentials, again=again)
        self._own_scopes[wanted.scopes] = asked
        return token

    async def _asked(self, challenge: Challenge, scopes: Scopes, found: Credentials | None, *, again: bool) -> Token:
        realm = resolved(f"{self._url}/v2/", challenge.get("realm"), self._url)
        credentials = self._for_realm(found, realm)

        def ask() -> Coroutine[Any, Any, Token]:
            attempt = lambda: self._ask(realm, challenge, scopes, credentials, again=again)  # noqa: E731 - retried
            return self._persistence.ask("asking for a token", attempt)

        if credentials is not None and credentials not in self._accepted:
            async with self._proving[credentials]:
                if credentials in self._rejected:
                    raise self._rejected[credentials].with_()
                if credentials not in self._accepted:
                    return await ask()
        return await ask()

    async def _ask(
        self, realm: str, challenge: Challenge, scopes: Scopes, credentials: Credentials | None, *, again: bool
    ) -> Token:
        started = self._clock.monotonic()
        answer = await self._answered(realm, challenge, scopes, credentials)
        checked(answer, "getting a token", self._clock.now(), known=_FINAL)
        if answer.status in (401, 403):
            refused = _not_given(answer, credentials)
            if credentials is not None and credentials not in self._accepted:
                refused = await self._judged(answer, refused, realm, challenge, credentials)
            raise refused
        if 300 <= answer.status < 400:
            raise RegistryFailure("the token service redirects; redirects are not followed for tokens")
        if not answer.ok:
            raise RegistryFailure(failure(answer, "getting a token").message)
        grant = read_grant(answer)
        if credentials is not None:
            self._accepted.add(credentials)
            if grant.refresh:
                self._renewed[credentials] = grant.refresh
        return grant.token(scopes, started, again=again)

    async def _judged(
        self, answer: Answer, refused: MirrorsyncError, realm: str, challenge: Challenge, credentials: Credentials
    ) -> MirrorsyncError:
        """Find out whether credentials were rejected that were never accepted; return the error for their caller.

        401 says so. GitLab, and services that have locked the account, answer 403 to a wrong password, and all answer
        it to a right one without rights for the repository: a second request, for no repository, tells which.
        """
        if answer.status == 403:
            answer = await self._answered(realm, challenge, scoping.NOTHING, credentials)
            if answer.ok:
                self._accepted.add(credentials)
            if answer.status not in (401, 403):
                return refused
            refused = Unauthorized(refused.message)
        self._rejected[credentials] = refused
        return refused

    async def _answered(
        self, realm: str, challenge: Challenge, scopes: Scopes, credentials: Credentials | None
    ) -> Answer:
        """Ask with an identity token if there is one; fall back to the password."""
        if credentials is not None:
            attempts = (
                (self._renewed.pop(credentials, None), _NOT_RENEWED),
                (credentials.identity_token, _NO_OAUTH),
            )
            for token, fallback in attempts:
                if token:
                    answer = await self._send(oauth_request(realm, challenge, scopes, token))
                    if answer.status not in fallback:
                        if token != credentials.identity_token:
                            self._renewed.setdefault(credentials, token)
                        return answer
        return await self._send(get_request(realm, challenge, scopes, credentials))

    def _for_realm(self, credentials: Credentials | None, realm: str) -> Credentials | None:
        """Return the credentials if the token service is the registry's own, or named in the spec."""
        if credentials is None or self._realms.trusts(realm):
            return credentials
        message = (
            f"not sending credentials to its token service {printable(urlsplit(realm).netloc)}, which is at another "
            "host or port; name it in realm_hosts of this registry if it is right"
        )
        if message not in self._notices:
            self._notices.add(message)
            self._observer(Noticed(urlsplit(self._url).netloc, message))
        return None


def _not_given(answer: Answer, credentials: Credentials | None) -> MirrorsyncError:
    """Return the error for a token that was not issued: with 401 the login is wrong, with 403 it has no rights."""
    reason = failure(answer, "getting a token")
    suffix = "" if credentials else " (without credentials)"
    kind = Denied if answer.status == 403 and credentials else Unauthorized
    return kind(f"{reason.message}{suffix}")


async def _shared(task: asyncio.Task[T]) -> T:
    """Return the result of a shared task; each waiter gets an error of its own."""
    try:
        return await asyncio.shield(task)
    except MirrorsyncError as error:
        raise error.with_() from error.__cause__
