"""The inventory of a location as a document (schemas/inventory.schema.json), which crosses an air gap and is read."""

from __future__ import annotations

from typing import Any

from mirrorsync.bundle.encoding import canonical
from mirrorsync.bundle.held import Held, HeldRepository, Inventory, Unread
from mirrorsync.bundle.model import Link
from mirrorsync.bundle.reading import load_document
from mirrorsync.checked_json import Damaged, count, items, members, named, text
from mirrorsync.documents.envelope import VERSIONS, document, full_name
from mirrorsync.errors import GrammarError, Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_layout_repository
from mirrorsync.oci.ref import Tag
from mirrorsync.text import printable


def inventory_document(inventory: Inventory) -> dict[str, Any]:
    """Return an inventory as a document."""
    return document(
        "inventory",
        {
            "created": inventory.created,
            "location": inventory.location,
            "tool": inventory.tool,
            "complete": not inventory.unread,
            "unread": [{"name": one.name, "message": one.message} for one in inventory.unread],
            "applied": {
                chain: {"sequence": last.sequence, "digest": str(last.digest)}
                for chain, last in sorted(inventory.applied.items())
            },
            "repositories": {name: _repository(one) for name, one in sorted(inventory.held.repositories.items())},
        },
    )


def _repository(one: HeldRepository) -> dict[str, Any]:
    return {
        "tags": {str(tag): str(digest) for tag, digest in one.tags.items()},
        "manifests": {
            str(digest): {"size": content.size, "mediaType": content.media_type}
            for digest, content in one.manifests.items()
        },
        "blobs": {str(digest): content.size for digest, content in one.blobs.items()},
        "sparse": sorted(map(str, one.sparse)),
    }


def encode_inventory(inventory: Inventory) -> bytes:
    """Return the document's bytes, in one spelling: its digest names it."""
    return canonical(inventory_document(inventory))


def is_inventory(raw: bytes) -> bool:
    """Return whether a file begins as an inventory; only to tell it from the document of a bundle."""
    return f'"{full_name("inventory")}"'.encode() in raw


def parse_inventory(raw: bytes, where: str) -> Inventory:
    """Read an inventory. where: for messages. Raises: Malformed, which names the first member that is wrong."""
    value = load_document(raw, where)
    try:
        return _inventory(value)
    except Damaged as error:
        raise Malformed(f"{where}: {error.pointer}: {printable(error.reason)}") from error
    except GrammarError as error:
        raise Malformed(f"{where}: {error.message}") from error


def _inventory(value: Any) -> Inventory:
    read = members(
        value,
        {
            "kind": text,
            "version": count,
            "created": text,
            "location": text,
            "tool": text,
            "complete": lambda value: value,
            "unread": lambda value: items(value, _unread),
            "applied": lambda value: named(value, _applied),
            "repositories": lambda value: named(value, _held_repository),
        },
        optional=("applied",),  # of earlier versions
    )
    if read["kind"] != full_name("inventory") or read["version"] != VERSIONS["inventory"]:
        raise Damaged(f"this version of mirrorsync reads version {VERSIONS['inventory']}", "version")
    repositories = {check_layout_repository(name): one for name, one in read["repositories"].items()}
    applied = read.get("applied", {})
    return Inventory(read["created"], read["location"], read["tool"], Held(repositories), read["unread"], applied)


def _unread(value: Any) -> Unread:
    return Unread(**members(value, {"name": text, "message": text}))


def _applied(value: Any) -> Link:
    return Link(**members(value, {"sequence": count, "digest": lambda digest: Digest(text(digest))}))


def _held_repository(value: Any) -> HeldRepository:
    read = members(
        value,
        {
            "tags": lambda value: named(value, lambda digest: Digest(text(digest))),
            "manifests": lambda value: named(value, _manifest),
            "blobs": lambda value: named(value, count),
            "sparse": lambda value: items(value, lambda digest: Digest(text(digest))),
        },
        optional=("sparse",),  # of earlier versions
    )
    manifests = {
        Digest(digest): Descriptor(kind, Digest(digest), size) for digest, (kind, size) in read["manifests"].items()
    }
    tags = {Tag(tag): digest for tag, digest in read["tags"].items()}
    for tag, digest in tags.items():
        if digest not in manifests:
            raise Damaged("names a manifest that is not listed", "tags", tag)
    blobs = {
        Digest(digest): Descriptor(media_types.ANY_BYTES, Digest(digest), size)
        for digest, size in read["blobs"].items()
    }
    return HeldRepository(tags, manifests, blobs, set(read.get("sparse", ())))


def _manifest(value: Any) -> tuple[str, int]:
    read = members(value, {"size": count, "mediaType": text})
    if not media_types.is_manifest(read["mediaType"]):
        raise Damaged("not the media type of a manifest", "mediaType")
    return read["mediaType"], read["size"]
