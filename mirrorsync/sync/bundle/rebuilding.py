"""Deltas of bundles: what they are applied to is found at the destinations, verified there, and offered to the bundle.

A base that is damaged is found before anything is copied, as all of a bundle is: while it is copied, it would be too
late to let the image wait, and to name what it lacks in an answer code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from mirrorsync.bundle.model import Assumed, Delta, Object
from mirrorsync.delta import readable
from mirrorsync.errors import ContentNotFound, IntegrityError, MirrorsyncError, StorageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.oci.transports import BUNDLE
from mirrorsync.plan.budget import steps_of
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Failure, Plan
from mirrorsync.plan.steps import CopyBlob
from mirrorsync.stores.bundle import Base, BundleStore
from mirrorsync.sync.content import ContentReader
from mirrorsync.sync.pool import Answers
from mirrorsync.sync.session import Session, located

_WHOLE = (
    "with the answer code of `mirrorsync bundle apply`, its sender carries the blob whole (--deltas off does so, too)"
)


class Rebuilding:
    """Offers bases to bundles, each of which is read and verified once. reader: reads them."""

    def __init__(self, session: Session, reader: ContentReader) -> None:
        self._session = session
        self._reader = reader
        self._answers: Answers[tuple[Location, Digest], str | None] = Answers()

    async def offer(self, store: BundleStore, one: Object, places: Iterable[Location]) -> str:
        """Offer the base of an object that is a delta; return "" if the object can be read now, otherwise why not.

        places: repositories of destinations that may have the base. Raises: MirrorsyncError if one does not tell.
        """
        if store.has(one):
            return ""
        if not isinstance(one.form, Delta) or not store.present.carries(one) or not readable(one.form.kind):
            return store.why_not(one)
        content = base_of(store, one).content
        found = []
        for at in dict.fromkeys(places):
            wrong = await self._answers.get((at, content.digest), partial(self._wrong, at, content))
            if wrong == "":
                store.offer(Base(content, partial(self._opened, at, content)))
                return ""
            found += [f"which {wrong}"] if wrong is not None else []
        return f"{store.why_not(one)}, {found[0] if found else 'which the destination lacks'}"

    async def _wrong(self, at: Location, content: Descriptor) -> str | None:
        """Return what is wrong with a blob at a destination: "" nothing, None that it is absent."""
        with located("destination", at):
            if not await self._session.destination(at).has(content):
                return None
            try:
                repository = self._session.reads_back(at) or self._session.repository(at)
                await self._reader.prove(self._session.blobs_of(at), repository, content)
            except IntegrityError:
                return f"is damaged at {at}"
            except (ContentNotFound, StorageError) as error:
                return f"cannot be read at {at}: {error.message}"
        return ""

    @contextmanager
    def _opened(self, at: Location, content: Descriptor) -> Iterator[Iterator[bytes]]:
        with located("destination", at), self._session.repository(at).open(content) as chunks:
            yield chunks


def base_of(store: BundleStore, one: Object) -> Object | Assumed:
    """Return what an object that is a delta is applied to, as its bundle describes it."""
    assert isinstance(one.form, Delta)  # noqa: S101 - the caller has looked
    base = one.form.base
    return store.bundle.by_digest.get(base) or next(known for known in store.bundle.assumes if known.digest == base)


async def unreadable(plan: Plan, session: Session) -> dict[str, MirrorsyncError]:
    """Return the steps of a plan, by their ids, for which a bundle that is a source lacks the content, and why.

    Bases of deltas are offered to it, if the destinations of the plan have them. A run without bundles asks nothing.
    """
    copies = [step for step in plan.steps if isinstance(step, CopyBlob) and step.source.store.startswith(BUNDLE)]
    lacking: dict[str, MirrorsyncError] = {}
    if not copies:
        return lacking
    async with ContentReader(session.announce) as reader:
        rebuilding = Rebuilding(session, reader)
        for step in copies:
            store = session.store(step.source.store)
            try:
                if isinstance(store, BundleStore):
                    with located("source", step.source, step.blob.digest):
                        await _check(store, step, rebuilding)
            except MirrorsyncError as error:
                lacking[step.id] = error
    return lacking


async def _check(store: BundleStore, step: CopyBlob, rebuilding: Rebuilding) -> None:
    one = store.bundle.by_digest.get(step.blob.digest)
    if one is not None and isinstance(one.form, Delta) and not store.has(one):
        names = base_of(store, one).repositories
        why = await rebuilding.offer(store, one, _places(step, names))
        if why and store.present.carries(one):
            raise ContentNotFound(why, remedy=_WHOLE)
    store.object(step.blob.digest)


def _places(step: CopyBlob, names: Iterable[str]) -> Iterator[Location]:
    """Yield the repositories that may have the base of a blob. names: of the bundle, below the destination's prefix."""
    name = step.source.repository
    for target in step.targets:
        yield target
        if target.repository.endswith(name):
            prefix = target.repository.removesuffix(name)
            yield from (Location(target.store, prefix + other) for other in names)


async def without_unreadable(desired: Desired, observed: Observed, plan: Plan, session: Session) -> Observed:
    """Return what was observed, with a failure for each image of which a bundle lacks content, so that it is left out.

    plan: that was made of both.
    """
    lacking = await unreadable(plan, session)
    if not lacking:
        return observed
    changes = {(one.target, one.tag or one.digest): one for one in plan.changed()}
    steps = {step.id: step for step in plan.steps}
    failures = {}
    for image in desired.images:
        change = changes.get((image.target, image.tag or image.root.digest))
        errors = [lacking[step.id] for step in steps_of(change, steps) if step.id in lacking] if change else []
        if errors:
            failures[image] = Failure.of(image, errors[0])
    return replace(
        observed,
        failures=(*observed.failures, *failures.values()),
        broken=observed.broken | failures.keys(),
    )
