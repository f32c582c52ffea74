"""The address of the daemon: an explicit host, DOCKER_HOST, docker's socket, or podman's; and a connection to it."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.errors import Denied, MirrorsyncError, TlsFailed, Unreachable, UsageError
from mirrorsync.remedies import ByVerb
from mirrorsync.text import printable

DOCKER_SOCKET: Final = "/var/run/docker.sock"
_PODMAN_SOCKET: Final = "podman/podman.sock"
_PORT: Final = 2375
_TLS_PORT: Final = 2376
_CONNECT_SECONDS: Final = 30.0
_START_IT: Final = ByVerb(
    "start it, or name its socket in the variable DOCKER_HOST (unix:///path or tcp://host:port)",
    "start it, or name its socket with --daemon-host or DOCKER_HOST (unix:///path or tcp://host:port)",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a daemon. path: of its socket, "" for TCP. tls: for TCP, None for plain."""

    shown: str
    path: str = ""
    host: str = "localhost"
    port: int = 0
    tls: ssl.SSLContext | None = None

    def connection(self, silence: float) -> http.client.HTTPConnection:
        """Return a connection that is not open yet. silence: seconds without a byte after which it times out."""
        return _Connection(self, silence)

    def failure(self, error: BaseException) -> MirrorsyncError:
        """Return the error for a failed connection or a broken answer."""
        if isinstance(error, ssl.SSLError):
            return TlsFailed(
                f"TLS handshake with the daemon at {self.shown} failed: {printable(str(error.reason or error), 200)}",
                remedy="check the certificates in DOCKER_CERT_PATH, and whether the daemon speaks TLS",
            )
        if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.IncompleteRead):
            return Unreachable(f"the server at {self.shown} is not a docker daemon", remedy=_START_IT)
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.EACCES, errno.EPERM):
            return Denied(
                f"permission denied for the daemon's socket {self.shown}",
                remedy="add this user to the group docker (which gives root rights), or use this user's podman socket",
            )
        if number in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK):
            return Unreachable(f"no docker daemon listens at {self.shown}", remedy=_START_IT)
        reason = os.strerror(number) if number else "the answer was cut off or did not arrive"
        return Unreachable(f"the docker daemon at {self.shown}: {reason}", remedy=_START_IT)


class _Connection(http.client.HTTPConnection):
    """HTTP over any socket. The standard library's client, since a daemon needs no pools, proxies or redirects, and

    this one reads a megabyte at a time from a thread without an event loop in the path.
    """

    def __init__(self, endpoint: Endpoint, silence: float) -> None:
        super().__init__(endpoint.host, endpoint.port or None, timeout=silence, blocksize=1024 * 1024)
        self._endpoint = endpoint

    def connect(self) -> None:
        """Open the socket."""
        endpoint = self._endpoint
        if endpoint.path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(_CONNECT_SECONDS)
            self.sock.connect(endpoint.path)
        else:
            self.sock = socket.create_connection((endpoint.host, endpoint.port), _CONNECT_SECONDS)
            if endpoint.tls is not None:
                self.sock = endpoint.tls.wrap_socket(self.sock, server_hostname=endpoint.host)
        self.sock.settimeout(self.timeout)


def find_endpoint(host: str | None, variables: Mapping[str, str]) -> Endpoint:
    """Return the daemon's address. No connection is opened; without a host, the usual sockets are searched.

    host: in the format of docker's -H, None if not given. Raises: UsageError for an invalid host.
    """
    named = host or variables.get("DOCKER_HOST")
    if named:
        return _named(named, variables)
    sockets = _usual_sockets(variables)
    path = next((path for path in sockets if Path(path).exists()), sockets[0])
    return Endpoint(f"unix://{path}", path)


def _usual_sockets(variables: Mapping[str, str]) -> Sequence[str]:
    runtime = variables.get("XDG_RUNTIME_DIR")
    own = (f"{runtime}/{_PODMAN_SOCKET}",) if runtime else ()
    return (DOCKER_SOCKET, *own, f"/run/{_PODMAN_SOCKET}")


def _named(text: str, variables: Mapping[str, str]) -> Endpoint:
    shown = printable(text, 200)
    scheme, separator, rest = text.partition("://")
    if scheme == "ssh":
        raise UsageError(
            f"daemon host {shown}: ssh is not supported",
            remedy="forward its socket, ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST, "
            "and name it instead: unix:///tmp/docker.sock",
        )
    if scheme == "unix" and rest.startswith("/"):
        return Endpoint(text, rest)
    if not separator and text.startswith("/"):
        return Endpoint(f"unix://{text}", text)
    if scheme in ("tcp", "http", "https"):
        return _tcp(text, variables)
    raise UsageError(f"invalid daemon host {shown!r}", remedy="write unix:///path/of/socket or tcp://host:port")


def _tcp(text: str, variables: Mapping[str, str]) -> Endpoint:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.hostname or parts.path.strip("/") or "@" in parts.netloc:
        raise UsageError("invalid daemon host", remedy="write it as tcp://host:port")
    secure = parts.scheme == "https" or bool(variables.get("DOCKER_TLS_VERIFY"))
    tls = _tls(variables) if secure else None
    return Endpoint(text, host=parts.hostname, port=port or (_TLS_PORT if secure else _PORT), tls=tls)


def _tls(variables: Mapping[str, str]) -> ssl.SSLContext:
    """Return the TLS of docker's own client: ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH, or in ~/.docker."""
    directory = Path(variables.get("DOCKER_CERT_PATH") or f"{variables.get('HOME', '')}/.docker")
    authority, certificate = directory / "ca.pem", directory / "cert.pem"
    try:
        context = ssl.create_default_context(cafile=authority if authority.exists() else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate.exists():
            # An encrypted key would make OpenSSL ask on the terminal; the empty password makes it fail instead.
            context.load_cert_chain(certificate, directory / "key.pem", password="")
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(
            f"the certificates in {printable(str(directory))} cannot be used: {printable(str(error), 200)}",
            remedy="put ca.pem, cert.pem and key.pem there, or set DOCKER_CERT_PATH",
        ) from error
    return context
