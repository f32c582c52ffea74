"""A certificate authority for tests, and certificates that are invalid in different ways."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from tests.parts.processes import run

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in PEM files."""

    path: Path
    key: Path

    def server(self, clients_of: Path | None = None) -> ssl.SSLContext:
        """Return a server's TLS context. clients_of: the authority whose certificates clients must present."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        if clients_of is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients_of)
        return context


class Authority:
    """Issues certificates into a directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self.path, self._key = directory / f"{name}.pem", directory / f"{name}.key"
        subject = f"/CN={name} of the tests"
        run("openssl", "req", "-x509", *_KEY, "-days", "2", "-subj", subject, "-keyout", self._key, "-out", self.path)

    def issue(self, name: str, alternative: str = "IP:127.0.0.1,DNS:localhost", days: int = 2) -> Certificate:
        """Issue a certificate. alternative: its subjectAltName; days: its lifetime, -1 for an expired one."""
        base = self._directory / name
        request, key, path, extensions = (base.with_suffix(end) for end in (".csr", ".key", ".pem", ".ext"))
        extensions.write_text(f"subjectAltName={alternative}\n")
        run("openssl", "req", "-new", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        run(
            "openssl", "x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self._key, "-set_serial", "7",
            "-days", str(days), "-extfile", extensions, "-out", path,
        )  # fmt: skip
        return Certificate(path, key)
