"""Check a username and password at a registry, without any other request."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from mirrorsync.environment import Environment
from mirrorsync.errors import Denied, RegistryFailure, Unauthorized
from mirrorsync.hosts import Credentials, HostSettings
from mirrorsync.stores.located import located_at
from mirrorsync.stores.registry.http import challenge as challenges
from mirrorsync.stores.registry.http.challenge import Challenge
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import Request
from mirrorsync.stores.registry.http.origins import resolved, same_origin
from mirrorsync.stores.registry.http.realms import Realms
from mirrorsync.stores.registry.http.scopes import NOTHING
from mirrorsync.text import printable

_DOING = "logging in"


Answer = Literal["accepted", "anonymous", "not needed"]


async def probe(host: str, credentials: Credentials | None, environment: Environment) -> Answer:
    """Ask a registry for `/v2/`, and return whether it accepts the login, would require one, or requires none.

    credentials: None if no login is known. Raises: as `accepts`.
    """
    if credentials is not None:
        return "accepted" if await accepts(host, credentials, environment, option="realm_hosts:") else "not needed"
    client = Client(host, environment, lambda *_: None)
    try:
        with located_at(host):
            return "not needed" if await _wanted(client) is None else "anonymous"
    finally:
        await client.close()


async def accepts(
    host: str, credentials: Credentials, environment: Environment, *, option: str = "--realm-host"
) -> bool:
    """Return True if a registry accepts these credentials, False if it requires no login, so that they are not checked.

    The request is `GET /v2/` (distribution spec "Determining Support"), with Basic authentication or a token, as the
    registry requires. option: what allows another token service, for the remedy. Raises: Unauthorized or Denied if it
    rejects them; the errors of the request.
    """
    client = Client(host, environment, lambda *_: credentials)
    try:
        with located_at(host):
            wanted = await _wanted(client)
            if wanted is None:
                return False
            _check_realm(client.url, wanted, environment.settings(host), option)
            try:
                await client.ask(Request("GET", f"{client.url}/v2/", NOTHING), _DOING)
            except (Unauthorized, Denied) as error:
                remedy = "check username and password; some registries want a token in the password's place"
                raise error.with_(remedy=remedy) from error.__cause__
            return True
    finally:
        await client.close()


async def _wanted(client: Client) -> Challenge | None:
    """Return the registry's challenge for authentication, None if it requires no login."""
    answer = await client.ask(Request("GET", f"{client.url}/v2/", known=frozenset({401})), _DOING)
    if not same_origin(answer.url, client.url):
        host = printable(urlsplit(answer.url).netloc)
        raise RegistryFailure(f"{_DOING}: it redirects to {host}", remedy=f"log in to {host}")
    if answer.ok:
        return None
    wanted = challenges.choose(answer.all("WWW-Authenticate"))
    if wanted is None:
        raise RegistryFailure(f"{_DOING}: the registry supports neither Basic authentication nor tokens")
    return wanted


def _check_realm(url: str, wanted: Challenge, settings: HostSettings, option: str) -> None:
    """Check that the token service may get the password. Raises: Denied."""
    if wanted.scheme != "bearer":
        return
    realm = resolved(f"{url}/v2/", wanted.get("realm"), url)
    if not Realms(url, settings.realm_hosts).trusts(realm):
        target = urlsplit(realm)
        # Another port of the registry's own host must be named with the port.
        named = target.netloc if target.hostname == urlsplit(url).hostname else target.hostname or ""
        raise Denied(
            f"{_DOING}: the password was not sent to its token service {printable(target.netloc)}, which is at another "
            "host or port",
            remedy=f"if that is the right token service: {option} {printable(named)}",
        )
