"""The source of a mirror: `from:`, with `tags:` or `tag:`, as a repository and a selection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mirrorsync.errors import GrammarError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, parse_image, parse_repository
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.tags import AddProblem, read_tags
from mirrorsync.spec.yaml_source import join
from mirrorsync.text import printable

# A registry's host without a repository, which docker's rules take for a repository of Docker Hub.
_HOST_ALONE: Final = re.compile(r"(?:(?P<name>[^/@:]+\.[^/@:]+|localhost)(?::\d+)?|\[[0-9A-Fa-f:.]+\](?::\d+)?)/?")


class MirrorSource(NamedTuple):
    """The source of a mirror, and what is wanted of it. whole_store: all repositories of a store on disk, not one."""

    location: Location
    selection: Selection
    whole_store: bool = False


def read_source(entry: str | Mapping[str, Any], pointer: str, base: str, add_problem: AddProblem) -> MirrorSource:
    """Read an entry of `mirrors:`; base is the directory that relative paths start from.

    An invalid tag or filter is reported by `add_problem` and left out of the result. Raises: GrammarError if the source
    itself is invalid.
    """
    text = entry if isinstance(entry, str) else entry["from"]
    _not_a_host(text)
    try:
        return _read(entry, pointer, base, add_problem)
    except GrammarError as error:
        if "*" not in text:
            raise
        raise GrammarError(
            f"{printable(text)!r} has a wildcard; a mirror has one repository",
            remedy="write an entry for each repository; patterns for tags are written under tags:",
        ) from error


def _read(entry: str | Mapping[str, Any], pointer: str, base: str, add_problem: AddProblem) -> MirrorSource:
    if isinstance(entry, str):
        reference = parse_image(entry, base)
        if not reference.names_one:
            add_problem(pointer, f"{printable(entry)} has no tag", f"write {printable(entry)}:latest if you mean that")
        elif reference.pick is not None:
            add_problem(pointer, f"{printable(entry)} has no tag to keep", "write it as {from: ..., tag: NAME}")
        return MirrorSource(reference.location, Selection.of(reference, reference.tag))
    if "tags" in entry:
        return _several(entry, pointer, base, add_problem)
    return _one(entry, pointer, base, add_problem)


def _not_a_host(text: str) -> None:
    """Reject a host without a repository. Raises: GrammarError."""
    if _HOST_ALONE.fullmatch(text):
        raise GrammarError(
            f"{printable(text)!r} is a host without a repository",
            remedy=f"write {printable(text.rstrip('/'))}/REPOSITORY, in an entry for each repository",
        )


def _several(entry: Mapping[str, Any], pointer: str, base: str, add_problem: AddProblem) -> MirrorSource:
    if "tag" in entry:
        add_problem(join(pointer, "tag"), "this has no effect together with tags:", "remove one of them")
    source = parse_repository(entry["from"], base)
    if not source.transport.many:
        raise GrammarError(f"{source} has one image, without a tag", remedy="write tag: NAME instead of tags:")
    selection = read_tags(entry["tags"], join(pointer, "tags"), add_problem)
    return MirrorSource(source, selection, whole_store=not source.repository)


def _one(entry: Mapping[str, Any], pointer: str, base: str, add_problem: AddProblem) -> MirrorSource:
    reference = parse_image(entry["from"], base)
    tag: str | None = entry.get("tag", reference.tag)
    if not reference.names_one:
        remedy = 'list the wanted tags, such as tags: ["1.27"] or tags: {all: true}'
        add_problem(pointer, "'tags' is missing", remedy)
    elif tag is None and reference.pick is not None:
        remedy = "add tag: NAME for the only image, or tags: {all: true} for all images with names"
        add_problem(pointer, "the image gets no tag at the destination", remedy)
    try:
        selection = Selection.of(reference, Tag(tag) if tag is not None else None)
    except GrammarError as error:
        add_problem(join(pointer, "tag"), error.message, error.remedy)
        selection = Selection()
    return MirrorSource(reference.location, selection)
