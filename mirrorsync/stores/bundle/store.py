"""A bundle as a store for reading: the images of its document, with the content of the parts that are here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path

from mirrorsync.bundle.findings import Present
from mirrorsync.bundle.model import Bundle, Delta, Image, Object, Whole, members_of
from mirrorsync.delta import readable
from mirrorsync.errors import ContentNotFound, Denied, Malformed, MirrorsyncError, RepositoryNotFound
from mirrorsync.files.chunks import CHUNK_BYTES, VerifiedChunks, prove
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Ref, Tag
from mirrorsync.oci.reference import Where
from mirrorsync.stores.bundle.found import Found, find_bundle
from mirrorsync.stores.bundle.rebuilt import Base, rebuilt
from mirrorsync.stores.located import located_at
from mirrorsync.stores.unwritable import Unwritable
from mirrorsync.text import some_of

_READ_ONLY = "a bundle is only read; `mirrorsync bundle create` writes one"


class BundleStore:
    """A bundle as a store. Its files are found on first use; parts are opened when content of them is read.

    path: of its directory, of its document, or of one of its parts; absolute. present: what is known to be good, None
    = all that is here. vouch: may reject it when it is found, as `Environment.vouch`.
    """

    shares_blobs = True

    def __init__(
        self,
        path: Path,
        *,
        found: Found | None = None,
        present: Present | None = None,
        vouch: Callable[[str, bytes, Sequence[bytes]], object] = lambda _, __, ___: None,
    ) -> None:
        self.address = f"bundle:{path}"
        self._path = path
        self._present = present
        self._opened = found
        self._vouch = vouch
        self._refused: MirrorsyncError | None = None
        self._lock = threading.Lock()
        self._bases: dict[Digest, Base] = {}
        # Rebuilding a large blob copies its base to a temporary file: one at a time.
        self.rebuilding = threading.Lock()

    @property
    def read_only(self) -> str:
        """Why it cannot be written."""
        return "a bundle is only read"

    @property
    def found(self) -> Found:
        """The files. Raises: NotFound, UsageError, Malformed, StorageError; what `vouch` raises."""
        with self._lock, located_at(self.address):
            if self._refused is not None:
                raise self._refused.with_()  # a copy: every image that is to come from here fails by it
            if self._opened is None:
                found = find_bundle(self._path)
                try:
                    self._vouch(found.bundle.stem, found.document, found.signatures())
                except MirrorsyncError as error:
                    self._refused = error
                    raise
                self._opened = found
            return self._opened

    @property
    def bundle(self) -> Bundle:
        """Its document. Raises: as `found`."""
        return self.found.bundle

    @cached_property
    def present(self) -> Present:
        """Which members can be read. Raises: as `found`."""
        return self._present or Present(frozenset(self.found.parts))

    @cached_property
    def images(self) -> Mapping[str, Mapping[Tag | Digest, Image]]:
        """The images of its document, by repository and name."""
        found: dict[str, dict[Tag | Digest, Image]] = {}
        for image in self.bundle.images:
            found.setdefault(image.repository, {})[image.tag or image.content.digest] = image
        return found

    def repository(self, name: str) -> BundleRepository:
        """Return the repository of that name."""
        return BundleRepository(self, name)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted."""
        for name in sorted(self.images):
            yield name

    async def roots(self) -> Mapping[tuple[str, Ref], Descriptor]:
        """Return the root of every image of the document, also of those that the destination is assumed to have."""
        return {(name, ref): image.content for name, some in self.images.items() for ref, image in some.items()}

    def lock(self) -> None:
        """Raise Denied."""
        raise Denied(_READ_ONLY, remedy="choose another destination").at(Where(self.address))

    async def flush(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    def object(self, digest: Digest) -> Object:
        """Return an object that can be read here. Raises: ContentNotFound, which says where it is instead."""
        one = self.bundle.by_digest.get(digest)
        if one is None:
            raise ContentNotFound(
                "the bundle does not have it: it was at the destination when the bundle was made",
                remedy="import the bundle there, with `mirrorsync bundle apply`",
            )
        if not self.has(one):
            raise ContentNotFound(
                self.why_not(one),
                remedy="import the bundle where that is, with `mirrorsync bundle apply`"
                if isinstance(one.form, Delta) and self.present.carries(one)
                else "bring the part, or have its sender write it again",
            )
        return one

    def offer(self, base: Base) -> None:
        """Let deltas be applied to a blob that a destination has."""
        self._bases[base.content.digest] = base

    def has(self, one: Object) -> bool:
        """Return whether an object can be read: from the parts that are here, of a delta also with an offered base."""
        return self.present.has(one) or (
            isinstance(one.form, Delta)
            and self.present.carries(one)
            and bool(readable(one.form.kind))
            and self._base(one.form.base) is not None
        )

    def _base(self, digest: Digest) -> Base | None:
        one = self.bundle.by_digest.get(digest)
        if digest in self._bases or one is None or not self.present.has(one):
            return self._bases.get(digest)
        return Base(one.content, lambda: nullcontext(self.chunks(one)))

    def why_not(self, one: Object) -> str:
        """Return where an object is that cannot be read here."""
        if isinstance(one.form, Delta) and self.present.carries(one):
            why = f"it is a delta against {one.form.base.short}"
            there = readable(one.form.kind)
            return why if there else f"{why}, and {there.reason}"
        total = len(self.bundle.parts)
        members = members_of(one)
        missing = [number for number in sorted(members) if number not in self.present.parts]
        if missing and len(members) > 1 and not one.manifest:
            return f"its pieces are in {len(members)} parts of {total}, and {_listed(missing)} {_are(missing)} not here"
        if missing:
            return f"it is in {_listed(missing[:1])} of {total}, which is not here"
        for number, member in members.items():
            if not self.present.has_member(number, member.name):
                unread = member.name in self.present.unread.get(number, ())
                wrong = "cannot be read" if unread else "is damaged"
                return f"{member.name} of {self.bundle.parts[number - 1].name} {wrong}"
        return "it is not here"

    def missing_part(self, one: Object) -> int:
        """Return the number of the first part of an object that is not here, 0 if they are all here."""
        return next((number for number in sorted(members_of(one)) if number not in self.present.parts), 0)

    def chunks(self, one: Object, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of an object from `offset` on, joined from its pieces or rebuilt from its delta.

        Raises: Mismatch, Malformed, StorageError; errors of the destination that has the base of a delta.
        """
        base = self._base(one.form.base) if isinstance(one.form, Delta) else None
        if base is not None:
            yield from rebuilt(base, self._members(one), offset)
        else:
            yield from self._members(one, offset)

    def _members(self, one: Object, offset: int = 0) -> Iterator[bytes]:
        members = list(members_of(one).items())
        if isinstance(one.form, Whole):
            members = [at for at in members if self.present.has_member(at[0], at[1].name)][:1]
        for number, member in members:
            if offset < member.size:
                yield from self.found.parts[number].chunks(member.name, offset)
            offset = max(0, offset - member.size)


def _listed(numbers: Sequence[int]) -> str:
    return f"{'part' if len(numbers) == 1 else 'parts'} {some_of(list(map(str, numbers)), 6)}"


def _are(numbers: Sequence[int]) -> str:
    return "is" if len(numbers) == 1 else "are"


class BundleRepository(Unwritable):
    """One repository of a bundle. Writing raises Denied."""

    def __init__(self, store: BundleStore, name: str) -> None:
        self.name = name
        self._store = store

    def _located(self, ref: Ref | None = None) -> located_at:
        return located_at(self._store.address, self.name, ref)

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the image of a tag, or a manifest of this repository by its digest."""
        images = self._store.images
        if isinstance(ref, Pick):
            every = [image for some in images.values() for image in some.values()]
            return every[0].content if ref == THE_ONLY_ONE and not self.name and len(every) == 1 else None
        image = images.get(self.name, {}).get(ref)
        if image is not None or isinstance(ref, Tag):
            return image.content if image else None
        one = self._store.bundle.by_digest.get(ref)
        there = one is not None and one.manifest and self.name in one.repositories
        return one.content if one is not None and there else None

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, sorted. Raises: RepositoryNotFound."""
        images = self._store.images.get(self.name)
        if images is None:
            with self._located():
                raise RepositoryNotFound("the bundle has no such repository")
        for ref in sorted(images):
            if isinstance(ref, Tag):
                yield ref

    async def has(self, blob: Descriptor) -> bool:
        """Return whether the parts that are here have a blob."""
        one = self._store.bundle.by_digest.get(blob.digest)
        return one is not None and one.content.size == blob.size and self._store.has(one)

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None if the parts that are here do not have it."""
        one = self._store.bundle.by_digest.get(digest)
        there = one is not None and self._store.has(one)
        return Descriptor(media_types.ANY_BYTES, digest, one.content.size) if one is not None and there else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound, IntegrityError, StorageError."""
        with self._located(content.digest):
            one = self._store.object(content.digest)
            if one.content.size > MAX_MANIFEST_BYTES:
                raise Malformed(f"manifest is larger than {MAX_MANIFEST_BYTES} bytes")
            raw = await asyncio.to_thread(lambda: b"".join(self._store.chunks(one)))
            return Manifest.parse(raw, content.media_type, digest=content.digest, size=content.size)

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests of this repository whose subject has that digest, as far as they are here."""
        found = []
        for image in self._store.images.get(self.name, {}).values():
            one = self._store.bundle.by_digest.get(image.content.digest)
            if image.subject == subject and one is not None and self._store.has(one):
                found.append((await self.manifest(image.content)).as_referrer())
        return found

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob. Raises: ContentNotFound, IntegrityError, StorageError."""
        return await asyncio.to_thread(self._read, blob)

    def _read(self, blob: Descriptor) -> bytes:
        with self.open(blob) as chunks, self._located(blob.digest):
            return b"".join(VerifiedChunks(blob, chunks))  # a delta may make more than the blob has

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob from `offset` on. Raises: ContentNotFound, StorageError."""
        with self._located(blob.digest):
            one = self._store.object(blob.digest)
            large = isinstance(one.form, Delta) and one.content.size > CHUNK_BYTES
            with self._store.rebuilding if large else nullcontext():
                yield self._store.chunks(one, offset)

    def prove(self, content: Descriptor, watch: Callable[[int], object]) -> None:
        """Read a blob or manifest, and verify it. Raises: ContentNotFound, Mismatch, StorageError."""
        with self.open(content) as chunks, self._located(content.digest):
            prove(content, chunks, watch)

    def refusal(self) -> Denied:
        """Return the error for whatever is to be written."""
        return Denied(_READ_ONLY, remedy="choose another destination", place=Where(self._store.address, self.name))
