"""Read the text of a lock, or report all its mistakes, each with its line. Pure.

People edit and merge locks, so nothing in one is believed: names and digests are checked, and a name may be there once,
however it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location, Reference, parse_image
from mirrorsync.problems import Problem
from mirrorsync.spec.load import invalid
from mirrorsync.spec.lock import IMAGES, KEY, VERSION, Lock, Name
from mirrorsync.spec.yaml_source import Source, YamlProblem, join, read
from mirrorsync.text import printable

MAX_BYTES: Final = 16 * 1024 * 1024  # 100,000 images
_CONFLICT: Final = re.compile(rb"^(<{7}|={7}|>{7})( |\r?$)", re.MULTILINE)
_NOT_A_LOCK: Final = "write one with `mirrorsync lock`, or `mirrorsync snapshot`"


def read_lock(text: bytes, *, source: str, base: str) -> Lock:
    """Read a lock, or a snapshot.

    source: the file's name, for messages and plans. base: the absolute directory that relative paths start from.
    Raises: SpecError with all problems.
    """
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        line = text.count(b"\n", 0, conflict.start()) + 1
        remedy = "keep the lines that are right, and remove the markers; `mirrorsync lock --check` then compares it"
        raise invalid(source, [Problem("a merge conflict is not resolved", line=line, remedy=remedy)], text)
    try:
        document = read(text, MAX_BYTES)
    except YamlProblem as error:
        raise invalid(source, [error.problem], text) from error
    problems = document.problems or list(_shape(document))
    images: dict[Name, Digest] = {}
    if not problems:
        first: dict[Name, str] = {}
        for key, value in document.value[IMAGES].items():
            try:
                name, digest = _image(key, value, base)
                if name in first:
                    raise GrammarError(f"the same image as {printable(first[name])!r}", remedy="keep one of the lines")
                first[name], images[name] = key, digest
            except GrammarError as error:
                problems.append(document.problem(join(f"/{IMAGES}", key), error.message, error.remedy, at_key=True))
    if problems:
        raise invalid(source, problems, text)
    return Lock(images, source, Digest.of(text))


def _shape(document: Source) -> Iterator[Problem]:
    """Yield what is wrong with the parts of a lock."""
    value: Any = document.value
    if not isinstance(value, dict) or KEY not in value:
        yield document.problem("", "this is not a lock of mirrorsync", _NOT_A_LOCK)
        return
    if type(value[KEY]) is not int or value[KEY] != VERSION:
        remedy = f"this mirrorsync reads version {VERSION}; a later one may have written it"
        yield document.problem(f"/{KEY}", "another version of locks", remedy)
    for key in value.keys() - {KEY, IMAGES}:
        yield document.problem(join("", key), f"unknown key {printable(key, 80)!r}", "remove it", at_key=True)
    if not isinstance(value.get(IMAGES), dict):
        remedy = f"write NAME:TAG: DIGEST below `{IMAGES}:`, or `{IMAGES}: {{}}` if there are none"
        yield document.problem(f"/{IMAGES}", f"`{IMAGES}` is not a mapping", remedy)


def _image(key: str, value: Any, base: str) -> tuple[Name, Digest]:
    """Read a line. Raises: GrammarError."""
    reference = parse_image(key, base)
    if not reference.names_one or (reference.tag is not None and reference.digest is not None):
        raise GrammarError(f"{printable(key)!r} is not one image", remedy="write NAME:TAG: DIGEST")
    name = _name(reference)
    if not isinstance(value, str):
        raise GrammarError(f"the value of {printable(key)!r} is not a digest", remedy="write sha256: and 64 hex digits")
    digest = Digest(value)
    if isinstance(name[1], Digest) and name[1] != digest:
        raise GrammarError(f"{printable(key)!r} names another digest than its value", remedy="make them equal")
    return name, digest


def _name(reference: Reference) -> tuple[Location, Ref]:
    return reference.location, reference.asked
