"""Check the files that a spec names: certificates, keys and passwords of hosts, and public keys of images."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from mirrorsync.errors import MirrorsyncError, Problem
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.names import check_host
from mirrorsync.plan.policies import Verify
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.yaml_source import Source, join
from mirrorsync.text import printable

_MAX_BYTES: Final = 16 * 1024 * 1024
_REMEDY: Final = "check the path; relative ones start from the directory of the spec"


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
                    yield source.problem(pointer, f"{printable(str(path))} {wrong}", _REMEDY)


def key_problems(source: Source, mirrors: Sequence[Mirror]) -> Iterator[Problem]:
    """Yield a problem, with its line, for each public key of `verify:` that does not exist or is of no use, each once.

    source: the parsed file. mirrors: those of the valid spec, with absolute paths.
    """
    from mirrorsync.sync.gather.signatures import read_key  # imported here: it needs asyncio, and few specs verify

    seen: set[str] = set()
    for mirror in mirrors:
        own = f"{mirror.entry}/verify/cosign/key"
        pointer = own if own in source.positions else "/defaults/verify/cosign/key"
        for policy in mirror.policies:
            for number, file in enumerate(policy.keys if isinstance(policy, Verify) else ()):
                at = join(pointer, number)
                at = at if at in source.positions else pointer
                if at in seen:
                    continue
                seen.add(at)
                try:
                    read_key(file)
                except MirrorsyncError as error:
                    yield source.problem(at, printable(error.message), error.remedy or _REMEDY)


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
