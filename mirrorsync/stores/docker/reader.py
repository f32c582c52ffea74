"""Read a docker archive: manifest.json, configs and layers, in the layout of every known writer.

docker save until 24: `HEX.json`, `HEX/layer.tar` (and links from one of these to another), `HEX/json`, `HEX/VERSION`,
`repositories`. docker save from 25 on, buildkit and rules_oci: `blobs/sha256/HEX` next to an `oci-layout` and an
`index.json`. containers/image (podman, skopeo, buildah): `HEX.tar`, `HEX.json`, and `HEX/layer.tar -> ../HEX.tar`.
go-containerregistry (crane, ko, kaniko): `sha256:HEX`, `HEX.tar.gz`. jib: `config.json`. nix, bazel: `NAME/layer.tar`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from mirrorsync.errors import GrammarError, IntegrityError, Malformed, MirrorsyncError, Mismatch
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import translated
from mirrorsync.files.tar.reader import ArchiveFile
from mirrorsync.files.tar.scan import Grammar, Member
from mirrorsync.files.unpack import MAGIC_BYTES, compression_of, unpacked
from mirrorsync.oci.config import MAX_CONFIG_BYTES
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import DOCKER_HUB, familiar_name, split_familiar_name, split_image_name
from mirrorsync.oci.ref import Tag
from mirrorsync.text import printable

MANIFEST_FILE: Final = "manifest.json"
_MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
_MAX_IMAGES: Final = 100_000
_MAX_LAYERS: Final = 1000  # of one image; Docker stops at 127

_HEX: Final = "[0-9a-f]{64}"
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}"
GRAMMAR: Final = Grammar(
    "a docker archive",
    files=re.compile(
        rf"{_NAME}\.json|repositories|oci-layout|sha256:{_HEX}|{_NAME}\.tar|{_NAME}\.tar\.gz|{_NAME}\.tgz"
        rf"|{_NAME}/(?:layer\.tar|layer\.tar\.gz|json|VERSION)|blobs/sha256/{_HEX}(?:\.tar|\.tar\.gz)?"
    ),
)
# What docker and podman put into every container.
_FILE_SYSTEM: Final = Grammar(
    "a file system", re.compile(r"\.dockerenv|run/\.containerenv|etc/(?:hosts|hostname|passwd)")
)
# The digest of a config in its member's name, if the writer puts it there.
_CONFIG_HEX: Final = re.compile(rf"(?:sha256:|blobs/sha256/)?({_HEX})(?:\.json)?")


class Name(NamedTuple):
    """The name of an image: docker's familiar name of the repository, and the tag."""

    repository: str
    tag: Tag

    @property
    def full(self) -> str:
        """The name with its host, as containers/image writes it: podman would put localhost/ before a short one."""
        host, rest = split_familiar_name(self.repository)
        if host == DOCKER_HUB and "/" not in rest:
            rest = f"library/{rest}"
        return f"{host}/{rest}:{self.tag}"


def read_name(text: str) -> Name:
    """Read a name with its tag. Raises: GrammarError."""
    host, repository, tag, digest = split_image_name(text)
    if tag is None or digest is not None:
        raise GrammarError(f"{printable(text)!r} is not a name with a tag")
    return Name(familiar_name(host, repository), tag)


@dataclass(frozen=True, slots=True)
class SavedLayer:
    """A layer in an archive. compression: of its bytes there, "" if they are not; size: of its bytes there."""

    diff_id: Digest
    archive: ArchiveFile = field(repr=False, compare=False)
    member: Member = field(compare=False)
    compression: str = ""

    @property
    def size(self) -> int:
        """The number of bytes in the archive."""
        return self.member.size

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """Read the bytes as in the archive, from any thread. Raises: StorageError."""
        with self.archive.open(self.member, offset) as part, translated(f"reading {self.archive.path}"):
            while chunk := part.read(CHUNK_BYTES):
                yield chunk

    def content(self) -> Iterator[bytes]:
        """Read the uncompressed bytes, from any thread. Raises: Malformed, StorageError."""
        return unpacked(self.chunks(), self.compression, f"layer {self.diff_id.short}")


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image of an archive. config: exact bytes; id: their digest. names: () for an image without a name.

    unread_name: what the archive has in the place of a name if it has no name that we know.
    """

    id: Digest
    config: bytes = field(repr=False)
    layers: tuple[SavedLayer, ...]
    names: tuple[Name, ...] = ()
    unread_name: str = ""


@dataclass(frozen=True, slots=True)
class DamagedImage:
    """An image of an archive that cannot be read, although others can.

    error: the reason, to be raised if the image is wanted.
    """

    error: MirrorsyncError
    names: tuple[Name, ...] = ()
    unread_name: str = ""


def read_images(archive: ArchiveFile) -> tuple[SavedImage | DamagedImage, ...]:
    """Return the images of an archive, in the order of its manifest.json; () if there is no file. Blocking.

    Layers are not read yet. Names that are not a repository and a tag do not count: their image has the others, or
    none. Raises: Malformed for an archive that is not a docker archive or ambiguous; StorageError.
    """
    return _Reader(archive).images() if archive.exists() else ()


def diff_ids(config: bytes) -> tuple[Digest, ...]:
    """Return the diff_ids of a config. Raises: Malformed."""
    document = read_json(config, "the config of the image")
    rootfs = document.get("rootfs") if isinstance(document, dict) else None
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(rootfs, dict) or not isinstance(found, list | None) or "diff_ids" not in rootfs:
        raise Malformed("the config of the image names no layers (rootfs.diff_ids)")
    try:
        return tuple(Digest(text) for text in _strings(found, "rootfs.diff_ids"))
    except GrammarError as error:
        raise Malformed(f"the config of the image is malformed: {error.message}") from error


def read_json(data: bytes, what: str) -> Any:
    """Return a JSON document; duplicate keys are rejected. Raises: Malformed."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is not JSON: {printable(str(error), 200)}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same key twice")
    return members


