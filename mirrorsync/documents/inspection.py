"""Inspections of one image as JSON documents (schemas/inspection.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.oci import media_types
from mirrorsync.sync.gather.attached import Attachment
from mirrorsync.sync.single.inspect import Examination, Inspected, Member


def inspection_document(found: Examination) -> dict[str, Any]:
    """Return an examination as a document."""
    root, where = found.root, found.reference.location
    return document(
        "inspection",
        {
            "reference": str(found.reference),
            "store": where.store,
            "repository": where.repository,
            "tag": found.reference.tag,
            "root": root.descriptor.to_json() if root else None,
            "artifact_type": root.artifact_type if root else "",
            "annotations": dict(root.annotations) if root else {},
            "members": [_member_json(member) for member in found.members],
            "image": _inspected_json(found.image) if found.image else None,
            "attached": [_attachment_json(one) for one in found.attached],
            "tags": list(found.tags) if found.tags is not None else None,
            "notices": list(found.notices),
        },
    )


def _member_json(member: Member) -> dict[str, Any]:
    platform = member.content.platform
    return {
        **member.content.to_json(),
        "kind": member.kind,
        "platform": str(platform) if platform else None,
        "os_version": platform.os_version if platform else "",
        "attests": str(member.attests) if member.attests else None,
    }


def _inspected_json(image: Inspected) -> dict[str, Any]:
    config = image.config
    return {
        **image.manifest.descriptor.to_json(),
        "artifact_type": image.manifest.artifact_type,
        "annotations": dict(image.manifest.annotations),
        "platform": str(config.platform) if config and config.platform else None,
        "created": config.created if config else "",
        "author": config.author if config else "",
        "labels": dict(config.labels) if config else {},
        "env": list(config.env) if config else [],
        "entrypoint": list(config.entrypoint) if config else [],
        "cmd": list(config.cmd) if config else [],
        "config": image.manifest.blobs[0].to_json() if image.manifest.media_type in media_types.IMAGES else None,
        "layers": [layer.to_json() for layer in image.layers],
        "compressed_size": image.size,
    }


def _attachment_json(one: Attachment) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "tag": one.tag,
        "subject": str(one.subject),
        "artifact_type": one.artifact_type,
        "annotations": dict(one.content.annotations),
        **one.content.bare().to_json(),
    }
