"""What may be wrong with the files of a bundle, and which images wait because of it. Values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from mirrorsync.bundle.model import Bundle, Delta, Image, Object, Pieces, members_of
from mirrorsync.errors import ExitCode
from mirrorsync.oci.digest import Digest


class Damage(StrEnum):
    """What is wrong with a file or a member."""

    MISSING = "missing"  # the part is not here
    DAMAGED = "damaged"  # bytes differ from those that the document names
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"  # the medium or the file system reports an error, or the file is not there any more
    MIXED = "mixed"  # the file has the name of a part, and is of another bundle
    RENAMED = "renamed"  # the part is whole, under another name
    DUPLICATE = "duplicate"  # a second copy of a part


# What does not keep anything from being imported.
HARMLESS: Final = frozenset({Damage.RENAMED, Damage.DUPLICATE})
# Bytes were read and are wrong: another copy of them is needed.
_DAMAGED: Final = frozenset({Damage.DAMAGED, Damage.TRUNCATED, Damage.MIXED})
# Bytes were not read: they may be right when the part, or its medium, is here again.
_NOT_READ: Final = frozenset({Damage.MISSING, Damage.UNREADABLE})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one file. file: its name. part: its number, 0 if it is not a part. member: in it, or "".

    images: the names of the images that cannot be imported because of it.
    """

    damage: Damage
    file: str
    message: str
    part: int = 0
    member: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Present:
    """The parts of a bundle that are here, and the members of them that are known to be bad, by part.

    unread: those of the bad members that could not be read.
    """

    parts: frozenset[int]
    bad: Mapping[int, frozenset[str]] = field(default_factory=dict)
    unread: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def has(self, one: Object) -> bool:
        """Return whether an object can be read from the parts that are here alone: of a delta, only with its base."""
        if isinstance(one.form, Delta):
            return False
        return self.carries(one)

    def carries(self, one: Object) -> bool:
        """Return whether the parts that are here have an object whole, or its delta."""
        found = [self.has_member(part, member.name) for part, member in members_of(one).items()]
        return all(found) if isinstance(one.form, Pieces | Delta) else any(found)

    def has_member(self, part: int, name: str) -> bool:
        """Return whether a member can be read."""
        return part in self.parts and name not in self.bad.get(part, frozenset())

    def lacking(self, bundle: Bundle) -> set[Digest]:
        """Return the objects of which nothing here is a good copy."""
        return {one.digest for one in bundle.objects if not self.carries(one)}


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of reading a bundle. files, size: the number and the bytes of the parts that were read."""

    bundle: Bundle
    present: Present
    findings: tuple[Finding, ...] = ()
    files: int = 0
    size: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 4 if bytes are damaged, 3 if some are missing or cannot be read, 0 if all is here."""
        if self.damaged:
            return ExitCode.INTEGRITY
        return ExitCode.PARTLY if self.missing else ExitCode.DONE

    @property
    def held_up(self) -> tuple[str, ...]:
        """The names of the images that wait for what is damaged or missing, each once."""
        return tuple(sorted({name for one in self.findings for name in one.images}))

    @property
    def damaged(self) -> bool:
        """Whether bytes are not as they were written."""
        return any(one.damage in _DAMAGED for one in self.findings)

    @property
    def missing(self) -> bool:
        """Whether parts are not here, or cannot be read."""
        return any(one.damage in _NOT_READ for one in self.findings)


def with_images(bundle: Bundle, present: Present, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, each with the images that wait for what it is about."""
    lacking = present.lacking(bundle)
    holders = _Holders(bundle)
    by_member: defaultdict[tuple[int, str], list[Digest]] = defaultdict(list)
    by_part: defaultdict[int, list[Digest]] = defaultdict(list)
    for one in bundle.objects:
        if one.digest in lacking:
            for part, member in members_of(one).items():
                if not present.has_member(part, member.name):
                    by_member[part, member.name].append(one.digest)
                    by_part[part].append(one.digest)

    def of(one: Finding) -> Iterator[Digest]:
        if one.damage in HARMLESS or not one.part:
            return iter(())
        if one.damage in (Damage.DAMAGED, Damage.UNREADABLE) and one.member:
            return iter(by_member.get((one.part, one.member), ()))
        return iter(by_part.get(one.part, ()))

    return tuple(replace(one, images=holders.of(of(one))) for one in findings)


@dataclass(frozen=True, slots=True)
class Repaired:
    """What parity files did for the files of a bundle. stem: of the names of all of them.

    repaired: the names of the files that were written anew; lost: of those that are damaged or missing, and that could
    not be computed; missing: of all of these that were not here at all. worst, rows, columns: so many slices are
    damaged of the worst stripe, and so many can be, of how many.
    """

    stem: str
    repaired: tuple[str, ...]
    lost: tuple[str, ...]
    missing: frozenset[str]
    worst: int
    rows: int
    columns: int

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 0 if all is whole now, 3 if files are missing, 4 if bytes are damaged."""
        if self.missing.issuperset(self.lost):
            return ExitCode.PARTLY if self.lost else ExitCode.DONE
        return ExitCode.INTEGRITY


class _Holders:
    """The images that need an object, directly or through an index."""

    def __init__(self, bundle: Bundle) -> None:
        self._parents: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for one in bundle.objects:
            for need in one.needs:
                self._parents[need].append(one.digest)
            if isinstance(one.form, Delta):
                self._parents[one.form.base].append(one.digest)
        self._images: defaultdict[Digest, list[str]] = defaultdict(list)
        for image in bundle.images:
            self._images[image.content.digest].append(image.name)

    def of(self, digests: Iterable[Digest]) -> tuple[str, ...]:
        """Return the names of the images that need one of these, sorted."""
        pending, seen, found = list(digests), set[Digest](), set[str]()
        while pending:
            digest = pending.pop()
            if digest not in seen:
                seen.add(digest)
                found.update(self._images.get(digest, ()))
                pending += self._parents.get(digest, ())
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is in a bundle, by its document alone.

    digest: of the document. here: the numbers of the parts that are here. signatures: how many; they are not verified.
    parity: whether there are parity files. others: the names and numbers of other bundles in its directory, sorted.
    """

    bundle: Bundle
    digest: Digest
    here: frozenset[int]
    signatures: int
    parity: bool = False
    others: tuple[str, ...] = ()

    @property
    def carried(self) -> tuple[Image, ...]:
        """The images whose root the bundle has: those that were new or moved at the destination."""
        return tuple(image for image in self.bundle.images if image.content.digest in self.bundle.by_digest)

    @property
    def bytes_carried(self) -> int:
        """The bytes of all content in the parts: a delta and not the blob that it rebuilds."""
        return sum(member.size for part in self.bundle.parts for member in part.members)
