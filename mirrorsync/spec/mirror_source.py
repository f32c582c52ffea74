"""The source of a mirror: `from:`, with `tags:` or `tag:`, as a repository and a selection."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from mirrorsync.errors import GrammarError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, Reference, parse_image, parse_repository
from mirrorsync.problems import Problem
from mirrorsync.spec.image_list import list_lines
from mirrorsync.spec.namespace import Namespace, read_namespace
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.tags import AddProblem, read_tags
from mirrorsync.spec.yaml_source import join
from mirrorsync.text import printable

# A registry's host without a repository, which docker's rules take for a repository of Docker Hub.
_HOST_ALONE: Final = re.compile(r"(?:(?P<name>[^/@:]+\.[^/@:]+|localhost)(?::\d+)?|\[[0-9A-Fa-f:.]+\](?::\d+)?)/?")


class MirrorSource(NamedTuple):
    """The source of a mirror, and what is wanted of it.

    namespace: its repositories, None if it is only one. name: that of the destination's repository, if a list of images
    has it. line: in the list of images, 0 without one.
    """

    pointer: str
    location: Location
    selection: Selection
    namespace: Namespace | None = None
    name: str = ""
    line: int = 0


class WrittenSource(NamedTuple):
    """A source as an entry of `mirrors:` has it.

    pointer: of its mirror: that of the entry, or of the source in `from:` if it has several. at: where it is written.
    entry: the pointer of the entry. keys: its other keys, None for an entry in short form.
    """

    text: str
    pointer: str
    at: str
    entry: str
    keys: Mapping[str, Any] | None


def written_sources(entry: str | Mapping[str, Any], pointer: str) -> Iterator[WrittenSource]:
    """Yield the sources of an entry of `mirrors:`, which becomes a mirror for each of them."""
    if isinstance(entry, str):
        yield WrittenSource(entry, pointer, pointer, pointer, None)
        return
    at = join(pointer, "from")
    if isinstance(entry["from"], str):
        yield WrittenSource(entry["from"], pointer, at, pointer, entry)
        return
    for number, text in enumerate(entry["from"]):
        yield WrittenSource(text, join(at, number), join(at, number), pointer, entry)


def read_source(source: WrittenSource, base: str, add_problem: AddProblem) -> MirrorSource:
    """Read a source of an entry; base is the directory that relative paths start from.

    An invalid tag or filter is reported by `add_problem` and left out of the result. Raises: GrammarError if the source
    itself is invalid.
    """
    _not_a_host(source.text)
    if source.keys is not None and "tags" in source.keys:
        return _several(source, source.keys, base, add_problem)
    found = read_namespace(source.text, base)
    if found is not None and found[0].transport.is_registry:
        remedy = f"write {{from: '{printable(source.text)}', tags: {{all: true}}}}, or filters under tags:"
        raise GrammarError(f"{printable(source.text)!r} has a wildcard, and no tags", remedy=remedy)
    if source.keys is None:
        reference, shown = parse_image(source.text, base), printable(source.text)
        if not reference.names_one:
            add_problem(source.at, f"{shown} has no tag", f"write {shown}:latest if you mean that")
        elif reference.pick is not None:
            add_problem(source.at, f"{shown} has no tag to keep", "write it as {from: ..., tag: NAME}")
        return MirrorSource(source.pointer, reference.location, Selection.of(reference, reference.tag))
    return _one(source, source.keys, base, add_problem)


def _not_a_host(text: str) -> None:
    """Reject a host without a repository. Raises: GrammarError."""
    if _HOST_ALONE.fullmatch(text):
        shown = printable(text.rstrip("/"))
        raise GrammarError(
            f"{printable(text)!r} is a host without a repository",
            remedy=f"write {shown}/REPOSITORY, or {shown}/* for all repositories that it lists",
        )


def _several(source: WrittenSource, keys: Mapping[str, Any], base: str, add_problem: AddProblem) -> MirrorSource:
    if "tag" in keys:
        add_problem(join(source.entry, "tag"), "this has no effect together with tags:", "remove one of them")
    found = read_namespace(source.text, base)
    location, namespace = found or (parse_repository(source.text, base), None)
    if namespace is not None:
        namespace = namespace.without(tuple(keys.get("exclude_repositories", ())))
    if not location.transport.many:
        raise GrammarError(f"{location} has one image, without a tag", remedy="write tag: NAME instead of tags:")
    selection = read_tags(keys["tags"], join(source.entry, "tags"), add_problem)
    return MirrorSource(source.pointer, location, selection, namespace)


def _one(source: WrittenSource, keys: Mapping[str, Any], base: str, add_problem: AddProblem) -> MirrorSource:
    reference = parse_image(source.text, base)
    tag: str | None = keys.get("tag", reference.tag)
    if not reference.names_one:
        remedy = 'list the wanted tags, such as tags: ["1.27"] or tags: {all: true}'
        add_problem(source.pointer, "'tags' is missing", remedy)
    elif tag is None and reference.pick is not None:
        remedy = "add tag: NAME for the only image, or tags: {all: true} for all images with names"
        add_problem(source.pointer, "the image gets no tag at the destination", remedy)
    try:
        selection = Selection.of(reference, Tag(tag) if tag is not None else None)
    except GrammarError as error:
        add_problem(join(source.entry, "tag"), error.message, error.remedy)
        selection = Selection()
    return MirrorSource(source.pointer, reference.location, selection)


def listed_sources(text: bytes, file: str, at: str) -> Iterator[MirrorSource | Problem]:
    """Yield the images of a list, each once, and a problem for each line that is not an image.

    file: the absolute path of the list, from whose directory relative paths start. at: the pointer of `images_file`.
    """
    seen: set[tuple[Reference, str]] = set()
    for one in list_lines(text, posixpath.dirname(file)):
        if isinstance(one, Problem):
            yield replace(one, file=file)
        elif one.reference.tag is None and one.reference.digest is None:
            shown = printable(str(one.reference))
            remedy = f"write {shown}:latest if you mean that" if not one.reference.names_one else "give it a tag"
            yield Problem(f"{shown} has no tag", line=one.line, column=one.column, remedy=remedy, file=file)
        elif (one.reference, one.target) not in seen:
            seen.add((one.reference, one.target))
            selection = Selection.of(one.reference, one.reference.tag)
            yield MirrorSource(join(at, one.line), one.reference.location, selection, None, one.target, one.line)
