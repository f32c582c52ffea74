"""Refs: which image of a repository is meant, by a tag, a digest, or a pick if it has no name."""

from __future__ import annotations

import re
from typing import Final, Self

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.text import printable

# Distribution spec 1.1, "Pulling manifests": <reference> as a tag.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PICK = re.compile(r"(?:@(?:(?P<position>[0-9]{1,5})|sha256:(?P<id>[0-9a-f]{12,64})))?")
_BY_ID: Final = "@sha256:"


class Tag(str):
    """A tag by the distribution spec's grammar; always valid, so that it is safe in a URL.

    It is a `str`, as `Digest` is: it prints, sorts and compares as one.

    Raises: GrammarError if the text is not a tag.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Return `text` as a tag, or raise GrammarError."""
        if type(text) is cls:
            return text
        if _TAG.fullmatch(text) is None:
            raise GrammarError(
                f"{printable(text, 140)!r} is not a tag",
                remedy="a tag has up to 128 letters, digits, '_', '.', '-', and does not begin with '.' or '-'",
            )
        return super().__new__(cls, text)


class Pick(str):
    """How an image without a name is picked: "" is the only one of its store, and `@N` number N of a docker archive.

    `@sha256:ID` is an image by its ID in a daemon: the digest of its config, of which twelve digits are enough.

    Raises: GrammarError if the text is not a pick.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Return `text` as a pick, or raise GrammarError."""
        if type(text) is cls:
            return text
        if _PICK.fullmatch(text) is None:
            raise GrammarError(f"{printable(text, 140)!r} does not pick an image", remedy="write @NUMBER or @sha256:ID")
        return super().__new__(cls, text)

    @classmethod
    def at(cls, position: int) -> Self:
        """Return the pick of image number `position` of a docker archive, counted from 0."""
        return cls(f"@{position}")

    @classmethod
    def by_id(cls, digits: str) -> Self:
        """Return the pick of a daemon's image by its ID, or at least twelve digits of it."""
        return cls(f"{_BY_ID}{digits}")

    @property
    def position(self) -> int | None:
        """The image's number in its archive, None if it is not picked by number."""
        found = _PICK.fullmatch(self)
        return int(found["position"]) if found and found["position"] else None

    @property
    def id_digits(self) -> str | None:
        """The hex digits of the image's ID, or the first of them; None if it is not picked by its ID."""
        found = _PICK.fullmatch(self)
        return found["id"] if found else None


Ref = Tag | Digest | Pick

THE_ONLY_ONE: Final = Pick("")


def ref_type(text: str) -> type[Tag | Digest | Pick]:
    """Return which type `text` is written as: a pick begins with `@`, a digest has a colon. `text` may be invalid."""
    if not text or text.startswith("@"):
        return Pick
    return Digest if ":" in text else Tag


def parse_ref(text: str) -> Ref:
    """Read a tag, a digest or a pick, as `str` writes it. Raises: GrammarError."""
    return ref_type(text)(text)


def written(repository: str, ref: Ref | None) -> str:
    """Return the name of an image inside its store: `repository:tag`, `repository@digest`, a tag alone, or a pick.

    repository: "" for an image without a repository name. ref: None for the repository as a whole.
    """
    if isinstance(ref, Tag):
        return f"{repository}:{ref}" if repository else ref
    if isinstance(ref, Digest):
        return f"{repository}@{ref}"
    return f"{repository}{ref or ''}"
