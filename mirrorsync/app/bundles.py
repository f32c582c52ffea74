"""Bundles at the isolated side: verify, inspect and apply them."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirrorsync.app.parity import has_parity
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.session import apply_until_stopped, open_session
from mirrorsync.app.signers import check_signatures
from mirrorsync.app.site import policy_of
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.findings import Checked, Inspected, Present
from mirrorsync.bundle.model import Bundle, Link, blob_name
from mirrorsync.environment import Environment
from mirrorsync.errors import ExitCode, Interrupted, Malformed, MirrorsyncError, StalePlan, StorageError, UsageError
from mirrorsync.events import Noticed, Observer, ReadPlanned
from mirrorsync.oci.reference import Location, parse_destination
from mirrorsync.oci.transports import BUNDLE as SCHEME
from mirrorsync.plan.model import State
from mirrorsync.signing import BUNDLE, Required
from mirrorsync.state import Applied, AppliedBundles, PastImport, PastImports, check_writable
from mirrorsync.stores.base import Store
from mirrorsync.stores.bundle import (
    BundleStore,
    Found,
    PipedPart,
    check_bundle,
    find_bundle,
    piped_bundle,
    reporting,
)
from mirrorsync.sync import clock
from mirrorsync.sync.bundle.imported import Import, Imported, Incomplete
from mirrorsync.sync.bundle.importing import plan_import, waiting_images
from mirrorsync.sync.bundle.piping import copy_from_pipe, joined_counts
from mirrorsync.sync.bundle.staging import Staging, staging
from mirrorsync.sync.session import Session
from mirrorsync.text import printable

_SUBJECT: Final = "bundle"


@dataclass(frozen=True, slots=True)
class Rules:
    """What `apply_bundle` is to accept.

    verify: read and verify all parts before anything becomes visible; otherwise only what is lacking is read, and it is
    verified while it is copied. stage: send large blobs already while they are verified, to where nothing finds them;
    otherwise nothing is sent before all was verified, and what is lacking is read twice. older: accept a lower sequence
    number than that of the last bundle, or another bundle of the same number. elsewhere: accept a destination that the
    bundle was not made for. signers: who has to sign, None = unsigned is right; unsigned: too few signatures are enough
    this time.
    """

    verify: bool = True
    stage: bool = True
    older: bool = False
    elsewhere: bool = False
    signers: Required | None = None
    unsigned: bool = False


def read_bundle(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a bundle; `bundle:PATH` is accepted, too. Raises: UsageError."""
    return absolute(os.fspath(path).removeprefix(SCHEME))


def open_bundle(path: str | os.PathLike[str]) -> Found:
    """Return the files of a bundle: a directory (its newest bundle), its .json file, or one of its parts.

    Raises: NotFound, UsageError, Malformed, StorageError.
    """
    try:
        return find_bundle(read_bundle(path))
    except Malformed as error:
        if not has_parity(path):
            raise
        raise error.with_(remedy=f"mirrorsync bundle repair {shlex.quote(printable(os.fspath(path)))}") from error


def inspect_bundle(path: str | os.PathLike[str]) -> Inspected:
    """Return what is in a bundle, by its document: no part is read but for its head. Raises: as `open_bundle`."""
    found = open_bundle(path)
    return Inspected(found.bundle, found.digest, frozenset(found.parts), len(found.signatures()))


