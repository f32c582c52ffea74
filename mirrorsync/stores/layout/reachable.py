"""Find the content that is reachable from the entries of an index.json, so that the rest can be removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from mirrorsync.errors import GrammarError, Malformed, MirrorsyncError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import ALGORITHMS, Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, refuse_schema_1
from mirrorsync.stores.layout.backend import LayoutBackend
from mirrorsync.stores.layout.manifests import read_manifest, read_raw

_DIGEST: Final = re.compile(rf"(?:{'|'.join(ALGORITHMS)}):[0-9a-f]{{64,128}}".encode())


def reachable(entries: Iterable[object], files: LayoutBackend) -> set[Digest]:
    """Return the digests of all content that is reachable from the entries (descriptor objects), including their own.

    Manifests are followed to their children, configs and layers; in small content of an unknown type, everything that
    looks like a digest counts. A missing manifest is skipped: an index need not have all its platforms. Raises:
    IntegrityError, Malformed, StorageError if an entry or a manifest cannot be read: then all content may be needed.
    """
    found: set[Digest] = set()
    waiting: list[Descriptor] = []
    try:
        waiting += (Descriptor.from_json(entry) for entry in entries)
        while waiting:
            content = waiting.pop()
            if content.digest not in found:
                found.add(content.digest)
                waiting += _below(content, files)
    except MirrorsyncError as error:
        message = f"no blob was removed, because the needed ones cannot be determined: {error.message}"
        if isinstance(error, GrammarError):
            raise Malformed(message, remedy="restore index.json, or remove the entry") from error
        raise error.with_(message=message) from error.__cause__
    return found


def _below(content: Descriptor, files: LayoutBackend) -> Iterator[Descriptor]:
    refuse_schema_1(content.media_type)
    size = files.size(content.digest)
    if size is None:
        return
    if content.is_manifest:
        manifest = read_manifest(files, content)
        yield from manifest.children
        # Content of an index that is not a manifest has an unknown type, and may reference more content.
        known = manifest.media_type not in media_types.INDEXES
        for blob in (*manifest.blobs, *manifest.foreign):
            yield Descriptor(media_types.OCI_LAYER if known else media_types.ANY_BYTES, blob.digest, blob.size)
    elif content.media_type != media_types.OCI_LAYER and size <= MAX_MANIFEST_BYTES:
        raw = read_raw(files, content)
        for text in _DIGEST.findall(raw) if raw.lstrip().startswith(b"{") else ():
            try:
                digest = Digest(text.decode("ascii"))
            except GrammarError:
                continue  # a longer number that begins like a digest
            yield Descriptor(content.media_type, digest, files.size(digest) or 0)
