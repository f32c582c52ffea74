"""Numbers with their nouns, specs and failures as text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from mirrorsync.cli.output.destinations import Destinations
from mirrorsync.cli.output.stdio import LINE_LIMIT
from mirrorsync.errors import (
    IntegrityError,
    MirrorsyncError,
    RateLimited,
    RegistryUnavailable,
    StorageError,
    TlsFailed,
    Unauthorized,
    Unreachable,
)
from mirrorsync.oci.reference import Location, Where
from mirrorsync.plan.model import Change, Failure, SpecStamp
from mirrorsync.spec.model import Spec
from mirrorsync.text import printable

# Kinds of errors whose cause is a host as a whole, or the login there.
_OF_HOSTS: Final = (Unauthorized, TlsFailed, Unreachable, RateLimited, RegistryUnavailable)
_SHOWN: Final = 5  # of the images, and of the lines of the spec, that one cause costs


def count(number: int, what: str, several: str = "") -> str:
    """Return a number with its noun: `1 image`, `2 images`. several: the plural if it is not formed by an `s`."""
    return f"{number} {what}" if number == 1 else f"{number} {several or what + 's'}"


def numbers(counted: Mapping[str, int], words: Sequence[str]) -> str:
    """Return the counts that are not 0: `12 new, 1 moved`. words: those to count, in order."""
    return ", ".join(f"{counted[word]} {word}" for word in words if counted.get(word))


def failed_at(failures: Iterable[Failure]) -> Counter[Location | None]:
    """Return the number of failures by target; an image that fails at its source counts once for each of them.

    Those without a target are counted under None.
    """
    pairs = {(failure.subject, target) for failure in failures for target in failure.targets or (None,)}
    return Counter(target for _, target in pairs)


def counts_by_destination(
    images: Iterable[tuple[Location, str]], failures: Iterable[Failure], destinations: Destinations
) -> dict[str, Counter[str]]:
    """Return the number of images by destination and word. images: each with its state or outcome."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for target, word in images:
        found[destinations.of(target)[0]][word] += 1
    for failed, number in failed_at(failures).items():
        if failed is not None:
            found[destinations.of(failed)[0]]["failed"] += number
    return dict(sorted(found.items()))


def waiting_lines(changes: Iterable[Change]) -> list[str]:
    """Return a line for each budget that is used: how many images wait for the next run."""
    found = Counter(change.waits_for for change in changes if change.waits_for)
    return [
        printable(f"{count(number, 'image')} {'waits' if number == 1 else 'wait'} for the next run: {why}")
        for why, number in found.items()
    ]


def nothing_to_do(targets: Iterable[Location], destinations: Destinations) -> str:
    """Return the line of a run or a plan without changes. targets: of its images."""
    names = [destinations.of(target)[0] for target in targets]
    return f"nothing to do: {count(len(names), 'image')} up to date at {count(len(set(names)), 'destination')}"


def spec_summary(spec: Spec) -> str:
    """Return one line about a valid spec."""
    exact = sum(len(mirror.selection.exact) for mirror in spec.mirrors)
    filtered = sum(mirror.selection.lists for mirror in spec.mirrors)
    wanted = f"{count(exact, 'exact image')}, {count(filtered, 'mirror')} with filters"
    destinations = {destination.name for mirror in spec.mirrors for destination in mirror.destinations}
    name = PurePath(spec.source).name
    return (
        f"{name} is valid: {count(len(spec.mirrors), 'mirror')} ({wanted}) to {count(len(destinations), 'destination')}"
    )


def failure_lines(failures: Iterable[Failure], spec: SpecStamp | None = None) -> list[str]:
    """Return two lines for each cause of failures: what failed where, with the lines of the spec; and the remedy.

    spec: that of the run; the failures are sorted by its destinations.
    """
    if spec is not None:
        failures = sorted(failures, key=Destinations(spec.destinations).failure_rank)
    causes: dict[object, list[Failure]] = {}
    for failure in failures:
        causes.setdefault(_cause(failure), []).append(failure)
    lines = []
    for alike in causes.values():
        notes = "; ".join(note for note in (_costs(alike), _lines_of(alike, spec)) if note)
        lines.append(f"failed: {_together(alike)}" + (f" ({notes})" if notes else ""))
        if alike[0].error.remedy:
            lines.append(f"  {alike[0].error.remedy}")
    return [printable(line, LINE_LIMIT) for line in lines]


def _cause(failure: Failure) -> object:
    """Return a key that failures share if a host is their cause, or if their errors say the same of the same thing.

    A file that cannot be written is one cause, whatever of an image was to go into it: an archive on a full disk. So is
    one that cannot be read, or is cut off: a part of a bundle.
    """
    error = failure.error
    if _is_of_a_host(error) or (isinstance(error, StorageError | IntegrityError) and error.store is not None):
        return type(error), error.side, error.store, error.message, error.remedy
    return str(error), error.remedy, "" if error.where else failure.subject


def _is_of_a_host(error: MirrorsyncError) -> bool:
    # The errors of a saved plan have lost their kind, and kept its remedy.
    known = isinstance(error, _OF_HOSTS) or any(error.remedy == kind.default_remedy for kind in _OF_HOSTS)
    return known and error.store is not None


def _together(failures: Sequence[Failure]) -> str:
    """Return what failures of one cause say together, and where it is."""
    error = failures[0].error
    subjects = list(dict.fromkeys(failure.subject for failure in failures))
    if len(subjects) == 1:
        # The error mostly names the failed target anyway.
        return str(error) if error.where == subjects[0] else f"{subjects[0]}: {error}"
    more = f" and {len(subjects) - _SHOWN} more" if len(subjects) > _SHOWN else ""
    named = "" if _is_of_a_host(error) else f"{', '.join(subjects[:_SHOWN])}{more}: "
    if named and len({str(failure.error) for failure in failures}) == 1:
        return f"{named}{error}"
    repositories = {failure.error.repository for failure in failures}
    place = Where(error.store, error.repository if len(repositories) == 1 else None)
    if error.side != "source":
        return f"{f'{error.side} ' if error.side else ''}{place}: {error.message}"
    return f"{named}source {place}: {error.message}"  # a destination that cannot be written lacks all of them


def _costs(failures: Sequence[Failure]) -> str:
    """Return how many images and tag lists a cause costs, "" for a single one."""
    lists = {failure.subject for failure in failures if failure.source is not None and failure.ref is None}
    images = {failure.subject for failure in failures} - lists
    if len(images) + len(lists) == 1:
        return ""
    costs = [count(len(images), "image")] * bool(images) + [count(len(lists), "tag list")] * bool(lists)
    return ", ".join(costs)


def _lines_of(failures: Sequence[Failure], spec: SpecStamp | None) -> str:
    """Return the lines of the spec that want some images: `mirror.yaml:12, 14`, "" without a spec."""
    if spec is None:
        return ""
    known = sorted({spec.lines[failure.mirror] for failure in failures if failure.mirror in spec.lines})
    if not known:
        return ""
    listed = ", ".join(map(str, known)) if len(known) <= _SHOWN else f"{known[0]} and {len(known) - 1} more"
    return f"{PurePath(spec.path).name}:{listed}"
