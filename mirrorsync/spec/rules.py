"""The rules of a mirror for what changes, waits or goes: policies, `on_vanish:`, `backup:`, `max_staleness:`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mirrorsync.errors import GrammarError
from mirrorsync.plan.backup import Backup
from mirrorsync.plan.policies import POLICIES, MinAge, Policy, Verify
from mirrorsync.plan.prune import OnVanish
from mirrorsync.plan.staleness import MaxStaleness
from mirrorsync.spec import ages
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.yaml_source import join


class AddProblem(Protocol):
    """Reports a mistake at a pointer."""

    def __call__(self, pointer: str, message: str, remedy: str = "", *, at_key: bool = False) -> None:
        """Report it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one mirror. policies: in the order in which they are applied."""

    policies: tuple[Policy, ...]
    on_vanish: OnVanish = "keep"
    backup: Backup | None = None
    max_staleness: MaxStaleness | None = None

    def waiting(self, selection: Selection) -> Selection:
        """Return a selection with the cool-down of the mirror, if it has one."""
        for policy in self.policies:
            if isinstance(policy, MinAge):
                selection = selection.waiting(ages.MinAge(policy.text, policy.seconds))
        return selection


def read_rules(
    pointer: str, members: Mapping[str, Any], defaults: Mapping[str, Any], base: str, add_problem: AddProblem
) -> Rules:
    """Return the rules of an entry. A mistake in a default is reported once, under defaults.

    base: the directory that relative paths start from.
    """

    def written(key: str) -> tuple[str, Any]:
        entry, found = (pointer, members) if key in members else ("/defaults", defaults)
        return join(entry, key), found.get(key)

    policies = []
    for key, kind in POLICIES.items():
        at, value = written(key)
        if value is not None and value is not False:  # `referrers: false`
            try:
                policy = kind.parse(value)
                policies.append(policy.under(base) if isinstance(policy, Verify) else policy)
            except GrammarError as error:
                add_problem(at, error.message, error.remedy)
    backup, (at, template), (keep_at, keep) = None, written("backup"), written("keep_backups")
    if template is not None:
        try:
            backup = Backup.parse(template, keep)
        except GrammarError as error:
            add_problem(at, error.message, error.remedy)
    elif keep is not None:
        add_problem(keep_at, "this has no effect: there is no backup:", "add backup:, or remove it")
    staleness, (at, oldest) = None, written("max_staleness")
    if oldest is not None:
        try:
            staleness = MaxStaleness.parse(oldest)
        except GrammarError as error:
            add_problem(at, error.message, error.remedy)
    return Rules(tuple(policies), written("on_vanish")[1] or "keep", backup, staleness)
