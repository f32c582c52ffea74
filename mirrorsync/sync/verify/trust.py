"""What the signatures of images prove, read where the images are: no source is asked, and no service of Sigstore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.plan.policies import Exemption, Verify, in_force
from mirrorsync.stores.base import Unpacked
from mirrorsync.sync.gather.signatures import Signatures
from mirrorsync.sync.session import Session
from mirrorsync.sync.verify.model import Subject, Trust, Trusted
from mirrorsync.text import printable
from mirrorsync.trust.evidence import Evidence, Finding

_NO_MANIFEST: Final = "the store keeps no manifests, which are what signatures are for"
_OF_INDEX: Final = "if platforms were chosen from a signed index, its signatures are not for this image"


@dataclass(frozen=True, slots=True)
class Asked:
    """What has to have signed an image. exemptions: those of the policy that are for it, also if they are over.

    narrowed: whether platforms were chosen from the index that its source has; a sparse index keeps its digest.
    """

    policy: Verify
    exemptions: Sequence[Exemption] = ()
    narrowed: bool = False


# Takes an image and the digest of its root; None if nothing has to have signed it.
Asking = Callable[[Subject, Digest], Asked | None]


def by_mirror(policies: Mapping[str, Verify]) -> Asking:
    """Ask for what the mirror of each image asks for. policies: by mirror, without an entry if it asks for nothing."""

    def ask(subject: Subject, root: Digest) -> Asked | None:
        policy, origin = policies.get(subject.mirror), subject.origin
        if policy is None or origin is None:
            return Asked(policy) if policy is not None else None
        return Asked(policy, policy.exemptions_of(origin.names(root)), bool(origin.platforms) and not origin.sparse)

    return ask


class TrustCheck:
    """Examines images. asking: says what has to have signed each.

    listed: whether the images were found by listing a store, which can list referrers among them. now: the time of
    exceptions, in seconds since the epoch.
    """

    def __init__(self, session: Session, asking: Asking, now: float, *, listed: bool = False) -> None:
        self._session = session
        self._signatures = Signatures(session)
        self._asking = asking
        self._now = now
        self._listed = listed

    async def examine(self, subject: Subject, root: Descriptor) -> Trusted | None:
        """Return what proves an image, or what is missing; None for a signature. Raises: MirrorsyncError."""
        if Verify.is_attached(subject.ref) or (self._listed and await self._is_referrer(subject, root)):
            return None
        asked = self._asking(subject, root.digest)
        without_manifest = isinstance(self._session.repository(subject.target), Unpacked)
        if asked is None:
            evidence = Evidence() if without_manifest else await self._signatures.evidence(subject.target, root.digest)
            return _not_asked_for(evidence)
        if without_manifest:
            finding = Finding(False, _NO_MANIFEST)
        else:
            finding = await self._signatures.finding(subject.target, root.digest, asked.policy.signed_by)
        if finding.proven:
            return Trusted(Trust.PROVEN, finding.fact)
        return self._unproven(asked, finding.fact)

    def _unproven(self, asked: Asked, fact: str) -> Trusted:
        if asked.narrowed:
            fact = f"{fact}; {_OF_INDEX}"
        exemption = in_force(asked.exemptions, self._now)
        if exemption is not None:
            until = f"excepted until {exemption.until} ({printable(exemption.reason, 120)})"
            return Trusted(Trust.EXCEPTED, f"{fact}; {until}")
        if asked.policy.dry_run:
            return Trusted(Trust.EXCEPTED, f"{fact}; a dry run (policy: dry_run)")
        for over in asked.exemptions[-1:]:
            fact = f"{fact}; its exception ({printable(over.reason, 120)}) ended on {over.until}"
        return Trusted(Trust.UNPROVEN, fact)

    async def _is_referrer(self, subject: Subject, root: Descriptor) -> bool:
        """Return whether an image without a tag is about another one."""
        if not isinstance(subject.ref, Digest) or not root.is_manifest:
            return False
        return (await self._session.manifest(subject.target, root)).subject is not None


def _not_asked_for(evidence: Evidence) -> Trusted:
    """Return what can be said of an image that nothing has to have signed."""
    if evidence.missing:
        return Trusted(Trust.UNVERIFIED, "; ".join(evidence.missing[:3]))
    kinds = _counted({"cosign": len(evidence.signatures), "notation": evidence.notation})
    if kinds:
        return Trusted(Trust.UNVERIFIED, f"{' and '.join(kinds)}: mirrored, not verified")
    return Trusted(Trust.UNSIGNED, "no signature")


def _counted(kinds: Mapping[str, int]) -> Sequence[str]:
    return [f"{number} of {kind}" for kind, number in kinds.items() if number]
