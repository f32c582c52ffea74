"""How a host is reached: TLS, proxies, timeouts and the number of connections; the same for both engines."""

from __future__ import annotations

import errno
import os
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed does not know it

from mirrorsync.errors import MirrorsyncError, TlsFailed, Unauthorized, Unreachable, UsageError, printable
from mirrorsync.oci.names import DOCKER_HUB
from mirrorsync.spec.model import RegistrySettings
from mirrorsync.stores.registry.certificates import Certificates, read_certificates
from mirrorsync.stores.registry.origins import same_origin

# Seconds. No limit on the whole of a transfer, since blobs of many GiB are normal; on a silent line there is one.
CONNECT_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 60.0
QUESTION_SECONDS: Final = 300.0  # a whole question with its answer of at most a few MiB

# Where a registry's API is not at the host that names it.
_API_HOSTS: Final = {DOCKER_HUB: "registry-1.docker.io"}
PLAIN_HTTP_REMEDY: Final = (
    "the host speaks plain HTTP: set plain_http: true for it in the spec, or give --tls-verify=false, if that is meant"
)
CLIENT_CERTIFICATE_REMEDY: Final = (
    "set client_cert and client_key for this host in the spec, or give --cert-dir, with a certificate it takes"
)
_DISTRUST_REMEDY: Final = (
    "trust its authority: ca_file for this host in the spec, --cert-dir DIR with a .crt file in it, "
    "or /etc/containers/certs.d/HOST/ca.crt"
)
PROXY_LOGIN_REMEDY: Final = "put the login into the proxy's URL in the environment: http://USER:PASSWORD@HOST:PORT"
_NO_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")  # http.client's words
# OpenSSL's names of the alerts with which a server refuses a client's certificate, or the lack of one.
_ABOUT_US: Final = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    }
)


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


def api_url(host: str, *, plain_http: bool = False) -> str:
    """Return the URL that the API of a registry is below, by the host that references name it by."""
    return f"{'http' if plain_http else 'https'}://{_API_HOSTS.get(host, host)}"


class Network:
    """Makes the TLS context of one registry when it is first needed, and tells which proxy leads to a URL.

    proxies: scheme -> URL of the proxy, and "no" -> the hosts to be reached without, as
    `urllib.request.getproxies_environment` gives them. home: the URL of the registry. certificates: a directory of
    certificates for it (see certificates.py); what the settings name comes on top.
    """

    def __init__(
        self, settings: RegistrySettings, proxies: Mapping[str, str], home: str, certificates: Path | None = None
    ) -> None:
        self._settings = settings
        self._directory = certificates
        self._home = home
        self._proxies = dict(proxies)
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._making = threading.Lock()
        self.connections = Connections.within(settings.max_connections)

    def tls(self, url: str) -> ssl.SSLContext:
        """Return the TLS context for `url`: made once, since loading the system's trust takes 20 ms. Raises: TlsFailed.

        The client certificate is for the registry's own host and its token service, as passwords are; a storage that it
        redirects to does not get to see it.
        """
        known = {urlsplit(self._home).hostname, *self._settings.realm_hosts}
        shown = bool(self._settings.client_cert or self._directory) and urlsplit(url).hostname in known
        with self._making:
            if shown not in self._contexts:
                held = read_certificates(self._directory) if self._directory else Certificates()
                self._contexts[shown] = _tls_context(self._settings, held, shown=shown)
            return self._contexts[shown]

    def proxy(self, url: str) -> Proxy | None:
        """Return the proxy that leads to `url`, None when it is reached directly. Raises: UsageError."""
        if not self._proxies:
            return None
        parts = urlsplit(url)
        if proxy_bypass_environment(parts.netloc.rpartition("@")[2], self._proxies):
            return None
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        return Proxy.read(proxy) if proxy else None

    def broken(self, error: BaseException, url: str) -> MirrorsyncError:
        """Translate an exception of an HTTP engine or of a socket, met on the way to `url`.

        A proxy, storage or token service that fails is named: the registry's own name is not where to look.
        """
        proxy = self.proxy(url)
        failure = broken(error)
        if proxy is not None and (status := _tunnel_status(error)):
            failure = proxy.refusal(status)
        elif proxy is not None and failure.transient:
            failure.message = f"through the proxy {printable(proxy.host)}: {failure.message}"
        elif not same_origin(url, self._home):
            failure.message = f"{printable(urlsplit(url).netloc)}: {failure.message}"
        return failure


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. url: with the login, as the environment has it; host: host and port; login: `user:password` or ""."""

    url: str = field(repr=False)
    host: str
    login: str = field(repr=False)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a proxy of the environment. Raises: UsageError, which does not repeat it: it may hold a password."""
        url = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError(
                "a proxy in the environment is none that can be used",
                remedy="set HTTP_PROXY and HTTPS_PROXY (or ALL_PROXY) to http://HOST:PORT; SOCKS is not spoken",
            )
        login, _, host = parts.netloc.rpartition("@")
        return cls(url, host, unquote(login))

    def refusal(self, status: int) -> MirrorsyncError:
        """Return the error for a tunnel that the proxy did not make."""
        host = printable(self.host)
        if status == 407:
            return Unauthorized(f"the proxy {host} wants another login (407)", remedy=PROXY_LOGIN_REMEDY)
        return Unreachable(f"the proxy {host} makes no connection to it (it answered {status})")


