"""The source of a mirror: `from:`, with `tags:` or `tag:`, read into a repository and a selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, parse_image, parse_repository
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.tags import Say, read_tags
from mirrorsync.spec.yaml_source import join


class MirrorSource(NamedTuple):
    """Where a mirror reads, and what it wants there. whole_store: all repositories of a place on disk, not one."""

    location: Location
    selection: Selection
    whole_store: bool = False


def read_source(entry: str | Mapping[str, Any], pointer: str, base: str, say: Say) -> MirrorSource:
    """Read an entry of `mirrors:`; base is the directory that relative paths start from.

    What can be read around is said, and left out of the result. Raises: GrammarError for the source itself.
    """
    if isinstance(entry, str):
        reference = parse_image(entry, base)
        if not reference.names_one:
            say(pointer, f"{printable(entry)} names no tag", f"write {printable(entry)}:latest if you mean that")
        elif reference.pick is not None:
            say(pointer, f"{printable(entry)} has no tag to keep", "write it as {from: ..., tag: NAME}")
        return MirrorSource(reference.location, Selection.of(reference, reference.tag))
    if "tags" in entry:
        return _several(entry, pointer, base, say)
    return _one(entry, pointer, base, say)


def _several(entry: Mapping[str, Any], pointer: str, base: str, say: Say) -> MirrorSource:
    if "tag" in entry:
        say(join(pointer, "tag"), "this would do nothing beside tags:", "remove one of them")
    source = parse_repository(entry["from"], base)
    if not source.transport.many:
        raise GrammarError(f"{source} holds one image, which has no tag", remedy="write tag: NAME instead of tags:")
    selection = read_tags(entry["tags"], join(pointer, "tags"), say)
    return MirrorSource(source, selection, whole_store=not source.repository)


def _one(entry: Mapping[str, Any], pointer: str, base: str, say: Say) -> MirrorSource:
    reference = parse_image(entry["from"], base)
    tag: str | None = entry.get("tag", reference.tag)
    if not reference.names_one:
        remedy = 'say which tags are wanted, such as tags: ["1.27"] or tags: {all: true}'
        say(pointer, "'tags' is missing", remedy)
    elif tag is None and reference.pick is not None:
        remedy = "add tag: NAME for the one image that is there, or tags: {all: true} for all that have names"
        say(pointer, "nothing says which tag it gets", remedy)
    try:
        selection = Selection.of(reference, Tag(tag) if tag is not None else None)
    except GrammarError as error:
        say(join(pointer, "tag"), error.message, error.remedy)
        selection = Selection()
    return MirrorSource(reference.location, selection)
