"""What an import of a bundle does and did, as values: its plan, the images that wait, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mirrorsync.bundle.answer import answer_code, listed
from mirrorsync.bundle.findings import Checked, Damage, Finding
from mirrorsync.bundle.model import Bundle
from mirrorsync.errors import ExitCode, IntegrityError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.plan.model import NOTHING, Amount, Image, Plan
from mirrorsync.sync.run.report import Report


class Lack(NamedTuple):
    """Content that an image waits for, and where it should be, as words. part: its number, 0 if none has it."""

    content: Descriptor
    why: str
    part: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image that does not become visible, and what it lacks."""

    image: Image
    lacks: tuple[Lack, ...]

    @property
    def reason(self) -> str:
        """Why it waits, in words: what it lacks first, and how much more there is."""
        first = self.lacks[0]
        more = f", and {len(self.lacks) - 1} more" if len(self.lacks) > 1 else ""
        return f"{first.content.digest.short}: {first.why}{more}"

    def explained(self, known: Mapping[Digest, Lack]) -> Waiting:
        """Return the same with the reasons that were known earlier, by the digest of what is lacking."""
        return replace(self, lacks=tuple(known.get(lack.content.digest, lack) for lack in self.lacks))


@dataclass(frozen=True, slots=True)
class Import:
    """The plan of an import. waiting: images that are not complete. early: blobs of these that are imported already."""

    plan: Plan
    waiting: tuple[Waiting, ...] = ()
    early: Amount = NOTHING


@dataclass(frozen=True, slots=True)
class Incomplete:
    """What of a bundle the destinations lack, whatever its parts would bring. document: the digest of its document."""

    bundle: Bundle
    document: Digest
    waiting: tuple[Waiting, ...]

    @property
    def lacking(self) -> frozenset[Digest]:
        """The content that is lacking, as far as the document names it; otherwise the images that need it."""
        names = frozenset(listed(self.bundle))
        found: set[Digest] = set()
        for one in self.waiting:
            lacks = {lack.content.digest for lack in one.lacks}
            found |= lacks & names
            if lacks - names:
                found.add(one.image.root.digest)
        return frozenset(found)

    @property
    def code(self) -> str:
        """The answer code, "" if nothing is lacking. Raises: UsageError if it is too long to copy."""
        return answer_code(self.bundle, self.document, self.lacking) if self.waiting else ""

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 3 if something is lacking."""
        return ExitCode.PARTLY if self.waiting else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of applying a bundle. checked: what is wrong with its files, None if they were not read before.

    waiting: images that do not become visible yet. early: their content that was imported. answer: the code that tells
    the sender what is lacking after the import, "" if images do not wait, or it is too long.
    """

    bundle: Bundle
    report: Report
    waiting: tuple[Waiting, ...] = ()
    early: Amount = NOTHING
    checked: Checked | None = None
    answer: str = ""

    @property
    def damage(self) -> tuple[Finding, ...]:
        """What is wrong with the files of the bundle; a part that is only missing is what images wait for."""
        found = () if self.checked is None else self.checked.findings
        return tuple(one for one in found if one.damage != Damage.MISSING)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 4 if parts are damaged, 3 if images wait or bytes cannot be read, else that of the run."""
        code = self.report.exit_code
        if any(isinstance(one.error, IntegrityError) for one in self.report.failures):
            return ExitCode.INTEGRITY
        if code not in (ExitCode.DONE, ExitCode.PARTLY):
            return code
        if self.checked is not None and self.checked.damaged:
            return ExitCode.INTEGRITY
        unread = any(one.damage == Damage.UNREADABLE for one in self.damage)
        return ExitCode.PARTLY if self.waiting or unread else code
