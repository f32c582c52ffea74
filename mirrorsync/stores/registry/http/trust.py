"""Certificate authorities and client certificates for a registry's TLS: files, checked before they are used."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import TlsFailed
from mirrorsync.hosts import HostSettings
from mirrorsync.stores.registry.http.certificates import Certificates
from mirrorsync.text import printable

# Files of the system's authorities, for a Python that was built on another system and looks for other files.
_KNOWN_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # openssl-rehash(1)


@dataclass(frozen=True, slots=True)
class Trust:
    """The certificates of one kind of connection; paths.

    verify: whether the host's certificate is verified. file, directory: authorities, one of them or both; authorities:
    additional ones, as PEM, which replace `file`. certificate, key: the client's.
    """

    verify: bool = True
    file: str | None = None
    directory: str | None = None
    authorities: bytes = b""
    certificate: str | None = None
    key: str | None = None


def system_trust() -> tuple[str | None, str | None]:
    """Return the file and the directory of the system's authorities, as SSL_CERT_FILE and SSL_CERT_DIR or OpenSSL say.

    In a directory that openssl-rehash(1) has prepared, only the one authority that is needed is read; of a file, all
    140 are read for each connection that cannot share them (20 ms).
    """
    paths = ssl.get_default_verify_paths()
    directory = paths.capath if paths.capath and _is_hashed(paths.capath) else None
    file = paths.cafile or next((known for known in _KNOWN_FILES if Path(known).exists()), None)
    return (file, directory)


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def trust_of(settings: HostSettings, found: Certificates, *, shown: bool) -> Trust:
    """Return the trust for a host's TLS. found: in the host's directory; shown: whether it gets our certificate.

    Raises: TlsFailed for an unusable file, with its path.
    """
    checking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = (("ca_file", settings.ca_file),) if settings.ca_file else ()
    authorities = _read(checking, (*(("certificate", str(path)) for path in found.authorities), *named))
    file, directory = system_trust()
    if authorities and directory is None and file is not None:
        authorities = Path(file).read_bytes() + b"\n" + authorities
    certificate, key = _client(checking, settings, found) if shown else (None, None)
    return Trust(
        verify=not settings.insecure_skip_verify,
        file=file if not authorities else None,
        directory=directory if authorities or file is None else None,
        authorities=authorities,
        certificate=certificate,
        key=key,
    )


def _read(checking: ssl.SSLContext, files: Iterable[tuple[str, str]]) -> bytes:
    """Return the authorities in files, each with the key of the spec that names it. Raises: TlsFailed."""
    found = []
    for key, path in files:
        try:
            checking.load_verify_locations(cafile=path)
            found.append(Path(path).read_bytes())
        except (OSError, ssl.SSLError) as error:
            raise _unusable(key, path, error) from error
    return b"\n".join(found)


def _client(checking: ssl.SSLContext, settings: HostSettings, found: Certificates) -> tuple[str | None, str | None]:
    """Return the paths of the client's certificate and key, None without one. Raises: TlsFailed."""
    key, certificate, private = "client_cert", settings.client_cert, settings.client_key
    if not certificate and found.client:
        key, certificate, private = "certificate", str(found.client[0]), str(found.client[1])
    if not certificate:
        return None, None
    try:
        # An encrypted key would make OpenSSL ask on the terminal; the empty password makes it fail instead.
        checking.load_cert_chain(certificate, private, password="")
    except (OSError, ssl.SSLError) as error:
        raise _unusable(key, certificate, error) from error
    return certificate, private


def _unusable(key: str, path: str, error: OSError) -> TlsFailed:
    reason = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else "no valid PEM data"
    remedy = "check that file, and its key" if key == "certificate" else f"check {key} of this host in the spec"
    return TlsFailed(f"{key} {printable(path)} cannot be used: {reason}", remedy=remedy)
