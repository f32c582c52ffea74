"""The memory of a spec's mirror: opened for one run, told what the run does, and never a reason for it to fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from mirrorsync.app.process import process_environment
from mirrorsync.environment import Environment
from mirrorsync.errors import StorageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.backup import Backed, TargetTag
from mirrorsync.plan.model import Plan
from mirrorsync.plan.policies import MinAge
from mirrorsync.plan.prune import Known
from mirrorsync.plan.untagged import Untagged
from mirrorsync.plan.vanish import Absence, SourceTag
from mirrorsync.spec.model import Spec
from mirrorsync.state import Generation, ManifestKey, Memory, open_memory, state_path
from mirrorsync.sync import clock
from mirrorsync.sync.remember import intended, intended_referrers, told
from mirrorsync.sync.run.report import Report

_SUBJECT: Final = "memory"
_NO_MEMORY: Final = (
    "nothing is remembered of a spec from standard input, or without STATE_DIRECTORY, XDG_STATE_HOME and HOME: prune "
    "deletes nothing, and min_age lets new images wait for ever"
)


class RunMemory:
    """The memory during one run. memory: None = nothing is remembered. warn: called once if it cannot be used.

    now: the time of the run, in seconds since the epoch. looks: it is a dry run, which reads and does not write.
    """

    def __init__(self, memory: Memory | None, warn: Callable[[str], None], *, now: float, looks: bool = False) -> None:
        self._memory = memory
        self._warn = warn
        self._looks = looks
        self._clock = clock.at(now)
        self._seen: Mapping[Digest, str] = {}
        self._known: tuple[Known, ...] | None = None
        self.now = _seconds(self._clock)

    # Sightings, as `sync.gather.sightings.Sightings` asks for them.

    def note(self, digests: Iterable[Digest]) -> None:
        """Remember roots that sources have now, unless this run only looks."""
        present = list(dict.fromkeys(digests))
        self._try(lambda memory: self._note(memory, present))

    def _note(self, memory: Memory, present: Sequence[Digest]) -> None:
        self._seen = memory.first_seen()
        new = [digest for digest in present if digest not in self._seen]
        if new and not self._looks:
            memory.see(new, self._clock)

    def first_seen(self, digest: Digest) -> float:
        """Return when a root was first seen; now, if it is not remembered."""
        return _seconds(self._seen.get(digest, self._clock))

    def seen_before(self, digests: Iterable[Digest]) -> Mapping[Digest, str]:
        """Return when some roots were first seen (UTC, ISO 8601), of those that were seen before this run."""
        return {one: self._seen[one] for one in digests if one in self._seen}

    def last_generation(self) -> Generation | None:
        """Return the last generation, without its tags; None if no run has made one."""
        found: list[Generation] = []
        self._try(lambda memory: found.extend(memory.generations()[:1]))
        return found[0] if found else None

    def had_until(self, target: Location, tag: Tag, digest: Digest) -> float | None:
        """Return when a tag of a destination that had an image before got another one, None if it never had it."""
        found: list[str | None] = []
        self._try(lambda memory: found.append(memory.had_until((target, tag), digest)))
        return _seconds(found[0]) if found and found[0] is not None else None

    def first_listed(self, source: Location, tags: Iterable[Tag], *, note: bool = True) -> Mapping[Tag, float]:
        """Return when each of some tags was first listed. note: the repository lists them now; remember new ones."""
        listed = list(tags)
        known: dict[Tag, str] = {}

        def work(memory: Memory) -> None:
            known.update(memory.first_listed(source))
            new = [tag for tag in listed if tag not in known]
            if new and note and not self._looks:
                memory.see_tags(source, new, self._clock)

        self._try(work)
        return {tag: _seconds(known.get(tag, self._clock)) for tag in listed}

    def known(self) -> Iterable[Known]:
        """Return the tags that this mirror has put, or found, at its destinations."""
        if self._known is None:
            self._try(self._read_known)
        return self._known or ()

    def _read_known(self, memory: Memory) -> None:
        tags = memory.owned().items()
        self._known = tuple(Known(at, tag, one.digest, one.adopted, one.source) for (at, tag), one in tags)

    def roots(self) -> Mapping[TargetTag, Descriptor]:
        """Return what these tags named when they were recorded, as far as that is remembered."""
        found: dict[TargetTag, Descriptor] = {}
        self._try(lambda memory: found.update(memory.roots()))
        return found

    def sparse(self) -> Collection[ManifestKey]:
        """Return the indexes that this mirror has put at destinations without some of their images."""
        found: set[ManifestKey] = set()
        self._try(lambda memory: found.update(memory.sparse()))
        return found

    def unlisted(self) -> Mapping[ManifestKey, Digest]:
        """Return the referrers that a killed run may have written without listing them, with their subjects."""
        found: dict[ManifestKey, Digest] = {}
        self._try(lambda memory: found.update(memory.intended_referrers()))
        return found

    def untagged(self, last: int) -> Untagged:
        """Return the manifests that this mirror has put and whose tags are gone, and those of the last generations."""
        found = [Untagged()]

        def work(memory: Memory) -> None:
            left = memory.untagged()
            if left:  # otherwise nothing can go, and what is needed need not be read
                found[0] = Untagged(frozenset(left), frozenset(memory.needed(last)))

        self._try(work)
        return found[0]

    def forget(self, manifests: Iterable[ManifestKey]) -> None:
        """Forget manifests without a tag, unless this run only looks."""
        gone = frozenset(manifests)
        if gone and not self._looks:
            self._try(lambda memory: memory.forget(gone))

    def absences(self) -> Mapping[SourceTag, Absence]:
        """Return the tags that sources have dropped, as far as earlier runs have noticed it."""
        found: dict[SourceTag, Absence] = {}

        def work(memory: Memory) -> None:
            for key, one in memory.absences().items():
                found[key] = Absence(one.since, one.acknowledged is not None, one.refused)

        self._try(work)
        return found

    def returned(self, tags: Iterable[SourceTag]) -> None:
        """Forget the absence of tags that their sources have again, unless this run only looks."""
        if not self._looks:
            self._try(lambda memory: memory.returned(tags))

    def logins(self) -> Mapping[Location, str]:
        """Return the account that each source was read with, if that is remembered."""
        found: dict[Location, str] = {}
        self._try(lambda memory: found.update(memory.logins()))
        return found

    def read_with(self, logins: Mapping[Location, str]) -> None:
        """Remember the accounts that sources were read with, unless this run only looks."""
        if not self._looks:
            self._try(lambda memory: memory.read_with(logins))

    def backups(self) -> Mapping[TargetTag, Backed]:
        """Return the backups that this mirror has made."""
        found: dict[TargetTag, Backed] = {}

        def work(memory: Memory) -> None:
            for key, one in memory.backups().items():
                found[key] = Backed(one.backup_of, one.digest, one.made)

        self._try(work)
        return found

    def forget_backups(self, tags: Iterable[TargetTag]) -> None:
        """Forget backups that are gone, or not this mirror's any more, unless this run only looks."""
        if not self._looks:
            self._try(lambda memory: memory.forget_backups(tags))

    # What the run does.

    def intend(self, plan: Plan) -> None:
        """Remember the tags and referrers that a plan sets, before it is applied."""
        self._try(lambda memory: memory.intend(intended(plan), intended_referrers(plan)))

    def record(self, report: Report) -> None:
        """Remember what a run did."""
        self._try(lambda memory: self._record(memory, report))

    def _record(self, memory: Memory, report: Report) -> None:
        first = memory.is_new
        known = memory.owned()
        found = told(report, known, memory.intended(), memory.source_of, memory.backups())
        memory.record(found)
        adopted = sum(owned.adopted for key, owned in found.present.items() if key not in known)
        if first and adopted:
            images = "1 image was" if adopted == 1 else f"{adopted} images were"
            self._warn(
                f"this is the first run that is remembered, and {images} at the destination before: they are adopted, "
                "not owned. If there were runs before, the state file was lost: `mirrorsync state import` restores an "
                "export"
            )

    def _try(self, work: Callable[[Memory], None]) -> None:
        if self._memory is None:
            return
        try:
            work(self._memory)
        except StorageError as error:
            self._memory = None
            self._warn(error.message if self._looks else f"{error.message}; this run is not remembered")


