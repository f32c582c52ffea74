"""Staged content of a docker archive or daemon: configs and decompressed layers that are not part of an image yet."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mirrorsync.errors import ContentNotFound, IntegrityError, Malformed
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.files.spool import Piece, Spool, hashed
from mirrorsync.files.unpack import compression_of, unpacked
from mirrorsync.oci.config import MAX_CONFIG_BYTES
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import Where
from mirrorsync.stores.docker.cache import LayerCache
from mirrorsync.stores.docker.reader import diff_ids


class Assembled(NamedTuple):
    """An image that is complete: its config, and the diff_ids of its layers."""

    id: Digest
    config: bytes
    layers: tuple[Digest, ...]


class Incoming:
    """Verified content until it is written. Methods block, and may be called from any thread.

    directory: an existing one, for temporary files. cache: stores the diff_ids of compressed layers.
    """

    def __init__(self, directory: Path, cache: LayerCache) -> None:
        self._cache = cache
        self._spool = Spool(directory)
        self._pieces: dict[Digest, Piece] = {}  # by the digest of the uncompressed bytes
        self._origins: dict[Digest, Digest] = {}  # compressed digest -> uncompressed digest
        self._lock = threading.Lock()

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a config or layer, which is decompressed; exceptions of `chunks` pass through.

        Raises: IntegrityError, Malformed, StorageError.
        """
        verified = iter(VerifiedChunks.of(blob, chunks))
        first = next(verified, b"")
        packed: Iterator[bytes] = itertools.chain([first], verified)
        content = unpacked(packed, compression_of(first), f"layer {blob.digest.short}")
        hasher = hashlib.sha256()
        try:
            piece = self._spool.store(hashed(content, hasher))
        except Malformed:
            for _ in verified:
                pass  # bytes that were damaged on the way are reported as such, and read once more
            raise
        kept = Digest(f"sha256:{hasher.hexdigest()}")
        with self._lock:
            self._pieces.setdefault(kept, piece)
            self._origins[blob.digest] = kept
        self._cache.add_diff_id(blob.digest, kept)

    def holds(self, digest: Digest) -> bool:
        """Return whether a blob was stored, compressed or not."""
        return self._origins.get(digest, digest) in self._pieces

    def piece(self, digest: Digest) -> Piece | None:
        """Return uncompressed content by its own digest."""
        return self._pieces.get(digest)

    def diff_id(self, layer: Digest) -> Digest | None:
        """Return the diff_id of a compressed layer, if it is known from this or an earlier run."""
        return self._origins.get(layer) or self._cache.diff_id(layer)

    def assembled(
        self,
        image: Manifest,
        config: Callable[[Digest], bytes | None],
        uncompressed: Callable[[Digest], Digest | None],
        there: Callable[[Digest], bool],
    ) -> Assembled:
        """Return a complete image, from staged content and content that the store has.

        config: returns a config of the store. uncompressed: returns the diff_id of a layer. there: returns whether the
        store has a layer of a diff_id. Raises: ContentNotFound if content is missing; IntegrityError if a layer does
        not match its diff_id, Malformed if there are more or fewer than in the config.
        """
        digest = image.blobs[0].digest
        data = self._config(digest) or config(digest)
        if data is None:
            raise ContentNotFound("the config of the image is missing", place=Where(ref=digest))
        wanted = diff_ids(data)
        layers = image.layers
        if len(layers) != len(wanted):
            raise Malformed(f"the image has {len(layers)} layers, and its config names {len(wanted)}")
        for layer, diff_id in zip(layers, wanted, strict=True):
            found = uncompressed(layer.digest)
            if found is None or not (found in self._pieces or there(found)):
                raise ContentNotFound("a layer of the image is missing", place=Where(ref=layer.digest))
            if found != diff_id:
                raise IntegrityError(f"layer {layer.digest.short} does not match its diff_id: {diff_id}, got {found}")
        return Assembled(Digest.of(data), data, wanted)

    def clear(self) -> None:
        """Delete all staged content."""
        with self._lock:
            self._pieces.clear()
            self._origins.clear()
            self._spool.close()

    def _config(self, digest: Digest) -> bytes | None:
        piece = self._pieces.get(self._origins.get(digest, digest))
        if piece is None:
            return None
        if piece.size > MAX_CONFIG_BYTES:
            raise Malformed(f"the config of the image is {piece.size} bytes; the limit is {MAX_CONFIG_BYTES}")
        return b"".join(piece.chunks())
