"""Manifests and indexes: verified when they are parsed, and kept byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from mirrorsync.errors import GrammarError, Malformed, Mismatch
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor, check_spelling
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.json_weight import MAX_WEIGHT, json_weight
from mirrorsync.text import printable

# The distribution spec asks registries to take manifests of at least 4 MiB; distribution, skopeo and oras stop there.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024

# The members that belong to another kind of manifest. One document that reads as an index for one client and as an
# image for the next is an attack (CVE-2021-41190), so it is rejected.
_FOREIGN_MEMBERS = {
    media_types.OCI_INDEX: ("layers", "config", "fsLayers", "history", "blobs"),
    media_types.DOCKER_LIST: ("layers", "config", "fsLayers", "history", "blobs"),
    media_types.OCI_MANIFEST: ("manifests", "fsLayers", "history"),
    media_types.DOCKER_MANIFEST: ("manifests", "fsLayers", "history"),
    media_types.OCI_ARTIFACT: ("manifests", "layers", "fsLayers", "history"),
}
# The members of all kinds together; each is rejected in another case (`check_spelling`).
_MEMBERS = frozenset(
    {"mediaType", "schemaVersion", "artifactType", "config", "layers", "manifests", "blobs", "subject", "annotations"}
    | {"fsLayers", "history"}
)


@dataclass(frozen=True, slots=True)
class Outline:
    """The descriptors in a manifest: enough to walk an image. Fields as in `Manifest`."""

    descriptor: Descriptor
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return self.descriptor.digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest, index, Docker schema 2 manifest or list, or artifact manifest, with its exact bytes.

    descriptor: media type, digest and size of `raw`. children: the manifests that an index lists. blobs: config and
    layers, each once, in order (and entries of an index that are not manifests: buildkit writes its caches so).
    foreign: layers that may not be distributed and are fetched from their URLs. subject: the manifest that it is
    about, or None.
    """

    descriptor: Descriptor
    raw: bytes = field(repr=False)
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, raw: bytes, media_type: str = "", *, digest: Digest | None = None, size: int | None = None) -> Self:
        """Verify `raw` and read its descriptors.

        media_type: from the Content-Type or descriptor ("" if neither gives one; then the document must).
        digest: what the bytes must hash to, None if only a tag was requested. size: bytes expected, None if unknown.
        Raises: Mismatch if digest or size disagree; Malformed if `raw` is not one unambiguous manifest of at most 4 MiB
        and of that media type.
        """
        _check_content(raw, digest, size)
        document = _load(raw)
        try:
            check_spelling(document, _MEMBERS)
        except GrammarError as error:
            raise Malformed(f"manifest is ambiguous: {error.message}") from error
        kind = _kind(document, media_type.partition(";")[0].strip())
        try:
            return cls._read(raw, kind, document, digest)
        except GrammarError as error:
            raise Malformed(f"manifest is malformed: {error.message}") from error

    @classmethod
    def _read(cls, raw: bytes, kind: str, document: dict[str, Any], digest: Digest | None) -> Self:
        children: list[Descriptor] = []
        blobs: list[Descriptor] = []
        foreign: list[Descriptor] = []
        for descriptor in _descriptors(document, "manifests"):
            (children if descriptor.is_manifest else blobs).append(descriptor)
        if kind in media_types.INDEXES and "manifests" not in document:
            raise GrammarError("an index has no manifests")
        if kind in media_types.IMAGES:
            if "config" not in document:
                raise GrammarError("an image has no config")
            blobs.append(Descriptor.from_json(document["config"]))
        for descriptor in (*_descriptors(document, "layers"), *_descriptors(document, "blobs")):
            (foreign if media_types.is_foreign_layer(descriptor.media_type) else blobs).append(descriptor)
        subject = document.get("subject")
        artifact_type = document.get("artifactType")
        if not artifact_type and kind in media_types.IMAGES:
            # Image spec 1.1: the referrers API shows the config's media type if artifactType is not set.
            artifact_type = blobs[0].media_type
        annotations = document.get("annotations")
        return cls(
            Descriptor(kind, digest or Digest.of(raw), len(raw)),
            raw,
            children=_distinct(children),
            blobs=_distinct(blobs),
            foreign=_distinct(foreign),
            subject=Descriptor.from_json(subject) if subject is not None else None,
            artifact_type=artifact_type if isinstance(artifact_type, str) else "",
            # Values that are not strings would break the list of referrers for clients that follow the spec.
            annotations={key: text for key, text in annotations.items() if isinstance(text, str)}
            if isinstance(annotations, dict)
            else {},
        )

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return self.descriptor.digest

    @property
    def outline(self) -> Outline:
        """Only its descriptors: its bytes and annotations may be thousands of times as large."""
        children = tuple(child.bare() for child in self.children)
        foreign = tuple(layer.with_urls() for layer in self.foreign)
        return Outline(self.descriptor, children, tuple(blob.bare() for blob in self.blobs), foreign)

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """The entries of an index, in order, with repeats: one image can be listed for two platforms."""
        return self._listed("manifests")

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers of an image, or the blobs of an artifact, in order, with repeats."""
        return self._listed("blobs" if self.media_type == media_types.OCI_ARTIFACT else "layers")

    def _listed(self, member: str) -> tuple[Descriptor, ...]:
        return tuple(_descriptors(json.loads(self.raw), member))

    def as_referrer(self) -> Descriptor:
        """Return its descriptor in a list of referrers (distribution spec 1.1, "Listing Referrers")."""
        return replace(self.descriptor, artifact_type=self.artifact_type, annotations=self.annotations)

    @property
    def media_type(self) -> str:
        """The media type, which is also the Content-Type it is pushed with."""
        return self.descriptor.media_type


def refuse_schema_1(media_type: str, *, version: object = None) -> None:
    """Raise Malformed if a media type, or a document's schemaVersion, is that of Docker's schema 1."""
    if media_type in media_types.SCHEMA_1 or version == 1:
        raise Malformed(
            "image is in Docker's schema 1 format, which no current registry accepts",
            remedy="ask its publisher to push it again with a current tool",
        )


def _check_content(raw: bytes, digest: Digest | None, size: int | None) -> None:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise Malformed(f"manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    if size is not None and size != len(raw):
        raise Mismatch(f"manifest is {len(raw)} bytes; its descriptor says {size}", size=len(raw))
    if digest is not None and not digest.matches(raw):
        found = Digest.of(raw, digest.algorithm)
        raise Mismatch(
            f"manifest does not match its digest: expected {digest}, got {found}", size=len(raw), digest=found
        )


def _load(raw: bytes) -> dict[str, Any]:
    if json_weight(raw) > MAX_WEIGHT:
        raise Malformed("manifest has too many members: it would take too much memory")
    try:
        # Decoded here, as UTF-8: the json module would guess UTF-16 and others, which no other client reads.
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else printable(str(error), 200)
        raise Malformed(f"manifest is not JSON: {reason}") from error
    if not isinstance(document, dict):
        raise Malformed("manifest is not a JSON object")
    return document


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same key twice")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _kind(document: dict[str, Any], said: str) -> str:
    """Return the media type, after comparing the Content-Type or descriptor (`said`) with the document's own."""
    inner = document.get("mediaType")
    if inner is not None and not isinstance(inner, str):
        raise Malformed("manifest has a mediaType that is not a string")
    for name in (said, inner):
        refuse_schema_1(name or "", version=document.get("schemaVersion"))
    if inner and media_types.is_manifest(said) and inner != said:
        raise Malformed(f"manifest has mediaType {printable(inner, 80)!r}, but was sent as {said!r}")
    kind = inner or said
    if not media_types.is_manifest(kind):
        raise Malformed(f"{printable(kind, 80)!r} is not a known manifest type")
    ambiguous = [member for member in _FOREIGN_MEMBERS[kind] if document.get(member) is not None]
    if ambiguous:
        raise Malformed(f"manifest is ambiguous: {kind} with {', '.join(ambiguous)}")
    return kind


def _descriptors(document: dict[str, Any], member: str) -> list[Descriptor]:
    value = document.get(member)
    if value is None:
        return []
    if not isinstance(value, list):
        raise GrammarError(f"{member} is not a list")
    return [Descriptor.from_json(item) for item in value]


def _distinct(descriptors: list[Descriptor]) -> tuple[Descriptor, ...]:
    first: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        known = first.setdefault(descriptor.digest, descriptor)
        if known.size != descriptor.size:
            raise GrammarError(f"{descriptor.digest} is listed with two sizes")
    return tuple(first.values())
