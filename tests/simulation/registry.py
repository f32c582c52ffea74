"""A docker-registry as the destination of a simulation: asked without code of the product, before and after a run."""

from __future__ import annotations

from collections.abc import Iterable

from mirrorsync.environment import Environment
from mirrorsync.hosts import HostSettings
from mirrorsync.stores.base import Store
from mirrorsync.stores.open import opener
from tests.parts.images import Image, digest
from tests.parts.wire import Registry, ask
from tests.simulation.pictures import Picture
from tests.simulation.stores import Trouble

_HEAD = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}


class RegistryTarget:
    """The destination at a docker-registry. Distribution 2.8 deletes images by their digest only, with all tags.

    tagged, deleted: what differs after a run, as for a store in memory.
    """

    tags_alone = False

    def __init__(self, host: str) -> None:
        self.address = host
        self.tagged: list[tuple[str, str, str]] = []
        self.deleted: list[tuple[str, str, str]] = []
        self._registry = Registry(host)
        self._opener = opener(Environment(hosts={host: HostSettings(plain_http=True)}))
        self._named: dict[str, dict[str, str]] = {}
        self._before: dict[str, dict[str, str]] = {}

    def open(self) -> Store:
        """Return the store that a run writes to."""
        return self._opener(self.address)

    def begin(self, trouble: Trouble, repositories: Iterable[str]) -> None:
        """Begin a run."""
        assert not trouble.target_down, "a real registry does what it does"
        self._before = {name: dict(self.named(name)) for name in repositories}

    def end(self, left: Iterable[tuple[str, str]]) -> None:
        """Find out what a run did. left: manifests without a tag that were there before it."""
        self._named = {}
        self.tagged, self.deleted = [], []
        for name, before in self._before.items():
            now = self.named(name)
            self.tagged += [(name, tag, one) for tag, one in now.items() if before.get(tag) != one]
            self.deleted += [(name, tag, one) for tag, one in before.items() if tag not in now]
        self.deleted += [(name, one, one) for name, one in left if not self.digests(name, {one})]

    def named(self, repository: str) -> dict[str, str]:
        """Return the tags of a repository with their digests."""
        if repository not in self._named:
            tags = self._registry.tags(repository)
            self._named[repository] = {tag: self._digest(repository, tag) or "" for tag in tags}
        return self._named[repository]

    def _digest(self, repository: str, ref: str) -> str | None:
        answer = ask("HEAD", f"{self._registry.url}/{repository}/manifests/{ref}", headers=_HEAD)
        return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None

    def digests(self, repository: str, among: set[str]) -> frozenset[str]:
        """Return the manifests that are present. among: those that are asked for."""
        return frozenset(one for one in among if self._digest(repository, one))

    def push(self, repository: str, tag: str, picture: Picture) -> None:
        """Push an image, as another client."""
        self._registry.push(repository, picture.made, tag)
        self._named.pop(repository, None)

    def alias(self, repository: str, tag: str, of: str) -> None:
        """Give an image another tag, as another client."""
        found = self._registry.manifest(repository, of)
        self._registry.put_manifest(repository, Image(found.headers["Content-Type"], found.body), tag)
        self._named.pop(repository, None)

    def untag(self, repository: str, tag: str) -> None:
        """Delete a tag, as another client: this registry deletes the image, with all its tags."""
        self._registry.delete(repository, self.named(repository)[tag])
        self._named.pop(repository, None)

    def is_whole(self, repository: str, root: str) -> bool:
        """Return whether an image is there with all its content, byte for byte."""
        found = self._registry.manifest(repository, root)
        if found.status != 200 or digest(found.body) != root:
            return False
        document = found.json()
        if "manifests" in document:
            return all(self.is_whole(repository, child["digest"]) for child in document["manifests"])
        blobs = [document["config"]["digest"], *(one["digest"] for one in document["layers"])]
        return all(digest(self._registry.blob(repository, blob).body) == blob for blob in blobs)
