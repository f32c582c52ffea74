"""What a mirror wants of its source: `from:`, with `tags:` or `tag:`, read into a repository and a selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, Reference, parse_image, parse_repository
from mirrorsync.oci.transports import transport_of
from mirrorsync.spec.filters import ExactTag, Selection
from mirrorsync.spec.tags import Say, read_tags
from mirrorsync.spec.yaml_source import join


@dataclass(frozen=True, slots=True)
class Wanted:
    """A source, and what is wanted of it. whole_store: all repositories of a place on disk, instead of one."""

    source: Location
    selection: Selection
    whole_store: bool = False


def read_wanted(entry: str | Mapping[str, Any], pointer: str, base: str, say: Say) -> Wanted:
    """Read an entry of `mirrors:`; base is the directory that relative paths start from.

    What can be read around is said, and left out of the result. Raises: GrammarError for the source itself.
    """
    if isinstance(entry, str):
        reference = parse_image(entry, base)
        if not reference.names_one:
            say(pointer, f"{printable(entry)} names no tag", f"write {printable(entry)}:latest if you mean that")
        elif reference.pick is not None:
            say(pointer, f"{printable(entry)} has no tag to keep", "write it as {from: ..., tag: NAME}")
        return Wanted(reference.location, select_one(reference, reference.tag))
    if "tags" in entry:
        return _several(entry, pointer, base, say)
    return _one(entry, pointer, base, say)


def select_one(reference: Reference, tag: Tag | None) -> Selection:
    """Return the selection of one image: under `tag` at the destination, or by its digest when `tag` is None."""
    if tag is None:
        return Selection(digests=(reference.digest,) if reference.digest else ())
    source = reference.tag if reference.tag is not None else reference.pick
    return Selection(exact=(ExactTag(tag, reference.digest, None if source == tag else source),))


def _several(entry: Mapping[str, Any], pointer: str, base: str, say: Say) -> Wanted:
    if "tag" in entry:
        say(join(pointer, "tag"), "this would do nothing beside tags:", "remove one of them")
    source = parse_repository(entry["from"], base)
    transport = transport_of(source.store)
    if transport is not None and not transport.many:
        raise GrammarError(f"{source} holds one image, which has no tag", remedy="write tag: NAME instead of tags:")
    selection = read_tags(entry["tags"], join(pointer, "tags"), say)
    return Wanted(source, selection, whole_store=transport is not None and not source.repository)


def _one(entry: Mapping[str, Any], pointer: str, base: str, say: Say) -> Wanted:
    reference = parse_image(entry["from"], base)
    tag: str | None = entry.get("tag", reference.tag)
    if not reference.names_one:
        remedy = 'say which tags are wanted, such as tags: ["1.27"] or tags: {all: true}'
        say(pointer, "'tags' is missing", remedy)
    elif tag is None and reference.pick is not None:
        remedy = "add tag: NAME for the one image that is there, or tags: {all: true} for all that have names"
        say(pointer, "nothing says which tag it gets", remedy)
    try:
        selection = select_one(reference, Tag(tag) if tag is not None else None)
    except GrammarError as error:
        say(join(pointer, "tag"), error.message, error.remedy)
        selection = Selection()
    return Wanted(reference.location, selection)
