"""Bundles at the isolated side: verify, inspect and apply them."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.parity import has_parity
from mirrorsync.app.bundle.past import PastBundles
from mirrorsync.app.bundle.signers import check_signatures
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.session import apply_until_stopped, open_session
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.findings import Checked, Inspected, Present
from mirrorsync.bundle.model import Bundle, blob_name
from mirrorsync.environment import Environment
from mirrorsync.errors import Interrupted, Malformed, MirrorsyncError, UsageError
from mirrorsync.events import Noticed, Observer, ReadPlanned
from mirrorsync.oci.reference import Location, parse_destination
from mirrorsync.oci.transports import BUNDLE as SCHEME
from mirrorsync.signing import BUNDLE, Required
from mirrorsync.state import check_writable
from mirrorsync.stores.base import Store
from mirrorsync.stores.bundle import (
    BundleStore,
    Found,
    PipedPart,
    bundles_in,
    check_bundle,
    find_bundle,
    piped_bundle,
    reporting,
)
from mirrorsync.sync.bundle.imported import Imported, Incomplete
from mirrorsync.sync.bundle.importing import plan_import, waiting_images
from mirrorsync.sync.bundle.piping import copy_from_pipe, joined_counts
from mirrorsync.sync.bundle.staging import Staging, staging
from mirrorsync.sync.session import Session
from mirrorsync.text import printable

_SUBJECT: Final = "bundle"
# Files of a bundle that are not opened, so that nothing is wrong with them.
_OTHERS: Final = (".sha256", ".sig", ".par", ".parity.json")


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
    if os.fspath(path) == "-":
        raise UsageError(
            "a part from a pipe is only verified and applied",
            remedy="write it to a file, and name that; or use `mirrorsync bundle verify -` or `bundle apply -`",
        )
    try:
        return find_bundle(read_bundle(path))
    except Malformed as error:
        if os.fspath(path).endswith(_OTHERS) or not has_parity(path):
            raise
        raise error.with_(remedy=f"mirrorsync bundle repair {shlex.quote(printable(os.fspath(path)))}") from error


def inspect_bundle(path: str | os.PathLike[str]) -> Inspected:
    """Return what is in a bundle, by its document: no part is read but for its head. Raises: as `open_bundle`."""
    found = open_bundle(path)
    signatures = len(found.signatures())
    others = tuple(one for one in bundles_in(found.directory or Path()) if one != found.bundle.stem)
    return Inspected(found.bundle, found.digest, frozenset(found.parts), signatures, has_parity(path), others)


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
    name, signatures = found.bundle.stem, found.signatures()
    check_signatures(
        name, found.document, signatures, rules.signers, BUNDLE, environment, allow_unsigned=rules.unsigned
    )


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
    past = PastBundles(found, targets, given)
    check_destinations(found.bundle, targets, rules)
    check_signers(found, rules, given)
    past.check(older=rules.older)
    past.note_begun()
    importing = _Importing(found, targets, past, given, stop)
    try:
        done = await (importing.from_files(read_bundle(path), rules) if part is None else importing.from_pipe(part))
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


@dataclass(frozen=True, slots=True)
class _Importing:
    """One import: a bundle, where its images go, and what is known of the bundles before it."""

    found: Found
    targets: Sequence[Location]
    past: PastBundles
    environment: Environment
    stop: Stop

    async def from_files(self, path: Path, rules: Rules) -> Imported:
        """Import the parts that are at a path."""
        stores: dict[str, Store] = {}
        async with open_session(self.environment, self.stop, stores=stores) as session:
            checked = None
            if rules.verify:
                staged = await staging(self.found.bundle, self.targets, session) if rules.stage else None
                # Not interruptible: its thread heeds the stop itself, and ends before what it has staged is removed.
                checked = await _checked(self.found, self.environment.observer, self.stop, staged)
            store = BundleStore(path, found=self.found, present=checked.present if checked else None)
            stores[store.address] = store
            return await self._imported(store, session, checked)

    async def from_pipe(self, part: PipedPart) -> Imported:
        """Import a part from a pipe: its blobs as they arrive, then manifests and tags by an ordinary import."""
        manifests = frozenset(blob_name(one.digest) for one in self.found.bundle.objects if one.manifest)
        await asyncio.to_thread(part.keep, manifests)
        store = BundleStore(read_bundle("-"), found=self.found)
        stores: dict[str, Store] = {store.address: store}
        self.past.remember()
        async with open_session(self.environment, self.stop, stores=stores) as session:
            copied = await copy_from_pipe(part, store, self.targets, session, self.stop.event)
        present, counts, failures, waited = copied
        stores[store.address] = store = BundleStore(read_bundle("-"), found=self.found, present=present)
        async with open_session(self.environment, self.stop, stores=stores) as session:
            done = await self._imported(store, session, None)
        report = replace(
            done.report, counts=joined_counts(done.report.counts, counts), failures=(*done.report.failures, *failures)
        )
        known = {lack.content.digest: lack for one in waited for lack in one.lacks}
        return replace(done, report=report, waiting=tuple(one.explained(known) for one in done.waiting))

    async def _imported(self, store: BundleStore, session: Session, checked: Checked | None) -> Imported:
        planned = await self.stop.interruptible(plan_import(store, self.targets, session))
        self.past.note_surprises(planned)
        self.past.remember()
        report = await apply_until_stopped(planned.plan, session, self.stop)
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
                f"the bundle was made for {bundle.destination}, with only what that lacks; this is {target}",
                remedy=f"--to {bundle.destination}; with --elsewhere what is missing is named, and the rest imported",
            )
