"""Who has to sign what crosses an air gap: from options, a spec or variables, and whether they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mirrorsync.app.reading import absolute
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.events import Noticed
from mirrorsync.signing import BUNDLE, NotTrusted, Required, Verdict, check
from mirrorsync.spec.model import Signers
from mirrorsync.text import printable

# For a site without a spec: its policy holds for every call, also for one that names no options.
SIGNERS_VARIABLE: Final = "MIRRORSYNC_SIGNERS"
THRESHOLD_VARIABLE: Final = "MIRRORSYNC_THRESHOLD"
_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class SignerChoice:
    """Who has to sign, as one call names it: None = the spec's value, else the variable's.

    allow_unsigned: too few signatures are enough this time.
    """

    file: str | None = None
    threshold: int | None = None
    allow_unsigned: bool = False

    def required(self, variables: Mapping[str, str], signers: Signers | None = None) -> Required | None:
        """Return who has to sign. signers: of the spec, if there is one. Raises: as `required_signers`."""
        return required_signers(variables, self.file, self.threshold, signers=signers)


def required_signers(
    variables: Mapping[str, str],
    file: str | None = None,
    threshold: int | None = None,
    *,
    signers: Signers | None = None,
) -> Required | None:
    """Return who has to sign, None if unsigned is right.

    file, threshold: of the options; signers: of the spec, if there is one. Each of the two values is the option's, else
    the spec's, else the variable's (MIRRORSYNC_SIGNERS, MIRRORSYNC_THRESHOLD), else 1. Raises: UsageError for a
    threshold without a file, and for a variable that is not a number.
    """
    given = file or (signers.allowed if signers else None) or variables.get(SIGNERS_VARIABLE)
    if signers is not None and threshold is None:
        threshold = signers.threshold
    written = variables.get(THRESHOLD_VARIABLE, "")
    if threshold is None and written:
        if not (written.isascii() and written.isdecimal() and 1 <= int(written[:9]) <= _MOST):
            raise UsageError(f"{THRESHOLD_VARIABLE} is {printable(written, 40)!r}", remedy=f"write 1 to {_MOST}")
        threshold = int(written)
    if not given:
        if threshold is not None:
            raise UsageError("a number of signers, but no file of allowed signers", remedy="name it: --signers FILE")
        return None
    return Required(absolute(given), threshold or 1)


def check_signatures(
    name: str,
    document: bytes,
    signatures: Sequence[bytes],
    required: Required | None,
    namespace: str,
    environment: Environment,
    *,
    allow_unsigned: bool = False,
) -> None:
    """Reject a document that too few people have signed, and report what its signatures prove now.

    It is not a coroutine: ssh-keygen takes a moment for each. name: of the document, for notices. namespace:
    `signing.BUNDLE` or `signing.INVENTORY`. allow_unsigned: as for `signing.check`. Raises: NotTrusted;
    SshKeygenFailed; NotFound.
    """
    if not signatures and required is None:
        return  # nothing to verify, so a site without ssh-keygen needs none
    now = datetime.fromtimestamp(environment.clock.now(), UTC)
    verdict = check(
        document, signatures, required, namespace, now, environment.variables, allow_unsigned=allow_unsigned
    )
    for line in signature_lines(verdict):
        environment.observer(Noticed(name, line))


def voucher(
    environment: Environment, signers: Signers | None = None
) -> Callable[[str, bytes, Sequence[bytes]], object]:
    """Return what rejects bundles that are read as sources, for `Environment.vouch`. signers: of the spec, if any."""

    def vouch(name: str, document: bytes, signatures: Sequence[bytes]) -> None:
        required = required_signers(environment.variables, signers=signers)
        if required is None:
            return
        try:
            check_signatures(name, document, signatures, required, BUNDLE, environment)
        except NotTrusted as error:
            remedy = "have it signed, or import it with `mirrorsync bundle apply --allow-unsigned`"
            raise error.with_(message=f"{name} is {error.message}", remedy=remedy) from error

    return vouch


def signature_lines(verdict: Verdict) -> Iterator[str]:
    """Yield a line for what is proven, and one for each signature that does not count."""
    if verdict.signers:
        names = ", ".join(dict.fromkeys(map(str, verdict.signers)))
        if not verdict.threshold:
            yield f"signed by {names}, not verified: no signers are configured (--signers FILE)"
        elif verdict.met:
            yield f"signed by {names}"
        else:
            yield f"signed by {names}: {len(verdict.people)} of {verdict.threshold} people; accepted (--allow-unsigned)"
    elif verdict.threshold:
        have = "person has" if verdict.threshold == 1 else "people have"
        yield f"not signed, and {verdict.threshold} {have} to sign; accepted (--allow-unsigned)"
    for one in verdict.rejected:
        yield f"signature {one.number} does not count: {one.reason}"
