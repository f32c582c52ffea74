"""The bundles that were applied before: what an import compares itself with, and what it adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from mirrorsync.app.bundle.site import policy_of
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.model import Link
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, StalePlan, StorageError
from mirrorsync.events import Noticed
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, State
from mirrorsync.state import Applied, AppliedBundles, PastImport, PastImports, TakenInventories
from mirrorsync.stores.bundle import Found
from mirrorsync.sync import clock
from mirrorsync.sync.bundle.imported import Import, Imported
from mirrorsync.sync.run.report import Result

_SUBJECT: Final = "bundle"


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


def _name(change: Change) -> str:
    """Return the name of an image in its bundle; "" without an origin."""
    return f"{change.origin.location.repository}:{change.tag}" if change.origin is not None else ""


class PastBundles:
    """What one import knows of the earlier bundles of its sender, at each destination, and adds to their memory."""

    def __init__(self, found: Found, targets: Sequence[Location], environment: Environment) -> None:
        self._found = found
        self._environment = environment
        self._bundle = found.bundle
        self._digest = found.digest
        self._observer = environment.observer
        self._import = PastImport(self._bundle.stem, self._digest, tuple(map(str, targets)), clock.now())
        self._imports = PastImports(environment.state_directory, self._warn)
        self._memory = AppliedBundles(environment.state_directory, self._warn)
        self._applied: dict[Location, Applied] = {}
        self._last = {target: self._memory.last(self._bundle.chain, str(target)) for target in targets}

    def _warn(self, message: str) -> None:
        self._observer(Noticed(_SUBJECT, message))

    def check(self, *, older: bool) -> None:
        """Reject a bundle that is older than the last one, or another one of its number, unless `older` accepts it.

        Raises: StalePlan.
        """
        bundle = self._bundle
        if self._memory.directory is None:
            self._warn("nothing is remembered without STATE_DIRECTORY or HOME: an older bundle would not be noticed")
        for target, last in self._last.items():
            self._check_inventory(target)
            if last is None and bundle.previous is not None and bundle.assumes and self._memory.directory is not None:
                self._warn(f"no bundle of this sender was applied to {target} from here: images wait if they need one")
            if last is None or older:
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
                needs = "images wait if they need what is lost" if bundle.assumes else "this one needs nothing of it"
                self._warn(f"{told} to {target}: {needs}")

    def _check_inventory(self, target: Location) -> None:
        """Report a bundle that was made with the inventory of another site of the same address."""
        created = [one.created for one in self._bundle.have if one.kind == "inventory"]
        if not created or self._bundle.destination != str(target):
            return
        taken = TakenInventories(self._environment.state_directory).at(str(target))
        if taken and taken.isdisjoint(created):
            self._warn(
                f"it was made with the inventory of {max(created)}, which was not taken here: is it for another site? "
                f"Images wait if they need what only that has"
            )

    def note_surprises(self, planned: Import) -> None:
        """Report tags that move, and that name an image which no bundle of this sender has brought."""
        for change in planned.plan.changes:
            last = next((one for at, one in self._last.items() if at.store == change.target.store), None)
            if last is None or change.before is None or change.state != State.MOVED or change.origin is None:
                continue
            if last.tags.get(_name(change)) != change.before.digest:
                now = change.before.digest.short
                self._observer(Noticed(str(change), f"it named {now}, which no bundle has brought; it is replaced"))

    def note_begun(self) -> None:
        """Add this import to those that `history --imports` shows, in case that it is killed."""
        with suppress(StorageError):  # which is reported when it ends
            self._imports.add(self._import)

    def note(self, done: Imported, stop: Stop) -> None:
        """Add how this import ended to what `history --imports` shows. It is done, whether or not that succeeds."""
        report = done.report
        stopped = report.interrupted and not report.deadline
        code = stop.interrupted().exit_code if stopped else done.exit_code
        counts = {str(word): number for word, number in report.outcomes.items()}
        if failed := len({failure.subject for failure in report.failures}):
            counts["failed"] = failed  # with images for which there is no change: the destination did not tell
        try:
            self._remember_tags(report.results)
        except StorageError as error:
            self._warn(error.message)
        size = report.counts.bytes_written
        self._ended(replace(self._import, exit_code=int(code), counts=counts, bytes_written=size))

    def note_failed(self, error: MirrorsyncError) -> None:
        """Add the error that ended this import."""
        self._ended(replace(self._import, exit_code=int(error.exit_code), error=str(error)))

    def _ended(self, one: PastImport) -> None:
        try:
            self._imports.add(replace(one, finished=clock.now()))
        except StorageError as error:
            self._warn(f"{error.message}; this import is not in the history")

    def remember(self) -> None:
        """Remember this bundle as the last one, and its policies, if none of a later one are known.

        A tag is remembered with the image that it named, until it was set: it may wait, or fail.
        """
        wanted = {image.name: image.content.digest for image in self._bundle.images}
        policy = policy_of(self._found, self._environment)
        for target, last in self._last.items():
            before = last.tags if last is not None else {}
            tags = {name: before.get(name, digest) for name, digest in wanted.items()}
            self._applied[target] = Applied(self._bundle.sequence, self._digest, tags, policy).after(last)
            self._memory.remember(self._bundle.chain, str(target), self._applied[target])

    def _remember_tags(self, results: Iterable[Result]) -> None:
        """Remember what tags name now."""
        for target, applied in self._applied.items():
            changes = (one.change for one in results if one.outcome in ("done", "unchanged"))
            own = (one for one in changes if one.target.store == target.store and one.origin is not None)
            tags = {_name(one): one.after.digest for one in own if one.after is not None}
            self._memory.remember(self._bundle.chain, str(target), replace(applied, tags={**applied.tags, **tags}))
