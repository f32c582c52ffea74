"""How to connect to a host: TLS, proxies, timeouts and the number of connections; the same for both engines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import pycurl

from mirrorsync.errors import MirrorsyncError, RegistryFailure, Unreachable
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.names import DOCKER_HUB
from mirrorsync.stores.registry.http.certificates import (
    Certificates,
    certificate_roots,
    directory_for,
    read_certificates,
)
from mirrorsync.stores.registry.http.origins import leads_inward, same_origin
from mirrorsync.stores.registry.http.pace import Least
from mirrorsync.stores.registry.http.proxies import Proxy, bypasses, proxies_of
from mirrorsync.stores.registry.http.realms import Realms
from mirrorsync.stores.registry.http.trust import Trust, trust_of
from mirrorsync.text import printable

E = TypeVar("E", bound=MirrorsyncError)

CONNECT_SECONDS: Final = 30.0
# How long an answer may take to begin, in seconds, by method. A pull-through cache fetches a blob before it sends its
# first byte (75 s and more); a registry on S3 joins the parts of an upload before it answers the PUT (10 minutes:
# moby#53700, harbor#15729), so writes wait for as long as the host's settings say.
_PATIENCE: Final = {"GET": 300.0, "POST": 300.0, "DELETE": 120.0, "HEAD": 60.0}
# A whole small request with its answer, which is a few MiB at most.
QUESTION_SECONDS: Final = 300.0

# Registries whose API is at another host than their name.
_API_HOSTS: Final = {DOCKER_HUB: "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections of each kind may be open to a host at a time.

    A copy inside one registry holds a reading and a writing connection at once; with one limit over both, copies
    could wait for each other for ever, so each kind has its own share.
    """

    questions: int = 32
    reading: int = 8
    writing: int = 8

    @classmethod
    def within(cls, limit: int | None) -> Connections:
        """Return the shares of `limit` connections (each at least one); None = the default."""
        if limit is None:
            return cls()
        bytes_share = max(1, limit // 4)
        return cls(max(1, limit - 2 * bytes_share), bytes_share, bytes_share)


@dataclass(frozen=True, slots=True)
class Route:
    """How to connect to the host of a URL. Exchanges on equal routes can share handles and connections.

    trust: of its TLS, None without. open_socket: rejects internal addresses; None if every address is allowed.
    """

    trust: Trust | None = None
    proxy: Proxy | None = None
    open_socket: Callable[[int, Any], int] | None = None

    @property
    def intermediary(self) -> str:
        """The host of a proxy that can answer in place of the host, "" without: TLS and SOCKS only pass through."""
        if self.proxy is None or self.trust is not None or not self.proxy.url.startswith("http"):
            return ""
        return self.proxy.host


def api_url(host: str, *, plain_http: bool = False) -> str:
    """Return the URL that the API of a registry is below, by the host that references name it by."""
    return f"{'http' if plain_http else 'https'}://{_API_HOSTS.get(host, host)}"


def _origin(url: str) -> str:
    return url[: url.find("/", 8)] if "/" in url[8:] else url


class Network:
    """Finds the route to a URL of one registry or of a redirect; reads its certificates when they are needed.

    host: as references name it. variables: the environment's, for proxies and directories of certificates (see
    certificates.py); the files that the settings name come on top. home: the URL of the registry.
    """

    def __init__(self, host: str, settings: HostSettings, variables: Mapping[str, str]) -> None:
        self.home = api_url(host, plain_http=settings.plain_http)
        self._settings = settings
        self._directory = directory_for(host, settings.cert_dir, certificate_roots(variables))
        self._home_is_inside = leads_inward(urlsplit(self.home).hostname or "")
        self._located = False
        self._realms = Realms(self.home, settings.realm_hosts)
        self._proxies = proxies_of(variables)
        self._routes: dict[str, Route] = {}
        self._trusts: dict[bool, Trust] = {}
        self._answered: set[str] = set()
        self._making = threading.Lock()
        self.connections = Connections.within(settings.max_connections)
        self.least = Least(settings.min_bytes_per_second, settings.stall_seconds)

    def route(self, url: str) -> Route:
        """Return how to connect to the host of `url`. Raises: TlsFailed, UsageError."""
        host = _origin(url)
        known = self._routes.get(host)
        if known is None:
            with self._making:
                known = self._routes[host] = self._found(url)
        return known

    def _found(self, url: str) -> Route:
        parts = urlsplit(url)
        proxy = self._proxy(url)
        elsewhere = proxy is None and parts.hostname != urlsplit(self.home).hostname
        return Route(
            trust=self._trust(url) if parts.scheme == "https" else None,
            proxy=proxy,
            open_socket=self._opened if elsewhere else None,
        )

    def _trust(self, url: str) -> Trust:
        """Return the trust for the TLS of the host of `url`.

        The client certificate is for the registry's own host and its token service, as passwords are; a storage that it
        redirects to does not get it.
        """
        shown = bool(self._settings.client_cert or self._directory) and self._realms.trusts(url)
        if shown not in self._trusts:
            found = read_certificates(self._directory) if self._directory else Certificates()
            self._trusts[shown] = trust_of(self._settings, found, shown=shown)
        return self._trusts[shown]

    def _proxy(self, url: str) -> Proxy | None:
        """Return the proxy for `url`, None for a direct connection. Raises: UsageError."""
        if not self._proxies:
            return None
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if not proxy or bypasses(parts.netloc.rpartition("@")[2], self._proxies.get("no", "")):
            return None
        return Proxy.read(proxy)

    def patience(self, method: str) -> float:
        """Return how many seconds the answer to a request may take to begin."""
        longest = float(self._settings.answer_seconds)
        return min(_PATIENCE.get(method, longest), longest)

    def has_answered(self, url: str) -> bool:
        """Return whether the host of `url` has answered a request: if it refuses one later, it may be restarting."""
        return _origin(url) in self._answered

    def answered(self, url: str) -> None:
        """Record that the host of `url` has answered."""
        self._answered.add(_origin(url))

    def connected(self, route: Route, handle: pycurl.Curl) -> None:
        """Record the IP address of the registry itself. handle: after an exchange on `route`."""
        if not self._located and route.open_socket is None and route.proxy is None:
            self._located = True
            self._home_is_inside = self._home_is_inside or leads_inward(str(handle.getinfo(pycurl.PRIMARY_IP)))

    def _opened(self, _purpose: int, address: Any) -> int:
        """Open a socket for a host that the registry named, unless an external registry leads to an internal address.

        Rules 4.3 (3) of the threat list: a name can resolve to any address, so the address itself is checked.
        """
        if not self._home_is_inside and leads_inward(str(address.addr[0])):
            return -1  # CURL_SOCKET_BAD
        return socket.socket(address.family, address.socktype, address.protocol).detach()

    def inward(self, url: str) -> MirrorsyncError:
        """Return the error for a URL whose host is inside this machine or network, where the registry is not."""
        host = printable(urlsplit(url).netloc)
        return RegistryFailure(f"the registry points to {host!r}, which is inside this machine or network")

    def named(self, failure: E, url: str, route: Route) -> E:
        """Return the error with the name of the host at which it occurred, if that is not the registry.

        If a proxy, storage or token service fails, the registry's own name would mislead.
        """
        if route.proxy is not None and isinstance(failure, Unreachable):
            return failure.with_(message=f"through the proxy {printable(route.proxy.host)}: {failure.message}")
        if not same_origin(url, self.home):
            return failure.with_(message=f"{printable(urlsplit(url).netloc)}: {failure.message}")
        return failure
