"""`verify: {cosign: {key: FILE}}`: an image is mirrored only if a signature of it verifies, by a key or an identity."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, Final, Self

from mirrorsync.errors import GrammarError
from mirrorsync.plan.policies.base import Decision, Facts
from mirrorsync.text import printable

_NOT_ASKED: Final = "its signatures were not looked for"
# The tags that cosign and registries without the referrers API give to what is attached to a digest: not images.
_ATTACHED: Final = re.compile(r"sha256-[0-9a-f]{64}(\.(sig|att|sbom))?")


@dataclass(frozen=True, slots=True)
class Exemption:
    """Images that need no signature for a while. image: a shell pattern; until: the last day, in UTC."""

    image: str
    reason: str
    until: date

    @classmethod
    def parse(cls, value: Mapping[str, str]) -> Self:
        """Read an entry of `except:`. Raises: GrammarError if its date does not exist."""
        text = value["until"]
        try:
            until = date.fromisoformat(text)
        except ValueError as error:
            raise GrammarError(
                f"{printable(text, 40)!r} is not a date", remedy="write the last day as YYYY-MM-DD"
            ) from error
        return cls(value["image"], value["reason"], until)

    def covers(self, names: Sequence[str]) -> bool:
        """Return whether an image with these names is meant, now or in the past."""
        return any(fnmatch.fnmatchcase(name, self.image) for name in names)

    def is_over(self, now: float) -> bool:
        """Return whether its last day has ended. now: seconds since the epoch."""
        ends = datetime.combine(self.until, time(), UTC) + timedelta(days=1)
        return now >= ends.timestamp()


def in_force(exemptions: Iterable[Exemption], now: float) -> Exemption | None:
    """Return the first exception that is not over, None if all are. now: seconds since the epoch."""
    return next((one for one in exemptions if not one.is_over(now)), None)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Signatures by one of some public keys. files: theirs.

    texts: what is in each of the files, if they are on another machine; () = the files are read.
    """

    signer: ClassVar[str] = "with the key"

    files: tuple[str, ...]
    texts: tuple[str, ...] = ()

    def under(self, base: str) -> KeyFiles:
        """Return the same with absolute paths."""
        return KeyFiles(tuple(_absolute(base, file) for file in self.files))


@dataclass(frozen=True, slots=True)
class Identities:
    """Keyless signatures: by certificates for identities that match one of some shell patterns, and of one issuer.

    trusted_root: the file with the authorities and logs that prove it. text: what is in it, if it is on another
    machine; "" = it is read.
    """

    signer: ClassVar[str] = "by an accepted identity"

    patterns: tuple[str, ...]
    issuer: str
    trusted_root: str
    text: str = ""

    @classmethod
    def of(cls, patterns: Sequence[str], issuer: str | None, trusted_root: str | None) -> Self:
        """Check what identifies a signer. Raises: GrammarError."""
        if not patterns or not issuer or not trusted_root:
            raise GrammarError(
                "an identity, its issuer and a trusted root belong together", remedy="write all three of them"
            )
        for pattern in patterns:
            if not pattern.strip("*?"):
                message = f"the identity {printable(pattern, 40)!r} is everyone who has a token of the issuer"
                raise GrammarError(message, remedy="write what all identities begin or end with")
        return cls(tuple(patterns), issuer, trusted_root)

    def under(self, base: str) -> Identities:
        """Return the same with an absolute path."""
        return replace(self, trusted_root=_absolute(base, self.trusted_root))


# One method never falls back to the other: an image is proven by one of them only.
SignedBy = KeyFiles | Identities


@dataclass(frozen=True, slots=True)
class Verify:
    """What has to have signed each image. dry_run: report, and refuse nothing.

    An image that the destination has already is looked at with `--deep`, or if an exception for it is over. What could
    not be checked is refused.
    """

    signed_by: SignedBy
    dry_run: bool = False
    exemptions: tuple[Exemption, ...] = ()
    decides_without_source: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Read the key's mapping. Raises: GrammarError."""
        return cls(
            _signed_by(value["cosign"]),
            value.get("policy") == "dry_run",
            tuple(map(Exemption.parse, value.get("except", ()))),
        )

    def under(self, base: str) -> Verify:
        """Return the policy with absolute paths. base: the directory that relative ones start from."""
        return replace(self, signed_by=self.signed_by.under(base))

    @property
    def only_changes(self) -> bool:
        """Whether no image has an exception, which may be over."""
        return not self.exemptions

    @staticmethod
    def is_attached(ref: str | None) -> bool:
        """Return whether a tag is one of cosign's for a signature: these are not images, and need none."""
        return ref is not None and _ATTACHED.fullmatch(ref) is not None

    def asks(self, facts: Facts, *, deep: bool = False) -> bool:
        """Return whether the signatures of an image have to be looked for. deep: also of one that is present."""
        if facts.found is None or self.is_attached(facts.tag):
            return False
        present = facts.before is not None and facts.before.digest == facts.found.digest
        return deep or not present or any(one.is_over(facts.now) for one in self.exemptions_of(facts.names))

    def decide(self, facts: Facts) -> Decision | None:
        """Refuse an image that is not proven to be signed; only report it in a dry run, or with an exception."""
        if facts.signature is None and not self.asks(facts):
            return None
        if facts.signature is not None and facts.signature.proven:
            return None
        fact = facts.signature.fact if facts.signature is not None else _NOT_ASKED
        over: Exemption | None = None
        for one in self.exemptions_of(facts.names):
            if not one.is_over(facts.now):
                return Decision("report", f"verify: {fact}; excepted until {one.until} ({printable(one.reason, 120)})")
            over = one
        if over is not None:
            fact += f"; its exception ({printable(over.reason, 120)}) ended on {over.until}"
        if self.dry_run:
            return Decision("report", f"verify (dry run, not refused): {fact}")
        remedy = f"have the image signed {self.signed_by.signer}, or add an exception with a reason and a date"
        return Decision("refuse", f"verify: {fact}", f"{remedy} (verify: except)")

    def exemptions_of(self, names: Sequence[str]) -> list[Exemption]:
        """Return the exceptions of an image, also those that are over. names: those of `Facts`."""
        return [one for one in self.exemptions if one.covers(names)]


def _signed_by(cosign: Mapping[str, Any]) -> SignedBy:
    if "key" not in cosign:
        return Identities.of(_each(cosign.get("identity", ())), cosign.get("issuer"), cosign.get("trusted_root"))
    if len(cosign) > 1:
        others = ", ".join(key for key in cosign if key != "key")
        raise GrammarError(
            f"key: is for signatures with a key, and {others}: for keyless ones",
            remedy="keep one of them; images with the other are a mirror of their own",
        )
    return KeyFiles(_each(cosign["key"]))


def _each(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _absolute(base: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(base, path))
