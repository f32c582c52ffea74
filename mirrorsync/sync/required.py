"""The referrers that a saved plan's images must have: looked for again, since a plan can be written by hand."""

from __future__ import annotations

from mirrorsync.errors import PolicyRefused
from mirrorsync.oci.digest import Digest
from mirrorsync.plan.model import Change, Origin, Plan
from mirrorsync.plan.policies import Facts, Referrers
from mirrorsync.spec.model import Spec
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.referring import may_be_referrer, referring
from mirrorsync.sync.gather.roots import unselected
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


async def check_referrers(plan: Plan, spec: Spec, session: Session) -> None:
    """Find the referrers that the spec requires of the images that a plan is about to write.

    Raises: PolicyRefused if an image lacks one, before anything is changed; MirrorsyncError if they cannot be listed.
    """
    requiring = {
        mirror.pointer: (mirror, one)
        for mirror in spec.mirrors
        for one in mirror.policies
        if isinstance(one, Referrers)
    }
    refused: list[PolicyRefused] = []

    async def check(change: Change) -> None:
        origin = change.origin
        mirror, policy = requiring[change.mirror]
        if origin is None or change.after is None:
            return
        named = any(wanted.tag is None and wanted.ref == change.digest for wanted in mirror.selection.exact)
        if may_be_referrer(change.tag, origin) and not named:
            return
        with located("source", origin.location, origin.followed):
            whole = await _whole(change.after.digest, origin, session)
            left_out: frozenset[Digest] = frozenset()
            if origin.sparse:
                left_out = await unselected(session, origin.location, change.after, origin.platforms)
            referred = await referring(session, origin.location, change.after, whole, left_out)
        facts = Facts(change.tag, change.before, change.after, referrers=referred.types)
        decision = policy.decide(facts)
        if decision is not None:
            reason = f"{decision.reason}; nothing was done"
            refused.append(PolicyRefused(reason, remedy=decision.remedy, place=change.target.at(change.tag)))

    await for_each([one for one in plan.changed() if one.mirror in requiring], check)
    if refused:
        raise min(refused, key=str)


async def _whole(root: Digest, origin: Origin, session: Session) -> Digest | None:
    """Return the digest of the source's root, if platforms were chosen from it; None if it is `root` itself."""
    if not origin.platforms or origin.followed is None:
        return None
    found = await named_at(session, origin.location, origin.followed)
    return None if found is None or found.digest == root else found.digest
