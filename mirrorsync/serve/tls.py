"""TLS of the server: its certificate and key, which are read again when they are renewed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.serve.watched import Watched

_MOST_BYTES: Final = 1024 * 1024
_REISSUE: Final = "have it issued anew, with an RSA key of 2048 bits or an EC key, and SHA-256"
_DAY: Final = "%Y-%m-%d"


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate with its key. end: when it expires."""

    context: ssl.SSLContext
    end: datetime


class Tls:
    """The certificate of a server. certificate: PEM, with its intermediate ones behind it. key: PEM, not encrypted.

    Raises: StorageError or UsageError if they cannot be used, each with the file that is wrong.
    """

    def __init__(self, certificate: Path, key: Path, observer: Observer) -> None:
        self._chain = Watched(
            (certificate, key),
            lambda: read_chain(certificate, key),
            lambda chain: _renewed(certificate, chain),
            observer,
        )
        if self.end <= datetime.now(UTC):
            text = f"the certificate {certificate} expired on {self.end:{_DAY}}: clients reject it"
            observer(Noticed("serve", text))

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection; older ones keep theirs."""
        return self._chain.current().context

    @property
    def end(self) -> datetime:
        """When the certificate expires."""
        return self._chain.current().end

    def reload(self) -> None:
        """Read the files again."""
        self._chain.reload()


def _renewed(certificate: Path, chain: Chain) -> str:
    return f"new connections get the certificate of {certificate}, which is valid until {chain.end:{_DAY}}"


def read_chain(certificate: Path, key: Path) -> Chain:
    """Return the context with a certificate and its key. Raises: StorageError, UsageError."""
    # Imported here: without TLS it costs a tenth of a second for nothing.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    given, secret = _content(certificate, "certificate"), _content(key, "key")
    try:
        first = x509.load_pem_x509_certificates(given)[0]
        certified = first.public_key().public_bytes(*public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(certificate, "has no certificate in PEM format", "openssl x509 -in FILE shows one") from error
    try:
        private = serialization.load_pem_private_key(secret, None)
    except TypeError as error:
        remedy = f"remove the passphrase, and guard the file: openssl pkey -in {key} -out NEW"
        raise _unusable(key, "is encrypted, and there is no terminal to ask at a restart", remedy) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(key, "has no private key in PEM format", "openssl pkey -in FILE shows one") from error
    if private.public_key().public_bytes(*public) != certified:
        raise _unusable(
            key, f"is not the key of {certificate}", "the server's own certificate is the first of its file"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:  # too small a key, or a chain that is damaged behind its first certificate
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror
        raise _unusable(
            certificate, f"is rejected by OpenSSL: {str(reason).lower().replace('_', ' ')}", _REISSUE
        ) from error
    return Chain(context, first.not_valid_after_utc)


def _content(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        remedy = "give this user the right to read it, or name another file"
        raise StorageError(f"the {what} {path} cannot be read: {reason}", remedy=remedy) from error


def _unusable(path: Path, why: str, remedy: str) -> MirrorsyncError:
    return UsageError(f"{path} {why}", remedy=remedy)
