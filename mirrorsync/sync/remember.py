"""What a run tells the memory: which tags it is about to set, and at its end what it did and what it knows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Plan, State, Vanished
from mirrorsync.state import Backup, ByDigest, ManifestKey, Owned, Run, RunTag, TagKey, Told
from mirrorsync.sync.run.report import Report, Result

# Outcomes that are remembered for single tags; images that stayed as they were are only counted.
_TOLD = frozenset({"done", "failed", "refused"})
# Of images that their destination has after the run as the plan says.
_AS_WANTED = frozenset({"done", "unchanged"})


def intended(plan: Plan) -> dict[TagKey, Digest]:
    """Return the tags that a plan sets, with the digests that they will name."""
    return {
        (change.target, change.tag): change.after.digest
        for change in plan.changed()
        if change.tag is not None and change.after is not None and change.state != State.INCOMPLETE
    }


def intended_referrers(plan: Plan) -> dict[ManifestKey, Digest]:
    """Return the referrers without a tag that a plan writes, with their subjects."""
    return {
        (change.target, change.digest): change.origin.subject
        for change in plan.changed()
        if change.tag is None and change.origin is not None and change.origin.subject is not None
    }


def told(
    report: Report,
    known: Mapping[TagKey, Owned],
    intended: Mapping[TagKey, Digest],
    source_of: Callable[[TagKey], Location | None] = lambda _: None,
    backed: Container[TagKey] = (),
) -> Told:
    """Return what a run tells the memory.

    known: the tags that are remembered. intended: those that a killed run was about to set. source_of: returns where
    the image of a tag was read before. backed: the backups that are remembered, which never become tags of the mirror.
    """
    present: dict[TagKey, Owned] = {}
    absent: set[TagKey] = set()
    dropped: set[ManifestKey] = set()
    backups: dict[TagKey, Backup] = {}
    manifests: dict[Digest, Descriptor] = {}
    changed = []
    for result in report.results:
        change = result.change
        if change.tag is None:
            if change.state == State.DELETED and result.outcome == "done":
                dropped.add((change.target, change.digest))
            continue
        key = (change.target, change.tag)
        if result.outcome in _TOLD:
            changed.append(_run_tag(key, result))
        if change.backup_of is not None:
            if result.outcome == "done" or (result.outcome == "unchanged" and intended.get(key) == change.digest):
                backups[key] = Backup(change.backup_of, change.digest, report.finished)
            continue
        if key in backed and change.origin is None and result.outcome != "done":
            continue
        content = _content_now(result)
        if content is not None:
            source = _source(result.change, source_of)
            present[key] = _owned(key, content.digest, result, source, known, intended, report.finished)
            manifests[content.digest] = content
        elif result.outcome == "done":
            absent.add(key)
    counts = Counter(_word(result) for result in report.results)
    counts["failed"] = len(report.failures)
    run = Run(
        0,
        report.started,
        report.finished,
        int(report.exit_code),
        {word: number for word, number in sorted(counts.items()) if number},
        report.counts.bytes_read,
        report.counts.bytes_written,
    )
    missed = [one for one in report.vanished if not one.since]
    vanished, refused = _missed(missed), _missed(one for one in missed if one.refused)
    gone = frozenset(absent), frozenset(dropped)
    return Told(run, tuple(changed), present, *gone, vanished, refused, backups, manifests, *_content(report.results))


def _content(
    results: Iterable[Result],
) -> tuple[dict[ManifestKey, ByDigest], dict[ManifestKey, tuple[Platform, ...]]]:
    """Return the manifests without a tag that are known to be there, and the platforms of images; see `Told`.

    A rollback reads at the destination, and so does not know what an index lacks there: nothing is told of that.
    """
    by_digest: dict[ManifestKey, ByDigest] = {}
    platforms: dict[ManifestKey, tuple[Platform, ...]] = {}
    for result in results:
        change, origin = result.change, result.change.origin
        if result.outcome not in _AS_WANTED or origin is None or origin.location == change.target:
            continue
        key = change.target, change.digest
        if change.tag is None:
            by_digest[key] = ByDigest(origin.location, origin.subject)
        chosen = origin.platforms if origin.sparse else ()
        # Several entries of a spec may want an index, each with other platforms.
        platforms[key] = tuple(dict.fromkeys([*platforms.get(key, ()), *chosen]))
    return by_digest, platforms


def _missed(vanished: Iterable[Vanished]) -> frozenset[TagKey]:
    return frozenset((one.source, tag) for one in vanished for tag in one.tags)


def _content_now(result: Result) -> Descriptor | None:
    """Return what a tag names after the run, None if there is no such tag."""
    change = result.change
    return change.after if result.outcome in _AS_WANTED else change.before


def _owned(
    key: TagKey,
    now: Digest,
    result: Result,
    source: Location | None,
    known: Mapping[TagKey, Owned],
    intended: Mapping[TagKey, Digest],
    time: str,
) -> Owned:
    before = known.get(key)
    # Repairing the content of another client's tag does not make the tag ours.
    set_now = result.outcome == "done" and result.change.state != State.INCOMPLETE
    ours = set_now or intended.get(key) == now
    if before is not None and before.digest == now and (not before.adopted or not ours):
        return before
    return Owned(now, time, adopted=not ours, source=source)


def _source(change: Change, source_of: Callable[[TagKey], Location | None]) -> Location | None:
    """Return where an image is from: not the destination, where a rollback takes it, but its source of then.

    Otherwise prune would not notice that the source has dropped the tag, and would delete it.
    """
    if change.origin is None or change.tag is None:
        return None
    source = change.origin.location
    return source_of((change.target, change.tag)) if source == change.target else source


def _word(result: Result) -> str:
    """Return the word that an image is counted under: what became of it, for a change the kind of the change."""
    return result.change.state.value if result.outcome == "done" else result.outcome


def _run_tag(key: TagKey, result: Result) -> RunTag:
    change = result.change
    before = change.before.digest if change.before is not None else None
    after = change.after.digest if change.after is not None else None
    return RunTag(key, before, after, change.state.value, result.outcome)
