"""Origins: the scheme, host and port of a URL, and the URLs to which a registry may not redirect its clients."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urljoin, urlsplit

from mirrorsync.errors import RegistryFailure
from mirrorsync.text import printable

_PORTS = {"http": 80, "https": 443}
# A path that needs neither resolving nor checking.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~:%+=-][A-Za-z0-9_.~:%+=-]*)+/?(?:\?[A-Za-z0-9_.~:%+=&/-]*)?")
# Characters that are safe in a request line. A space or control character could split one request into two.
_SENDABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"\[[0-9a-f:.%a-z]+\]|(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")


def origin(url: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of a URL. Raises: RegistryFailure if it is not an http(s) URL with a host."""
    parts = _split(url)
    return parts.scheme, parts.hostname or "", _port(parts)


def same_origin(one: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port, so that credentials of one may go to the other."""
    # The usual case, for each of thousands of requests: a URL below the registry's own.
    return one.startswith(f"{other}/") or origin(one) == origin(other)


def base_of(url: str) -> str:
    """Return the URL of the origin that a URL belongs to, without a path. Raises: RegistryFailure."""
    parts = _split(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def resolved(base: str, location: str, registry: str) -> str:
    """Return the absolute URL of a Location, Link or realm that a `registry` (its URL) has sent, relative to `base`.

    http:// of the same host becomes https:// if `base` is https: a registry behind a proxy that terminates TLS does
    not know better (Harbor, Gitea and distribution without `externalURL`, `ROOT_URL` or `http.host`).
    Raises: RegistryFailure if it leads from https to http of another host, has credentials, is not an http(s) URL, or
    leads inward: to this machine or a cloud's metadata service by address, while the registry itself is elsewhere
    (rules 4.3 (1) to (5) of the threat list; GHSA-h7vf-4x9w-h99v and go-containerregistry#2193 happen without).
    """
    if base.startswith(f"{registry}/"):
        # The usual case of uploads, two for each image of a first copy: a path of the registry's own.
        path = location.removeprefix(registry)
        if _PLAIN.fullmatch(path):
            return registry + path
    parts = _split(location, base)
    if parts.username is not None or parts.password is not None:
        raise RegistryFailure("the registry points to a URL with credentials in it")
    parts = _as_secure_as(urlsplit(base), parts)
    target = parts.geturl()
    if parts.scheme == "http" and urlsplit(base).scheme == "https":
        raise RegistryFailure(f"the registry points from https to http (host {printable(parts.hostname or '')!r})")
    host = parts.hostname or ""
    if leads_inward(host) and not leads_inward(urlsplit(registry).hostname or ""):
        raise RegistryFailure(f"the registry points to {printable(host)!r}, which is inside this machine or network")
    return target


def _as_secure_as(base: SplitResult, target: SplitResult) -> SplitResult:
    """Return `target` with https if it is http of the host of an https `base`, at the same port or port 80."""
    downgraded = base.scheme == "https" and target.scheme == "http" and target.hostname == base.hostname
    if not downgraded or target.port not in (None, _PORTS["http"], _port(base)):
        return target
    return target._replace(scheme="https", netloc=base.netloc.rpartition("@")[2])


def leads_inward(host: str) -> bool:
    """Return whether a host is this machine, link-local, unspecified or a cloud's metadata service.

    host: a name, or an address in any spelling; also the address that a name was resolved to.
    """
    name = host.lower().rstrip(".")
    if name in _INWARD_NAMES or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and any(_is_inward(one) for one in (address, *_embedded(address)))


def is_this_machine(host: str) -> bool:
    """Return whether a host is this machine, by its usual name or in any spelling of its address."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


# Names in /etc/hosts and in the clouds' resolvers.
_INWARD_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "metadata.google.internal", "metadata"}
)
# Metadata services that are not link-local: AWS over IPv6, Alibaba, Oracle and Azure.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
# IPv6 networks with an embedded IPv4 address, and its shift in bits: NAT64, 6to4, and IPv4-compatible (RFC 4291).
_CARRIERS = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
    (ipaddress.IPv6Network("::/96"), 0),
)


def _is_inward(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_link_local or address.is_unspecified or address in _METADATA


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    carried = [int(address) >> shift & 0xFFFFFFFF for network, shift in _CARRIERS if address in network]
    return [*([address.ipv4_mapped] if address.ipv4_mapped else []), *map(ipaddress.IPv4Address, carried)]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001 and 2130706433 are addresses to the resolver, and not to ipaddress.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _split(url: str, base: str = "") -> SplitResult:
    try:
        parts = urlsplit(urljoin(base, url)) if base else urlsplit(url)
        _port(parts)
    except ValueError as error:
        raise RegistryFailure(f"the registry sent a malformed URL: {printable(str(error), 100)}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise RegistryFailure(f"the registry sent a URL that is not http or https: {printable(parts.scheme, 40)!r}")
    if not _SENDABLE.fullmatch(parts.geturl()) or not _HOST.fullmatch(_host(parts)):
        raise RegistryFailure(f"the registry sent a malformed URL, at host {printable(parts.hostname, 80)!r}")
    return parts


def _host(parts: SplitResult) -> str:
    """Return the host as in the URL, in lower case, an IPv6 address in brackets."""
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS.get(parts.scheme, 0)
