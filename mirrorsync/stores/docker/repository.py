"""One repository of a docker archive or daemon; `Backend` is the part that differs between them."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from mirrorsync.errors import ContentNotFound, RepositoryNotFound
from mirrorsync.files.chunks import CHUNK_BYTES, verified
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, Outline
from mirrorsync.oci.names import podman_spelling
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.stores.docker.cache import KnownImage
from mirrorsync.stores.docker.manifests import reject_unfit
from mirrorsync.stores.docker.outgoing import Layers
from mirrorsync.stores.docker.reader import Name, SavedImage
from mirrorsync.stores.docker.staging import Assembled, Incoming
from mirrorsync.stores.located import located_at
from mirrorsync.text import some_of

_NAMES_SHOWN = 3


class Backend(Protocol):
    """What an archive and a daemon have in common. All methods block, and may be called from any thread."""

    address: str
    kind: str  # as in "a docker archive"
    layers: Layers
    incoming: Incoming

    def find(self, repository: str, ref: Tag | Pick) -> KnownImage | None:
        """Return the image that a tag names, or a pick in the repository ""."""

    def saved(self, repository: str, ref: Tag | Pick) -> SavedImage | None:
        """Return the image that a tag or pick names, as it is stored: nothing is compressed."""

    def prove(self, diff_id: Digest, watch: Callable[[int], object]) -> None:
        """Read a layer, decompressed, and compare it with its diff_id. watch: gets the number of stored bytes read.

        Raises: ContentNotFound, Mismatch.
        """

    def search(self, repository: str, wanted: Digest | None) -> Iterator[KnownImage]:
        """Yield the images of a repository, at least all that have the manifest, config or layer `wanted`.

        None = those whose manifests are known without computing anything.
        """

    def tags(self, repository: str) -> Sequence[Tag] | None:
        """Return the tags of a repository, None if there is no repository of that name."""

    def names(self) -> Sequence[str]:
        """Return all names with their tags, for people."""

    def image_id(self, repository: str, tag: Tag) -> Digest | None:
        """Return the digest of the config of the image that a tag names; "" has images without tags."""

    def has_layer(self, diff_id: Digest) -> bool:
        """Return whether there is a layer of that diff_id that other images can reuse."""

    def config(self, image_id: Digest) -> bytes | None:
        """Return the config of an image, None if it is missing or would have to be exported."""

    def begin(self) -> None:
        """Prepare for writing."""

    def rename(self, image_id: Digest, name: Name | None) -> bool:
        """Add a name to an existing image without its content; False if that is not possible."""

    def keep(self, image: Assembled, name: Name | None) -> None:
        """Stage an image under a name; it becomes visible at the next flush."""

    def forget(self, name: Name) -> bool:
        """Remove a name; False if no image has it."""


class DockerRepository:
    """One repository: the images with its familiar name; "" has those without a name.

    made: the images of the whole store that were read, by the digests of their manifests. other_spellings: whether its
    images are also found under the name that podman writes.
    """

    other_spellings = True

    def __init__(self, backend: Backend, name: str, made: dict[Digest, KnownImage]) -> None:
        self.name = name
        self._backend = backend
        self._made = made
        self._tagged: dict[Tag, Descriptor] = {}  # the manifests that were tagged in this run; they are not stored

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the descriptor of the image that a tag or pick names; of a digest, if it is known.

        The first call can take as long as compressing the image takes.
        """
        with self._located(ref):
            if isinstance(ref, Digest):
                known = await asyncio.to_thread(self._by_digest, ref)
            elif isinstance(ref, Tag) and ref in self._tagged:
                return self._tagged[ref]
            else:
                known = await asyncio.to_thread(self._found, ref)
            return self._remembered(known).manifest.descriptor if known else None

    def _found(self, ref: Tag | Pick) -> KnownImage | None:
        found = (self._backend.find(name, ref) for name in self._spellings)
        return next((image for image in found if image is not None), None)

    @property
    def _spellings(self) -> tuple[str, ...]:
        """The names under which its images are found: podman puts localhost/ before those of images that it built."""
        return (self.name, *podman_spelling(self.name)) if self.other_spellings else (self.name,)

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, sorted. Raises: RepositoryNotFound."""
        with self._located():
            tags: Sequence[Tag] | None = None
            for name in self._spellings:
                tags = tags or await asyncio.to_thread(self._backend.tags, name)
            if tags is None:
                raise await asyncio.to_thread(self._unknown)
        for tag in tags:
            yield tag

    def _unknown(self) -> RepositoryNotFound:
        known = self._backend.names()
        close = difflib.get_close_matches(self.name, known, _NAMES_SHOWN, 0.5) or known
        remedy = f"available: {some_of(close, _NAMES_SHOWN)}" if close else "it has no images with names"
        return RepositoryNotFound(f"{self._backend.kind} has no such repository", remedy=remedy)

    async def has(self, blob: Descriptor) -> bool:
        """Return whether the store has a config or layer, as far as that is known without computing anything."""
        return await asyncio.to_thread(self._has, blob.digest)

    def _has(self, digest: Digest) -> bool:
        with self._located(digest):
            if self._backend.incoming.holds(digest) or self._backend.config(digest) is not None:
                return True
            diff_id = self._diff_id(digest)
            return diff_id is not None and self._backend.has_layer(diff_id)

    def _diff_id(self, layer: Digest) -> Digest | None:
        """Return the diff_id of a compressed layer, if it is known."""
        return self._backend.layers.diff_id(layer) or self._backend.incoming.diff_id(layer)

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a config or layer of an image that was read, None for others."""
        layer = self._backend.layers.find(digest)
        config = self._config(digest)
        size = layer.size if layer else len(config) if config is not None else None
        return Descriptor(media_types.ANY_BYTES, digest, size) if size is not None else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return the manifest of an image. Raises: ContentNotFound."""
        with self._located(content.digest):
            known = self._made.get(content.digest) or await asyncio.to_thread(self._searched, content.digest)
            if known is None:
                raise ContentNotFound(f"{self._backend.kind} has no image with this manifest")
            return known.manifest

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:  # noqa: ARG002 - the protocol's parameter
        """Return nothing: docker's formats store only images."""
        return ()

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob. Raises: ContentNotFound, IntegrityError, StorageError."""
        return await asyncio.to_thread(self._read, blob)

    def _read(self, blob: Descriptor) -> bytes:
        with self.open(blob) as chunks, self._located(blob.digest):
            return verified(blob, b"".join(chunks))

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a config or a compressed layer from `offset` on.

        Raises: ContentNotFound, IntegrityError, StorageError.
        """
        with self._located(blob.digest):
            if self._config(blob.digest) is None and self._backend.layers.find(blob.digest) is None:
                self._searched(blob.digest)
            config = self._config(blob.digest)
            if config is not None:
                yield (config[start : start + CHUNK_BYTES] for start in range(offset, len(config), CHUNK_BYTES))
                return
            if self._backend.layers.find(blob.digest) is None:
                raise ContentNotFound(f"{self._backend.kind} has no such blob")
            with self._backend.layers.open(blob, offset) as chunks:
                yield self._located_chunks(chunks, blob)

    def _located_chunks(self, chunks: Iterator[bytes], blob: Descriptor) -> Iterator[bytes]:
        with self._located(blob.digest):
            yield from chunks

    async def unpacked(self, ref: Ref) -> Outline | None:
        """Return an image as it is stored: its config, and its layers by their diff_ids; None if it is missing."""
        if isinstance(ref, Digest):
            return None  # docker's formats do not keep the digests of images
        with self._located(ref):
            image = await asyncio.to_thread(self._backend.saved, self.name, ref)
        if image is None:
            return None
        layers = {layer.diff_id: layer.size for layer in image.layers}
        stored = tuple(Descriptor(media_types.OCI_LAYER, diff_id, size) for diff_id, size in layers.items())
        return Outline(Descriptor.of(image.config, media_types.OCI_CONFIG), blobs=stored)

    def prove(self, content: Descriptor, watch: Callable[[int], object]) -> None:
        """Verify a layer, by its diff_id or its compressed digest; a config is verified when it is read.

        Raises: ContentNotFound, Mismatch, StorageError.
        """
        with self._located(content.digest):
            if self._backend.config(content.digest) is None:
                self._backend.prove(self._diff_id(content.digest) or content.digest, watch)

    async def mount(self, blob: Descriptor, origin: str) -> bool:  # noqa: ARG002 - the protocol's parameter
        """Return whether the store has the blob: all repositories share their layers."""
        return await self.has(blob)

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError, Denied, StorageError."""
        await asyncio.to_thread(self.put, blob, [data])

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a config or layer, which is decompressed. Raises: IntegrityError, Malformed, StorageError."""
        with self._located(blob.digest):
            self._backend.begin()
            self._backend.incoming.put(blob, chunks)

    async def put_manifest(self, manifest: Manifest) -> None:
        """Stage an image without a name. Raises: Denied if it is not an image of one platform; as `tag`."""
        with self._located(manifest.digest):
            await asyncio.to_thread(self._keep, manifest, None)

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Stage an image under a name; in repository "" without one. It becomes visible at the next flush.

        Raises: Denied if it is not an image of one platform; ContentNotFound if content is missing; IntegrityError if
        the layers are not those of the config.
        """
        with self._located(tag):
            await asyncio.to_thread(self._keep, manifest, Name(self.name, tag) if self.name else None)
            self._tagged[tag] = manifest.descriptor

    def _keep(self, manifest: Manifest, name: Name | None) -> None:
        reject_unfit(manifest, self._backend.kind)
        self._backend.begin()
        if self._backend.rename(manifest.blobs[0].digest, name):
            return
        image = self._backend.incoming.assembled(manifest, self._backend.config, self._diff_id, self._backend.has_layer)
        self._backend.keep(image, name)

    async def holds_image(self, ref: Tag | Digest, image: Manifest) -> bool:
        """Return whether a tag has the config of `image`. Raises: Denied if such an image cannot be stored."""
        with self._located(ref):
            reject_unfit(image, self._backend.kind)
            digest = image.blobs[0].digest
            if not self.name:
                return await asyncio.to_thread(self._backend.config, digest) is not None
            return isinstance(ref, Tag) and await asyncio.to_thread(self._backend.image_id, self.name, ref) == digest

    async def delete(self, ref: Tag | Digest) -> None:
        """Remove a tag, or all tags of a manifest by its digest. Raises: ContentNotFound."""
        with self._located(ref):
            await asyncio.to_thread(self._delete, ref)
            self._tagged.clear()

    def _delete(self, ref: Tag | Digest) -> None:
        self._backend.begin()
        tags = self._tags_of(ref) if isinstance(ref, Digest) else [ref]
        gone = [tag for tag in tags if self._backend.forget(Name(self.name, tag))]
        if not gone:
            raise ContentNotFound(
                f"{self._backend.kind} has no such {'manifest' if isinstance(ref, Digest) else 'tag'}"
            )

    def _tags_of(self, manifest: Digest) -> list[Tag]:
        """Return the tags of an image by the digest of its manifest: the one created here, or one that was tagged."""
        given = [tag for tag, descriptor in self._tagged.items() if descriptor.digest == manifest]
        known = self._by_digest(manifest)
        if known is None:
            return given
        config = known.manifest.blobs[0].digest
        tags = self._backend.tags(self.name) or ()
        return [tag for tag in tags if tag in given or self._backend.image_id(self.name, tag) == config]

    def _by_digest(self, digest: Digest) -> KnownImage | None:
        if digest not in self._made:
            for known in self._backend.search(self.name, None):
                self._remembered(known)
        return self._made.get(digest)

    def _searched(self, digest: Digest) -> KnownImage | None:
        """Read images until one has that manifest, config or layer; return it."""
        for known in self._backend.search(self.name, digest):
            self._remembered(known)
            if known.manifest.digest == digest or any(blob.digest == digest for blob in known.manifest.blobs):
                return known
        return None

    def _remembered(self, known: KnownImage) -> KnownImage:
        return self._made.setdefault(known.manifest.digest, known)

    def _config(self, digest: Digest) -> bytes | None:
        for known in list(self._made.values()):
            if known.manifest.blobs[0].digest == digest:
                return known.config
        return None

    def _located(self, ref: Ref | None = None) -> AbstractContextManager[None]:
        return located_at(self._backend.address, self.name, ref)
