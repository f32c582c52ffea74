"""Content that a bundle is to carry and that its source does not give: the images that need it stay behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mirrorsync.bundle.model import Object
from mirrorsync.errors import ContentNotFound, Interrupted, MirrorsyncError
from mirrorsync.oci.digest import Digest
from mirrorsync.plan.budget import steps_of
from mirrorsync.plan.diff import totals_of
from mirrorsync.plan.model import Change, Failure, Plan
from mirrorsync.plan.steps import CopyBlob, PutManifest, SetTag, Step
from mirrorsync.sync.bundle.draft import Draft
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import INCOMPLETE, Session, located


async def absent_blobs(draft: Draft, session: Session) -> dict[Digest, MirrorsyncError]:
    """Return the blobs of a draft that their sources do not have, or are not able to tell, with why.

    One request for each blob. Raises: Interrupted.
    """
    found: dict[Digest, MirrorsyncError] = {}

    async def ask(one: Object) -> None:
        source, content = draft.origins[one.digest]
        try:
            with located("source", source):
                if not content.urls and await session.repository(source).blob(one.digest) is None:
                    raise ContentNotFound(
                        f"blob {one.digest.short} is missing, which a manifest names", remedy=INCOMPLETE
                    )
        except Interrupted:
            raise
        except MirrorsyncError as error:
            found[one.digest] = error

    await for_each((one for one in draft.objects if not one.manifest), ask)
    return found


def without(plan: Plan, unreadable: Mapping[Digest, MirrorsyncError]) -> Plan:
    """Return a plan with a failure in place of each change that needs content of these digests.

    Raises: the first of these errors if no change needs any, so that it is not tried again for ever.
    """
    steps = {step.id: step for step in plan.steps}
    kept: list[Change] = []
    failures: list[Failure] = []
    needed: set[str] = set()
    for change in plan.changes:
        own = list(steps_of(change, steps)) if change.state.changes else []
        error = next((unreadable[digest] for step in own for digest in _content(step) if digest in unreadable), None)
        if error is None:
            kept.append(change)
            needed.update(step.id for step in own)
        else:
            failures.append(Failure.of(change, error))
    if not failures:
        raise next(iter(unreadable.values()))
    left = tuple(step for step in plan.steps if step.id in needed)
    return replace(
        plan,
        changes=tuple(kept),
        steps=left,
        failures=(*plan.failures, *failures),
        totals=totals_of(kept, {}),
    )


def _content(step: Step) -> tuple[Digest, ...]:
    if isinstance(step, CopyBlob):
        return (step.blob.digest,)
    return (step.manifest.digest,) if isinstance(step, PutManifest | SetTag) else ()
