"""Those whose signatures count, read from the files that a spec or an option names: public keys, or a trusted root."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirrorsync.errors import GrammarError, StorageError, UsageError
from mirrorsync.plan.policies import Identities, KeyFiles, SignedBy

if TYPE_CHECKING:
    from mirrorsync.trust.evidence import Signers
    from mirrorsync.trust.keyless import Keyless
    from mirrorsync.trust.keys import PublicKey

_PUBLIC_KEY: Final = re.compile(r"-----BEGIN ((?:RSA )?PUBLIC KEY)-----.*?-----END \1-----", re.DOTALL)
_MAX_KEY_BYTES: Final = 64 * 1024
_MAX_ROOT_BYTES: Final = 4 * 1024 * 1024


def read_signers(signed_by: SignedBy) -> Signers:
    """Return the signers that a policy names. Blocking. Raises: StorageError; GrammarError, UsageError."""
    if isinstance(signed_by, Identities):
        return read_identities(signed_by)
    from mirrorsync.trust.keys import Keys

    if signed_by.texts:
        return Keys(tuple(map(_key, signed_by.files, (text.encode() for text in signed_by.texts))))
    return Keys(tuple(map(read_key, signed_by.files)))


def read_key(file: str) -> PublicKey:
    """Return the public key in a file. Raises: StorageError; GrammarError, both with the file's name."""
    return _key(file, _read(file, "key", _MAX_KEY_BYTES))


def _key(file: str, pem: bytes) -> PublicKey:
    # Imported here: cryptography takes a while to load, and only specs that verify need it.
    from mirrorsync.trust.keys import PublicKey

    try:
        return PublicKey.parse(pem, file)
    except GrammarError as error:
        raise GrammarError(f"{file} {error.message}", remedy=error.remedy) from error


def read_identities(identities: Identities) -> Keyless:
    """Return identities with their trusted root.

    Raises: UsageError if the package that verifies them is not installed; StorageError; GrammarError.
    """
    require_sigstore()
    from mirrorsync.trust.keyless import Keyless

    file = identities.trusted_root
    root = identities.text.encode() or _read(file, "trusted root", _MAX_ROOT_BYTES)
    try:
        return Keyless.of(identities.patterns, identities.issuer, root)
    except GrammarError as error:
        raise GrammarError(f"{file} {error.message}", remedy=error.remedy) from error


def with_texts(signed_by: SignedBy) -> SignedBy:
    """Return the same for another machine: with what is in the files, and their names without directories. Blocking.

    Of a key's file only the key itself is taken. Raises: StorageError; GrammarError for a private key.
    """
    if isinstance(signed_by, Identities):
        file = signed_by.trusted_root
        root = _read(file, "trusted root", _MAX_ROOT_BYTES).decode("utf-8", "replace")
        return replace(signed_by, trusted_root=Path(file).name, text=root)
    pems = []
    for file in signed_by.files:
        pem = _read(file, "key", _MAX_KEY_BYTES)
        _key(file, pem)
        found = _PUBLIC_KEY.search(pem.decode("utf-8", "replace"))
        pems.append(f"{found[0]}\n" if found else "")
    return KeyFiles(tuple(Path(file).name for file in signed_by.files), tuple(pems))


def require_sigstore() -> None:
    """Check that the package is installed that verifies keyless signatures. Raises: UsageError."""
    if find_spec("sigstore") is None:
        raise UsageError(
            "keyless signatures need the Python package sigstore, which is not installed",
            remedy="pip install 'mirrorsync[sigstore]'",
        )


def _read(file: str, what: str, limit: int) -> bytes:
    path = Path(file)
    if path.exists() and not path.is_file():
        raise StorageError(f"the {what} {file} is not a file")
    try:
        with path.open("rb") as opened:
            return opened.read(limit)
    except FileNotFoundError as error:
        raise StorageError(f"the {what} {file} does not exist") from error
    except OSError as error:
        raise StorageError(f"the {what} {file} cannot be read: {error.strerror}") from error


def readers_of(signed_by: SignedBy) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield, for each file that a policy names, its key below `cosign` and the function that reads it."""
    if isinstance(signed_by, Identities):
        yield "trusted_root", partial(read_identities, signed_by)
    else:
        yield from (("key", partial(read_key, file)) for file in signed_by.files)
