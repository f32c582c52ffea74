"""The images of a new archive, and its members, in an order that depends only on the images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mirrorsync.oci.digest import Digest
from mirrorsync.stores.docker.reader import MANIFEST_FILE, Name, SavedImage
from mirrorsync.stores.docker.staging import Assembled


class Content(Protocol):
    """A source of bytes."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes from `offset` on."""


class Entry(NamedTuple):
    """A member of the new archive."""

    name: str
    size: int
    chunks: Iterator[bytes]


@dataclass(slots=True)
class _NamedImage:
    image: Assembled
    names: list[Name] = field(default_factory=list)


class Contents:
    """Images by their IDs, each with its names. An image that loses its last name is dropped."""

    def __init__(self, images: Sequence[SavedImage] = ()) -> None:
        self._images: dict[Digest, _NamedImage] = {}
        self._owners: dict[Name, Digest] = {}
        self._old = 0
        for image in images:
            assembled = Assembled(image.id, image.config, tuple(layer.diff_id for layer in image.layers))
            for name in image.names or (None,):
                self.add(assembled, name)
        self._old = len(self._images)
        self.changed = False

    def add(self, image: Assembled, name: Name | None) -> None:
        """Add an image, or another name of it; the name is removed from the image that had it."""
        if image.id in self._images and (name is None or self._owners.get(name) == image.id):
            return
        if name is not None:
            self.remove(name)
        named = self._images.setdefault(image.id, _NamedImage(image))
        if name is not None:
            named.names.append(name)
            self._owners[name] = image.id
        self.changed = True

    def rename(self, image_id: Digest, name: Name | None) -> bool:
        """Add a name to an image (None: no change); False if the image is missing."""
        named = self._images.get(image_id)
        if named is not None:
            self.add(named.image, name)
        return named is not None

    def remove(self, name: Name) -> bool:
        """Remove a name; False if no image has it."""
        owner = self._owners.pop(name, None)
        if owner is None:
            return False
        named = self._images[owner]
        named.names.remove(name)
        if not named.names:
            self._old -= list(self._images).index(owner) < self._old
            del self._images[owner]
        self.changed = True
        return True

    def id_of(self, name: Name) -> Digest | None:
        """Return the ID of the image with a name."""
        return self._owners.get(name)

    def names(self) -> list[Name]:
        """Return all names."""
        return list(self._owners)

    def config(self, image_id: Digest) -> bytes | None:
        """Return the config of an image by its ID."""
        named = self._images.get(image_id)
        return named.image.config if named else None

    def layers_of(self, image_id: Digest) -> tuple[Digest, ...]:
        """Return the diff_ids of an existing image."""
        return self._images[image_id].image.layers

    def layers(self) -> set[Digest]:
        """Return the diff_ids of all layers."""
        return {layer for named in self._images.values() for layer in named.image.layers}

    def entries(self, content: Callable[[Digest], Content]) -> Iterator[Entry]:
        """Yield the members, named as by containers/image: each layer once, the configs, and manifest.json last.

        Old images keep their order, so that `@N` keeps its meaning; new ones follow, sorted by name. Only Docker before
        1.10 needs `repositories` and a directory for each layer, so they are not written.
        """
        images = list(self._images.values())
        ordered = images[: self._old] + sorted(images[self._old :], key=lambda one: (sorted(one.names), one.image.id))
        written: set[Digest] = set()
        for one in ordered:
            for layer in one.image.layers:
                if layer not in written:
                    written.add(layer)
                    found = content(layer)
                    yield Entry(f"{layer.encoded}.tar", found.size, found.chunks())
        for one in ordered:
            yield _small(f"{one.image.id.encoded}.json", one.image.config)
        manifest = [
            {
                "Config": f"{one.image.id.encoded}.json",
                "RepoTags": sorted(name.full for name in one.names) or None,
                "Layers": [f"{layer.encoded}.tar" for layer in one.image.layers],
            }
            for one in ordered
        ]
        yield _small(MANIFEST_FILE, json.dumps(manifest, separators=(",", ":")).encode())


def _small(name: str, data: bytes) -> Entry:
    return Entry(name, len(data), iter([data]))
