"""Policies: rules for updating or deleting images, each a key of a mirror. The face of the package."""

from collections.abc import Iterable, Mapping
from typing import Final

from mirrorsync.plan.policies.base import Decision, Facts, Policy, Verdict
from mirrorsync.plan.policies.immutable import Immutable
from mirrorsync.plan.policies.min_age import MinAge
from mirrorsync.plan.policies.on_change import OnChange
from mirrorsync.plan.policies.referrers import Referrers
from mirrorsync.plan.policies.verify import Exemption, Identities, KeyFiles, SignedBy, Verify, in_force

# In order of precedence: the first decision counts.
POLICIES: Final[Mapping[str, type[Policy]]] = {
    "immutable": Immutable,
    "verify": Verify,
    "referrers": Referrers,
    "min_age": MinAge,
    "on_change": OnChange,
}


_KEYS: Final[Mapping[type[Policy], str]] = {kind: key for key, kind in POLICIES.items()}


def decide(policies: Iterable[Policy], facts: Facts) -> Decision | None:
    """Return the first decision of some policies, None if no policy decides. A report stands if no other follows."""
    reported = None
    for policy in policies:
        found = policy.decide(facts)
        if found is None:
            continue
        decision = Decision(found.verdict, found.reason, found.remedy, found.until, _KEYS[type(policy)])
        if decision.verdict != "report":
            return decision
        reported = reported or decision
    return reported


def decide_without_source(policies: Iterable[Policy], facts: Facts) -> Decision | None:
    """Return the decision that needs no request to the source, None if a request is needed. facts: without `found`."""
    return decide((policy for policy in policies if policy.decides_without_source), facts)


__all__ = [
    "POLICIES",
    "Decision",
    "Exemption",
    "Facts",
    "Identities",
    "KeyFiles",
    "MinAge",
    "Policy",
    "Referrers",
    "SignedBy",
    "Verdict",
    "Verify",
    "decide",
    "decide_without_source",
    "in_force",
]
