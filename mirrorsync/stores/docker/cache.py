"""A cache of facts about layers and images of docker archives and daemons, so that they need not be computed again.

It is a hint: a damaged, foreign or missing entry makes a run slower, but never wrong, and never stops it. Entries are
files of a few hundred bytes with a checksum, written under another name and renamed, without fsync: an entry that a
crash has damaged is ignored. They are facts about content (a layer's compressed digest), so they never become stale.
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

from mirrorsync.errors import GrammarError, Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest

_MAX_ENTRY: Final = 32 * 1024 * 1024
_UNREADABLE: Final = (OSError, ValueError, TypeError, KeyError, RecursionError, GrammarError, Malformed)


class KnownImage(NamedTuple):
    """An image of a daemon: the manifest that was created for it, and its config."""

    manifest: Manifest
    config: bytes


class LayerCache:
    """Entries in a directory; None = no cache. Methods may be called from any thread.

    warn: called once if entries cannot be written.
    """

    def __init__(self, directory: Path | None, warn: Callable[[str], None]) -> None:
        self._root = directory / "docker" if directory else None
        self._warn = warn

    def layer(self, diff_id: Digest, compressor: str) -> Descriptor | None:
        """Return the descriptor of the layer as compressed by `compressor`."""
        with suppress(*_UNREADABLE):
            entry = self._get(compressor, diff_id)
            return Descriptor(media_types.OCI_LAYER_GZIP, Digest(entry["digest"]), int(entry["size"]))
        return None

    def add_layer(self, diff_id: Digest, compressor: str, layer: Descriptor) -> None:
        """Store the descriptor of a compressed layer."""
        self._put(compressor, diff_id, {"digest": layer.digest, "size": layer.size})

    def drop_layer(self, diff_id: Digest, compressor: str) -> None:
        """Remove the descriptor of a compressed layer."""
        self._drop(compressor, diff_id)

    def diff_id(self, compressed: Digest) -> Digest | None:
        """Return the diff_id of a layer that was decompressed once."""
        with suppress(*_UNREADABLE):
            return Digest(self._get("origins", compressed)["diff_id"])
        return None

    def add_diff_id(self, compressed: Digest, diff_id: Digest) -> None:
        """Store the diff_id of a compressed layer."""
        self._put("origins", compressed, {"diff_id": diff_id})

    def config(self, image_id: Digest) -> Digest | None:
        """Return the digest of the config of the image with an ID in a daemon."""
        with suppress(*_UNREADABLE):
            return Digest(self._get("configs", image_id)["config"])
        return None

    def add_config(self, image_id: Digest, config: Digest) -> None:
        """Store the config's digest of an image whose ID is another digest, as with containerd's image store."""
        if image_id != config:
            self._put("configs", image_id, {"config": config})

    def image(self, image_id: Digest) -> KnownImage | None:
        """Return the image with an ID in a daemon."""
        with suppress(*_UNREADABLE):
            entry = self._get("images", image_id)
            manifest = Manifest.parse(entry["manifest"].encode(), media_types.OCI_MANIFEST)
            config = entry["config"].encode()
            if manifest.blobs[0].digest.matches(config):
                return KnownImage(manifest, config)
        return None

    def add_image(self, image_id: Digest, image: KnownImage) -> None:
        """Store an image of a daemon. Content that is not UTF-8 is not stored."""
        with suppress(UnicodeDecodeError):
            self._put("images", image_id, {"manifest": image.manifest.raw.decode(), "config": image.config.decode()})

    def _get(self, kind: str, key: Digest) -> Mapping[str, Any]:
        """Return an entry. Raises: one of _UNREADABLE if there is no valid entry."""
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
            self._warn_once(f"the layer cache cannot be written: {os.strerror(error.errno or 5)}; going on without it")

    def _drop(self, kind: str, key: Digest) -> None:
        with suppress(OSError):
            self._path(kind, key).unlink()

    def _path(self, kind: str, key: Digest) -> Path:
        """Return the path of an entry. Raises: FileNotFoundError without a cache."""
        if self._root is None:
            raise FileNotFoundError
        return self._root / kind / key.algorithm / key.encoded

    def _warn_once(self, message: str) -> None:
        warn, self._warn = self._warn, lambda _: None
        warn(message)


def _checksum(kind: str, key: Digest, data: bytes) -> str:
    """Return a checksum that includes the key, so that an entry under another name is invalid."""
    return hashlib.sha256(f"{kind} {key}\n".encode() + data).hexdigest()
