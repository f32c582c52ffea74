"""Bundles for the other side of an air gap: what it lacks of a spec's images, in parts of a size.

environment: None = the process's. stop: stops the work, which then raises Interrupted; None = it is not stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.far_side import created, destination_of, only_for
from mirrorsync.app.bundle.having import (
    Having,
    answered_having,
    read_generations,
    read_having,
)
from mirrorsync.app.bundle.parity import add_parity
from mirrorsync.app.bundle.sending import Answered, Sender, open_sender
from mirrorsync.app.bundle.signers import SignerChoice, check_signatures
from mirrorsync.app.bundle.site import make_site
from mirrorsync.app.bundle.writing import BundleWriting, LostContent, Packed
from mirrorsync.app.memory import RunMemory, looking_back, remembering
from mirrorsync.app.outputs import existing_directory
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.session import open_session
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.model import Bundle
from mirrorsync.bundle.packing import pack
from mirrorsync.delta import DeltasUnavailable, available
from mirrorsync.environment import Environment
from mirrorsync.events import Noticed
from mirrorsync.files.locks import FileLock
from mirrorsync.plan.model import Plan
from mirrorsync.signing import NotTrusted, check_key
from mirrorsync.spec.model import STANDARD_INPUT, Destination, Spec
from mirrorsync.stores.far import FarStore
from mirrorsync.stores.open import opener
from mirrorsync.sync import road
from mirrorsync.sync.bundle.deltas import DeltaMaker, Spool
from mirrorsync.sync.bundle.draft import Draft, draft_of
from mirrorsync.sync.bundle.gone import gone_images
from mirrorsync.sync.bundle.site import site_members
from mirrorsync.sync.bundle.unreadable import without
from mirrorsync.sync.session import Session
from mirrorsync.text import printable
from mirrorsync.version import __version__

_STDOUT: Final = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bundle is made of. have: as for `read_having`. only: globs on the source repository.

    part_size: of a part, in bytes, None = one part. name: of its files, None = that of the spec. destination: the name
    of the destination in the spec, None if there is only one. sign: the paths of the SSH keys that sign its document.
    parity: the share of parity files, from which lost and damaged parts are computed, None = no such files.
    signers: who has to have signed what `have` names, if the spec does not say it.
    deltas: make deltas of layers against those of the far side; None = if this installation can, and `have` says more.
    answer: the far side's answer code, which tells what it has instead of `have`, which then has at most `sent`.
    """

    spec: Spec
    have: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    part_size: int | None = None
    name: str | None = None
    destination: str | None = None
    sign: tuple[str, ...] = ()
    parity: Fraction | None = None
    signers: SignerChoice = field(default_factory=SignerChoice)
    deltas: bool | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle, and the plan that it carries. bundle: None if the far side has all images already.

    files: that were written, in the order of their names.
    """

    plan: Plan
    bundle: Bundle | None
    files: tuple[str, ...] = ()


async def plan_bundle(wanted: Wanted, *, environment: Environment | None = None, stop: Stop | None = None) -> Bundled:
    """Return what `create_bundle` would write, with the sizes of its parts. Nothing is written, no blob is read."""
    given, stop = environment or process_environment(), stop or Stop()
    try:
        sides = await _sides(wanted, given, stop)
    except NotTrusted as error:  # a plan says what `create_bundle` would do: refuse it
        raise error.with_(remedy="have it signed; `bundle create` takes --allow-unsigned") from error
    with looking_back(wanted.spec, given) as memory:
        async with sides.session(wanted.spec, given, stop) as session:
            making = _Making(wanted, sides, session, given)
            plan = await stop.interruptible(making.planned(memory))
            packed = await stop.interruptible(making.packed(plan, memory))
            return Bundled(plan, packed.bundle if packed is not None else None)


async def create_bundle(
    wanted: Wanted, output: str, *, environment: Environment | None = None, stop: Stop | None = None
) -> Bundled:
    """Write a bundle with what the far side lacks. output: a directory, or `-` for one part on standard output.

    Failures of single images are in the plan, and the bundle has the others; also if a source does not give content
    after all retries. Raises: UsageError; StorageError; MirrorsyncError if content that a pipe got in part cannot be
    read; Locked. UsageError also if the directory has the bundle of the next number, or a later one.
    """
    given, stop = environment or process_environment(), stop or Stop()
    keys = [absolute(key) for key in wanted.sign]
    for key in keys:
        check_key(key)
    spool = Spool(existing_directory(output))
    with closing(spool), _lock(wanted.spec), ExitStack() as stack:
        # Under the lock: the number of the next bundle is read here and taken when it is written.
        sides = await _sides(wanted, given, stop)
        sides.sender.check(None if output == "-" else absolute(output))
        memory = stack.enter_context(remembering(wanted.spec, given))
        if wanted.answer is not None:
            sides.sender.remember_answer(wanted.answer)
        async with sides.session(wanted.spec, given, stop) as session:
            making = _Making(wanted, sides, session, given)
            writing = BundleWriting(output, keys, sides.sender, session, spool, given, stop)
            maker = DeltaMaker(session, spool, stop.event) if _makes_deltas(wanted, given) else None
            plan = await stop.interruptible(making.planned(memory))
            while (packed := await stop.interruptible(making.packed(plan, memory, maker))) is not None:
                try:
                    bundle, document, files = await writing.write(packed)
                except LostContent as lost:
                    plan = without(plan, lost.content)
                    continue
                if wanted.parity is not None:
                    parity = add_parity(absolute(output), document, files, wanted.parity, given, stop)
                    files += await stop.interruptible(parity)
                return Bundled(plan, bundle, files)
            return Bundled(plan, None)


def _makes_deltas(wanted: Wanted, environment: Environment) -> bool:
    """Return whether deltas are to be made; say so if they were to be expected. Raises: DeltasUnavailable."""
    told = bool(wanted.have)  # an answer names what was lost, which may be the base of a delta
    if wanted.deltas is False or (wanted.deltas is None and not told):
        return False
    there = available()
    if there and told:
        return True
    if wanted.deltas and not there:
        raise DeltasUnavailable(f"deltas of layers are not available: {there.reason}")
    why = there.reason or "without --have nothing is known of the layers that the far side has"
    environment.observer(Noticed("bundle", f"blobs go whole, without deltas: {why}"))
    return False


@dataclass(frozen=True, slots=True)
class _Sides:
    """The two sides of an air gap: the sender, what the far side has, and the destination there."""

    sender: Sender
    having: Having
    place: Destination

    def session(self, spec: Spec, environment: Environment, stop: Stop) -> AbstractAsyncContextManager[Session]:
        """Open a session in which the store of the far side has what is known of it."""
        settings = replace(environment, hosts={**environment.hosts, **spec.registries})
        address = self.place.location.store
        far = FarStore(self.place.location, self.having.held, lambda: opener(settings)(address))
        return open_session(environment, stop, spec.registries, {address: far}, signers=spec.signers)


async def _sides(wanted: Wanted, environment: Environment, stop: Stop) -> _Sides:
    sender = open_sender(wanted.spec, wanted.name, environment)
    place = destination_of(wanted.spec, wanted.destination)
    required = wanted.signers.required(environment.variables, wanted.spec.signers)

    def vouch(document: bytes, signatures: Sequence[bytes], namespace: str, name: str) -> None:
        try:
            unsigned = wanted.signers.allow_unsigned
            check_signatures(
                printable(name), document, signatures, required, namespace, environment, allow_unsigned=unsigned
            )
        except NotTrusted as error:
            raise error.with_(message=f"{printable(name)} is {error.message}") from error

    if wanted.answer is None:
        generations = await read_generations(wanted.have, wanted.spec, place.location, environment, stop)
        having = read_having(wanted.have, sender, vouch if required is not None else None, generations)
    else:
        having = answered_having(wanted.answer, wanted.have, sender)
    for name in having.incomplete:
        message = "what could not be read at the far side counts as absent, and is sent again"
        environment.observer(Noticed(printable(name), message))
    for name, why in having.doubts:
        message = f"{why}: is it of another site? Images wait there for what only that site has"
        environment.observer(Noticed(printable(name), message))
    if having.destination not in (None, str(place.location)):
        message = f"--have is about {having.destination}, and the bundle is only for that"
        environment.observer(Noticed("bundle", f"{message}; the destination of the spec is {place.location}"))
    if sender.directory is None:
        message = "nothing is remembered without a state directory: each bundle begins a new sequence"
        environment.observer(Noticed("bundle", message))
    return _Sides(sender, having, place)


def _lock(spec: Spec) -> AbstractContextManager[object]:
    return nullcontext() if spec.source == STANDARD_INPUT else FileLock(Path(spec.source), spec.source)


class _Making:
    """Decides what a bundle carries."""

    def __init__(self, wanted: Wanted, sides: _Sides, session: Session, environment: Environment) -> None:
        self._wanted = wanted
        self._sender = sides.sender
        self._having = sides.having
        self._place = sides.place
        self._session = session
        self._environment = environment

    async def planned(self, memory: RunMemory) -> Plan:
        """Return what changes at the far side."""
        plan = await road.make_plan(self._narrowed(), self._session, only=self._wanted.only, sightings=memory)
        return plan if self._having.answered is None else await self._with_gone(plan, self._having.answered)

    async def packed(self, plan: Plan, memory: RunMemory, maker: DeltaMaker | None = None) -> Packed | None:
        """Return the bundle for a plan; None if there is nothing to carry. maker: makes deltas, None = of no blob."""
        if not any(plan.changed()):
            return None
        draft = await draft_of(plan, self._place.location, self._having.held, self._session)
        number = (self._sender.name, self._sender.sequence + 1)
        # Not in a worker thread: the memory is SQLite, whose connections belong to the thread that opened them.
        site = make_site(plan, self._wanted.spec, self._place.location, number, memory)
        if maker is not None:
            # What the far side lacks goes whole: perhaps it could not be rebuilt, because its base is damaged there.
            lacking = self._having.answered.lacking if self._having.answered is not None else frozenset()
            draft = await maker.with_deltas(draft, self._having.held, lacking)
        bundle = await asyncio.to_thread(
            pack, self._bundle(draft, site), part_size=self._wanted.part_size, signatures=len(self._wanted.sign)
        )
        return Packed(plan, bundle, draft, site)

    async def _with_gone(self, plan: Plan, answered: Answered) -> Plan:
        """Return a plan with a failure for each image that the far side lacks and its source does not have any more."""
        gone, unwanted = await gone_images(answered.incomplete, plan, self._place.location, self._session)
        for image in unwanted:
            self._environment.observer(Noticed(image.name, "the far side lacks it, and the spec does not want it now"))
        return replace(plan, failures=(*plan.failures, *gone))

    def _narrowed(self) -> Spec:
        """Return the spec with only this destination, and without deletions: a bundle carries none."""
        spec = only_for(self._wanted.spec, self._place)
        mirrors = tuple(replace(mirror, on_vanish="keep") for mirror in spec.mirrors)
        return replace(spec, mirrors=mirrors, prune=None)

    def _bundle(self, draft: Draft, site: Mapping[str, bytes]) -> Bundle:
        return Bundle(
            name=self._sender.name,
            sequence=self._sender.sequence + 1,
            created=created(self._environment),
            chain=self._sender.chain,
            previous=self._sender.previous(),
            spec=self._wanted.spec.digest,
            destination=self._having.destination,
            have=self._having.sources,
            answers=self._having.answered.link if self._having.answered else None,
            tool=f"mirrorsync {__version__}",
            images=draft.images,
            objects=draft.objects,
            assumes=draft.assumes,
            parts=(),
            site=site_members(site),
        )
