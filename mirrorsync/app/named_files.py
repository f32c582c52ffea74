"""Check the files that a spec names for its hosts: certificates, keys and passwords."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from mirrorsync.errors import Problem
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.names import check_host
from mirrorsync.spec.yaml_source import Source, join
from mirrorsync.text import printable

_MAX_BYTES: Final = 16 * 1024 * 1024


def file_problems(source: Source, registries: Mapping[str, HostSettings]) -> Iterator[Problem]:
    """Yield a problem, with its line, for each file of a valid spec that does not exist or is of no use.

    source: the parsed file. registries: the settings of the spec, with absolute paths.
    """
    for written, members in (source.value.get("registries") or {}).items():
        settings = registries[check_host(written)]
        for key, check in _CHECKS.items():
            if key in members:
                path = Path(getattr(settings, key))
                wrong = _trouble(path, check)
                if wrong:
                    pointer = join(join("/registries", written), key)
                    remedy = "check the path; relative ones start from the directory of the spec"
                    yield source.problem(pointer, f"{printable(str(path))} {wrong}", remedy)


def _trouble(path: Path, check: Callable[[Path], str]) -> str:
    """Return what is wrong with a file, "" if nothing is."""
    try:
        return check(path)
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _pem(path: Path) -> str:
    return "" if b"-----BEGIN " in _read(path) else "is not a PEM file: it has no -----BEGIN"


def _password(path: Path) -> str:
    return "" if _read(path).strip() else "is empty"


def _directory(path: Path) -> str:
    os.listdir(path)  # noqa: PTH208 - raises at once, unlike iterdir
    return ""


def _read(path: Path) -> bytes:
    """Return the first bytes of a file. Raises: OSError, also for what is not a file, such as a pipe."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a file")
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)


_CHECKS: Final[Mapping[str, Callable[[Path], str]]] = {
    "password_file": _password,
    "ca_file": _pem,
    "client_cert": _pem,
    "client_key": _pem,
    "cert_dir": _directory,
}
