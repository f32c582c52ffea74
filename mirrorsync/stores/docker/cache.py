"""What earlier runs learned about layers and images of docker's places, so that it need not be computed again.

A hint: a damaged, foreign or missing entry makes a run slower, never wrong, and never stops it. Entries are files of
a few hundred bytes with a checksum, written under another name and renamed, without fsync: what a crash damages is no
entry. They are facts about content (a layer's compressed digest), so none becomes stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from mirrorsync.errors import GrammarError, IntegrityError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest

_MAX_ENTRY: Final = 32 * 1024 * 1024
_UNREADABLE: Final = (OSError, ValueError, TypeError, KeyError, RecursionError, GrammarError, IntegrityError)


class KnownImage(NamedTuple):
    """An image of a daemon: the manifest that was made for it, and its config."""

    manifest: Manifest
    config: bytes


class LayerCache:
    """Entries in a directory; with None for it, nothing is remembered. Methods may be called from any thread.

    warn: is told, once, when entries cannot be written.
    """

    def __init__(self, directory: Path | None, warn: Callable[[str], None]) -> None:
        self._root = directory / "docker" if directory else None
        self._warn = warn

    def layer(self, diff_id: Digest, compressor: str) -> Descriptor | None:
        """Return what the layer becomes when `compressor` compresses it."""
        with suppress(*_UNREADABLE):
            entry = self._get(compressor, diff_id)
            return Descriptor(media_types.OCI_LAYER_GZIP, Digest(entry["digest"]), int(entry["size"]))
        return None

    def add_layer(self, diff_id: Digest, compressor: str, layer: Descriptor) -> None:
        """Remember what a layer became."""
        self._put(compressor, diff_id, {"digest": layer.digest, "size": layer.size})

    def drop_layer(self, diff_id: Digest, compressor: str) -> None:
        """Forget what a layer became."""
        self._drop(compressor, diff_id)

    def diff_id(self, compressed: Digest) -> Digest | None:
        """Return the diff_id of a layer that was decompressed once."""
        with suppress(*_UNREADABLE):
            return Digest(self._get("origins", compressed)["diff_id"])
        return None

    def add_diff_id(self, compressed: Digest, diff_id: Digest) -> None:
        """Remember what a layer was when it was decompressed."""
        self._put("origins", compressed, {"diff_id": diff_id})

    def config(self, image_id: Digest) -> Digest | None:
        """Return the digest of the config of the image that has an id in a daemon."""
        with suppress(*_UNREADABLE):
            return Digest(self._get("configs", image_id)["config"])
        return None

    def add_config(self, image_id: Digest, config: Digest) -> None:
        """Remember which config the image has whose id is another digest, as with containerd's image store."""
        if image_id != config:
            self._put("configs", image_id, {"config": config})

    def image(self, image_id: Digest) -> KnownImage | None:
        """Return the image that has an id in a daemon."""
        with suppress(*_UNREADABLE):
            entry = self._get("images", image_id)
            manifest = Manifest.parse(entry["manifest"].encode(), media_types.OCI_MANIFEST)
            config = entry["config"].encode()
            if manifest.blobs[0].digest.matches(config):
                return KnownImage(manifest, config)
        return None

    def add_image(self, image_id: Digest, image: KnownImage) -> None:
        """Remember an image of a daemon. What is not UTF-8 is not remembered."""
        with suppress(UnicodeDecodeError):
            self._put("images", image_id, {"manifest": image.manifest.raw.decode(), "config": image.config.decode()})

    def drop_image(self, image_id: Digest) -> None:
        """Forget an image of a daemon."""
        self._drop("images", image_id)

    def _get(self, kind: str, key: Digest) -> Mapping[str, Any]:
        """Return an entry. Raises: one of _UNREADABLE when there is none."""
        with self._path(kind, key).open("rb") as file:
            checksum, _, data = file.read(_MAX_ENTRY).partition(b"\n")
        if checksum.decode() != _checksum(kind, key, data):
            raise ValueError("the entry is damaged")
        entry: dict[str, Any] = json.loads(data)
        return entry

    def _put(self, kind: str, key: Digest, entry: Mapping[str, Any]) -> None:
        if self._root is None:
            return
        data = json.dumps(entry).encode()
        path = self._path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                file.write(_checksum(kind, key, data).encode() + b"\n" + data)
            os.replace(file.name, path)  # noqa: PTH105 - one name of a file, not a path to look at
        except OSError as error:
            self._warn_once(f"the layer cache cannot be written and is left alone: {os.strerror(error.errno or 5)}")

    def _drop(self, kind: str, key: Digest) -> None:
        with suppress(OSError):
            self._path(kind, key).unlink()

    def _path(self, kind: str, key: Digest) -> Path:
        """Return where an entry is. Raises: FileNotFoundError when nothing is remembered."""
        if self._root is None:
            raise FileNotFoundError
        return self._root / kind / key.algorithm / key.encoded

    def _warn_once(self, message: str) -> None:
        warn, self._warn = self._warn, lambda _: None
        warn(message)


def _checksum(kind: str, key: Digest, data: bytes) -> str:
    """Bind an entry to its place, so that a file that was moved is no entry either."""
    return hashlib.sha256(f"{kind} {key}\n".encode() + data).hexdigest()
