"""Policies: what may become of an image, by a key of its mirror. The face of the package."""

from collections.abc import Iterable, Mapping
from typing import Final

from mirrorsync.plan.policies.base import Decision, Facts, Policy, Verdict
from mirrorsync.plan.policies.immutable import Immutable
from mirrorsync.plan.policies.on_change import OnChange

# In the order in which they are asked; the first that decides has decided.
POLICIES: Final[Mapping[str, type[Policy]]] = {"immutable": Immutable, "on_change": OnChange}


def decide(policies: Iterable[Policy], facts: Facts) -> Decision | None:
    """Return the first decision of some policies, None if none of them minds."""
    return next((decision for policy in policies if (decision := policy.decide(facts)) is not None), None)


def decide_without_source(policies: Iterable[Policy], facts: Facts) -> Decision | None:
    """Return what policies decide before a source is asked, None if it has to be. facts: without `found`."""
    return decide((policy for policy in policies if policy.decides_without_source), facts)


__all__ = ["POLICIES", "Decision", "Facts", "Policy", "Verdict", "decide", "decide_without_source"]