def _tunnel_status(error: BaseException) -> int | None:
    """Return the status with which a proxy refused to make a tunnel, None when that is not what happened."""
    for one in _causes(error):
        if type(one).__name__ == "ClientHttpProxyError":
            return int(getattr(one, "status", 0)) or None
        if found := _NO_TUNNEL.match(str(one)):
            return int(found[1])
    return None


def _tls_context(settings: RegistrySettings, held: Certificates, *, shown: bool) -> ssl.SSLContext:
    """Return a context. held: what a directory of certificates adds; shown: whether the client certificate may be."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    authorities = [("certificate", str(path)) for path in held.authorities]
    for key, path in (*authorities, *((("ca_file", settings.ca_file),) if settings.ca_file else ())):
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(key, path, error) from error
    key, certificate, private = "client_cert", settings.client_cert, settings.client_key
    if not certificate and held.client:
        key, certificate, private = "certificate", str(held.client[0]), str(held.client[1])
    if certificate and shown:
        try:
            # An encrypted key would make OpenSSL ask on the terminal; the empty password makes it fail instead.
            context.load_cert_chain(certificate, private, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable(key, certificate, error) from error
    return context


def _unusable(key: str, path: str, error: OSError) -> TlsFailed:
    reason = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else "it holds no usable PEM data"
    remedy = "check that file, and its key" if key == "certificate" else f"check {key} of this host in the spec"
    return TlsFailed(f"{key} {printable(path)} cannot be used: {reason}", remedy=remedy)


def tls_failure(error: BaseException) -> TlsFailed:
    """Return what went wrong with TLS, in plain words, for any exception whose causes hold an ssl.SSLError.

    aiohttp has subclasses of ssl's exceptions that know nothing; those of the ssl module itself are looked for.
    """
    cause = next((one for one in _causes(error) if type(one).__module__ == "ssl"), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsFailed(
            f"its certificate is not trusted: {printable(cause.verify_message, 200)}", remedy=_DISTRUST_REMEDY
        )
    reason = (cause.reason if isinstance(cause, ssl.SSLError) else None) or "the handshake failed"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return TlsFailed("it does not answer with TLS", remedy=PLAIN_HTTP_REMEDY)
    remedy = CLIENT_CERTIFICATE_REMEDY if reason in _ABOUT_US else ""
    return TlsFailed(f"no TLS connection: {printable(reason.replace('_', ' ').lower(), 200)}", remedy=remedy)


def broken(error: BaseException) -> MirrorsyncError:
    """Translate an exception of an HTTP engine or of a socket into Unreachable or TlsFailed."""
    if _find(error, ssl.SSLError) is not None and not any(type(one) in _CUT for one in _causes(error)):
        return tls_failure(error)
    cause = _find(error, OSError)
    reason = _said(cause) or _KINDS.get(type(error).__name__) or "the connection broke off"
    return Unreachable(printable(reason, 200))


def _said(error: BaseException | None) -> str:
    """Return the system's words for a failed call, "" when there are none."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)  # asyncio has its own words, with the address in them as a tuple
    return getattr(error, "strerror", None) or ""


# How ssl says that the other side has gone, in the middle of a handshake or of a body: that may pass.
_CUT: Final = frozenset({ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError})
# The engines' exceptions by name: their own texts hold URLs, object addresses and proxies' passwords.
_KINDS: Final = {
    "ServerTimeoutError": "no answer in time",
    "SocketTimeoutError": "no answer in time",
    "ConnectionTimeoutError": "no connection in time",
    "TimeoutError": "no answer in time",
    "ReadTimeoutError": "no answer in time",
    "ConnectTimeoutError": "no connection in time",
    "NameResolutionError": "the host name is not known",
    "ClientConnectorDNSError": "the host name is not known",
    "ServerDisconnectedError": "the connection was closed without an answer",
}


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the first exception of that kind among `error` and its causes."""
    return next((one for one in _causes(error) if isinstance(one, kind)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, its reasons and its causes."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
