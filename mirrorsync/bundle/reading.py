"""Read the document of a bundle, which may be damaged or hostile: what is returned is whole and agrees with itself."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from mirrorsync.bundle.consistency import check
from mirrorsync.bundle.encoding import encode
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
    Piece,
    Pieces,
    Source,
    Whole,
)
from mirrorsync.checked_json import Damaged, Read, at_least_one, count, items, members, one_of, or_null, text
from mirrorsync.errors import Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.json_weight import json_weight
from mirrorsync.oci.names import check_layout_repository
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag
from mirrorsync.text import printable

MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024
# In bytes of memory, as json_weight estimates it: a document of 100,000 images stays below.
_MAX_DOCUMENT_WEIGHT: Final = 1024 * 1024 * 1024

_NEWER: Final = "read it with a mirrorsync that is as new as the one that made it"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_CREATED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_CHAIN: Final = re.compile(r"[0-9a-f]{64}")
_KIND: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_MEDIA_TYPE: Final = re.compile(r"[!-~]{1,255}")
# Half a pair of UTF-16 is in no UTF-8 text, and Python's JSON reads one.
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,512}")


def load_document(raw: bytes, where: str) -> Any:
    """Return the JSON value of a document that may be hostile. where: for messages. Raises: Malformed."""
    if len(raw) > MAX_DOCUMENT_BYTES or json_weight(raw) > _MAX_DOCUMENT_WEIGHT:
        raise Malformed(f"{where} is {len(raw)} bytes, more than is read")
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{where} is not JSON") from error


def parse(raw: bytes, where: str = "the document of the bundle") -> Bundle:
    """Return the bundle that a document describes. where: for messages.

    Raises: Malformed, which names the first member that is wrong; also for a document that is not in the one spelling
    of `encoding.canonical`, because signatures and digests are those of its bytes.
    """
    value = load_document(raw, where)
    try:
        _check_version(value)
        bundle = _bundle(value)
        check(bundle)
    except Damaged as error:
        found = Malformed(f"{where}: {error.pointer}: {printable(error.reason)}")
        raise (found.with_(remedy=_NEWER) if error.pointer == "/version" else found) from error
    if encode(bundle) != raw:
        raise Malformed(f"{where} is not canonical JSON")
    return bundle


def _check_version(value: Any) -> None:
    if type(value) is not dict:
        raise Damaged("not an object")
    if value.get("format") != FORMAT:
        raise Damaged(f"not {FORMAT!r}", "format")
    if value.get("version") != VERSION or type(value["version"]) is not int:
        raise Damaged(f"this version of mirrorsync reads version {VERSION}", "version")


def is_bundle_name(value: str) -> bool:
    """Return whether a bundle may have this name, the beginning of the names of its files."""
    return _NAME.fullmatch(value) is not None


def _matching(pattern: re.Pattern[str], what: str) -> Read[str]:
    def read(value: Any) -> str:
        if pattern.fullmatch(text(value)) is None:
            raise Damaged(f"not {what}")
        return str(value)

    return read


def _digest(value: Any) -> Digest:
    return Digest(text(value))


def _tag(value: Any) -> Tag:
    return Tag(text(value))


def _repository(value: Any) -> str:
    return check_layout_repository(text(value))


_media_type: Final = _matching(_MEDIA_TYPE, "a media type")
_line: Final = _matching(_LINE, "one line of text")
_word: Final = _matching(_MEDIA_TYPE, "a platform")


def _true(value: Any) -> bool:
    if value is not True:
        raise Damaged("not true")
    return True


def _link(value: Any) -> Link:
    return Link(**members(value, {"sequence": at_least_one, "digest": _digest}))


def _source(value: Any) -> Source:
    kinds = {kind: kind for kind in ("inventory", "bundle", "generation", "sent")}
    return Source(**members(value, {"kind": one_of(kinds), "digest": _digest, "created": _created}))


_created: Final = _matching(_CREATED, "a time as 2026-11-26T03:17:00Z")
_CONTENT: Final[dict[str, Read[Any]]] = {"digest": _digest, "size": count, "mediaType": _media_type}
_IMAGE: Final = {
    **_CONTENT,
    "repository": _repository,
    "source": _line,
    "tag": _tag,
    "subject": _digest,
    "platforms": lambda value: items(value, lambda one: Platform.parse(_word(one))),
}
_MEMBER: Final[dict[str, Read[Any]]] = {"name": text, "size": count, "digest": _digest}
_PIECE: Final[dict[str, Read[Any]]] = {"part": at_least_one, "size": at_least_one, "digest": _digest}


def _content(read: dict[str, Any]) -> Descriptor:
    return Descriptor(read["mediaType"], read["digest"], read["size"])


def _image(value: Any) -> Image:
    read = members(value, _IMAGE, optional=("tag", "subject", "platforms"))
    chosen = read.get("platforms", ())
    if "platforms" in read and (not chosen or read["mediaType"] not in media_types.INDEXES):
        raise Damaged("none are chosen, or this is not an index", "platforms")
    return Image(read["repository"], read.get("tag"), _content(read), read["source"], read.get("subject"), chosen)


def _repositories(value: Any) -> tuple[str, ...]:
    return items(value, _repository)


def _piece(value: Any) -> Piece:
    return Piece(**members(value, _PIECE))


def _delta(value: Any) -> Delta:
    kind = _matching(_KIND, "a kind of delta")
    return Delta(**members(value, {**_PIECE, "base": _digest, "kind": kind}))


_FORMS: Final[dict[str, Read[Form]]] = {
    "parts": lambda value: Whole(items(value, at_least_one)),
    "pieces": lambda value: Pieces(items(value, _piece)),
    "delta": _delta,
}
_OBJECT: Final[dict[str, Read[Any]]] = {
    **_CONTENT,
    "manifest": _true,
    "repositories": _repositories,
    "needs": lambda value: items(value, _digest),
    **_FORMS,
}


def _object(value: Any) -> Object:
    read = members(value, _OBJECT, optional=("manifest", "needs", *_FORMS))
    forms = [read[name] for name in _FORMS if name in read]
    if len(forms) != 1:
        raise Damaged("must have one of parts, pieces and delta")
    if ("manifest" in read) != ("needs" in read):
        raise Damaged("only a manifest has needs", "needs")
    return Object(_content(read), "manifest" in read, read["repositories"], read.get("needs", ()), forms[0])


def _assumed(value: Any) -> Assumed:
    fields = {**_CONTENT, "manifest": _true, "repositories": _repositories, "sent": at_least_one}
    read = members(value, fields, optional=("manifest", "sent"))
    return Assumed(_content(read), "manifest" in read, read["repositories"], read.get("sent", 0))


def _member(value: Any) -> Member:
    return Member(**members(value, _MEMBER))


def _members(value: Any) -> tuple[Member, ...]:
    return items(value, _member)


def _part(value: Any) -> Part:
    return Part(**members(value, {"name": text, "body": count, "digest": _digest, "members": _members}))


_BUNDLE: Final[dict[str, Read[Any]]] = {
    "format": text,
    "version": count,
    "name": _matching(_NAME, "the name of a bundle"),
    "sequence": at_least_one,
    "created": _created,
    "link": _matching(_CHAIN, "64 hex digits"),
    "previous": or_null(_link),
    "spec": _digest,
    "destination": or_null(_line),
    "have": lambda value: items(value, _source),
    "answers": or_null(_link),
    "tool": _line,
    "images": lambda value: items(value, _image),
    "objects": lambda value: items(value, _object),
    "assumes": lambda value: items(value, _assumed),
    "parts": lambda value: items(value, _part),
    "site": _members,
}


def _bundle(value: Any) -> Bundle:
    read = members(value, _BUNDLE)
    read["chain"] = read.pop("link")
    del read["format"], read["version"]
    return Bundle(**read)
