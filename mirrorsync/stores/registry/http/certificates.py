"""Directories of certificates, one for each host, as docker, podman and skopeo read them.

In `certs.d/HOST[:PORT]/` every `*.crt` is an authority that is trusted for this host in addition to the system's, and
`NAME.cert` with `NAME.key` is the client certificate for this host (containers-certs.d(5)).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import TlsFailed
from mirrorsync.text import printable

_SYSTEM_ROOTS: Final = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
_REMEDY: Final = "the directory must have *.crt files of authorities, or a client's NAME.cert with its NAME.key"


@dataclass(frozen=True, slots=True)
class Certificates:
    """The content of a directory: files of authorities, and the first pair of a client's certificate and key."""

    authorities: tuple[Path, ...] = ()
    client: tuple[Path, Path] | None = None


def certificate_roots(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories that have a directory for each host, in the order of containers/image."""
    home = environment.get("HOME")
    return (*((Path(home, ".config", "containers", "certs.d"),) if home else ()), *_SYSTEM_ROOTS)


def directory_for(host: str, chosen: str | None, roots: Iterable[Path]) -> Path | None:
    """Return the directory for a host: the one that was `chosen`, otherwise the first in `roots`; None without one.

    A directory without permission counts as absent, unless it was chosen: the system's authorities may be enough.
    """
    if chosen:
        return Path(chosen)
    return next((root / host for root in roots if os.access(root / host, os.R_OK | os.X_OK)), None)


def read_certificates(directory: Path) -> Certificates:
    """Read a directory. Raises: TlsFailed if it cannot be read, or if half of a pair is missing."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names are what is compared
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise TlsFailed(f"certificates in {printable(str(directory))}: {reason}", remedy=_REMEDY) from error
    pairs = []
    for name in names:
        stem, dot, end = name.rpartition(".")
        other = {"cert": "key", "key": "cert"}.get(end) if dot else None
        if other is not None and f"{stem}.{other}" not in names:
            raise TlsFailed(
                f"certificates in {printable(str(directory))}: {printable(name)} has no {printable(stem)}.{other}",
                remedy=_REMEDY,
            )
        if end == "cert" and dot:
            pairs.append((directory / name, directory / f"{stem}.key"))
    return Certificates(tuple(directory / name for name in names if name.endswith(".crt")), pairs[0] if pairs else None)
