"""Make signatures over bytes, and find out what signatures prove."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mirrorsync.errors import MirrorsyncError, NotFound, StorageError
from mirrorsync.signing.ssh_keygen import Said, SshKeygenFailed, ask, ask_person
from mirrorsync.signing.verdict import Rejected, Signer, Verdict

# What signatures are for: one for a bundle proves nothing about an inventory, nor a commit of git about either.
BUNDLE: Final = "mirrorsync-bundle"
INVENTORY: Final = "mirrorsync-inventory"
# An RSA key of 16384 bits with a large certificate stays below.
MAX_SIGNATURE_BYTES: Final = 64 * 1024
_MOST_SIGNATURES: Final = 32
_ARMOR: Final = re.compile(rb"\s*-----BEGIN SSH SIGNATURE-----\r?\n[A-Za-z0-9+/=\r\n]+\n-----END SSH SIGNATURE-----\s*")
_GOOD: Final = re.compile(r'Good ".*" signature (?:for .* )?with \S+ key (SHA256:[A-Za-z0-9+/=]+)')
_ON_A_LINE: Final = re.compile(r".*:(\d+): (key .*)")  # FILE:LINE: why a key in the file does not count
_CHANGED: Final = "it is not a signature of these bytes: they were changed, or it is of others"


class NotTrusted(MirrorsyncError):
    """Fewer people have signed than the policy asks for. Nothing was read from what they should have signed."""


@dataclass(frozen=True, slots=True)
class Required:
    """Who has to sign. allowed: a file of allowed signers (ssh-keygen(1)); threshold: how many of them, at least 1."""

    allowed: Path
    threshold: int = 1


def sign(data: bytes, key: Path, namespace: str, variables: Mapping[str, str]) -> bytes:
    """Return a signature over `data`, in armor, as `ssh-keygen -Y sign` writes it.

    key: a private key, or a public one whose private half is in ssh-agent, or next to it. namespace: what the signature
    is for. A passphrase is asked for on the terminal. Raises: SshKeygenFailed, with what can be done; NotFound;
    StorageError.
    """
    check_key(key)
    with _private() as directory:
        _write(directory / "data", data)
        said, asked = ask_person(
            ["-q", "-Y", "sign", "-f", str(key.absolute()), "-n", namespace, str(directory / "data")], variables
        )
        if said.code != 0:
            raise _not_signed(said, key, asked)
        try:
            return (directory / "data.sig").read_bytes()
        except OSError as error:
            raise StorageError(f"ssh-keygen has written no signature: {os.strerror(error.errno or 0)}") from error


def check_key(key: Path) -> None:
    """Reject a key that is not there, before the work whose result it is to sign. Raises: NotFound."""
    if not _is_file(key):
        raise NotFound(f"no key in {key}", remedy="give a private key, or a public one that ssh-agent has")


def _not_signed(said: Said, key: Path, asked: bool) -> SshKeygenFailed:
    """Return the error for a signature that was not made."""
    agent = f"load it into ssh-agent (ssh-add {key})"
    if said.has("incorrect passphrase") and not asked:
        message, remedy = f"{key} has a passphrase, and there is no terminal to ask for it", agent
    elif said.has("incorrect passphrase"):
        message, remedy = f"wrong passphrase of {key}", "try again"
    elif said.has("UNPROTECTED PRIVATE KEY"):
        message, remedy = f"other users can read {key}, so that ssh-keygen ignores it", f"chmod 600 {key}"
    elif said.has("No private key found"):
        message = f"no private key for {key}: it is neither next to it nor in ssh-agent"
        remedy = "load it into ssh-agent (ssh-add), or give the private key"
    else:
        message, remedy = f"ssh-keygen did not sign with {key}: {said.reason}", f"try `ssh-keygen -y -f {key}`"
    return SshKeygenFailed(message, remedy=remedy)


def verify(
    data: bytes,
    signatures: Sequence[bytes],
    required: Required | None,
    namespace: str,
    at: datetime,
    variables: Mapping[str, str],
) -> Verdict:
    """Return what signatures over `data` prove. They may be hostile.

    required: None = no signers are configured: signatures that match are reported by their keys, and prove nothing.
    at: when the keys have to be valid. Raises: SshKeygenFailed; NotFound if there is no file of allowed signers.
    """
    if required is not None and not _is_file(required.allowed):
        raise NotFound(
            f"no file of allowed signers in {required.allowed}",
            remedy="check the path that --signers, signers: in the spec, or MIRRORSYNC_SIGNERS names",
        )
    with _private() as directory:
        _write(directory / "data", data)
        check = _Check(directory, required, namespace, at, variables)
        found = [check.examine(number, signature) for number, signature in enumerate(signatures, 1)]
    return Verdict(
        tuple(one for one in found if isinstance(one, Signer)),
        tuple(one for one in found if isinstance(one, Rejected)),
        required.threshold if required else 0,
    )


def check(
    data: bytes,
    signatures: Sequence[bytes],
    required: Required | None,
    namespace: str,
    at: datetime,
    variables: Mapping[str, str],
    *,
    allow_unsigned: bool = False,
) -> Verdict:
    """Return what `verify` does, if that is enough.

    allow_unsigned: too few signatures are enough, too; one that does not match the bytes never is, unless others are.
    Raises: NotTrusted if not; what `verify` raises.
    """
    verdict = verify(data, signatures, required, namespace, at, variables)
    broken = any(one.broken for one in verdict.rejected)
    if required is None or verdict.met or (allow_unsigned and not broken):
        return verdict
    why = "; ".join(f"signature {one.number}: {one.reason}" for one in verdict.rejected)
    people = "1 person" if required.threshold == 1 else f"{required.threshold} people"
    count = f"signed by {len(verdict.people)} of {people}"
    message = f"{count if signatures else f'not signed, and has to be by {people}'} of {required.allowed}"
    remedy = "copy it again, or ask its sender" if broken else "have it signed, or use --allow-unsigned"
    raise NotTrusted(f"{message}{why and f' ({why})'}", remedy=remedy)


@dataclass(frozen=True, slots=True)
class _Check:
    """Examines signatures over the file `data` in a directory of their own."""

    directory: Path
    required: Required | None
    namespace: str
    at: datetime
    variables: Mapping[str, str]

    def examine(self, number: int, signature: bytes) -> Signer | Rejected:
        """Return what a signature proves. Raises: SshKeygenFailed."""
        if number > _MOST_SIGNATURES:
            return Rejected(number, f"more than {_MOST_SIGNATURES} signatures", broken=False)
        if len(signature) > MAX_SIGNATURE_BYTES:
            return Rejected(number, f"{len(signature)} bytes; the limit is {MAX_SIGNATURE_BYTES}", broken=True)
        if not _ARMOR.fullmatch(signature):
            return Rejected(number, "it is not an SSH signature", broken=True)
        _write(self.directory / "sig", signature)
        said = self._ask("check-novalidate", "-n", self.namespace)
        key = _key(said)
        if key is None:
            return Rejected(number, _broken(said, self.namespace), broken=True)
        return Signer(number, key) if self.required is None else self._allowed(number, key, self.required)

    def _allowed(self, number: int, key: str, required: Required) -> Signer | Rejected:
        allowed, time = str(required.allowed.absolute()), f"verify-time={self.at.astimezone():%Y%m%d%H%M%S}"
        listed = self._ask("find-principals", "-f", allowed, "-O", time)
        reasons = list(listed.lines)
        principals = []
        for principal in (one for one in listed.out if listed.code == 0 and not one.startswith("!")):
            said = self._ask("verify", "-f", allowed, "-I", principal, "-n", self.namespace, "-O", time)
            if _key(said) == key:
                principals.append(principal)
            reasons += said.lines
        if principals:
            return Signer(number, key, tuple(principals))
        return Rejected(number, _not_allowed(key, required.allowed, reasons), broken=False)

    def _ask(self, operation: str, *arguments: str) -> Said:
        return ask(
            ["-Y", operation, *arguments, "-s", str(self.directory / "sig")], self.directory / "data", self.variables
        )


def _key(said: Said) -> str | None:
    """Return the key of a signature that ssh-keygen calls good."""
    good = _GOOD.fullmatch(said.out[-1]) if said.code == 0 and said.out else None
    return good[1] if good else None


def _broken(said: Said, namespace: str) -> str:
    if said.has("incorrect signature"):
        return _CHANGED
    if said.has("namespace does not match"):
        return f"it was not made for {namespace}"
    words = [line for line in said.lines if not line.startswith("Could not verify")]
    return f"it is damaged: {words[0] if words else said.reason}"


def _not_allowed(key: str, allowed: Path, reasons: Sequence[str]) -> str:
    for found in filter(None, map(_ON_A_LINE.fullmatch, reasons)):
        return f"line {found[1]} of {allowed}: {found[2]}"
    return f"{key} is not in {allowed}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def _private() -> Iterator[Path]:
    """Give a directory that only this user can look into, and delete it afterwards. Raises: StorageError."""
    try:
        directory = TemporaryDirectory(prefix="mirrorsync-")
    except OSError as error:
        raise StorageError(f"cannot create a temporary directory: {os.strerror(error.errno or 0)}") from error
    with directory as name:
        yield Path(name)


def _write(path: Path, data: bytes) -> None:
    """Write a file that only this user can read. Raises: StorageError."""
    try:
        path.touch(0o600)
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {os.strerror(error.errno or 0)}") from error
