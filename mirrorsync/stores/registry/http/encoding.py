"""Decode Content-Encoding in bounded memory: proxies and CDNs compress answers although the client asked them not to.

Every request has `Accept-Encoding: identity`, but Red Hat's CDN, Quay behind CloudFront (quay#1310) and nginx with a
careless `gzip_types` compress nevertheless. Digests are of the decoded content.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from mirrorsync.errors import RegistryFailure
from mirrorsync.stores.registry.http.messages import MAX_ERROR_BYTES, Answer, Request
from mirrorsync.text import printable

# Decoded bytes at a time, since a few compressed bytes can expand to very many.
_PIECE: Final = 256 * 1024
_MOST_CODINGS: Final = 2
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_KNOWN: Final = _GZIP | {"deflate"}
# Codings that cannot be decoded here. Other words ("aws-chunked", "utf-8") appear in answers that are not compressed
# at all, and are ignored.
_REFUSED: Final = frozenset({"br", "zstd", "compress", "x-compress"})


class WrongCoding(ValueError):
    """The bytes are not in the coding that their header names."""


def codings(header: str) -> tuple[str, ...]:
    """Return the compressing codings of a Content-Encoding header, in the order in which they were applied."""
    if not header:
        return ()
    words = (word.strip().lower() for word in header.split(","))
    return tuple(word for word in words if word in _KNOWN or word in _REFUSED)


def check_known(coded: Sequence[str], doing: str) -> None:
    """Raise RegistryFailure, with the name of the coding, if one cannot be decoded."""
    unknown = next((word for word in coded if word not in _KNOWN), None)
    if unknown is None and len(coded) <= _MOST_CODINGS:
        return
    named = unknown or ", ".join(coded)
    raise RegistryFailure(
        f"{doing}: the answer has the content encoding {printable(named, 60)!r}, which was not requested",
        remedy="turn off compression for the registry's paths in the proxy or CDN in front of it",
    )


def decoded(chunks: Iterable[bytes], coded: Sequence[str]) -> Iterator[bytes]:
    """Yield the decoded content of `chunks`, in pieces. Raises: WrongCoding, EOFError if they end too early."""
    for coding in reversed(coded):
        chunks = _decoded_once(chunks, coding)
    yield from chunks


def _decoded_once(chunks: Iterable[bytes], coding: str) -> Iterator[bytes]:
    begun: zlib._Decompress | None = None
    for chunk in chunks:
        left = chunk
        while left:
            if begun is None or begun.eof:
                # RFC 1952, 2.2: a gzip stream may be several, one after the other.
                begun = _decompressor(coding, left)
            try:
                piece = begun.decompress(left, _PIECE)
            except zlib.error as error:
                raise WrongCoding(f"not valid {coding} data") from error
            left = begun.unused_data if begun.eof else begun.unconsumed_tail
            if piece:
                yield piece
    if begun is not None and not begun.eof:
        while piece := begun.decompress(begun.unconsumed_tail, _PIECE):
            yield piece
        if not begun.eof:
            raise EOFError("the compressed content is truncated")


def _decompressor(coding: str, beginning: bytes) -> zlib._Decompress:
    if coding in _REFUSED:
        raise WrongCoding(f"{coding} is not supported")
    if coding in _GZIP:
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    # RFC 9110, 8.4.1.2: "deflate" is zlib's format, but some servers send a raw deflate stream. The low bits of zlib's
    # first byte are 8, which no deflate block has: it would be a stored one with a bit set that is never used.
    has_header = beginning[0] & 0x0F == 8
    return zlib.decompressobj(wbits=zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


def decoded_whole(body: bytes, coded: Sequence[str], limit: int) -> tuple[bytes, bool]:
    """Return the decoded content of `body` up to `limit` bytes, and whether that is all of it. Raises: as `decoded`."""
    parts: list[bytes] = []
    size = 0
    for piece in decoded([body], coded):
        parts.append(piece)
        size += len(piece)
        if size > limit:
            return b"".join(parts)[:limit], False
    return b"".join(parts), True


def plain(answer: Answer, request: Request) -> Answer:
    """Return an answer to `request` with its body decoded, up to the limit of the request.

    A body that is declared as compressed but is not (JSON, mostly) is returned unchanged, and so is one that was
    requested `as_sent`. Raises: RegistryFailure for a coding that cannot be decoded, by its name.
    """
    coded = codings(answer.header("Content-Encoding"))
    if not coded or not answer.body or not answer.whole or request.as_sent or _is_json(answer.body, coded):
        return answer
    if answer.ok:
        check_known(coded, "reading the answer")
    try:
        body, whole = decoded_whole(answer.body, coded, request.limit if answer.ok else MAX_ERROR_BYTES)
    except (WrongCoding, EOFError):
        return answer  # verification of the content will fail
    return replace(answer, body=body, whole=whole)


def _is_json(body: bytes, coded: Sequence[str]) -> bool:
    if coded[-1] in _GZIP:
        return not body.startswith(_GZIP_MAGIC)
    return body[:1] in (b"{", b"[")
