"""Compare an image at a destination with the one that its source names now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.plan.diff import refusal
from mirrorsync.plan.model import Failure, Image
from mirrorsync.plan.policies import Facts, Policy, decide
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.signatures import Signatures
from mirrorsync.sync.session import Session, located


@dataclass(frozen=True, slots=True)
class Compared:
    """behind: whether it is to be replaced. reason: of the policy that keeps it; refused: if that is a failure."""

    behind: bool = False
    reason: str = ""
    refused: Failure | None = None


async def compare(
    session: Session, image: Image, present: Descriptor, policies: Sequence[Policy], signatures: Signatures
) -> Compared:
    """Return whether `present` is the wanted image, or what a policy decides if not. Raises: MirrorsyncError."""
    wanted = image.root
    if session.converting(image.target) is not None:
        # Such a store has no manifest, only the config.
        with located("source", image.source, image.origin.reference(wanted.digest).asked):
            wanted = (await session.manifest(image.source, wanted)).blobs[0]
    if wanted.digest == present.digest:
        return Compared()
    by_tag = isinstance(image.tag, Tag) and not may_be_referrer(image.tag, image.origin)
    decision = None
    if by_tag:
        now = time.time()  # all is seen for the first time
        facts = Facts(image.tag, present, wanted, first_seen=now, now=now, referrers=image.referrers)
        whole = image.whole or image.root.digest  # in a store that converts, `wanted` is only its config
        decision = decide(policies, await signatures.add_to(facts, image.origin, whole, policies))
    if decision is None or decision.verdict in ("update", "delete", "report"):
        return Compared(behind=True)
    refused = refusal(image, decision.reason, decision.remedy) if decision.verdict == "refuse" else None
    return Compared(reason=decision.reason, refused=refused)
