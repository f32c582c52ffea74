"""`referrers: true | {types: [...], require: [...]}`: referrers are mirrored, and an image may have to have some."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

from mirrorsync.errors import GrammarError
from mirrorsync.oci.names import is_attachment_tag
from mirrorsync.oci.referrer_types import KINDS, ReferrerType
from mirrorsync.plan.policies.base import Decision, Facts
from mirrorsync.text import printable

_REMEDY: Final = "have it published with the image, or take it out of require: under referrers:"


@dataclass(frozen=True, slots=True)
class Referrers:
    """Which referrers are mirrored with an image, and which an image must have to be mirrored.

    types: shell patterns on artifact types, and kinds (`signature`, `sbom`, `attestation`); () for all. require: the
    same, each of which a referrer of the image at its source, or of one of its images, has to match. An image that the
    destination has already is looked at with `--deep`.
    """

    types: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    decides_without_source: ClassVar[bool] = False
    only_changes: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: Literal[True] | Mapping[str, Any]) -> Self:
        """Read the key's value. Raises: GrammarError for a word that is neither a kind nor can match a type."""
        members = value if isinstance(value, Mapping) else {}
        return cls(*(tuple(map(_read, members.get(key, ()))) for key in ("types", "require")))

    def wants(self, found: ReferrerType) -> bool:
        """Return whether a referrer of this type is mirrored."""
        return not self.types or any(_matches(one, found) for one in self.types)

    def decide(self, facts: Facts) -> Decision | None:
        """Refuse an image that lacks a required referrer, or whose referrers are not known."""
        if not self.require or facts.found is None or (facts.tag is not None and is_attachment_tag(facts.tag)):
            return None
        if facts.referrers is None:
            present = facts.before is not None and facts.before.digest == facts.found.digest
            return None if present else Decision("refuse", "referrers: they could not be listed", _REMEDY)
        lacking = [one for one in self.require if not any(_matches(one, found) for found in facts.referrers)]
        if not lacking:
            return None
        has = f"has {_counted(facts.referrers)}" if facts.referrers else "has no referrers"
        return Decision("refuse", f"referrers: it lacks {' and '.join(map(printable, lacking))}; it {has}", _REMEDY)


def _read(text: str) -> str:
    """Return a kind, or a pattern on artifact types, all of which have a slash."""
    if text in KINDS or any(character in text for character in "/*?["):
        return text
    close = difflib.get_close_matches(text.lower(), KINDS, n=1)
    known = f"did you mean {close[0]}?" if close else f"use {', '.join(KINDS)}, or a pattern on artifact types"
    raise GrammarError(f"{printable(text)!r} is not a kind of referrer", remedy=known)


def _matches(wanted: str, found: ReferrerType) -> bool:
    return found.kind == wanted or fnmatch.fnmatchcase(found.artifact_type, wanted)


def _counted(found: Sequence[ReferrerType]) -> str:
    names = dict.fromkeys(one.kind if one.kind != "other" else one.artifact_type or "other" for one in found)
    return printable(", ".join(names), 200)
