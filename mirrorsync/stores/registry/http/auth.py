"""The Authorization headers for one registry, and for the registries that it redirects to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from mirrorsync.environment import Clock
from mirrorsync.errors import GrammarError
from mirrorsync.events import Observer
from mirrorsync.hosts import Credentials, LoginTrouble
from mirrorsync.oci.names import check_host
from mirrorsync.stores.registry.http.conversation import Authorize
from mirrorsync.stores.registry.http.origin_auth import OriginAuthorizer, Send
from mirrorsync.stores.registry.http.origins import is_this_machine
from mirrorsync.stores.registry.http.realms import Realms
from mirrorsync.stores.registry.http.retry import Persistence
from mirrorsync.stores.registry.http.scopes import Scopes

# Returns the credentials for a repository of a host; the host "" is the registry itself. It may block.
Find = Callable[[str, str], Credentials | None]
# Returns why the credentials for a host may not have been found.
Troubles = Callable[[str], Sequence[LoginTrouble]]
# To how many other registries one may redirect its clients.
_MAX_OTHER_REGISTRIES: Final = 32


class Authorizer:
    """The Authorization headers of one registry. All methods run on the event loop but for `accepts`.

    registry: its URL. send: sends one request without conversation. realm_hosts: token services elsewhere that may get
    its credentials.
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
        self._find = find

        def account(url: str, named: Iterable[str], find: Callable[[str], Credentials | None]) -> OriginAuthorizer:
            return OriginAuthorizer(url, find, send, persistence, clock, observer, Realms(url, tuple(named)))

        self._make = account
        self._home = account(registry, realm_hosts, lambda repository: find("", repository))
        self._elsewhere: dict[str, OriginAuthorizer] = {}

    def header(self, wanted: Authorize) -> Coroutine[Any, Any, str]:
        """Return the Authorization header for some scopes, "" without one.

        Raises: Unauthorized, Denied, and the errors of the requests.
        """
        # Not a coroutine itself: it is called for each of thousands of requests.
        return self._header_elsewhere(wanted) if wanted.elsewhere else self._home.header(wanted)

    async def _header_elsewhere(self, wanted: Authorize) -> str:
        account = self._elsewhere.get(wanted.elsewhere)
        if account is None:
            # A host that did not require a login is usually a storage, whose URL has the signature that it needs.
            if wanted.rejected is None or len(self._elsewhere) >= _MAX_OTHER_REGISTRIES:
                return ""
            account = self._make(wanted.elsewhere, (), self._finder(wanted.elsewhere))
            self._elsewhere[wanted.elsewhere] = account
        return await account.header(wanted)

    async def check(self, scopes: Scopes) -> bool:
        """Return whether the registry accepts the credentials for some scopes; asks the API if that can decide it."""
        return await self._home.check(scopes)

    async def same_login(self, one: Scopes, other: Scopes) -> bool:
        """Return whether the same login is for two repositories of the registry."""
        return await self._home.same_login(one, other)

    def accepts(self, scopes: Scopes) -> bool:
        """Return whether the registry is known to accept the credentials for some scopes. For any thread."""
        return self._home.accepts(scopes)

    def login(self, scopes: Scopes) -> str | None:
        """Return a name for the account that some scopes were asked for with; see `OriginAuthorizer.login`."""
        return self._home.login(scopes)

    def forget_tokens(self) -> None:
        """Get new tokens for the registry from now on. For any thread."""
        self._home.forget_tokens()

    def _finder(self, url: str) -> Callable[[str], Credentials | None]:
        """Return a function that finds the credentials for another registry: only those for its own host.

        An attacker who can change the answers of a registry without TLS must not be able to make clients send other
        hosts' passwords in clear; so they are sent over TLS only, or to this machine.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_this_machine(parts.hostname or ""):
            return lambda _: None
        try:
            host = check_host(parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80"))
        except GrammarError:
            return lambda _: None
        return lambda repository: self._find(host, repository)
