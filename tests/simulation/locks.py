"""The rules for locks: what is in one, and what a run does that is given one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.simulation.oracle import PARTLY, Run
from tests.simulation.past import Key
from tests.simulation.pictures import Picture
from tests.simulation.rules import Entry, Rules, narrowed
from tests.simulation.stores import Upstream

# The digest of each tag in a lock.
Lock = Mapping[Key, str]


def made(run: Run, old: Lock, only: str = "") -> dict[Key, str]:
    """Return a new lock. only: the repository that is updated, "" = all. What cannot be resolved, or waits, stays."""
    lock = {key: digest for key, digest in old.items() if only and key[0] != only}
    for entry in run.rules.entries:
        if only in ("", entry.repository):
            before = {key: digest for key, digest in old.items() if key[0] == entry.repository}
            keys = [(entry.repository, tag) for tag in run.choose(entry)]
            lock |= {key: digest for key, digest in before.items() if not keys}
            for key in keys:
                picture = run.resolved(key)
                if picture is not None:
                    run.note(picture.digest)
                waits = picture is not None and picture.digest != before.get(key) and run.waits(entry, picture)
                if picture is not None and not waits:
                    lock[key] = picture.digest
                elif key in before:
                    lock[key] = before[key]
    return lock


def locked_run(run: Run, lock: Lock) -> Run:
    """Return a run that is given a lock."""
    rules, upstream, lacking = _as_named(run.rules, run.upstream, lock)
    locked = LockedRun(rules, upstream, run.present, run.past, run.now, upstream.trouble)
    locked.lock, locked.postponed = lock, run.postponed
    locked.expected.errors += [PARTLY] * lacking
    return locked


def _as_named(rules: Rules, upstream: Upstream, lock: Lock) -> tuple[Rules, Upstream, int]:
    """Return the spec and the source of a locked run: tags of the lock, each with its image, if the source has that.

    Also return how many images the lock lacks. Nothing is deleted then, since it is not known what is wanted.
    """
    entries, lacking = [], 0
    for entry in rules.entries:
        known = [tag for repository, tag in lock if repository == entry.repository]
        tags = list(entry.tags.exact) or narrowed(entry.tags, known)
        wanted = tuple(tag for tag in tags if tag in known)
        lacking += len(tags) - len(wanted) if tags else 1
        if wanted:
            named = replace(entry.tags, exact=wanted, max_age=0, newest=0)
            entries.append(replace(entry, tags=named, min_age=0, on_change="", drops=False))
    images = upstream.images
    tags_then: dict[str, dict[str, Picture]] = {}
    for (repository, tag), digest in lock.items():
        if digest in images.get(repository, {}):
            tags_then.setdefault(repository, {})[tag] = images[repository][digest]
    prune = None if lacking else rules.prune
    trouble = replace(upstream.trouble, silent=frozenset())
    then = replace(upstream, tags=tags_then, trouble=trouble)
    return replace(rules, entries=tuple(entries), prune=prune), then, lacking


class LockedRun(Run):
    """A locked run, by the spec and the source that `_as_named` returns. lock: its images."""

    lock: Lock

    def image(self, entry: Entry, key: Key) -> None:
        """Decide about one image; what the destination has already is not asked for at its source."""
        before = None if self.trouble.target_down else self.present.named(key)
        picture = self.resolved(key)
        if before is not None and before == self.lock[key]:
            self.found(key, before)
            self.stays(key, before)
            self.ages(entry, key, before)
        elif picture is not None and before is not None and key[1].startswith(entry.immutable):
            self.found(key, picture.digest)
            self.compare_ages(key, picture, before)
            self.refuse(key, before)
            self.ages(entry, key, before)
        else:
            super().image(replace(entry, immutable=()), key)