class _Reader:
    """Reads one archive."""

    def __init__(self, archive: ArchiveFile) -> None:
        self._archive = archive
        self._members = archive.members()
        self._compressions: dict[Member, str] = {}

    def images(self) -> tuple[SavedImage | DamagedImage, ...]:
        if MANIFEST_FILE not in self._members and self._archive.has_members(_FILE_SYSTEM):
            raise Malformed(
                "it is a file system and not an image, as `docker export` writes it",
                remedy="use `docker save` (for a container: `docker commit` before)",
            )
        if MANIFEST_FILE not in self._members:
            remedy = "read it as oci-archive:" if "index.json" in self._members else "write it again with docker save"
            raise Malformed(f"not a docker archive: it has no {MANIFEST_FILE}", remedy=remedy)
        entries = read_json(self._small(MANIFEST_FILE, _MAX_MANIFEST_BYTES), MANIFEST_FILE)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Malformed(f"{MANIFEST_FILE} of the archive is not a list of images")
        if len(entries) > _MAX_IMAGES:
            raise Malformed(f"the archive has more than {_MAX_IMAGES} images")
        images = tuple(self._readable(entry) for entry in entries)
        owners: dict[Name, Digest | int] = {}
        for position, image in enumerate(images):
            identity = image.id if isinstance(image, SavedImage) else position
            for name in image.names:
                if owners.setdefault(name, identity) != identity:
                    raise Malformed(f"{MANIFEST_FILE} of the archive gives {name.full} to two images")
        return images

    def _readable(self, entry: dict[str, Any]) -> SavedImage | DamagedImage:
        names, unread = _names(entry.get("RepoTags"))
        try:
            _strings(entry.get("RepoTags"), "RepoTags", null=True)
            image: SavedImage | DamagedImage = self._image(entry, names)
        except (IntegrityError, Malformed) as error:
            image = DamagedImage(error, names)
        return image if names or not unread else replace(image, unread_name=unread)

    def _image(self, entry: dict[str, Any], names: tuple[Name, ...]) -> SavedImage:
        config_name = entry.get("Config")
        if not isinstance(config_name, str):
            raise Malformed(f"{MANIFEST_FILE} of the archive has an image without a config")
        config = self._small(config_name, MAX_CONFIG_BYTES)
        digest = Digest.of(config)
        said = _CONFIG_HEX.fullmatch(config_name)
        if said is not None and said[1] != digest.encoded:
            raise Mismatch(f"config {config_name} does not match its digest: got {digest}", digest=digest)
        layers = _strings(entry.get("Layers"), "Layers")
        ids = diff_ids(config)
        if len(layers) != len(ids) or len(ids) > _MAX_LAYERS:
            raise Malformed(f"image {digest.short} has {len(layers)} layers, and its config names {len(ids)}")
        saved = tuple(self._layer(name, diff_id) for name, diff_id in zip(layers, ids, strict=True))
        return SavedImage(digest, config, saved, names)

    def _layer(self, name: str, diff_id: Digest) -> SavedLayer:
        member = self._member(name)
        if member not in self._compressions:
            with self._archive.open(member) as part:
                self._compressions[member] = compression_of(part.read(MAGIC_BYTES))
        return SavedLayer(diff_id, self._archive, member, self._compressions[member])

    def _member(self, name: str) -> Member:
        member = self._members.get(name.removeprefix("./"))
        if member is None:
            raise Malformed(f"{MANIFEST_FILE} of the archive names {printable(name, 200)!r}, which is missing")
        return member

    def _small(self, name: str, limit: int) -> bytes:
        member = self._member(name)
        if member.size > limit:
            raise Malformed(f"{printable(name, 200)!r} of the archive is {member.size} bytes; the limit is {limit}")
        return self._archive.read(member, limit)


def _names(found: object) -> tuple[tuple[Name, ...], str]:
    """Return the names with a tag, and the first text that is not one.

    docker writes others for an image that was saved by digest (moby#12968).
    """
    names: dict[Name, None] = {}
    unread: list[str] = []
    for text in found if isinstance(found, list) else ():
        if isinstance(text, str) and text:
            try:
                names[read_name(text)] = None
            except GrammarError:
                unread.append(text)
    return tuple(names), next(iter(unread), "")


def _strings(value: object, what: str, *, null: bool = False) -> Sequence[str]:
    """Return a list of strings; null: whether null counts as one. Raises: Malformed."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) or (null and text is None) for text in value):
        raise Malformed(f"{what} is not a list of strings")
    return value
