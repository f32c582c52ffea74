"""The upstream and the destination of a simulation: stores in memory, and what goes wrong with them in one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mirrorsync.errors import ContentNotFound, RegistryUnavailable, RepositoryNotFound, Unauthorized, Unreachable
from mirrorsync.files.chunks import verified
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.stores.base import Store
from mirrorsync.stores.memory import MemoryRepository, MemoryStore
from tests.simulation.pictures import Picture

SOURCE, TARGET = "up.example", "mirror.example"


class Killed(BaseException):
    """The process was killed here."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in one run.

    down: no request to the upstream is answered. unlisted: repositories whose tags cannot be listed; refused: those to
    which access is refused, as to one that was deleted or made private. hidden: tags that a list lacks, by repository.
    silent: tags of the upstream that are not answered. spoiled: manifests and blobs of the upstream whose bytes are
    others. target_down: no request to the destination is answered. unset, undeleted: tags that the destination does not
    set or delete. killed_after: the number of writes before the process is killed.
    """

    down: bool = False
    unlisted: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    hidden: frozenset[tuple[str, str]] = frozenset()
    silent: frozenset[tuple[str, str]] = frozenset()
    spoiled: frozenset[str] = frozenset()
    target_down: bool = False
    unset: frozenset[str] = frozenset()
    undeleted: frozenset[str] = frozenset()
    killed_after: int | None = None


NO_TROUBLE = Trouble()


@dataclass
class Upstream:
    """Repositories that others publish to: tags, and all images that ever were there and were not purged."""

    tags: dict[str, dict[str, Picture]] = field(default_factory=dict)
    images: dict[str, dict[str, Picture]] = field(default_factory=dict)
    trouble: Trouble = NO_TROUBLE
    signatures: dict[str, Manifest] = field(default_factory=dict)  # those that were asked for, and their blobs
    blobs: dict[str, bytes] = field(default_factory=dict)

    def publish(self, repository: str, tag: str, picture: Picture) -> None:
        """Let a tag name an image."""
        self.tags.setdefault(repository, {})[tag] = picture
        self.images.setdefault(repository, {})[picture.digest] = picture

    def lists(self, repository: str) -> bool:
        """Return whether a run gets a list of tags."""
        off = self.trouble.down or repository in self.trouble.unlisted | self.trouble.refused
        return not off and repository in self.tags

    def answers(self, repository: str, tag: str) -> bool:
        """Return whether a run gets an answer about a tag."""
        off = self.trouble.down or repository in self.trouble.refused
        return not off and (repository, tag) not in self.trouble.silent

    def listed(self, repository: str) -> list[str]:
        """Return the tags that a run gets."""
        return [tag for tag in self.tags[repository] if (repository, tag) not in self.trouble.hidden]


class UpstreamStore:
    """The upstream as a store; it is only read."""

    address = SOURCE
    shares_blobs = False

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def repository(self, name: str) -> UpstreamRepository:
        return UpstreamRepository(name, self.upstream)

    async def repositories(self) -> AsyncIterator[str]:
        for name in sorted(self.upstream.tags):
            yield name

    def lock(self) -> None:
        raise AssertionError("an upstream is not written to")

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


class UpstreamRepository:
    """One repository of the upstream."""

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self._upstream = upstream
        self._trouble = upstream.trouble

    def _ask(self) -> None:
        if self._trouble.down:
            raise Unreachable("the upstream is down")
        if self.name in self._trouble.refused:
            raise Unauthorized("no access")

    def login(self) -> str | None:
        """Return that no login is used."""
        return ""

    async def resolve(self, ref: Ref) -> Descriptor | None:
        self._ask()
        if (self.name, str(ref)) in self._trouble.silent:
            raise RegistryUnavailable("no answer in time")
        if isinstance(ref, Tag):
            found = self._upstream.tags.get(self.name, {}).get(ref)
            return found.manifests[-1].descriptor if found else None
        manifest = self._manifests().get(str(ref))
        return manifest.descriptor if manifest else None

    def _manifests(self) -> dict[str, Manifest]:
        images = self._upstream.images.get(self.name, {}).values()
        return {str(one.digest): one for image in images for one in image.manifests}

    async def tags(self) -> AsyncIterator[Tag]:
        self._ask()
        if self.name in self._trouble.unlisted:
            raise RegistryUnavailable("the list is not answered")
        if self.name not in self._upstream.tags:
            raise RepositoryNotFound("there is no such repository")
        for tag in self._upstream.listed(self.name):
            yield Tag(tag)

    async def has(self, blob: Descriptor) -> bool:
        raise AssertionError(f"a source was asked whether it has {blob}")

    async def blob(self, digest: Digest) -> Descriptor | None:
        raise AssertionError(f"a source was asked for the blob {digest}")

    async def manifest(self, content: Descriptor) -> Manifest:
        self._ask()
        found = self._upstream.signatures.get(str(content.digest)) or self._manifests().get(str(content.digest))
        if found is None:
            raise ContentNotFound("there is no such manifest")
        raw = found.raw + b" " if str(content.digest) in self._trouble.spoiled else found.raw
        return Manifest.parse(raw, found.media_type, digest=content.digest)

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        self._ask()
        found = self._upstream.images.get(self.name, {}).get(str(subject))
        if found is None or not found.signed:
            return ()
        made = found.signature
        manifest = Manifest.parse(made.raw, made.media_type)
        self._upstream.signatures[str(manifest.digest)] = manifest
        self._upstream.blobs |= made.blobs
        return [manifest.as_referrer()]

    async def read(self, blob: Descriptor) -> bytes:
        self._ask()
        images = self._upstream.images.get(self.name, {}).values()
        data = next((one.blobs[blob.digest] for one in images if blob.digest in one.blobs), None)
        data = self._upstream.blobs.get(blob.digest, data)
        if data is None:
            raise ContentNotFound("there is no such blob")
        return verified(blob, data[::-1] if str(blob.digest) in self._trouble.spoiled else data)

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        raise AssertionError(f"{blob} is small, and is read at once ({offset})")
        yield iter(())

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        raise AssertionError("an upstream is not written to")

    async def write(self, blob: Descriptor, data: bytes) -> None:
        raise AssertionError("an upstream is not written to")

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        raise AssertionError("an upstream is not written to")

    async def put_manifest(self, manifest: Manifest) -> None:
        raise AssertionError("an upstream is not written to")

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        raise AssertionError("an upstream is not written to")

    async def delete(self, ref: Tag | Digest) -> None:
        raise AssertionError("an upstream is not written to")


class TargetStore(MemoryStore):
    """The destination. tagged, deleted: what the run did, with the digest that was named before or is deleted."""

    tags_alone = True

    def __init__(self) -> None:
        super().__init__(TARGET)
        self.begin(NO_TROUBLE, ())

    def open(self) -> Store:
        """Return the store that a run writes to."""
        return self

    def begin(self, trouble: Trouble, repositories: Iterable[str]) -> None:
        """Begin a run."""
        self.trouble = trouble
        self.writes = 0
        self.tagged: list[tuple[str, str, str]] = []
        self.deleted: list[tuple[str, str, str]] = []

    def repository(self, name: str) -> TargetRepository:
        return TargetRepository(self, name)

    def end(self, left: Iterable[tuple[str, str]]) -> None:
        """Do nothing: what a run does is logged."""

    def ask(self) -> None:
        """Answer a request, or not."""
        if self.trouble.target_down:
            raise Unreachable("the destination is down")

    def write(self) -> None:
        """Perform a write, or be killed before it."""
        self.ask()
        if self.writes == self.trouble.killed_after:
            raise Killed
        self.writes += 1

    def named(self, repository: str) -> dict[str, str]:
        """Return the tags of a repository with their digests."""
        contents = self.contents(repository)
        return {str(tag): str(digest) for tag, digest in contents.tags.items()} if contents else {}

    def digests(self, repository: str, among: set[str]) -> frozenset[str]:
        """Return the manifests and blobs that are present."""
        contents = self.contents(repository)
        return frozenset(map(str, (*contents.manifests, *contents.blobs)) if contents else ())

    def push(self, repository: str, tag: str, picture: Picture) -> None:
        """Push an image, as another client."""
        contents = self.made(repository)
        contents.manifests |= {one.digest: one for one in picture.manifests}
        contents.blobs |= {Digest(digest): data for digest, data in picture.blobs.items()}
        contents.tags[Tag(tag)] = picture.manifests[-1].digest

    def alias(self, repository: str, tag: str, of: str) -> None:
        """Give an image another tag, as another client."""
        self.made(repository).tags[Tag(tag)] = Digest(of)

    def untag(self, repository: str, tag: str) -> None:
        """Delete a tag, as another client."""
        del self.made(repository).tags[Tag(tag)]

    def is_whole(self, repository: str, root: str) -> bool:
        """Return whether an image is there with all its content, byte for byte."""
        contents = self.made(repository)
        manifest = contents.manifests.get(Digest(root))
        if manifest is None or Digest.of(manifest.raw) != root:
            return False
        blobs = all(Digest.of(contents.blobs.get(one.digest, b"")) == one.digest for one in manifest.blobs)
        return blobs and all(self.is_whole(repository, str(child.digest)) for child in manifest.children)


class TargetRepository(MemoryRepository):
    """One repository of the destination."""

    def __init__(self, store: TargetStore, name: str) -> None:
        super().__init__(store, name)
        self._target = store

    async def resolve(self, ref: Ref) -> Descriptor | None:
        self._target.ask()
        return await super().resolve(ref)

    async def tags(self) -> AsyncIterator[Tag]:
        self._target.ask()
        async for tag in super().tags():
            yield tag

    async def write(self, blob: Descriptor, data: bytes) -> None:
        self._target.write()
        await super().write(blob, data)

    async def put_manifest(self, manifest: Manifest) -> None:
        self._target.write()
        await super().put_manifest(manifest)

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        self._target.write()
        if tag in self._target.trouble.unset:
            raise RegistryUnavailable("the tag is not set")
        contents = self._target.made(self.name)
        contents.manifests[manifest.digest] = manifest
        contents.tags[tag] = manifest.digest
        self._target.tagged.append((self.name, str(tag), str(manifest.digest)))

    async def delete(self, ref: Tag | Digest) -> None:
        self._target.write()
        if ref in self._target.trouble.undeleted:
            raise RegistryUnavailable("nothing is deleted")
        before = self._target.named(self.name).get(str(ref), str(ref))
        await super().delete(ref)
        self._target.deleted.append((self.name, str(ref), before))
