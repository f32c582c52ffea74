"""Bring a mirror back to an earlier generation."""

from __future__ import annotations

from mirrorsync.app.history import read_generation
from mirrorsync.app.memory import RunMemory
from mirrorsync.app.runs import carry_out
from mirrorsync.app.session import Run, query
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Spec
from mirrorsync.sync.rollback import plan_rollback
from mirrorsync.sync.session import Session


async def roll_back(
    spec: Spec,
    number: int,
    *,
    dry_run: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Run:
    """Bring the destinations of a spec back to a generation: its tags name again what they named then.

    Tags that the generation does not have stay. dry_run: only plan. Raises: UsageError if there is no such generation,
    Locked, StorageError; failures of single images are in the plan and the report.
    """
    generation = read_generation(spec, number, environment=environment)

    async def prepare(session: Session, memory: RunMemory | None = None) -> Plan:  # noqa: ARG001 - it needs no facts
        return await plan_rollback(generation, spec, session)

    if dry_run:
        return Run(await query(prepare, environment, stop, spec.registries, signers=spec.signers), None)
    return await carry_out(spec, prepare, environment, stop or Stop())
