"""Inspect one image: its manifest, config, layers, attachments and tags, without reading any layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    GrammarError,
    Malformed,
    MirrorsyncError,
    NotFound,
    RegistryFailure,
    RepositoryNotFound,
    Unauthorized,
    UsageError,
)
from mirrorsync.oci import media_types
from mirrorsync.oci.config import MAX_CONFIG_BYTES, ImageConfig
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, refuse_schema_1
from mirrorsync.oci.narrowing import ATTESTATION_KIND, ATTESTED, chosen
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import LATEST, Location, Reference
from mirrorsync.oci.referrer_types import kind_of
from mirrorsync.sync.gather.attached import Attachment, attached
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.roots import narrow
from mirrorsync.sync.session import Session
from mirrorsync.sync.suggest import absent

_DEPTH: Final = 8  # indexes in indexes; real ones have two at most
# If tags or referrers cannot be listed, this is a notice, and the image is still shown (skopeo#726, #1230).
_ONLY_NOTICED: Final = (Denied, Unauthorized, NotFound, RegistryFailure)

MemberKind = Literal["image", "index", "attestation", "other"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an index. attests: the image that an attestation of buildkit is about, None for other entries."""

    content: Descriptor
    kind: MemberKind
    attests: Digest | None = None


@dataclass(frozen=True, slots=True)
class Inspected:
    """One image, or an artifact with an image manifest.

    config: None if it is not that of an image, or cannot be read. layers: in order, with repeats.
    """

    manifest: Manifest
    config: ImageConfig | None
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Bytes of its layers as they are stored, each counted once: the size of a pull."""
        return sum({layer.digest: layer.size for layer in self.layers}.values())


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of inspecting a reference.

    root: the manifest that it resolves to, None for a repository without `latest`. members: the entries of an index.
    image: the selected image, None if the root is an index of several. attached: attachments of the root and the image.
    tags: of the repository, None if they were not requested or could not be listed. notices: information that is
    missing, and why.
    """

    reference: Reference
    root: Manifest | None
    members: tuple[Member, ...] = ()
    image: Inspected | None = None
    attached: tuple[Attachment, ...] = ()
    tags: tuple[Tag, ...] | None = None
    notices: tuple[str, ...] = ()


async def examine(
    session: Session, reference: Reference, *, platform: Platform | None = None, tags: bool = True
) -> Examination:
    """Inspect an image, or a repository's `latest` and its tags if the reference has no tag or digest.

    platform: of the image of an index. tags: whether to list the repository's tags. Raises: NotFound if the image does
    not exist, or has no image for the platform; MirrorsyncError.
    """
    asked = reference.or_latest()
    notices: list[str] = []
    root = await _lookup(session, asked)
    if root is None and (reference.names_one or platform is not None or not tags):
        raise await absent(session, asked)
    if root is not None and asked.tag is not None and asked.digest is not None:
        await _note_moved(session, asked.location, asked.tag, asked.digest, notices)
    listed = await _tags(session, asked, notices) if tags else None
    if root is None:
        if not listed:
            raise await absent(session, asked)
        notices.append(f"no tag {LATEST}; showing only the tags")
        return Examination(reference, None, tags=listed, notices=tuple(notices))
    image = await _selected(session, asked, root, platform, notices)
    inspected = await _inspect(session, asked.location, image, notices) if image is not None else None
    subjects = dict.fromkeys((root.digest, *((image.digest,) if image is not None else ())))
    found = [one for subject in subjects for one in await _attached(session, asked, subject, listed, notices)]
    return Examination(asked, root, members_of(root), inspected, tuple(found), listed, tuple(notices))


async def find(session: Session, reference: Reference) -> Manifest:
    """Return the manifest that a reference resolves to; the default tag is `latest`. Raises: NotFound."""
    asked = reference.or_latest()
    root = await _lookup(session, asked)
    if root is None:
        raise await absent(session, asked)
    return root


async def select(session: Session, reference: Reference, root: Manifest, platform: Platform | None) -> Manifest | None:
    """Return the selected image: the root, or that of an index for `platform`, or the only one of an index.

    None if the root is an index of several and no platform is given. Raises: ContentNotFound if there is no image for
    the platform, UsageError if there are several.
    """
    try:
        return await _select(session, reference.location, root, platform)
    except (ContentNotFound, UsageError) as error:
        raise error.at(reference.location.at(reference.asked)) from error.__cause__


async def read_config(session: Session, source: Location, image: Manifest) -> bytes:
    """Return the bytes of an image's config, verified.

    Raises: UsageError if it has no config; IntegrityError, Malformed.
    """
    if image.media_type not in media_types.IMAGES:
        raise UsageError(f"a {image.media_type} has no config")
    config = image.blobs[0]
    if config.size > MAX_CONFIG_BYTES:
        raise Malformed(f"the image's config is larger than {MAX_CONFIG_BYTES} bytes")
    return await session.repository(source).read(config)


