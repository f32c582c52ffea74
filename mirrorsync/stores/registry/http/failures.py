"""Translate libcurl's error codes, of exchanges without an answer, into errors with a remedy.

libcurl's own messages contain URLs and addresses of proxies, so they are shown only if they are about TLS.
"""

from __future__ import annotations

import errno as codes
import os
from typing import Final

import pycurl

from mirrorsync.errors import ConnectionRefused, HostUnknown, MirrorsyncError, RegistryFailure, TlsFailed, Unreachable
from mirrorsync.remedies import ByVerb
from mirrorsync.stores.registry.http.network import Network, Route
from mirrorsync.text import printable

PLAIN_HTTP_REMEDY: Final = ByVerb(
    "the host speaks plain HTTP: if that is intended, set plain_http: true for it in the spec",
    "the host speaks plain HTTP: if that is intended, pass --tls-verify=false",
)
CLIENT_CERTIFICATE_REMEDY: Final = ByVerb(
    "set client_cert and client_key for this host in the spec, with a certificate that it accepts",
    "name a directory with a certificate that it accepts: --cert-dir DIR",
)
_DISTRUST_REMEDY: Final = ByVerb(
    "trust its authority: set ca_file for this host in the spec, or store it in /etc/containers/certs.d/HOST/ca.crt",
    "trust its authority: --cert-dir DIR with a .crt file in it, or store it in /etc/containers/certs.d/HOST/ca.crt",
)
_BROKEN: Final = "the connection broke off"
_WORDS: Final = {
    pycurl.E_UNSUPPORTED_PROTOCOL: "the answer is not HTTP",  # HTTP/0.9
    pycurl.E_COULDNT_RESOLVE_PROXY: "cannot resolve its host name",
    pycurl.E_COULDNT_RESOLVE_HOST: "cannot resolve the host name",
    pycurl.E_COULDNT_CONNECT: "cannot connect",
    8: "the answer is not HTTP",  # CURLE_WEIRD_SERVER_REPLY; pycurl has FTP's old name for it
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
    pycurl.E_GOT_NOTHING: "the connection was closed without an answer",
    97: "it refuses the connection",  # CURLE_PROXY
    100: "the headers of the answer are too large",  # CURLE_TOO_LARGE
}
_TLS: Final = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR, pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CERTPROBLEM, pycurl.E_SSL_CIPHER,
        pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_ISSUER_ERROR, pycurl.E_USE_SSL_FAILED,
    }
)  # fmt: skip
# Codes with which OpenSSL's message can be about our certificate: TLS 1.3 rejects it only after the handshake.
_LATE: Final = frozenset({pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR})
_NOT_TLS: Final = ("wrong version number", "http request", "packet length too long", "record layer failure")
# OpenSSL's names of the alerts with which a server rejects a client's certificate, or the lack of one.
_ABOUT_US: Final = (
    "certificate required", "unknown ca", "bad certificate", "certificate expired", "certificate revoked",
    "certificate unknown", "unsupported certificate",
)  # fmt: skip
# The server closed the connection during a handshake or a body: that is worth a retry.
_CUT: Final = ("unexpected eof", "ssl_error_syscall", "connection reset", "broken pipe", "ssl_error_zero_return")


def failed(number: int, words: str, handle: pycurl.Curl, route: Route, url: str, network: Network) -> MirrorsyncError:
    """Return the error for an exchange with `url` that ended with one of libcurl's error codes."""
    errno = int(handle.getinfo(pycurl.OS_ERRNO) or 0)
    if number == pycurl.E_URL_MALFORMAT:
        return RegistryFailure("the registry sent a malformed URL")
    if number == pycurl.E_COULDNT_CONNECT and route.open_socket is not None and not errno:
        return network.inward(url)
    lower = words.lower()
    about_tls = number in _TLS or (number in _LATE and any(alert in lower for alert in _ABOUT_US))
    if about_tls and not any(cut in lower for cut in _CUT):
        return network.named(_tls_failure(number, words), url, route)
    status = int(handle.getinfo(pycurl.HTTP_CONNECTCODE) or 0) if route.proxy else 0
    if route.proxy is not None and status >= 300:
        return route.proxy.refusal(status)
    kind = Unreachable if network.has_answered(url) else _kind(number, errno)
    return network.named(kind(_reason(number, errno, handle)), url, route)


def _kind(number: int, errno: int) -> type[Unreachable]:
    """Return the kind of error for a host that has not answered yet: a mistyped name or port will not get better."""
    if number in (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY):
        return HostUnknown
    refused = number == pycurl.E_COULDNT_CONNECT and errno == codes.ECONNREFUSED
    return ConnectionRefused if refused else Unreachable


def _reason(number: int, errno: int, handle: pycurl.Curl) -> str:
    if number == pycurl.E_OPERATION_TIMEDOUT and not handle.getinfo(pycurl.PRETRANSFER_TIME):
        return "timeout while connecting"
    if number in (pycurl.E_COULDNT_CONNECT, *_LATE) and errno:
        return os.strerror(errno)
    return _WORDS.get(number, _BROKEN)


def _tls_failure(number: int, words: str) -> TlsFailed:
    """Return the error for a failed TLS handshake or certificate check."""
    if number == pycurl.E_PEER_FAILED_VERIFICATION:
        reason = words.removeprefix("SSL certificate problem: ").removeprefix("SSL: ")
        return TlsFailed(f"its certificate is not trusted: {printable(reason, 200)}", remedy=_DISTRUST_REMEDY)
    lower = words.lower()
    if any(sign in lower for sign in _NOT_TLS):
        return TlsFailed("the host does not speak TLS", remedy=PLAIN_HTTP_REMEDY)
    remedy = CLIENT_CERTIFICATE_REMEDY if any(alert in lower for alert in _ABOUT_US) else ""
    reason = words.rpartition(":")[2].strip() or "the handshake failed"
    return TlsFailed(f"TLS handshake failed: {printable(reason, 200)}", remedy=remedy)
