"""A look at one image where it is: what its reference names, without reading any layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    GrammarError,
    IntegrityError,
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
from mirrorsync.sync.gather.attached import Attachment, attached
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.roots import narrow
from mirrorsync.sync.session import Session
from mirrorsync.sync.suggest import absent

_DEPTH: Final = 8  # indexes in indexes; nobody makes more than two
# What is refused of the extras (tags, referrers) is told beside the image, and does not hide it (skopeo#726, #1230).
_ONLY_NOTICED: Final = (Denied, Unauthorized, NotFound, RegistryFailure)

MemberKind = Literal["image", "index", "attestation", "other"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an index. attests: the image that an attestation of buildkit is about, None for all others."""

    content: Descriptor
    kind: MemberKind
    attests: Digest | None = None


@dataclass(frozen=True, slots=True)
class Inspected:
    """One image, or an artifact that is kept like one.

    config: None when it is no image's, or cannot be read. layers: in order, as often as they are named.
    """

    manifest: Manifest
    config: ImageConfig | None
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Bytes of its layers as they are stored, each counted once: what a pull has to read."""
        return sum({layer.digest: layer.size for layer in self.layers}.values())


@dataclass(frozen=True, slots=True)
class Examination:
    """What there is at a reference.

    root: the manifest that it names, None when it names a repository without `latest`. members: the root's, when it is
    an index. image: what is one image of it, None when it stands for several. attached: to the root and the image.
    tags: of the repository, None when they were not asked for or are not told. notices: what could not be found out.
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
    """Look at an image, or at a repository's `latest` and its tags when the reference names no image.

    platform: which image of an index is meant. tags: whether to list the repository's. Raises: NotFound when it is not
    there, or has nothing for the platform; MirrorsyncError.
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
        notices.append(f"there is no tag {LATEST}, so only the tags are shown")
        return Examination(reference, None, tags=listed, notices=tuple(notices))
    image = await _meant(session, asked, root, platform, notices)
    inspected = await _inspect(session, asked.location, image, notices) if image is not None else None
    subjects = dict.fromkeys((root.digest, *((image.digest,) if image is not None else ())))
    found = [one for subject in subjects for one in await _attached(session, asked, subject, listed, notices)]
    return Examination(asked, root, members_of(root), inspected, tuple(found), listed, tuple(notices))


async def find(session: Session, reference: Reference) -> Manifest:
    """Return the manifest that a reference names; a repository stands for its `latest`. Raises: NotFound."""
    asked = reference.or_latest()
    root = await _lookup(session, asked)
    if root is None:
        raise await absent(session, asked)
    return root


async def select(session: Session, reference: Reference, root: Manifest, platform: Platform | None) -> Manifest | None:
    """Return the one image that is meant: the root, or that of an index for `platform`, or its only one.

    None when the root is an index of several and nothing says which. Raises: ContentNotFound when there is nothing for
    the platform, UsageError when there are several images for it.
    """
    try:
        return await _select(session, reference.location, root, platform)
    except (ContentNotFound, UsageError) as error:
        raise error.at(reference.location.at(reference.asked)) from error.__cause__


async def read_config(session: Session, source: Location, image: Manifest) -> bytes:
    """Return the bytes of an image's config, verified. Raises: UsageError when it has none, IntegrityError."""
    if image.media_type not in media_types.IMAGES:
        raise UsageError(f"a {image.media_type} has no config")
    config = image.blobs[0]
    if config.size > MAX_CONFIG_BYTES:
        raise IntegrityError(f"the image's config is larger than {MAX_CONFIG_BYTES} bytes")
    return await session.repository(source).read(config)


def members_of(index: Manifest) -> tuple[Member, ...]:
    """Return the entries of an index, in order, as often as they stand there; none for what is no index."""
    return tuple(_member(entry) for entry in index.entries)


def is_image(manifest: Manifest) -> bool:
    """Tell whether a manifest is that of a runnable image: its config is one. Charts and other artifacts are not."""
    return manifest.media_type in media_types.IMAGES and manifest.blobs[0].media_type in media_types.IMAGE_CONFIGS


async def _lookup(session: Session, reference: Reference) -> Manifest | None:
    found = await named_at(session, reference.location, reference.asked)
    if found is None:
        return None
    refuse_schema_1(found.media_type)
    return await session.manifest(reference.location, found.bare())


async def _note_moved(session: Session, where: Location, tag: Tag, digest: Digest, notices: list[str]) -> None:
    """A reference with tag and digest means the digest, as docker has it; who wrote it may not know that they part."""
    now = await session.repository(where).resolve(tag)
    if now is None:
        notices.append(f"the tag {tag} is not there; the digest is")
    elif now.digest != digest:
        notices.append(f"the tag {tag} names another image now: {now.digest}")


async def _tags(session: Session, reference: Reference, notices: list[str]) -> tuple[Tag, ...] | None:
    try:
        return tuple([tag async for tag in session.repository(reference.location).tags()])
    except RepositoryNotFound as error:
        if not reference.location.repository:
            return ()  # what was found has no name, and so no tags
        notices.append(f"its tags are not shown: {error.message}")
    except _ONLY_NOTICED as error:
        notices.append(f"its tags are not shown: {error.message}")
    return None


async def _select(session: Session, source: Location, root: Manifest, platform: Platform | None) -> Manifest | None:
    if platform is not None and root.media_type not in media_types.INDEXES:
        await narrow(session, source, root.descriptor, [platform])  # only sees that it is for this platform
    for _ in range(_DEPTH):
        if root.media_type not in media_types.INDEXES:
            return root
        images = _candidates(root, platform)
        if len(images) != 1:
            return None
        root = await session.manifest(source, images[0])
    raise IntegrityError(f"indexes are nested more than {_DEPTH} deep")


async def _meant(
    session: Session, reference: Reference, root: Manifest, platform: Platform | None, notices: list[str]
) -> Manifest | None:
    try:
        return await select(session, reference, root, platform)
    except ContentNotFound as error:
        if platform is not None:
            raise
        notices.append(f"its only image is not shown: {error.message}")  # an index may stand alone (sparse)
        return None


async def _inspect(session: Session, source: Location, image: Manifest, notices: list[str]) -> Inspected:
    layers = image.layers
    if not is_image(image):
        return Inspected(image, None, layers)
    raw = await read_config(session, source, image)
    try:
        return Inspected(image, ImageConfig.parse(raw), layers)
    except IntegrityError as error:  # it is what its digest says, and was made so; the rest is worth showing
        notices.append(error.message)
        return Inspected(image, None, layers)


async def _attached(
    session: Session, reference: Reference, subject: Digest, tags: Sequence[Tag] | None, notices: list[str]
) -> tuple[Attachment, ...]:
    try:
        return await attached(session.repository(reference.location), subject, None if tags is None else set(tags))
    except _ONLY_NOTICED as error:
        notices.append(f"what refers to {subject.short} is not shown: {error.message}")
        return ()


def _candidates(index: Manifest, platform: Platform | None) -> Sequence[Descriptor]:
    """Return the images of an index that can be meant."""
    if platform is None:
        real = [member.content for member in members_of(index) if member.kind in ("image", "index")]
        return list({content.digest: content for content in real}.values())
    images = chosen(index, [platform])
    if len(images) > 1:
        digests = ", ".join(f"@{image.digest} ({_version(image)})" for image in images)
        raise UsageError(f"there are {len(images)} images for {platform}", remedy=f"name one by its digest: {digests}")
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