def members_of(index: Manifest) -> tuple[Member, ...]:
    """Return the entries of an index, in order, with repeats; () for other manifests."""
    return tuple(_member(entry) for entry in index.entries)


def is_image(manifest: Manifest) -> bool:
    """Return whether a manifest is that of a runnable image, by its config. Charts and other artifacts are not."""
    return manifest.media_type in media_types.IMAGES and manifest.blobs[0].media_type in media_types.IMAGE_CONFIGS


async def _lookup(session: Session, reference: Reference) -> Manifest | None:
    found = await named_at(session, reference.location, reference.asked)
    if found is None:
        return None
    refuse_schema_1(found.media_type)
    return await session.manifest(reference.location, found.bare())


async def _note_moved(session: Session, where: Location, tag: Tag, digest: Digest, notices: list[str]) -> None:
    """Notice if the tag of a reference with tag and digest differs: it means the digest, as in docker."""
    now = await session.repository(where).resolve(tag)
    if now is None:
        notices.append(f"the tag {tag} does not exist; showing the digest")
    elif now.digest != digest:
        notices.append(f"the tag {tag} names another image now: {now.digest}")


async def _tags(session: Session, reference: Reference, notices: list[str]) -> tuple[Tag, ...] | None:
    try:
        return tuple([tag async for tag in session.repository(reference.location).tags()])
    except RepositoryNotFound as error:
        if not reference.location.repository:
            return ()  # the image has no name, and so no tags
        notices.append(f"its tags cannot be listed: {error.message}")
    except _ONLY_NOTICED as error:
        notices.append(f"its tags cannot be listed: {error.message}")
    return None


async def _select(session: Session, source: Location, root: Manifest, platform: Platform | None) -> Manifest | None:
    if platform is not None and root.media_type not in media_types.INDEXES:
        await narrow(session, source, root.descriptor, [platform])  # only checks that it is for this platform
    for _ in range(_DEPTH):
        if root.media_type not in media_types.INDEXES:
            return root
        images = _candidates(root, platform)
        if len(images) != 1:
            return None
        root = await session.manifest(source, images[0])
    raise Malformed(f"indexes are nested more than {_DEPTH} deep")


async def _selected(
    session: Session, reference: Reference, root: Manifest, platform: Platform | None, notices: list[str]
) -> Manifest | None:
    try:
        return await select(session, reference, root, platform)
    except ContentNotFound as error:
        if platform is not None:
            raise
        notices.append(f"its only image cannot be shown: {error.message}")  # an index may be sparse
        return None


async def _inspect(session: Session, source: Location, image: Manifest, notices: list[str]) -> Inspected:
    layers = image.layers
    if not is_image(image):
        return Inspected(image, None, layers)
    raw = await read_config(session, source, image)
    try:
        return Inspected(image, ImageConfig.parse(raw), layers)
    except Malformed as error:  # the config matches its digest but is invalid; the rest is still shown
        notices.append(error.message)
        return Inspected(image, None, layers)


async def _attached(
    session: Session, reference: Reference, subject: Digest, tags: Sequence[Tag] | None, notices: list[str]
) -> tuple[Attachment, ...]:
    try:
        found = await attached(session.repository(reference.location), subject, None if tags is None else set(tags))
    except _ONLY_NOTICED as error:
        notices.append(f"the referrers of {subject.short} cannot be listed: {error.message}")
        return ()
    return tuple([await _typed(session, reference.location, one) for one in found])


async def _typed(session: Session, location: Location, found: Attachment) -> Attachment:
    """Return an attachment with the type that its manifest states, if its registry lists no known one.

    In registries without the referrers API, cosign 3 lists its bundles with the media type of an empty config.
    """
    if found.kind != "other":
        return found
    try:
        content = (await session.manifest(location, found.content)).as_referrer()
    except MirrorsyncError:
        return found  # it is still shown, as it is listed
    return replace(found, kind=kind_of(content), content=content)


def _candidates(index: Manifest, platform: Platform | None) -> Sequence[Descriptor]:
    """Return the images of an index for a platform, or all of them."""
    if platform is None:
        real = [member.content for member in members_of(index) if member.kind in ("image", "index")]
        return list({content.digest: content for content in real}.values())
    images = chosen(index, [platform])
    if len(images) > 1:
        digests = ", ".join(f"@{image.digest} ({_version(image)})" for image in images)
        raise UsageError(f"{len(images)} images for platform {platform}", remedy=f"name one by its digest: {digests}")
    return images


def _version(image: Descriptor) -> str:
    return (image.platform.os_version if image.platform else "") or "no version"


def _member(entry: Descriptor) -> Member:
    attested = _digest(entry.annotations.get(ATTESTED, ""))
    if ATTESTATION_KIND in entry.annotations:
        return Member(entry, "attestation", attested)
    if not entry.is_manifest or (entry.platform is not None and entry.platform.os == "unknown"):
        return Member(entry, "other")
    return Member(entry, "index" if entry.media_type in media_types.INDEXES else "image")


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text)
    except GrammarError:
        return None
