"""How a host is reached: TLS, proxies, timeouts and the number of connections; the same for both engines."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed does not know it

from mirrorsync.errors import MirrorsyncError, TlsFailed, Unreachable, printable
from mirrorsync.spec.model import RegistrySettings

# Seconds. No limit on the whole of a transfer, since blobs of many GiB are normal; on a silent line there is one.
CONNECT_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 60.0
QUESTION_SECONDS: Final = 300.0  # a whole question with its answer of at most a few MiB

PLAIN_HTTP_REMEDY: Final = "the host speaks plain HTTP: set plain_http: true for it in the spec, if that is meant"


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


class Network:
    """Makes the TLS context of one registry when it is first needed, and tells which proxy leads to a URL.

    proxies: scheme -> URL of the proxy, and "no" -> the hosts to be reached without, as
    `urllib.request.getproxies_environment` gives them.
    """

    def __init__(self, settings: RegistrySettings, proxies: Mapping[str, str]) -> None:
        self._settings = settings
        self._proxies = dict(proxies)
        self._context: ssl.SSLContext | None = None
        self._making = threading.Lock()
        self.connections = Connections.within(settings.max_connections)

    @property
    def tls(self) -> ssl.SSLContext:
        """The TLS context: made once, since loading the system's trust takes 20 ms. Raises: TlsFailed."""
        with self._making:
            if self._context is None:
                self._context = _tls_context(self._settings)
            return self._context

    def proxy(self, url: str) -> str | None:
        """Return the URL of the proxy that leads to `url`, None when it is reached directly."""
        if not self._proxies:
            return None
        parts = urlsplit(url)
        if proxy_bypass_environment(parts.netloc.rpartition("@")[2], self._proxies):
            return None
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _tls_context(settings: RegistrySettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.ca_file:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("ca_file", settings.ca_file, error) from error
    if settings.client_cert:
        try:
            # An encrypted key would make OpenSSL ask on the terminal; the empty password makes it fail instead.
            context.load_cert_chain(settings.client_cert, settings.client_key, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable("client_cert", settings.client_cert, error) from error
    return context


def _unusable(key: str, path: str, error: OSError) -> TlsFailed:
    reason = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else "it holds no usable PEM data"
    return TlsFailed(
        f"{key} {printable(path)} cannot be used: {reason}", remedy=f"check {key} of this host in the spec"
    )


def tls_failure(error: BaseException) -> TlsFailed:
    """Return what went wrong with TLS, in plain words, for any exception whose causes hold an ssl.SSLError."""
    cause = _find(error, ssl.SSLError)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsFailed(f"its certificate is not trusted: {printable(cause.verify_message, 200)}")
    reason = (cause.reason if isinstance(cause, ssl.SSLError) else None) or "the handshake failed"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return TlsFailed("it does not answer with TLS", remedy=PLAIN_HTTP_REMEDY)
    return TlsFailed(f"no TLS connection: {printable(reason.replace('_', ' ').lower(), 200)}")


def broken(error: BaseException) -> MirrorsyncError:
    """Translate an exception of an HTTP engine or of a socket into Unreachable or TlsFailed."""
    if _find(error, ssl.SSLError) is not None:
        return tls_failure(error)
    cause = _find(error, OSError)
    reason = getattr(cause, "strerror", None) or _KINDS.get(type(error).__name__) or "the connection broke off"
    return Unreachable(printable(reason, 200))


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
    "ClientHttpProxyError": "the proxy refused the connection",
    "ClientProxyConnectionError": "the proxy cannot be reached",
    "ProxyError": "the proxy refused the connection",
}


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the first exception of that kind among `error`, its reasons and its causes."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        if isinstance(current, kind):
            return current
        seen.add(id(current))
        waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return None
