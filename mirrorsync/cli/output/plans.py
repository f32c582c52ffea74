"""Plans as text: the changes, or a line for each repository if they are many; the totals; one line at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from rich.filesize import decimal

from mirrorsync.cli.output.destinations import NO_DESTINATIONS, Destinations, tag_rank
from mirrorsync.cli.output.render import count, counts_by_destination, failed_at, nothing_to_do, numbers, waiting_lines
from mirrorsync.cli.output.tables import Listing
from mirrorsync.cli.output.vanished import vanished_lines
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Amount, Change, Plan, State
from mirrorsync.plan.steps import CopyBlob, MountBlob
from mirrorsync.text import printable

Detail = Literal["images", "totals"]

# Up to so many changes, each has a line.
_LISTED: Final = 50
_UNWANTED_REPOSITORIES: Final = 5
_UNWANTED_TAGS: Final = 20
_STYLES: Final = {
    State.NEW.value: "green",
    State.MOVED.value: "yellow",
    State.INCOMPLETE.value: "magenta",
    State.DELETED.value: "red",
    State.KEPT.value: "cyan",
    State.DELAYED.value: "blue",
    State.REFUSED.value: "bold red",
}
# In this order states are counted; what a policy refuses is counted as failed.
_COUNTED: Final = ("new", "moved", "incomplete", "deleted", "kept", "delayed", "failed", "unchanged")


def plan_parts(
    plan: Plan, detail: Detail | None = None, command: str = "", *, explain: bool = False
) -> list[str | Listing]:
    """Return a plan for people; of one without changes only the last line, and what is not in the spec.

    detail: what has a line each; None = by the number of changes. command: that applies the plan. explain: of a plan
    that is explained, each image has a line, also an unchanged one, and below it what includes its tag.
    """
    destinations = Destinations(plan.spec.destinations)
    changes = [change for change in plan.changes if change.state != State.UNCHANGED]
    parts: list[str | Listing] = []
    if explain:
        parts.append(_explained(plan, destinations))
    elif detail == "images" or (detail is None and len(changes) <= _LISTED):
        parts.append(changes_listing(changes, destinations))
    elif detail != "totals":
        parts.append(_repositories(plan, destinations))
    parts += _parts_of_indexes(plan)
    parts += _unwanted(plan, destinations, detail)
    parts += vanished_lines(plan.vanished)
    return [*parts, *totals_lines(plan, destinations), *waiting_lines(plan.changes), last_line(plan, command)]


def saved_plan_line(plan: Plan) -> str:
    """Return the first line of a saved plan: its spec, with the mirrors that it was made for, and its time."""
    only = f" (only {', '.join(plan.spec.only)})" if plan.spec.only else ""
    return printable(f"plan of {plan.spec.path}{only}, made {plan.created.replace('T', ' ').replace('Z', ' UTC')}")


def changes_listing(changes: Iterable[Change], destinations: Destinations = NO_DESTINATIONS) -> Listing:
    """Return changed images, sorted: state, destination, image; then digest (or old and new) and a policy's reason.

    An image of no named destination is written as a whole reference.
    """
    rows = [
        ((change.state.value, *_named(change, destinations)), _detail(change))
        for change in sorted(changes, key=destinations.rank)
        if change.state != State.UNCHANGED
    ]
    return Listing(rows, _STYLES)


def is_explained(plan: Plan) -> bool:
    """Return whether a plan says what includes the tags of its images."""
    return all(one.filters is not None for one in plan.changes)


def _explained(plan: Plan, destinations: Destinations) -> Listing:
    """Return all images, also unchanged ones and those that a policy keeps away, with what includes their tags."""
    rows = [
        ((one.state.value, *_named(one, destinations)), _with_filters(_detail(one), one.filters))
        for one in sorted(plan.changes, key=destinations.rank)
    ]
    shown = {str(one) for one in plan.changes}
    rows += [
        ((State.REFUSED.value, one.subject), _with_filters(printable(one.error.message), one.filters))
        for one in sorted(plan.failures, key=destinations.failure_rank)
        if one.policy and one.subject not in shown
    ]
    return Listing(rows, _STYLES)


def _with_filters(detail: str, filters: Sequence[str] | None) -> str:
    return f"{detail}\nwanted by {printable(', '.join(filters))}" if filters else detail


def _named(change: Change, destinations: Destinations) -> tuple[str, ...]:
    name, repository = destinations.of(change.target)
    if not repository or name == change.target.store.rstrip(":"):
        return (str(change),)
    return name, f"{repository}:{change.tag}" if change.tag else f"{repository}@{change.digest.short}"


def _detail(change: Change) -> str:
    digests = change.digest.short
    if change.before is not None and change.after is not None and change.before.digest != change.after.digest:
        digests = f"{change.before.digest.short} -> {digests}"
    if change.whole is not None:
        digests += f" of {change.whole.short}"
    return "; ".join(part for part in (digests, printable(change.older), printable(change.reason)) if part)


def _repositories(plan: Plan, destinations: Destinations) -> Listing:
    """Return a row for each repository with changes or failures: its counts, and the bytes to copy to it."""
    states: defaultdict[Location, Counter[str]] = defaultdict(Counter)
    for change in plan.changes:
        states[change.target][change.state.value] += 1
    for target, number in failed_at(plan.failures).items():
        if target is not None:
            states[target]["failed"] += number
    sizes = {target: amounts["copy"].size for target, amounts in _moved(plan).items() if "copy" in amounts}
    rows = []
    for target in sorted(states, key=destinations.of):
        counted = numbers(states[target], _COUNTED[:-1])
        if counted:
            rows.append((destinations.of(target), counted, decimal(sizes[target]) if target in sizes else ""))
    width = max((len(counted) for _, counted, _ in rows), default=0)
    return Listing([(named, f"{counted.ljust(width)}  {size:>9}".rstrip()) for named, counted, size in rows])


def _moved(plan: Plan) -> Mapping[Location, Mapping[str, Amount]]:
    """Return the blobs to be copied and mounted, by repository."""
    found: defaultdict[Location, defaultdict[str, Amount]] = defaultdict(lambda: defaultdict(Amount))
    for step in plan.steps:
        if isinstance(step, CopyBlob):
            for target in step.targets:
                found[target]["copy"] = found[target]["copy"].plus(step.blob)
        elif isinstance(step, MountBlob):
            found[step.target]["mount"] = found[step.target]["mount"].plus(step.blob)
    return found


def totals_lines(plan: Plan, destinations: Destinations = NO_DESTINATIONS) -> Iterator[str | Listing]:
    """Yield a row for each destination: its counts if there are several, and the blobs to be copied and mounted."""
    if not any(plan.changed()) and not plan.failures:
        return
    states = counts_by_destination(((one.target, one.state.value) for one in plan.changes), plan.failures, destinations)
    blobs = _blobs(plan, destinations)
    rows = []
    for name, counted in states.items():
        amounts = [
            f"{word} {count(amount.blobs, 'blob')} ({decimal(amount.size)})"
            for word in ("copy", "mount", "have")
            if (amount := blobs[name].get(word)) is not None
        ]
        parts = [*[numbers(counted, _COUNTED)] * (len(states) > 1), *([", ".join(amounts)] if amounts else [])]
        rows += [((f"{name}:",), "; ".join(parts))] if parts else []
    yield Listing(rows)


def _blobs(plan: Plan, destinations: Destinations) -> Mapping[str, Mapping[str, Amount]]:
    """Return the blobs to be copied and mounted, and those that are present, by destination."""
    found: defaultdict[str, defaultdict[str, Amount]] = defaultdict(lambda: defaultdict(Amount))
    for target, amounts in _moved(plan).items():
        own = found[destinations.of(target)[0]]
        for word, amount in amounts.items():
            own[word] = Amount(own[word].blobs + amount.blobs, own[word].size + amount.size)
    names: defaultdict[str, set[str]] = defaultdict(set)
    for change in plan.changes:
        names[change.target.store].add(destinations.of(change.target)[0])
    for store, totals in plan.totals.items():
        present = totals.blobs.get("present")
        if present is not None and len(names[store]) == 1:  # of a store with several, it is only known of all together
            found[names[store].pop()]["have"] = present
    return found


def last_line(plan: Plan, command: str = "") -> str:
    """Return the last line of a plan: counts, bytes to read, and the command that applies it."""
    states = Counter(change.state.value for change in plan.changes)
    failed = sum(failed_at(plan.failures).values())
    changed = any(plan.changed())
    if not (changed or failed or states[State.KEPT.value] or states[State.DELAYED.value]):
        return nothing_to_do((change.target for change in plan.changes), Destinations(plan.spec.destinations))
    states["failed"] = failed
    read = f"; {decimal(plan.read_bytes)} to read" if changed else ""
    return f"Plan: {numbers(states, _COUNTED)}{read}" + (f". Run: {command}" if changed and command else "")


def _parts_of_indexes(plan: Plan) -> Iterator[str]:
    """Yield how many images are only some platforms of an index, and what that leaves at the source."""
    number = sum(change.whole is not None for change in plan.changed())
    if number:
        behind = plan.referrers.behind if plan.referrers is not None else 0
        left = f" ({count(behind, 'referrer')})" if behind else ""
        yield (
            f"platforms: {count(number, 'image')} with another digest than at the source; "
            f"signatures of the whole index stay behind{left}"
        )
    sparse = sum(change.origin is not None and change.origin.sparse for change in plan.changed())
    if sparse:
        yield f"platforms: {count(sparse, 'image')} with only some of the images that the index lists (sparse)"


def _unwanted(plan: Plan, destinations: Destinations, detail: Detail | None) -> Iterator[str | Listing]:
    """Yield what destinations have and no mirror wants: the number of tags, and where."""
    if not plan.unwanted:
        return
    where = "spec" if plan.spec.lock is None else "lock"
    yield f"not in the {where}: {count(sum(len(one.tags) for one in plan.unwanted), 'tag')}"
    if detail == "totals":
        return
    found = sorted(plan.unwanted, key=lambda one: destinations.of(one.target))
    some = found if detail == "images" else found[:_UNWANTED_REPOSITORIES]
    rows = []
    for one in some:
        name, repository = destinations.of(one.target)
        tags = sorted(one.tags, key=tag_rank)
        what = _some(tags) if detail == "images" else count(len(tags), "tag")
        rows.append(((f"  {name}", repository), what))
    yield Listing(rows)
    if len(found) > len(some):
        yield f"  and {count(len(found) - len(some), 'more repository', 'more repositories')}: plan --all"


def _some(tags: Sequence[str]) -> str:
    """Return the first tags of a list; --json has all of them."""
    more = len(tags) - _UNWANTED_TAGS
    return ", ".join(tags[:_UNWANTED_TAGS]) + (f" and {more} more" if more > 0 else "")
