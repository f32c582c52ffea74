"""Those whose signatures count, read from the files that a spec or an option names: public keys, or a trusted root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirrorsync.errors import GrammarError, StorageError, UsageError
from mirrorsync.plan.policies import Identities, SignedBy

if TYPE_CHECKING:
    from mirrorsync.trust.evidence import Signers
    from mirrorsync.trust.keyless import Keyless
    from mirrorsync.trust.keys import PublicKey

_MAX_KEY_BYTES: Final = 64 * 1024
_MAX_ROOT_BYTES: Final = 4 * 1024 * 1024


def read_signers(signed_by: SignedBy) -> Signers:
    """Return the signers that a policy names. Blocking. Raises: StorageError; GrammarError, UsageError."""
    if isinstance(signed_by, Identities):
        return read_identities(signed_by)
    from mirrorsync.trust.keys import Keys

    return Keys(tuple(map(read_key, signed_by.files)))


def read_key(file: str) -> PublicKey:
    """Return the public key in a file. Raises: StorageError; GrammarError, both with the file's name."""
    # Imported here: cryptography takes a while to load, and only specs that verify need it.
    from mirrorsync.trust.keys import PublicKey

    pem = _read(file, "key", _MAX_KEY_BYTES)
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
    try:
        return Keyless.of(identities.patterns, identities.issuer, _read(file, "trusted root", _MAX_ROOT_BYTES))
    except GrammarError as error:
        raise GrammarError(f"{file} {error.message}", remedy=error.remedy) from error


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
