"""Digests: content is named by them and verified against them."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Self

from mirrorsync.errors import GrammarError
from mirrorsync.text import printable

if TYPE_CHECKING:
    from hashlib import _Hash

# Algorithms that the OCI image spec registers ("descriptor.md", registered algorithms) with the length of their
# lower-case hex. Other algorithms are rejected by name: content that cannot be verified is not mirrored.
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
ALGORITHMS = tuple(_HEX_LENGTH)
_SHAPE = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_HEX = re.compile(r"[0-9a-f]+")
# Nearly all digests match this, so it is tried first: a run reads thousands of them.
_PLAIN = re.compile(r"sha256:[0-9a-f]{64}")
_HASHERS = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


class Digest(str):
    """A digest as the OCI image spec writes it, `sha256:` or `sha512:` and lower-case hex; always valid.

    It is a `str`, so it prints, sorts and compares as one. An invalid one cannot be made, so that it is safe in a URL
    or a file name (CVE-2024-3727 shows what happens otherwise).

    Raises: GrammarError if the text is not a digest of a known algorithm.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Return `text` as a digest, or raise GrammarError."""
        if type(text) is cls:
            return text
        if _PLAIN.fullmatch(text):
            return super().__new__(cls, text)
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise GrammarError(f"{printable(text, 150)!r} is not a digest", remedy="write it as sha256:<64 hex digits>")
        algorithm, encoded = shape.groups()
        if algorithm not in _HEX_LENGTH:
            raise GrammarError(f"digest algorithm {printable(algorithm, 40)!r} is not supported", remedy="use sha256")
        if len(encoded) != _HEX_LENGTH[algorithm] or _HEX.fullmatch(encoded) is None:
            raise GrammarError(
                f"{printable(text, 150)!r} is not a digest",
                remedy=f"{algorithm}: is followed by {_HEX_LENGTH[algorithm]} hex digits, lower-case",
            )
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of `data` under `algorithm` (sha256 or sha512)."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """The hex digits."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """Twelve hex digits, for people."""
        return self.encoded[:12]

    def hasher(self) -> _Hash:
        """Return a fresh hashlib object of this digest's algorithm."""
        return _HASHERS[self.algorithm]()

    def matches(self, data: bytes) -> bool:
        """Return whether `data` hashes to this digest."""
        return _HASHERS[self.algorithm](data).hexdigest() == self.encoded