async def verify_bundle(
    path: str | os.PathLike[str],
    rules: Rules = Rules(),
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Checked:
    """Read all parts of a bundle, each once, and return what is damaged or missing.

    rules: only who has to sign counts. Raises: as `open_bundle`; NotTrusted if too few people have signed.
    """
    given, stop = environment or process_environment(), stop or Stop()
    found = piped_bundle(sys.stdin.buffer)[0] if os.fspath(path) == "-" else open_bundle(path)
    check_signers(found, rules, given)
    async with stop.listening():
        return await stop.interruptible(_checked(found, given.observer, stop))


def check_signers(found: Found, rules: Rules, environment: Environment) -> None:
    """Reject a bundle that too few people have signed; report who has. Raises: NotTrusted, SshKeygenFailed."""
    verdict = check_signatures(
        found.document, found.signatures(), rules.signers, BUNDLE, environment, allow_unsigned=rules.unsigned
    )
    for signer in verdict.signers:
        environment.observer(Noticed(found.bundle.stem, f"signed by {signer}"))


async def _checked(found: Found, observer: Observer, stop: Stop, staged: Staging | None = None) -> Checked:
    observer(ReadPlanned(len(found.parts), sum(found.bundle.parts[number - 1].body for number in found.parts)))

    def heed() -> None:
        if stop.event.is_set():
            raise stop.interrupted()

    def check() -> Checked:
        if staged is None:
            return check_bundle(found, reporting(observer, heed))
        with staged:
            return check_bundle(found, reporting(observer, heed), staged)

    return await asyncio.to_thread(check)


async def apply_bundle(
    path: str | os.PathLike[str],
    destinations: Sequence[str | Location],
    rules: Rules = Rules(),
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Imported:
    """Import a bundle: its images become visible at the destinations, as far as all their content can be had.

    path: `-` is a part from standard input, whose blobs are copied as they arrive. destinations: as of a spec,
    `host/prefix` or `oci:DIRECTORY`; at most one of each store. A second call does nothing, and one after a run that
    was stopped goes on. Raises: UsageError for a destination that the bundle was not made for, NotTrusted if too few
    people have signed it, StalePlan for an older bundle, NotFound, Malformed, StorageError, Locked.
    """
    given, stop = environment or process_environment(), stop or Stop()
    targets = [read_target(one) for one in destinations]
    check_writable(given.state_directory)
    found, part = piped_bundle(sys.stdin.buffer) if os.fspath(path) == "-" else (open_bundle(path), None)
    past = _Past(found, targets, given)
    check_destinations(found.bundle, targets, rules)
    check_signers(found, rules, given)
    past.check(rules)
    try:
        if part is not None:
            done = await _applied_from_pipe(found, part, targets, past, given, stop)
        else:
            done = await _applied(found, read_bundle(path), targets, rules, past, given, stop)
    except MirrorsyncError as error:
        ended = stop.interrupted() if isinstance(error, Interrupted) else error  # with the signal's exit code
        past.note_failed(ended)
        raise ended from error.__cause__
    past.note(done, stop)
    if not done.waiting or stop.event.is_set():
        return done
    try:
        lacking = await incomplete_at(found, targets, given, stop)
        return replace(done, answer=lacking.code)
    except MirrorsyncError as error:  # the import is done, whatever the destination answers now
        given.observer(Noticed(_SUBJECT, f"no answer code: {error.message}; {error.remedy}"))
        return done


async def answer_bundle(
    path: str | os.PathLike[str],
    destination: str | Location,
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Incomplete:
    """Return what a destination lacks of all that a bundle carries and assumes, without a look into its parts.

    path: as for `open_bundle`; the document alone or any one part is enough. Raises: as `open_bundle`; MirrorsyncError
    if the destination does not tell.
    """
    given, stop = environment or process_environment(), stop or Stop()
    return await incomplete_at(open_bundle(path), [read_target(destination)], given, stop)


async def incomplete_at(found: Found, targets: Sequence[Location], environment: Environment, stop: Stop) -> Incomplete:
    """Return what destinations lack of a bundle, as they are now. Raises: MirrorsyncError if one does not tell."""
    store = BundleStore(found.directory or read_bundle("-"), found=found, present=Present(frozenset()))
    async with open_session(environment, stop, stores={store.address: store}) as session:
        waiting = await stop.interruptible(waiting_images(store, targets, session))
    return Incomplete(found.bundle, found.digest, waiting)


async def _applied(
    found: Found, path: Path, targets: Sequence[Location], rules: Rules, past: _Past, given: Environment, stop: Stop
) -> Imported:
    stores: dict[str, Store] = {}
    async with open_session(given, stop, stores=stores) as session:
        checked = None
        if rules.verify:
            staged = await staging(found.bundle, targets, session) if rules.stage else None
            # Not interruptible: its thread heeds the stop itself, and ends before what it has staged is removed.
            checked = await _checked(found, given.observer, stop, staged)
        store = BundleStore(path, found=found, present=checked.present if checked else None)
        stores[store.address] = store
        return await _imported(store, targets, session, past, stop, checked)


async def _applied_from_pipe(
    found: Found, part: PipedPart, targets: Sequence[Location], past: _Past, given: Environment, stop: Stop
) -> Imported:
    """Import a part from a pipe: its blobs as they arrive, then manifests and tags by an ordinary import."""
    manifests = frozenset(blob_name(one.digest) for one in found.bundle.objects if one.manifest)
    await asyncio.to_thread(part.keep, manifests)
    store = BundleStore(read_bundle("-"), found=found)
    stores: dict[str, Store] = {store.address: store}
    past.remember()
    async with open_session(given, stop, stores=stores) as session:
        present, counts, failures, waited = await copy_from_pipe(part, store, targets, session, stop.event)
    stores[store.address] = store = BundleStore(read_bundle("-"), found=found, present=present)
    async with open_session(given, stop, stores=stores) as session:
        done = await _imported(store, targets, session, past, stop, None)
    report = replace(
        done.report, counts=joined_counts(done.report.counts, counts), failures=(*done.report.failures, *failures)
    )
    known = {lack.content.digest: lack for one in waited for lack in one.lacks}
    return replace(done, report=report, waiting=tuple(one.explained(known) for one in done.waiting))


async def _imported(
    store: BundleStore, targets: Sequence[Location], session: Session, past: _Past, stop: Stop, checked: Checked | None
) -> Imported:
    planned = await stop.interruptible(plan_import(store, targets, session))
    past.note_surprises(planned)
    past.remember()
    report = await apply_until_stopped(planned.plan, session, stop)
    return Imported(store.bundle, report, planned.waiting, planned.early, checked)


def read_target(written: str | Location) -> Location:
    """Read a destination. Raises: GrammarError, UsageError."""
    target = written if isinstance(written, Location) else parse_destination(written, str(absolute(".")))
    if not (target.transport.many and target.transport.keeps_manifests):
        raise UsageError(
            f"{target} does not keep manifests, and a bundle is of manifests with their digests",
            remedy="import it into a registry, oci:DIRECTORY or oci-archive:FILE",
        )
    return target


def check_destinations(bundle: Bundle, targets: Sequence[Location], rules: Rules) -> None:
    """Reject destinations that are equal, or that a bundle was not made for. Raises: UsageError."""
    stores = [target.store for target in targets]
    twice = next((store for store in stores if stores.count(store) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is the store of two destinations", remedy="apply the bundle once for each of them")
    if bundle.destination is None or rules.elsewhere:
        return
    for target in targets:
        if str(target) != bundle.destination:
            raise UsageError(
                f"the bundle was made for {bundle.destination}, and has only what is missing there; this is {target}",
                remedy=f"--to {bundle.destination}; with --elsewhere what is missing is named, and the rest imported",
            )


def gap(last: Applied, previous: Link | None) -> str:
    """Return which bundles of a sender were not applied after the last one, up to `previous`; "" if none."""
    if previous is None or previous.sequence < last.sequence:
        return ""
    if previous.sequence == last.sequence:
        other = "another bundle of the number {} than that of its sender was applied"
        return other.format(last.sequence) if previous.digest != last.digest else ""
    first = last.sequence + 1
    if first == previous.sequence:
        return f"bundle {first} of this sender was not applied"
    to = "and" if first + 1 == previous.sequence else "to"
    return f"bundles {first} {to} {previous.sequence} of this sender were not applied"


class _Past:
    """The memory of earlier bundles of the same sender, at each destination."""

    def __init__(self, found: Found, targets: Sequence[Location], environment: Environment) -> None:
        self._found = found
        self._environment = environment
        self._bundle = found.bundle
        self._digest = found.digest
        self._observer = environment.observer
        self._started = clock.now()
        self._memory = AppliedBundles(environment.state_directory, self._warn)
        self._last = {target: self._memory.last(self._bundle.chain, str(target)) for target in targets}

    def _warn(self, message: str) -> None:
        self._observer(Noticed(_SUBJECT, message))

    def check(self, rules: Rules) -> None:
        """Reject a bundle that is older than the last one, or another one of its number. Raises: StalePlan."""
        bundle = self._bundle
        for target, last in self._last.items():
            if last is None and bundle.previous is not None and bundle.assumes and self._memory.directory is not None:
                self._warn(f"no bundle of this sender was applied to {target} from here: images wait if they need one")
            if last is None or rules.older:
                continue
            if bundle.sequence < last.sequence:
                raise StalePlan(
                    f"bundle {bundle.sequence} is older than bundle {last.sequence}, which was applied to {target}",
                    remedy="--allow-older brings tags back to what they named then",
                )
            if bundle.sequence == last.sequence and self._digest != last.digest:
                raise StalePlan(
                    f"another bundle of the number {bundle.sequence} was applied to {target}: {last.digest.short}, and "
                    f"this is {self._digest.short}",
                    remedy="find out which one is from its sender; --allow-older accepts this one",
                )
            if told := gap(last, bundle.previous):
                self._warn(f"{told} to {target}: images wait if they need what is lost")

    def note_surprises(self, planned: Import) -> None:
        """Report tags that move, and that name an image which no bundle of this sender has brought."""
        for change in planned.plan.changes:
            last = next((one for at, one in self._last.items() if at.store == change.target.store), None)
            if last is None or change.before is None or change.state != State.MOVED or change.origin is None:
                continue
            expected = last.tags.get(f"{change.origin.location.repository}:{change.tag}")
            if expected != change.before.digest:
                now = change.before.digest.short
                self._observer(Noticed(str(change), f"it named {now}, which no bundle has brought; it is replaced"))

    def note(self, done: Imported, stop: Stop) -> None:
        """Add this import to those that `history --imports` shows. It is done, whether or not that succeeds."""
        report = done.report
        stopped = report.interrupted and not report.deadline
        code = stop.interrupted().exit_code if stopped else done.exit_code
        counts = {str(word): number for word, number in report.outcomes.items()}
        if failed := len({failure.subject for failure in report.failures}):
            counts["failed"] = failed  # with images for which there is no change: the destination did not tell
        self._add(report.started, report.finished, code, counts, report.counts.bytes_written)

    def note_failed(self, error: MirrorsyncError) -> None:
        """Add an import that ends with an error."""
        self._add(self._started, clock.now(), error.exit_code, {}, error=str(error))

    def _add(
        self, started: str, finished: str, code: ExitCode, counts: Mapping[str, int], size: int = 0, error: str = ""
    ) -> None:
        destinations = tuple(map(str, self._last))
        one = PastImport(
            self._bundle.stem, self._digest, destinations, started, finished, int(code), counts, size, error
        )
        try:
            PastImports(self._environment.state_directory, self._warn).add(one)
        except StorageError as error:
            self._warn(f"{error.message}; this import is not in the history")

    def remember(self) -> None:
        """Remember this bundle as the last one, and its policies, if none of a later one are known."""
        tags = {image.name: image.content.digest for image in self._bundle.images}
        applied = Applied(self._bundle.sequence, self._digest, tags, policy_of(self._found, self._environment))
        for target, last in self._last.items():
            self._memory.remember(self._bundle.chain, str(target), applied.after(last))
