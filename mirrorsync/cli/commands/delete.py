"""`mirrorsync delete`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from rich.filesize import decimal

from mirrorsync.cli.options.access import AccessOptions, access_options, retry_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import count
from mirrorsync.cli.output.stdio import tell
from mirrorsync.cli.skopeo_codes import skopeo_codes
from mirrorsync.cli.visits import Visit
from mirrorsync.documents.inspection import deletion_document
from mirrorsync.errors import ExitCode, UsageError, printable
from mirrorsync.library import absolute
from mirrorsync.oci.reference import Reference, parse_image
from mirrorsync.oci.transports import transport_of
from mirrorsync.sync.session import Session
from mirrorsync.sync.single.delete import (
    Removal,
    Removed,
    check_deletable,
    check_unchanged,
    plan_removal,
    remove,
)


@click.command()
@click.argument("reference", metavar="REF")
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("--all-tags-of-digest", "all_tags", is_flag=True, help="Delete the image with every tag that it has.")
@access_options()
@retry_option
@verb
@skopeo_codes
def command(
    console: Console,
    reference: str,
    yes: bool,
    dry_run: bool,
    all_tags: bool,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Delete the image REF: a tag alone, or by its digest.

    Where a registry deletes only by digest and other tags have the same one, they are told and nothing is deleted,
    unless --all-tags-of-digest says so. A layout gives back the space of what nothing names any more. Signatures and
    whatever else refers to the image stay.
    """
    image = parse_image(reference, str(absolute(".")))
    check_deletable(image)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UsageError("nobody can be asked here, and nothing was deleted", remedy="--yes deletes, --dry-run shows")
    visit = Visit.to(console, image.location, access, retry_times)
    if dry_run:
        planned = visit.run(lambda session: plan_removal(session, image, all_tags=all_tags, look_around=True))
        console.result(lambda: deletion_document(Removed(planned), deleted=False), "\n".join(_plan_lines(planned)))
        return ExitCode.DONE
    agreed = None if yes else _agreed(visit, image, all_tags=all_tags)
    done = visit.run(lambda session: _delete(session, image, agreed, all_tags=all_tags))
    console.result(
        lambda: deletion_document(done, deleted=True), "" if console.level < 0 else "\n".join(_done_lines(done))
    )
    return ExitCode.DONE


def _agreed(visit: Visit, image: Reference, *, all_tags: bool) -> Removal:
    """Show a person what goes, and ask. Raises: UsageError when the answer is no."""
    planned = visit.run(lambda session: plan_removal(session, image, all_tags=all_tags))
    for line in _plan_lines(planned):
        tell(line)
    if not click.confirm("Delete this?", err=True):
        error = UsageError("nothing was deleted")
        error.exit_code = ExitCode.FAILED  # a no is no mistake
        raise error
    return planned


async def _delete(session: Session, image: Reference, agreed: Removal | None, *, all_tags: bool) -> Removed:
    planned = await plan_removal(session, image, all_tags=all_tags)
    if agreed is not None:
        check_unchanged(agreed, planned)
    return await remove(session, planned)


def _plan_lines(removal: Removal) -> Iterator[str]:
    """Say what goes and what stays."""
    where, digest = removal.reference.location, removal.found.digest
    if removal.by_digest:
        tags = f", with the tags {', '.join(removal.tags)}" if removal.tags else ""
        yield printable(f"to be deleted: {where}@{digest}{tags}")
    else:
        yield printable(f"to be deleted: the tag {removal.reference.tag} of {where} ({digest})")
        if removal.sharing is not None and (removal.sharing.tags or removal.sharing.indexes):
            names = ", ".join((*removal.sharing.tags, *removal.sharing.indexes))
            yield printable(f"stays: the image, which is also in {names}")
            if transport_of(where.store) is None:
                yield "where the registry deletes only by digest, nothing is deleted because of that"
    yield from _left_lines(removal)


def _left_lines(removal: Removal) -> Iterator[str]:
    for one in removal.attached:
        named = one.tag or f"{one.content.digest} {one.artifact_type}".rstrip()
        yield printable(f"stays: {one.kind} {named}, which refers to it")


def _done_lines(done: Removed) -> Iterator[str]:
    removal = done.removal
    where, digest = removal.reference.location, removal.found.digest
    if removal.by_digest:
        tags = f", with the tags {', '.join(removal.tags)}" if removal.tags else ""
        yield printable(f"deleted: {where}@{digest}{tags}")
    else:
        yield printable(f"deleted: the tag {removal.reference.tag} of {where} ({digest})")
    yield from _left_lines(removal)
    if done.kept:
        yield printable(f"stays: all blobs, since it cannot be told which are needed: {done.kept}")
    elif done.blobs:
        yield f"freed: {count(done.blobs, 'blob')}, {decimal(done.size or 0)}"
    elif done.blobs is None and removal.by_digest and removal.parts:
        yield f"stays: {count(len(removal.parts), 'image')} of the index, until the registry collects its garbage"
