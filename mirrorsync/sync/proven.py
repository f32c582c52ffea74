"""The signatures of a saved plan's images: verified again, since a plan is a file that can be written by hand."""

from __future__ import annotations

from dataclasses import replace

from mirrorsync.errors import PolicyRefused
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Plan
from mirrorsync.plan.policies import Facts, Verify
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.signatures import Signatures
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


async def check_signatures(plan: Plan, spec: Spec, session: Session, now: float) -> None:
    """Verify the signatures of the images that a plan is about to write, as its spec asks.

    now: seconds since the epoch. Raises: PolicyRefused if an image is not proven, before anything is changed.
    """
    verifying = {mirror.pointer: (mirror, one) for mirror in spec.mirrors for one in _verify_of(mirror)}
    written = _written(spec)
    signatures = Signatures(session)
    refused: list[PolicyRefused] = []

    async def check(change: Change) -> None:
        mirror, policy = verifying[change.mirror]
        if change.origin is None or _is_only_referrer(change, mirror):
            return
        facts = Facts(change.tag, change.before, change.after, now=now)
        origin = replace(change.origin, written=written.get((change.mirror, change.origin.location, change.tag)))
        facts = await signatures.add_to(facts, origin, await _whole(change, session), (policy,))
        decision = policy.decide(facts)
        if decision is not None and decision.verdict == "refuse":
            reason = f"{decision.reason}; nothing was done"
            refused.append(PolicyRefused(reason, remedy=decision.remedy, place=change.target.at(change.tag)))

    await for_each([one for one in plan.changed() if one.mirror in verifying], check)
    if refused:
        raise min(refused, key=str)


def _verify_of(mirror: Mirror) -> list[Verify]:
    return [policy for policy in mirror.policies if isinstance(policy, Verify)]


def _written(spec: Spec) -> dict[tuple[str, Location, Tag | None], Tag | None]:
    """Return the tags that a spec or its lock writes before digests, by mirror, source and tag at the destination."""
    return {
        (mirror.pointer, mirror.source, wanted.tag): wanted.written_tag
        for mirror in spec.mirrors
        if _verify_of(mirror)
        for wanted in mirror.selection.exact
    }


def _is_only_referrer(change: Change, mirror: Mirror) -> bool:
    """Return whether an image may be a referrer of another, and is not named by the spec itself."""
    if change.origin is None or not may_be_referrer(change.tag, change.origin):
        return False
    return not any(wanted.tag is None and wanted.ref == change.digest for wanted in mirror.selection.exact)


async def _whole(change: Change, session: Session) -> Digest | None:
    """Return the digest of the source's root, if platforms were chosen from it."""
    origin = change.origin
    if origin is None or not origin.platforms or origin.followed is None:
        return None
    with located("source", origin.location, origin.followed):
        found = await named_at(session, origin.location, origin.followed)
    return None if found is None else found.digest
