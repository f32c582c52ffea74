"""The document of a bundle as canonical JSON: one spelling for each value, so that a digest names it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mirrorsync.bundle.model import (
    FORMAT,
    VERSION,
    Assumed,
    Bundle,
    Delta,
    Form,
    Image,
    Link,
    Member,
    Object,
    Part,
    Pieces,
    Source,
    Whole,
)
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest


def canonical(value: Any) -> bytes:
    """Return a JSON value in its one spelling: UTF-8, sorted keys, no spaces, a line feed at the end.

    For strings, integers, booleans and null, which is all that a document has, this is RFC 8785.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return f"{text}\n".encode()


def encode(bundle: Bundle) -> bytes:
    """Return the document's bytes, over which signatures are made."""
    return canonical(to_json(bundle))


def tree_digest(members: Iterable[Member]) -> Digest:
    """Return the digest of a part: that of the canonical JSON of its list of members."""
    return Digest.of(canonical([_member(member) for member in members]))


def to_json(bundle: Bundle) -> dict[str, Any]:
    """Return the document as JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": bundle.name,
        "sequence": bundle.sequence,
        "created": bundle.created,
        "link": bundle.chain,
        "previous": _link(bundle.previous),
        "spec": str(bundle.spec),
        "destination": bundle.destination,
        "have": [_source(source) for source in bundle.have],
        "answers": _link(bundle.answers),
        "tool": bundle.tool,
        "images": [_image(image) for image in bundle.images],
        "objects": [_object(one) for one in bundle.objects],
        "assumes": [_assumed(one) for one in bundle.assumes],
        "parts": [_part(part) for part in bundle.parts],
        "site": [_member(member) for member in bundle.site],
    }


def _link(link: Link | None) -> dict[str, Any] | None:
    return {"sequence": link.sequence, "digest": str(link.digest)} if link else None


def _source(source: Source) -> dict[str, Any]:
    return {"kind": source.kind, "digest": str(source.digest), "created": source.created}


def _content(content: Descriptor) -> dict[str, Any]:
    return {"digest": str(content.digest), "size": content.size, "mediaType": content.media_type}


def _image(image: Image) -> dict[str, Any]:
    made = {"repository": image.repository, **_content(image.content), "source": image.source}
    if image.tag is not None:
        made["tag"] = str(image.tag)
    if image.subject is not None:
        made["subject"] = str(image.subject)
    if image.platforms:
        made["platforms"] = list(map(str, image.platforms))
    return made


def _object(one: Object) -> dict[str, Any]:
    made = {**_content(one.content), "repositories": list(one.repositories), **_form(one.form)}
    if one.manifest:
        made |= {"manifest": True, "needs": [str(digest) for digest in one.needs]}
    return made


def _form(form: Form) -> dict[str, Any]:
    if isinstance(form, Whole):
        return {"parts": list(form.parts)}
    if isinstance(form, Pieces):
        return {"pieces": [{"part": one.part, "size": one.size, "digest": str(one.digest)} for one in form.pieces]}
    return {"delta": _delta(form)}


def _delta(delta: Delta) -> dict[str, Any]:
    return {
        "part": delta.part,
        "size": delta.size,
        "digest": str(delta.digest),
        "base": str(delta.base),
        "kind": delta.kind,
    }


def _assumed(one: Assumed) -> dict[str, Any]:
    made = {**_content(one.content), "repositories": list(one.repositories)}
    if one.manifest:
        made["manifest"] = True
    if one.sent:
        made["sent"] = one.sent
    return made


def _part(part: Part) -> dict[str, Any]:
    members = [_member(member) for member in part.members]
    return {"name": part.name, "body": part.body, "digest": str(part.digest), "members": members}


def _member(member: Member) -> dict[str, Any]:
    return {"name": member.name, "size": member.size, "digest": str(member.digest)}
