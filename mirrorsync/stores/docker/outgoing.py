"""Compress the layers of docker archives and daemons for a registry, with digests that are known before the copy.

A manifest names compressed layers, so a layer whose compressed digest is unknown must be compressed before the plan:
once, into an unnamed temporary file, from which it is then read. (Compressing it again would cost 2 s of two cores for
each GiB; to write and read it costs 0.5 s.) A layer that is in the cache is compressed only while it is copied.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import IntegrityError, Interrupted, Malformed, Mismatch
from mirrorsync.events import Noticed, Observer
from mirrorsync.files.gzip import COMPRESSOR, compressed, deflaters
from mirrorsync.files.spool import Piece, Spool, hashed
from mirrorsync.files.unpack import unpacked
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.docker.cache import LayerCache
from mirrorsync.stores.docker.reader import SavedLayer

_LAYERS_AT_ONCE: Final = 2
# Layers that are compressed in the archive in these ways are pushed as they are; others are compressed with gzip.
_MEDIA_TYPES: Final = {"gzip": media_types.OCI_LAYER_GZIP, "zstd": media_types.OCI_LAYER_ZSTD}
_WORTH_A_WORD: Final = 256 * 1024 * 1024  # bytes to compress that are worth a notice: about a second


@dataclass(frozen=True, slots=True)
class _Ready:
    """A layer with its compressed descriptor. spooled: the compressed bytes, None if they are not stored."""

    layer: Descriptor
    origin: SavedLayer
    spooled: Piece | None


class Layers:
    """Compressed layers by their digests. Methods block, and may be called from any thread.

    where: the store's address, for messages. temporary: an existing directory for compressed layers.
    """

    def __init__(self, where: str, temporary: Path, cache: LayerCache, observer: Observer) -> None:
        self._where = where
        self._spool = Spool(temporary)
        self._cache = cache
        self._observer = observer
        self._ready: dict[Digest, _Ready] = {}
        self._by_origin: dict[tuple[Digest, str], Descriptor] = {}
        self._making = threading.Lock()
        self._stopped = threading.Event()
        self._deflaters = deflaters()

    def described(self, layers: Sequence[SavedLayer]) -> list[Descriptor]:
        """Return the compressed descriptor of each layer, verified; unknown ones are computed.

        Raises: IntegrityError if a layer does not match its diff_id; StorageError; Interrupted after `close`.
        """
        with self._making:
            wanted = {_key(layer): layer for layer in layers}
            missing = [layer for key, layer in wanted.items() if key not in self._by_origin and not self._known(layer)]
            size = sum(layer.size for layer in missing)
            if size >= _WORTH_A_WORD:
                what = "a layer" if len(missing) == 1 else f"{len(missing)} layers"
                message = f"compressing {what} of {size >> 20} MiB first, to find out what the registry already has"
                self._observer(Noticed(self._where, message))
            with ThreadPoolExecutor(_LAYERS_AT_ONCE, thread_name_prefix="layer") as threads:
                making = [threads.submit(self._make, layer) for layer in missing]
                try:
                    for done in making:
                        self._keep(done.result())
                finally:
                    threads.shutdown(wait=False, cancel_futures=True)  # after an error, no more layers are started
            return [self._by_origin[_key(layer)] for layer in layers]

    def knows(self, layers: Sequence[SavedLayer]) -> bool:
        """Return whether `described` has nothing to compute for these layers."""
        with self._making:
            return all(_key(layer) in self._by_origin or self._known(layer) for layer in layers)

    def find(self, digest: Digest) -> Descriptor | None:
        """Return a layer that was described."""
        ready = self._ready.get(digest)
        return ready.layer if ready else None

    def diff_id(self, digest: Digest) -> Digest | None:
        """Return the diff_id of a layer that was described."""
        ready = self._ready.get(digest)
        return ready.origin.diff_id if ready else None

    @contextmanager
    def open(self, blob: Descriptor, offset: int) -> Iterator[Iterator[bytes]]:
        """Read a layer that was described, compressed, from `offset` on."""
        ready = self._ready[blob.digest]
        if ready.spooled is not None:
            yield ready.spooled.chunks(offset)
        elif ready.origin.compression in _MEDIA_TYPES:
            yield ready.origin.chunks(offset)
        else:
            yield _skipped(self._compressed_again(ready), offset)

    def close(self) -> None:
        """Stop compressing, and release files and threads."""
        self._stopped.set()
        with self._making:
            self._ready.clear()
            self._by_origin.clear()
            self._deflaters.shutdown(cancel_futures=True)
            self._spool.close()

    def _known(self, layer: SavedLayer) -> bool:
        """Look a layer up in the cache. A layer that is pushed as it is in the archive is never in it."""
        known = None if layer.compression in _MEDIA_TYPES else self._cache.layer(layer.diff_id, COMPRESSOR)
        if known is not None:
            self._keep(_Ready(known, layer, None))
        return known is not None

    def _keep(self, ready: _Ready) -> None:
        self._ready[ready.layer.digest] = ready
        self._by_origin[_key(ready.origin)] = ready.layer

    def _make(self, layer: SavedLayer) -> _Ready:
        if layer.compression in _MEDIA_TYPES:
            return _Ready(self._measured(layer), layer, None)
        hasher = hashlib.sha256()
        spooled = self._spool.store(hashed(self._compressed(layer), hasher))
        made = Descriptor(media_types.OCI_LAYER_GZIP, Digest(f"sha256:{hasher.hexdigest()}"), spooled.size)
        self._cache.add_layer(layer.diff_id, COMPRESSOR, made)
        return _Ready(made, layer, spooled)

    def _measured(self, layer: SavedLayer) -> Descriptor:
        """Return the descriptor of a layer that is compressed in the archive, verified by decompressing it."""
        hasher = hashlib.sha256()
        packed = hashed(self._stoppable(layer.chunks()), hasher)
        for _ in verified_layer(layer.diff_id, unpacked(packed, layer.compression, f"layer {layer.diff_id.short}")):
            pass
        digest = Digest(f"sha256:{hasher.hexdigest()}")
        self._cache.add_diff_id(digest, layer.diff_id)
        return Descriptor(_MEDIA_TYPES[layer.compression], digest, layer.size)

    def _compressed(self, layer: SavedLayer) -> Iterator[bytes]:
        return compressed(verified_layer(layer.diff_id, self._stoppable(layer.content())), self._deflaters)

    def _compressed_again(self, ready: _Ready) -> Iterator[bytes]:
        """Compress a cached layer. Raises: IntegrityError if the cached digest is wrong, and removes it."""
        hasher = hashlib.sha256()
        size, last = 0, b""
        for chunk in hashed(self._compressed(ready.origin), hasher):
            size += len(chunk)
            if size > ready.layer.size:
                break
            if last:
                yield last
            last = chunk  # yielded after verification
        if size != ready.layer.size or hasher.hexdigest() != ready.layer.digest.encoded:
            self._cache.drop_layer(ready.origin.diff_id, COMPRESSOR)
            raise IntegrityError(
                f"recompressed layer {ready.origin.diff_id.short} does not match the cached digest",
                remedy="run again: the cache entry was removed",
            )
        yield last

    def _stoppable(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopped.is_set():
                raise Interrupted("the run was told to stop")
            yield chunk


def verified_layer(diff_id: Digest, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of an uncompressed layer.

    Raises: Mismatch if they do not match, at the end; also if they cannot be decompressed.
    """
    hasher = diff_id.hasher()
    try:
        for chunk in chunks:
            hasher.update(chunk)
            yield chunk
    except Malformed as error:
        raise Mismatch(f"layer does not match its diff_id {diff_id}: {error.message}") from error
    if hasher.hexdigest() != diff_id.encoded:
        found = f"{diff_id.algorithm}:{hasher.hexdigest()}"
        raise Mismatch(f"layer does not match its diff_id: expected {diff_id}, got {found}", digest=found)


def prove_layer(layer: SavedLayer, watch: Callable[[int], object]) -> None:
    """Read a layer, decompressed, and compare it with its diff_id. watch: gets the number of stored bytes read.

    Raises: Mismatch, also for compressed data that is not valid; StorageError.
    """

    def stored() -> Iterator[bytes]:
        for chunk in layer.chunks():
            watch(len(chunk))
            yield chunk

    chunks = unpacked(stored(), layer.compression, f"layer {layer.diff_id.short}")
    for _ in verified_layer(layer.diff_id, chunks):
        pass


def _key(layer: SavedLayer) -> tuple[Digest, str]:
    """Return the same for layers that are the same blob in a registry."""
    return layer.diff_id, layer.compression if layer.compression in _MEDIA_TYPES else ""


def _skipped(chunks: Iterable[bytes], offset: int) -> Iterator[bytes]:
    """Yield the chunks without their first `offset` bytes."""
    for chunk in chunks:
        if offset < len(chunk):
            yield chunk[offset:]
        offset = max(0, offset - len(chunk))
