"""Bundles as text: what is in one, what is wrong with one, and what an import has done."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from rich.filesize import decimal

from mirrorsync.bundle.findings import HARMLESS, Checked, Damage, Finding, Inspected, Repaired
from mirrorsync.cli.output.render import count
from mirrorsync.sync.bundle.imported import Imported
from mirrorsync.text import printable, some_of

_SHOWN = 20
_HAVE = {
    "inventory": "an inventory of",
    "bundle": "a bundle of",
    "generation": "a generation of",
    "sent": "what was sent until",
}


def inspected_lines(found: Inspected, *, whole: bool) -> Iterator[str]:
    """Yield what is in a bundle. whole: also every image."""
    bundle = found.bundle
    before = f", after {bundle.previous.sequence}" if bundle.previous else ""
    yield f"{bundle.stem}: number {bundle.sequence} of {printable(bundle.name)}{before}, created {bundle.created}"
    yield f"document: {found.digest}, {count(found.signatures, 'signature')}"
    yield f"for: {printable(bundle.destination)}" if bundle.destination else "for: any destination"
    yield f"made against: {_made_against(found)}"
    changed, images = len(found.carried), len(bundle.images)
    yield f"images: {images}, {changed} new or moved, {images - changed} unchanged"
    if sparse := [image for image in bundle.images if image.platforms]:
        names = sorted({str(platform) for image in sparse for platform in image.platforms})
        yield f"platforms: {count(len(sparse), 'image')} with only {printable(', '.join(names))} (sparse)"
    here, parts = len(found.here), len(bundle.parts)
    yield f"content: {count(len(bundle.objects), 'object')}, {decimal(found.bytes_carried)}"
    if bundle.deltas:
        yield f"deltas: {len(bundle.deltas)}, {decimal(bundle.bytes_saved)} less than their blobs"
    yield f"parts: {parts}" if here == parts else f"parts: {here} of {parts} are here; {_missing(found)}"
    if found.parity:
        yield "parity files: here"
    size = sum(one.content.size for one in bundle.assumes)
    yield f"assumes at the destination: {count(len(bundle.assumes), 'object')}, {decimal(size)}{_brought(found)}"
    if found.others:
        yield f"also here: {some_of(found.others, 6)}"
    if whole:
        carried = {image.name for image in found.carried}
        yield from (f"{'new or moved' if one.name in carried else 'unchanged'} {one.name}" for one in bundle.images)


def _made_against(found: Inspected) -> str:
    """Return what the sender knew of the destination."""
    bundle = found.bundle
    if bundle.answers is not None:
        return f"the answer code about bundle {bundle.answers.sequence}"
    return ", ".join(f"{_HAVE[one.kind]} {one.created}" for one in bundle.have) or "nothing: it is full"


def _brought(found: Inspected) -> str:
    numbers = [str(number) for number in sorted({one.sent for one in found.bundle.assumes if one.sent})]
    return f", brought by {'bundle' if len(numbers) == 1 else 'bundles'} {some_of(numbers, 6)}" if numbers else ""


def _missing(found: Inspected) -> str:
    names = [part.name for number, part in enumerate(found.bundle.parts, 1) if number not in found.here]
    return f"{some_of(names, 3)} {'is' if len(names) == 1 else 'are'} missing"


def finding_lines(findings: Iterable[Finding], *, whole: bool) -> list[str]:
    """Return a line for each finding, and one for all that cannot be read for one reason.

    whole: all of them, otherwise a screenful.
    """
    found = sorted(findings, key=lambda one: (one.damage == Damage.MISSING, one.part, one.file))
    causes: dict[object, list[Finding]] = {}
    for one in found:
        # What a medium does not give has one cause, however many members are on it.
        causes.setdefault(one.message if one.damage == Damage.UNREADABLE else id(one), []).append(one)
    lines = [_finding(alike[0]) if len(alike) == 1 else _unreadable(alike) for alike in causes.values()]
    if whole or len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more (-v shows them)"]


def _finding(one: Finding) -> str:
    member = f": {one.member}" if one.member else ""
    return printable(f"{one.damage}: {one.file}{member}: {one.message}{_held(one.images)}", 1000)


def _unreadable(alike: Sequence[Finding]) -> str:
    files = list(dict.fromkeys(one.file for one in alike))
    members = sum(bool(one.member) for one in alike)
    of = f": {count(members, 'member')}" if members and len(files) == 1 else ""
    images = sorted({name for one in alike for name in one.images})
    return printable(f"{alike[0].damage}: {some_of(files, 3)}{of}: {alike[0].message}{_held(images)}", 1000)


def _held(images: Sequence[str]) -> str:
    return f" ({count(len(images), 'image')} cannot be imported: {some_of(images, 3)})" if images else ""


def checked_summary(checked: Checked) -> str:
    """Return one line about a bundle that was read."""
    parts = len(checked.bundle.parts)
    read = f"{checked.files} of {count(parts, 'part')} read, {decimal(checked.size)}"
    bad = [one for one in checked.findings if one.damage not in HARMLESS]
    if not bad:
        return f"{checked.bundle.stem} is complete: {read}"
    waiting = count(len(checked.held_up), "image")
    if not checked.held_up:
        return f"all images of {checked.bundle.stem} can be imported, but not all of its files are whole: {read}"
    return (
        f"{checked.bundle.stem} is not complete: {read}; {waiting} of {len(checked.bundle.images)} cannot be imported"
    )


def repair_line(path: str) -> str:
    """Return the remedy for damage to a bundle that has parity files."""
    return f"it has parity files, which may repair it: mirrorsync bundle repair {shlex.quote(printable(path))}"


def lost_lines(done: Repaired) -> list[str]:
    """Return a line for each file that cannot be repaired, and what would help."""
    lines = [f"cannot be repaired: {name} is {'missing' if name in done.missing else 'damaged'}" for name in done.lost]
    if not lines:
        return []
    remedy = "mirrorsync bundle create --only-parts N --of FILE --output DIR"
    why = f"of {done.columns} blocks that belong together {done.worst} are damaged, and there is parity for {done.rows}"
    return [*lines, f"{why}; copy the files again, or have the parts written again: {remedy}"]


def repaired_summary(done: Repaired) -> str:
    """Return one line about a repair."""
    if not done.repaired and not done.lost:
        return f"{done.stem} is whole: nothing to repair"
    repaired = f"repaired {some_of(done.repaired, 4)}" if done.repaired else "nothing was repaired"
    return f"{done.stem}: {repaired}" + (f"; {count(len(done.lost), 'file')} cannot be repaired" if done.lost else "")


def waiting_lines(done: Imported, *, whole: bool) -> list[str]:
    """Return a line for each image that waits, with what it lacks. whole: all of them, otherwise a screenful."""
    lines = [printable(f"waits: {one.image}: {one.reason}", 1000) for one in done.waiting]
    if whole or len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more images wait (-v shows them)"]


def early_line(done: Imported) -> str:
    """Return a line about imported content of images that wait, "" without any."""
    if not done.early.blobs:
        return ""
    return f"imported for images that wait: {count(done.early.blobs, 'blob')}, {decimal(done.early.size)}"
