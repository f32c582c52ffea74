"""Image lists: text with one image a line, as k3s, Rancher, Talos and `hauler store` publish and read them. Pure.

A line is a reference, or three words `SOURCE TARGET TAG`, as Rancher's image-mirror lists are written: the repository
that is read, the repository that is written, and a tag. Empty lines and comments (`#`, `//`) are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.patterns import parse_pattern
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Reference, parse_image
from mirrorsync.problems import Problem, SpecError
from mirrorsync.text import printable

_REMEDY: Final = "write one image a line, or SOURCE TARGET TAG"
# A comment begins a line or follows a space: `//` is also in URLs, and '#' is in no reference.
_COMMENT: Final = re.compile(r"(?:^|\s)(?:#|//).*")
# Any three words would be a valid source, target and tag.
_LIKE_IMAGE: Final = re.compile(r"/|\s\S*\d\S*$")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A line of an image list. line: its number, from 1. reference: the image to read, as written: the tag may be
    missing. target: the repository to write, from a line of three words, else "". column: where it begins, from 1.
    """

    line: int
    reference: Reference
    target: str = ""
    column: int = 1


def read_image_list(text: bytes, *, source: str, base: str = "") -> tuple[ListedImage, ...]:
    """Read an image list. source: the file's name, for messages. base: as for `list_lines`.

    Raises: SpecError with every line that is not an image.
    """
    lines = list(list_lines(text, base))
    problems = [line for line in lines if isinstance(line, Problem)]
    if problems:
        raise SpecError(source, problems)
    return tuple(line for line in lines if isinstance(line, ListedImage))


def list_lines(text: bytes, base: str = "", *, patterns: bool = False) -> Iterator[ListedImage | Problem]:
    """Yield each image of a list, and a problem for each line that is not one.

    base: the directory that relative paths start from (`oci:DIRECTORY:NAME`). patterns: a line may also be a namespace
    (`quay.io/prometheus/*`), which is the repository of its reference then.
    """
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line_of_error = text.count(b"\n", 0, error.start) + 1
        yield Problem("this is not a list of images: it is not UTF-8 text", line=line_of_error, remedy=_REMEDY)
        return
    for number, line in enumerate(lines, 1):
        words = _COMMENT.sub("", line).split()
        if words:
            column = line.find(words[0]) + 1
            try:
                pattern = parse_pattern(words[0], base) if patterns and len(words) == 1 else None
                if pattern is not None:
                    yield ListedImage(number, Reference(pattern), column=column)
                else:
                    yield replace(_image(number, words, base), column=column)
            except GrammarError as error:
                yield Problem(error.message, line=number, column=column, remedy=error.remedy)


def _image(number: int, words: list[str], base: str) -> ListedImage:
    """Read the words of a line. Raises: GrammarError."""
    if len(words) == 1:
        return ListedImage(number, parse_image(words[0], base))
    if len(words) != 3 or not _LIKE_IMAGE.search(" ".join(words)):
        shown = printable(" ".join(words), 80)
        raise GrammarError(f"{shown!r} is not an image", remedy=_REMEDY)
    reference = parse_image(words[0], base)
    if reference.names_one:
        raise GrammarError(
            f"{printable(words[0])!r} has a tag or digest, and {printable(words[2])!r} is another",
            remedy="write SOURCE TARGET TAG, with the tag only at the end",
        )
    return ListedImage(number, Reference(reference.location, Tag(words[2])), words[1])
