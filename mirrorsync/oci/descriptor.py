"""Descriptors: references from one piece of content to another, by media type, digest and size."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Self

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.text import printable

REF_NAME = "org.opencontainers.image.ref.name"

_MAX_SIZE = 2**63 - 1  # int64 in the image spec; also what keeps a lie from becoming an allocation
_MAX_MEDIA_TYPE = 255
_MEMBERS = frozenset({"mediaType", "digest", "size", "platform", "annotations", "artifactType", "urls", "data"})
# Most descriptors have no annotations, and there may be tens of thousands of them.
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Media type, digest and size in bytes of some content (OCI image spec, descriptor.md).

    Two descriptors are equal if those three are; the other fields are what the document that contains it says.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = field(default=None, compare=False)
    annotations: Mapping[str, str] = field(default_factory=lambda: _NONE, compare=False, repr=False)
    artifact_type: str = field(default="", compare=False)
    urls: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """Return the descriptor of `data`."""
        return cls(media_type, Digest.of(data), len(data))

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a descriptor object of a document from outside. Raises: GrammarError if it is malformed."""
        if not isinstance(value, Mapping):
            raise GrammarError("a descriptor is not an object")
        check_spelling(value, _MEMBERS)
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if not isinstance(media_type, str) or not 0 < len(media_type) <= _MAX_MEDIA_TYPE:
            raise GrammarError("a descriptor has no media type")
        if not isinstance(digest, str):
            raise GrammarError("a descriptor has no digest")
        if type(size) is not int or not 0 <= size <= _MAX_SIZE:
            shown = f": {size}" if isinstance(size, int | float) else ""
            raise GrammarError(f"a descriptor has no valid size{printable(shown, 40)}")
        return cls(
            sys.intern(media_type),  # one of few, in tens of thousands of descriptors
            Digest(digest),
            size,
            platform=Platform.from_json(value["platform"]) if value.get("platform") is not None else None,
            annotations=_strings(value.get("annotations")),
            artifact_type=_string(value.get("artifactType"), "artifactType"),
            urls=_urls(value.get("urls")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor object, with only the members that are set."""
        members: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            members["artifactType"] = self.artifact_type
        if self.platform:
            members["platform"] = self.platform.to_json()
        if self.urls:
            members["urls"] = list(self.urls)
        if self.annotations:
            members["annotations"] = dict(self.annotations)
        return members

    @property
    def is_manifest(self) -> bool:
        """Whether the content is a manifest or index (by its media type)."""
        return media_types.is_manifest(self.media_type)

    def bare(self) -> Descriptor:
        """Return the same descriptor with only media type, digest and size."""
        return Descriptor(self.media_type, self.digest, self.size)

    def with_urls(self) -> Descriptor:
        """Return the same descriptor with only media type, digest, size, and the URLs that it can be read from."""
        return replace(self.bare(), urls=self.urls)

    def annotated(self, annotations: Mapping[str, str]) -> Descriptor:
        """Return the same descriptor with these annotations instead of its own."""
        return replace(self, annotations=annotations)


def check_spelling(document: Mapping[str, Any], members: frozenset[str]) -> None:
    """Reject a member whose name is one of `members` in another case. Raises: GrammarError.

    Go's decoder, which most registries and clients use, reads `Layers` as `layers`; others do not. Every client must
    read the same from one document.
    """
    for key in document:
        if key not in members and key.casefold() in {member.casefold() for member in members}:
            raise GrammarError(f"member {printable(key, 40)!r} is in the wrong case")


def _string(value: object, key: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise GrammarError(f"{key} of a descriptor is not a string")
    return value


def _strings(value: object) -> Mapping[str, str]:
    if value is None:
        return _NONE
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    ):
        raise GrammarError("annotations of a descriptor are not an object of strings")
    return dict(value)


def _urls(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise GrammarError("urls of a descriptor is not a list of strings")
    return tuple(value)
