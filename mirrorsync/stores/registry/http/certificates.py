"""Directories of certificates, one for each host, as docker, podman and skopeo read them.

In `certs.d/HOST[:PORT]/` every `*.crt` is an authority that is trusted for this host beside the system's, and
`NAME.cert` with `NAME.key` is what the host is shown when it asks who we are (containers-certs.d(5)).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import TlsFailed, printable

_SYSTEM_ROOTS: Final = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
_REMEDY: Final = "it holds *.crt files of authorities, and a client's NAME.cert with its NAME.key"


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a directory holds: files of authorities, and the first pair of a client's certificate and key."""

    authorities: tuple[Path, ...] = ()
    client: tuple[Path, Path] | None = None


def certificate_roots(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories that hold one directory for each host, in the order of containers/image."""
    home = environment.get("HOME")
    return (*((Path(home, ".config", "containers", "certs.d"),) if home else ()), *_SYSTEM_ROOTS)


def directory_for(host: str, chosen: str | None, roots: Iterable[Path]) -> Path | None:
    """Return the directory for a host, None when there is none: the one that was `chosen`, else the first in `roots`.

    One that may not be entered counts as absent, unless it was chosen: the system's trust may be all that is needed.
    """
    if chosen:
        return Path(chosen)
    return next((root / host for root in roots if os.access(root / host, os.R_OK | os.X_OK)), None)


def read_certificates(directory: Path) -> Certificates:
    """Return what a directory holds. Raises: TlsFailed when it cannot be read, or half of a pair is missing."""
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
