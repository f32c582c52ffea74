"""A layout as the destination of a simulation, read without code of the product; its writer dies now and then.

After every run that came to its end and deleted something, the layout has what index.json leads to, and nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.base import Store
from mirrorsync.stores.layout.backend import NOTHING, Dropped, Written
from mirrorsync.stores.layout.files import LayoutFiles
from mirrorsync.stores.layout.store import LayoutDirectoryRepository, LayoutDirectoryStore, LayoutStore
from tests.parts.images import digest
from tests.simulation.pictures import Picture
from tests.simulation.stores import NO_TROUBLE, Killed, Trouble

_NAME = "org.opencontainers.image.ref.name"


class LayoutTarget:
    """The destination as a layout in a directory. tagged, deleted: what differs after a run."""

    tags_alone = True

    def __init__(self, directory: Path) -> None:
        self.address = f"oci:{directory}"
        self.tagged: list[tuple[str, str, str]] = []
        self.deleted: list[tuple[str, str, str]] = []
        self.trouble = NO_TROUBLE
        self._directory = directory
        self._blobs = directory / "blobs" / "sha256"
        self._before: dict[str, dict[str, str]] = {}

    def open(self) -> Store:
        """Return the store that a run writes to."""
        return _DyingStore(self._directory, self.trouble)

    def begin(self, trouble: Trouble, repositories: Iterable[str]) -> None:
        """Begin a run."""
        assert not trouble.target_down, "a directory answers"
        self.trouble = trouble
        self._before = {name: self.named(name) for name in repositories}

    def end(self, left: Iterable[tuple[str, str]]) -> None:
        """Find out what a run did. left: manifests without a tag that were there before it."""
        self.tagged, self.deleted = [], []
        for name, before in self._before.items():
            now = self.named(name)
            self.tagged += [(name, tag, one) for tag, one in now.items() if before.get(tag) != one]
            self.deleted += [(name, tag, one) for tag, one in before.items() if tag not in now]
        self.deleted += [(name, one, one) for name, one in left if one not in self._reachable(self._roots(name))]

    def check(self) -> None:
        """Check that the layout has no more and no less than index.json leads to, if the run deleted something."""
        if self.deleted:
            needed = self._reachable([one["digest"] for one in self._entries()])
            there = {f"sha256:{path.name}" for path in self._blobs.iterdir()}
            assert there == needed, f"left over: {sorted(there - needed)}; missing: {sorted(needed - there)}"

    def named(self, repository: str) -> dict[str, str]:
        """Return the tags of a repository with their digests."""
        names = [(one.get("annotations", {}).get(_NAME, ""), one["digest"]) for one in self._entries()]
        return {name.partition(":")[2]: one for name, one in names if name.startswith(f"{repository}:")}

    def digests(self, repository: str, among: set[str]) -> frozenset[str]:
        """Return the manifests of a repository, and the blobs of all of them, which share theirs."""
        if not self._blobs.exists():
            return frozenset()
        found = {f"sha256:{path.name}": path.read_bytes() for path in self._blobs.iterdir()}
        blobs = {key for key, data in found.items() if _needs(data) is None}
        return frozenset(blobs | self._reachable(self._roots(repository)))

    def _roots(self, repository: str) -> list[str]:
        ours = (f"{repository}:", f"{repository}@")
        return [one["digest"] for one in self._entries() if one.get("annotations", {}).get(_NAME, "").startswith(ours)]

    def _entries(self) -> list[dict[str, Any]]:
        path = self._directory / "index.json"
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())["manifests"] if path.exists() else []
        return entries

    def _reachable(self, roots: Iterable[str]) -> set[str]:
        found: set[str] = set()
        pending = list(roots)
        while pending:
            one = pending.pop()
            if one not in found:
                found.add(one)
                pending += _needs((self._blobs / one.partition(":")[2]).read_bytes()) or ()
        return found

    def push(self, repository: str, tag: str, picture: Picture) -> None:
        """Push an image, as another client."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        (self._directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        contents = {str(one.digest): one.raw for one in picture.manifests} | picture.blobs
        for key, data in contents.items():
            (self._blobs / key.partition(":")[2]).write_bytes(data)
        self._name(repository, tag, picture.made.descriptor)

    def alias(self, repository: str, tag: str, of: str) -> None:
        """Give an image another tag, as another client."""
        entry = next(one for one in self._entries() if one["digest"] == of)
        self._name(repository, tag, {key: value for key, value in entry.items() if key != "annotations"})

    def untag(self, repository: str, tag: str) -> None:
        """Delete a tag, as another client."""
        self._name(repository, tag, None)

    def _name(self, repository: str, tag: str, content: Any) -> None:
        name = f"{repository}:{tag}"
        entries = [one for one in self._entries() if one.get("annotations", {}).get(_NAME) != name]
        if content is not None:
            entries.append({**content, "annotations": {_NAME: name}})
        (self._directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

    def is_whole(self, repository: str, root: str) -> bool:
        """Return whether an image is there with all its content, byte for byte."""
        path = self._blobs / root.partition(":")[2]
        if not path.exists() or digest(path.read_bytes()) != root:
            return False
        return all(self.is_whole(repository, one) for one in _needs(path.read_bytes()) or ())


def _needs(data: bytes) -> list[str] | None:
    """Return what a manifest names, None for a blob."""
    try:
        document = json.loads(data)
    except ValueError:
        return None
    if not isinstance(document, dict) or not document.keys() & {"manifests", "layers"}:
        return None
    config = [document["config"]] if "config" in document else []
    return [one["digest"] for one in (*config, *document.get("manifests", ()), *document.get("layers", ()))]


class _DyingFiles(LayoutFiles):
    """The files of a process that is killed after some writes, which then writes nothing more.

    A write is a blob, index.json, or half of the blobs that are dropped.
    """

    def __init__(self, root: Path, trouble: Trouble) -> None:
        super().__init__(root)
        self._left = trouble.killed_after
        self._dead = self._closed = False
        self._guard = threading.Lock()

    def _dies(self) -> bool:
        if self._left == 0:
            self._dead = True
        elif self._left is not None:
            self._left -= 1
        return self._dead

    def lock(self) -> None:
        with self._guard:
            if self._dead or self._closed:  # by a thread that goes on: the process of the simulation lives
                raise Killed
            super().lock()

    def close(self) -> None:
        with self._guard:
            self._closed = True
            super().close()

    def store(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        if self._dies():
            raise Killed
        super().store(content, chunks)

    def write_index(self, data: bytes, keep: Any, based_on: Any) -> Written:
        if self._dead:
            return Written(self.index_signature())
        if self._dies():
            raise Killed
        return super().write_index(data, keep, based_on)

    def drop(self, keep: Any) -> Dropped:
        if self._dead:
            return NOTHING
        there = sorted(f"sha256:{path.name}" for path in (self.root / "blobs" / "sha256").iterdir())
        some = [Digest(one) for one in there if one not in keep]
        half = super().drop({*keep, *some[: len(some) // 2]})
        if self._dies():
            raise Killed
        return half.plus(super().drop(keep))


class _DyingStore(LayoutDirectoryStore):
    """The store over these files."""

    def __init__(self, directory: Path, trouble: Trouble) -> None:
        self.files = _DyingFiles(directory, trouble)
        LayoutStore.__init__(self, self.files)

    def repository(self, name: str) -> LayoutDirectoryRepository:
        return LayoutDirectoryRepository(self, name)
