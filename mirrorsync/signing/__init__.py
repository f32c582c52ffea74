"""SSH signatures, as git uses them: made and verified by `ssh-keygen -Y`, with a file of allowed signers.

This is the face. Nothing here knows what is signed: the document of a bundle, an inventory.
"""

from mirrorsync.signing.signatures import (
    BUNDLE,
    INVENTORY,
    MAX_SIGNATURE_BYTES,
    NotTrusted,
    Required,
    check,
    check_key,
    sign,
    verify,
)
from mirrorsync.signing.ssh_keygen import SshKeygenFailed
from mirrorsync.signing.verdict import Rejected, Signer, Verdict

__all__ = [
    "BUNDLE",
    "INVENTORY",
    "MAX_SIGNATURE_BYTES",
    "NotTrusted",
    "Rejected",
    "Required",
    "Signer",
    "SshKeygenFailed",
    "Verdict",
    "check",
    "check_key",
    "sign",
    "verify",
]