def remembering(spec: Spec, environment: Environment | None) -> AbstractContextManager[RunMemory]:
    """Open the memory of a spec while the block runs; without a directory for it, or a file of the spec, there is none.

    If it cannot be opened, that is a notice: a mirror is worth more than its history.
    """
    return _opened(spec, environment, looks=False)


def looking_back(spec: Spec, environment: Environment | None) -> AbstractContextManager[RunMemory]:
    """Open the memory of a spec, if it has one, for a dry run: nothing is written."""
    return _opened(spec, environment, looks=True)


@contextmanager
def _opened(spec: Spec, environment: Environment | None, *, looks: bool) -> Iterator[RunMemory]:
    given = environment or process_environment()
    warn = _warner(given.observer)
    path = memory_path(spec, given)
    if path is None and _needs_memory(spec):
        warn(_NO_MEMORY)
    memory = None
    try:
        if path is not None and (path.exists() or not looks):
            memory = open_memory(path, warn)
    except StorageError as error:
        warn(error.message if looks else f"{error.message}; this run is not remembered")
    try:
        yield RunMemory(memory, warn, now=given.clock.now(), looks=looks)
    finally:
        if memory is not None:
            memory.close()


def read_absences(spec: Spec, environment: Environment | None) -> Mapping[SourceTag, Absence]:
    """Return the tags that the sources of a spec have dropped, as far as its runs have noticed it."""
    given = environment or process_environment()
    path = memory_path(spec, given)
    if path is None or not path.exists():
        return {}
    with looking_back(spec, given) as memory:
        return memory.absences()


def memory_path(spec: Spec, environment: Environment) -> Path | None:
    """Return the path of the state file of a spec, None if nothing is remembered."""
    directory = environment.state_directory
    return state_path(directory, Path(spec.source)) if directory and Path(spec.source).is_file() else None


def _needs_memory(spec: Spec) -> bool:
    """Return whether a spec asks for what only a memory can answer."""
    policies = (policy for mirror in spec.mirrors for policy in mirror.policies)
    return spec.prune is not None or any(isinstance(policy, MinAge) for policy in policies)


@lru_cache(maxsize=1024)  # what a run sees has one time, and a run asks for thousands of them
def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _warner(observer: Observer) -> Callable[[str], None]:
    return lambda message: observer(Noticed(_SUBJECT, message))
