"""Check the files that a spec names: certificates, keys and passwords of hosts, public keys, trusted roots, signers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from mirrorsync.errors import MirrorsyncError, UsageError
from mirrorsync.hosts import HostSettings
from mirrorsync.plan.policies import Identities, SignedBy, Verify
from mirrorsync.problems import Problem
from mirrorsync.spec.model import Mirror, Signers
from mirrorsync.spec.registries import registry_key
from mirrorsync.spec.yaml_source import Source, join, read
from mirrorsync.sync.gather.signers import readers_of, require_sigstore
from mirrorsync.text import printable

_MAX_BYTES: Final = 16 * 1024 * 1024
_REMEDY: Final = "check the path; relative ones start from the directory of the spec"


def file_problems(source: Source, registries: Mapping[str, HostSettings]) -> Iterator[Problem]:
    """Yield a problem, with its line, for each file of a valid spec that does not exist or is of no use.

    source: the parsed file. registries: the settings of the spec, with absolute paths.
    """
    for written, members in (source.value.get("registries") or {}).items():
        settings = registries[registry_key(written)]
        for key, check in _CHECKS.items():
            if key in members:
                path = Path(getattr(settings, key))
                wrong = _trouble(path, check)
                if wrong:
                    pointer = join(join("/registries", written), key)
                    yield source.problem(pointer, f"{printable(str(path))} {wrong}", _REMEDY)


def signers_problems(source: Source, signers: Signers | None) -> Iterator[Problem]:
    """Yield a problem, with its line, if the file of allowed signers does not exist or has no signers.

    source: the parsed file. signers: of the valid spec, with an absolute path.
    """
    if signers is not None and (wrong := _trouble(Path(signers.allowed), _allowed)):
        yield source.problem("/signers/allowed", f"{printable(signers.allowed)} {wrong}", _REMEDY)


def key_problems(source: Source, mirrors: Sequence[Mirror]) -> Iterator[Problem]:
    """Yield a problem, with its line, for each file of `verify:` that does not exist or is of no use, each once.

    source: the parsed file. mirrors: those of the valid spec, with absolute paths.
    """
    seen: set[str] = set()
    for pointer, signed_by in _verifying(source, mirrors):
        for number, (key, check) in enumerate(readers_of(signed_by)):
            whole = join(pointer, key)
            at = join(whole, number)
            at = at if at in source.positions else whole
            if at in seen:
                continue
            seen.add(at)
            try:
                check()
            except MirrorsyncError as error:
                yield source.problem(at, printable(error.message), error.remedy or _REMEDY)


def package_problems(text: bytes, mirrors: Sequence[Mirror]) -> list[Problem]:
    """Return a problem, with its line, for each `verify:` that needs a package which is not installed.

    text: of the spec, which is valid and has these mirrors.
    """
    if not any(
        isinstance(one, Verify) and isinstance(one.signed_by, Identities) for m in mirrors for one in m.policies
    ):
        return []
    try:
        require_sigstore()
    except UsageError as error:
        source = read(text)
        found = dict.fromkeys(at for at, one in _verifying(source, mirrors) if isinstance(one, Identities))
        return [source.problem(pointer, error.message, error.remedy) for pointer in found]
    return []


def _verifying(source: Source, mirrors: Sequence[Mirror]) -> Iterator[tuple[str, SignedBy]]:
    """Yield the pointers of `verify: cosign` that mirrors have, and what has to have signed their images."""
    for mirror in mirrors:
        own = f"{mirror.entry}/verify/cosign"
        pointer = own if own in source.positions else "/defaults/verify/cosign"
        for policy in mirror.policies:
            if isinstance(policy, Verify):
                yield pointer, policy.signed_by


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


def _allowed(path: Path) -> str:
    lines = (line.split() for line in _read(path).splitlines())
    return "" if any(len(line) > 2 and not line[0].startswith(b"#") for line in lines) else "has no allowed signers"


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
