"""The names in a layout's index.json, with the changes that this run has not written yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.names import other_spellings
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.stores.layout.backend import LayoutBackend
from mirrorsync.stores.layout.entries import Name
from mirrorsync.stores.layout.index import Index, Removed
from mirrorsync.stores.layout.manifests import Manifests
from mirrorsync.stores.layout.own_changes import OwnChanges
from mirrorsync.stores.layout.reachable import reachable
from mirrorsync.text import some_of

_NAMES_SHOWN = 10
# How often reading a damaged index.json is retried, and after how long: other tools truncate it and then write it.
_HALF_WRITTEN_READS = 5
_HALF_WRITTEN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Pending:
    """A write of index.json: its bytes, the changes in them, and the signature of the file that they are based on."""

    data: bytes
    changes: Mapping[Name, Descriptor | None]
    forgotten: frozenset[Removed]
    based_on: Hashable | None


class LayoutNames:
    """Tags and digests by repository. Reads follow what other tools write; writes are merged with it.

    Names that other tools add, move or remove during this run are kept, as long as this run does not write the same
    name: our changes are stored separately, and applied to the current content of the file. If both write a name, or
    another tool removes ours (skopeo writes back what it read when its copy began), `notice` is called.
    """

    def __init__(self, files: LayoutBackend, notice: Callable[[str], None] = lambda _: None) -> None:
        self._files = files
        self._notice = notice
        self._own = OwnChanges()
        self._index = Index()
        self._version_known = False  # whether the layout was found, with or without its version
        self._signature: Hashable | None = None
        self._damaged: Hashable | None = None  # the signature of an index.json that could not be read
        self._unwritten = False  # whether the index has entries that are in no index.json any more
        self._changes: dict[Name, Descriptor | None] = {}
        self._untagged: dict[Name, Descriptor] = {}
        self._forgotten: set[Removed] = set()
        self._manifests = Manifests(files)
        self._members: dict[str, dict[Digest, Descriptor]] = {}

    def current(self) -> Index:
        """Return the index with our changes, read again if another program wrote it. Raises: StorageError."""
        signature = self._files.index_signature()
        if signature != self._signature:
            exists = self._files.exists()
            self._merge(self._read(signature) if exists else Index())
            if exists and not self._version_known and self._files.lacks_version():
                self._notice("it has no oci-layout file; its index.json and blobs are read as those of version 1.0.0")
            self._version_known = exists
            self._signature = signature
        elif signature is None:
            self._files.exists()  # rejects a directory with other content
        return self._index

    def _read(self, signature: Hashable | None) -> Index:
        """Read index.json; if it is damaged, retry briefly, unless it was damaged before: it may be half written."""
        for _ in range(0 if signature == self._damaged else _HALF_WRITTEN_READS):
            with suppress(StorageError):
                return self._read_once()
            time.sleep(_HALF_WRITTEN_SECONDS)
        self._damaged = signature
        return self._read_once()

    def _read_once(self) -> Index:
        raw = self._files.read_index()
        return Index.load(raw, self._files.index_path) if raw is not None else Index()

    def _merge(self, index: Index) -> None:
        """Apply our changes to an index that another program wrote."""
        merge = self._own.merge(index, self._changes)
        self._changes.update(merge.again)
        for message in merge.messages:
            self._notice(message)
        for name, content in self._changes.items():
            _apply(index, name, content)
        for removed in self._forgotten:
            index.forget(removed)
        self._index = index
        self._members.clear()

    def overwritten(self, raw: bytes, signature: Hashable | None) -> None:
        """Merge an index.json of another program that ours has just replaced. signature: of ours. Raises: StorageError.

        Its entries have to be written again, since no file has them any more.
        """
        self._merge(Index.load(raw, self._files.index_path))
        self._signature = signature
        self._unwritten = True

    def tagged(self, repository: str, tag: Tag) -> Descriptor | None:
        """Return the content of a tag, None if the tag or its manifest is missing.

        A repository is found under the other names that tools write for it. Raises: UsageError if two images have the
        name, and nothing tells them apart.
        """
        index = self.current()
        for spelling in (repository, *other_spellings(repository)):
            found = index.found(Name(spelling, tag))
            if len(found) > 1:
                shown = " and ".join(found)
                raise UsageError(
                    f"{len(found)} images have this name: {shown}",
                    remedy=f"name one by its digest, such as {self._files.address}:{spelling}@{next(iter(found))}",
                )
            for content in found.values():
                return self._readable(content)
        return None

    def written_tag(self, repository: str, tag: Tag) -> Descriptor | None:
        """Return the content of a tag whose name is written as mirrorsync writes it, None if it is missing."""
        return self._held(self.current().get(Name(repository, tag)))

    def _readable(self, content: Descriptor) -> Descriptor | None:
        """Return content that is to be read, None if it is missing. Raises: StorageError if it is a symbolic link."""
        self._files.reject_link(content.digest)
        return self._held(content)

    def _held(self, content: Descriptor | None) -> Descriptor | None:
        return content if content is not None and self._files.holds(content) else None

    def tags(self, repository: str) -> list[Tag] | None:
        """Return the tags of a repository, sorted; None if the repository does not exist."""
        if repository not in self.repositories():
            return None
        names = {*self._index.repositories.get(repository, ()), *self._index.other_names().named}
        return sorted(name.ref for name in names if name.repository == repository and isinstance(name.ref, Tag))

    def known_as(self, repository: str) -> str:
        """Return the name that a repository has in the layout, the given one if no other spelling of it is there."""
        known = self.repositories()
        return next((name for name in (repository, *other_spellings(repository)) if name in known), repository)

    def repositories(self) -> set[str]:
        """Return the names of all repositories; "" is the one of images without a repository in their name."""
        index = self.current()
        others = {name.repository for name in index.other_names().named}
        return index.repositories.keys() | others | ({""} if self.unnamed() else set())

    def unnamed(self) -> list[tuple[str, Descriptor]]:
        """Return the images without a name that we know, with the name as it is written ("" without one).

        Those that are part of an index of the layout are left out: oras writes an entry for each child of an index that
        it copies (skopeo#764).
        """
        index = self.current()
        found = {content.digest: (text, content) for text, content in index.other_names().unnamed}
        if not found:
            return []
        roots = [content for names in index.repositories for _, content in index.of(names)]
        roots += [content for images in index.other_names().named.values() for content in images.values()]
        led_to = {root.digest for root in roots}
        roots += [content for _, content in found.values()]
        led_to |= {child.digest for root in roots for child in self._manifests.below(root)}
        return [image for digest, image in found.items() if digest not in led_to]

    def roots(self) -> dict[tuple[str, Ref], Descriptor]:
        """Return the root of every image, by repository and name; without a name that we know, by "" and its digest."""
        index = self.current()
        roots: dict[tuple[str, Ref], Descriptor] = {
            (name.repository, name.ref): content for names in index.repositories for name, content in index.of(names)
        }
        for name, images in index.other_names().named.items():
            for digest, content in images.items():
                # Two images with one name have only their digests to tell them apart.
                key = (name.repository, name.ref)
                if roots.get(key) != content:
                    roots[key if len(images) == 1 and key not in roots else (name.repository, digest)] = content
        return roots | {("", content.digest): content for _, content in self.unnamed()}

    def only_image(self) -> Descriptor | None:
        """Return the only image, whatever its name, None if there is no image.

        Images without a tag count only if there are no others, and referrers do not count. Raises: UsageError if there
        are several.
        """
        index = self.current()
        named = {name: content for names in index.repositories for name, content in index.of(names)}
        tagged = {name: content for name, content in named.items() if isinstance(name.ref, Tag)}
        for name, contents in index.other_names().named.items():
            several = len(contents) > 1 or name in tagged
            tagged |= {Name(name.repository, one.digest) if several else name: one for one in contents.values()}
        unnamed = {Name("", content.digest): content for _, content in self.unnamed()}
        images = self._images(tagged | unnamed) or self._images(named)
        if len({content.digest for content in images.values()}) > 1:
            shown = some_of([str(name) for name in images], _NAMES_SHOWN)
            raise UsageError(f"it has {len(images)} images", remedy=f"name one: {shown}")
        return next(iter(images.values()), None)

    def _images(self, named: Mapping[Name, Descriptor]) -> dict[Name, Descriptor]:
        """Return standalone images sorted by name, those with only a digest last."""
        found = {}
        for name, content in sorted(named.items(), key=lambda item: (isinstance(item[0].ref, Digest), str(item[0]))):
            if content.is_manifest and self._readable(content):
                try:
                    subject = self.manifest(content).subject if isinstance(name.ref, Digest) else None
                except MirrorsyncError:
                    subject = None  # a damaged manifest counts as an image; reading it raises
                if subject is None:
                    found[name] = content.bare()
        return found

    def member(self, repository: str, digest: Digest) -> Descriptor | None:
        """Return a manifest that an entry of the repository names or leads to, None if no entry does."""
        return self._held(self._members_of(repository).get(digest))

    def members(self, repository: str) -> list[Descriptor]:
        """Return all present manifests that the entries of a repository lead to."""
        return [member for member in self._members_of(repository).values() if self._files.holds(member)]

    def _members_of(self, repository: str) -> dict[Digest, Descriptor]:
        self.current()
        if repository not in self._members:
            self._members[repository] = {member.digest: member for member in self._walk(repository)}
        return self._members[repository]

    def _walk(self, repository: str) -> Iterator[Descriptor]:
        roots = [content for _, content in self._index.of(repository)]
        roots += [content for name, content in self._untagged.items() if name.repository == repository]
        others = self._index.other_names()
        for name, images in others.named.items():
            roots += images.values() if name.repository == repository else ()
        roots += [content for _, content in others.unnamed if repository == ""]
        seen: set[Digest] = set()
        while roots:
            content = roots.pop()
            if content.digest not in seen and content.is_manifest:
                seen.add(content.digest)
                roots += self._manifests.children(content)
                yield content.bare()

    def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound, IntegrityError, StorageError."""
        return self._manifests.read(content)

    def add(self, repository: str, manifest: Manifest) -> None:
        """Add a manifest that was stored without a tag."""
        self._learn(repository, manifest)
        self._untagged[Name(repository, manifest.digest)] = manifest.descriptor

    def set_tag(self, repository: str, tag: Tag, manifest: Manifest) -> None:
        """Set a tag to a stored manifest; the manifest that it named before stays, by digest, as in a registry."""
        self._learn(repository, manifest)
        name = Name(repository, tag)
        before = self.current().get(name)
        if before is not None and before.digest != manifest.digest:
            self._untagged[Name(repository, before.digest)] = before
        self._change(name, manifest.descriptor)

    def remove_tag(self, repository: str, tag: Tag, *, stays: bool = False) -> bool:
        """Remove a tag; False if it is missing. stays: its manifest gets an entry by digest."""
        name = Name(repository, tag)
        index = self.current()
        own, others = index.get(name), index.other_names().named.get(name, {})
        if stays:
            for content in (*([own] if own is not None else []), *others.values()):
                self._untagged[Name(repository, content.digest)] = content.bare()
        if own is not None:
            self._change(name, None)
        for digest in list(others):
            self._forget(Removed(digest, repository, name))
        self._members.pop(repository, None)
        return own is not None or bool(others)

    def remove_digest(self, repository: str, digest: Digest) -> bool:
        """Remove every name of a manifest; False if it has no name."""
        names = [name for name, content in self.current().of(repository) if content.digest == digest]
        for name in names:
            self._change(name, None)
        untagged = self._untagged.pop(Name(repository, digest), None)
        self._members.pop(repository, None)
        others = self._index.other_names()
        forgotten = any(digest in images for name, images in others.named.items() if name.repository == repository)
        forgotten |= not repository and any(content.digest == digest for _, content in others.unnamed)
        if forgotten:
            self._forget(Removed(digest, repository))
        return forgotten or bool(names) or untagged is not None

    def _forget(self, removed: Removed) -> None:
        """Remove entries of other tools."""
        self._forgotten.add(removed)
        self._index.forget(removed)

    def _learn(self, repository: str, manifest: Manifest) -> None:
        self._manifests.learn(manifest)
        if repository in self._members:
            self._members[repository][manifest.digest] = manifest.descriptor

    def _change(self, name: Name, content: Descriptor | None) -> None:
        index = self.current()
        self._own.change(name, index.get(name), content)
        _apply(index, name, content)
        self._changes[name] = content

    def pending(self) -> Pending | None:
        """Return what is to be written, None if there are no changes; after writing it, call `written`."""
        index = self.current()
        if not self._changes and not self._untagged and not self._forgotten and not self._unwritten:
            return None
        self._name_untagged(index)
        return Pending(self._index.dump(), dict(self._changes), frozenset(self._forgotten), self._signature)

    def is_written(self, repository: str, tag: Tag) -> bool:
        """Return whether a tag has no change that index.json lacks."""
        return Name(repository, tag) not in self._changes

    def written(self, pending: Pending, signature: Hashable | None) -> None:
        """Drop changes that are now in index.json; newer ones of the same names stay. signature: of that file."""
        self._signature = signature
        self._unwritten = False
        self._forgotten -= pending.forgotten
        for name, content in pending.changes.items():
            if self._changes.get(name) is content:
                self._changes.pop(name, None)

    def reachable(self) -> set[Digest]:
        """Return the digests of all content that is reachable from an entry, ours or another program's.

        Raises: IntegrityError, StorageError if a manifest cannot be read.
        """
        index = self.current()
        named = chain.from_iterable(index.repositories.values())
        entries = [index.repositories[name.repository][name] for name in named]
        untagged = [content.to_json() for content in self._untagged.values()]
        return reachable([*entries, *index.others, *untagged], self._files)

    def _name_untagged(self, index: Index) -> None:
        """Add entries by digest for manifests that no tag or index leads to; remove those that are not needed now."""
        untagged, self._untagged = self._untagged, {}
        for repository in {name.repository for name in (*untagged, *self._changes)}:
            ours = {name: content for name, content in untagged.items() if name.repository == repository}
            entries = [*index.of(repository), *ours.items()]
            led_to = {child.digest for _, root in entries for child in self._manifests.below(root)}
            led_to |= {content.digest for name, content in entries if isinstance(name.ref, Tag)}
            for name, content in entries:
                if isinstance(name.ref, Digest) and content.digest in led_to:
                    self._change(name, None)
                elif name in ours:
                    self._change(name, content)


def _apply(index: Index, name: Name, content: Descriptor | None) -> None:
    if content is None:
        index.remove(name)
    else:
        index.set(name, content)
