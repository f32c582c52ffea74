"""Proxies of the environment, and the errors for connections that they reject."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from mirrorsync.errors import MirrorsyncError, Unauthorized, Unreachable, UsageError
from mirrorsync.text import printable

PROXY_LOGIN_REMEDY: Final = "put the login into the proxy's URL in the environment: http://USER:PASSWORD@HOST:PORT"
# libcurl's names; with the "h" and for 4a it is the proxy that resolves host names.
_SCHEMES: Final = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})
# Where the standard library (urllib.request.getproxies_environment) looks for proxies; lower case wins.
_SUFFIX: Final = "_proxy"


def proxies_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that environment variables name: scheme -> URL, and "no" -> hosts without a proxy.

    HTTP_PROXY is not read if REQUEST_METHOD is set: a CGI client could set it (httpoxy, CVE-2016-1000110).
    """
    found: dict[str, str] = {}
    for name, value in sorted(variables.items()):  # upper case sorts before lower case, which wins
        if not name.lower().endswith(_SUFFIX) or (name == "HTTP_PROXY" and "REQUEST_METHOD" in variables):
            continue
        if value:
            found[name.lower().removesuffix(_SUFFIX)] = value
        else:
            found.pop(name.lower().removesuffix(_SUFFIX), None)
    return found


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. url: without a login; host: host and port; login: `user:password` or ""."""

    url: str
    host: str
    login: str = field(default="", repr=False)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a proxy of the environment. Raises: UsageError, which does not show it: it may have a password."""
        url = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(url)
            usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError(
                "a proxy in the environment cannot be used",
                remedy="set HTTP_PROXY and HTTPS_PROXY (or ALL_PROXY) to http://HOST:PORT, https://HOST:PORT or "
                "socks5h://HOST:PORT",
            )
        login, _, host = parts.netloc.rpartition("@")
        return cls(f"{parts.scheme}://{host}", host, unquote(login))

    def refusal(self, status: int) -> MirrorsyncError:
        """Return the error for a tunnel that the proxy rejected."""
        host = printable(self.host)
        if status == 407:
            return Unauthorized(f"the proxy {host} requires another login (407)", remedy=PROXY_LOGIN_REMEDY)
        return Unreachable(f"the proxy {host} refused the connection (it answered {status})")


def bypasses(netloc: str, direct: str) -> bool:
    """Return whether a host (`host` or `host:port`) is connected to without a proxy, by NO_PROXY (`direct`).

    The rules are those of Go's tools (golang.org/x/net/http/httpproxy), so that one environment works for all: names,
    which cover the hosts below them, `.domain` and `*.domain`, addresses, CIDR blocks, `:port` after any of them but a
    block, and `*`. libcurl knows neither ports nor `*.domain`. This machine is never reached through a proxy.
    """
    parts = urlsplit(f"//{netloc}")
    host = (parts.hostname or "").rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in direct.replace(" ", ",").lower().split(","):
        if entry == "*":
            return True
        name, port = _with_port(entry)
        if port and port != str(parts.port):
            continue
        if address is not None and _covers(name, address):
            return True
        domain = name.removeprefix("*").removeprefix(".").rstrip(".")
        if domain and address is None and (host == domain or host.endswith(f".{domain}")):
            return True
    return False


def _with_port(entry: str) -> tuple[str, str]:
    """Split `host:port`; an IPv6 address without brackets has no port."""
    name, colon, port = entry.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in name or name.endswith("]")):
        return name.strip("[]"), port
    return entry.strip("[]"), ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _covers(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address or a CIDR block of NO_PROXY includes this address."""
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
