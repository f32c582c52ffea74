"""Send a blob, whole or a range of it: from its file if the store has files, otherwise chunk by chunk."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO, Final

from aiohttp import web

from mirrorsync.errors import MirrorsyncError, NotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.serve.access_log import SENT
from mirrorsync.serve.bursts import (
    BURST_BYTES,
    LITTLE_PATIENCE_MILLISECONDS,
    PATIENCE_MILLISECONDS,
    PIECE_BYTES,
    burst,
)
from mirrorsync.serve.refusals import Refusal, unknown_blob
from mirrorsync.stores.base import BlobFiles, Repository

# Bytes of a blob at a time over TLS. Each slow client has up to twice as much in memory.
_TLS_BYTES: Final = 128 * 1024
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def send(
    request: web.Request, repository: Repository, blob: Descriptor, headers: dict[str, str]
) -> web.StreamResponse:
    """Answer GET and HEAD of an existing blob. headers: those of every answer, including the ETag."""
    span = _span(request, blob, headers["ETag"])
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    response[SENT] = 0
    start, end = span or (0, blob.size)
    response.content_length = end - start
    if span:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    try:
        if request.method == "HEAD":
            await response.prepare(request)
        elif isinstance(repository, BlobFiles):
            await _send_file(request, response, repository.open_file(blob), start, end - start)
        else:
            await _send_chunks(request, response, repository.open(blob, start), end - start)
        await response.write_eof()
    except (MirrorsyncError, OSError) as error:
        if not response.prepared:
            if isinstance(error, NotFound):
                raise unknown_blob(blob.digest) from error
            raise
        # The client is gone, or the blob cannot be read to its end. After the head of an answer was sent, the only way
        # to report that is to close the connection.
        if request.transport is not None:
            request.transport.abort()
    return response


async def _send_file(
    request: web.Request, response: web.StreamResponse, file: BinaryIO, start: int, count: int
) -> None:
    with file:
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        plain = transport.get_extra_info("ssl_object") is None
        # So that a write waits until the socket has taken all of it. With a limit of 0 asyncio's TLS pauses for ever.
        transport.set_write_buffer_limits(high=0 if plain else 1, low=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, PIECE_BYTES)
        end, patience = start + count, PATIENCE_MILLISECONDS
        while start < end:
            sent, rest = await (_burst if plain else _piece)(transport, file, start, end, patience)
            patience = PATIENCE_MILLISECONDS if sent >= PIECE_BYTES else LITTLE_PATIENCE_MILLISECONDS
            response[SENT] += sent
            if rest:
                await response.write(rest)
            if transport.is_closing():
                raise ConnectionResetError("the client is gone")
            response[SENT] += len(rest)
            start += sent + len(rest)


async def _burst(
    transport: asyncio.Transport, file: BinaryIO, start: int, end: int, patience: int
) -> tuple[int, bytes]:
    """Send what the client takes without waiting; return how many bytes that was, and the next piece to send."""
    descriptor = -1
    if not transport.get_write_buffer_size():  # buffered bytes must be sent first
        with suppress(OSError):  # no more descriptors: then the transport sends
            # A duplicate: the event loop may close the connection meanwhile, and its descriptor may be reused.
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
    try:
        end = min(end, start + BURST_BYTES)
        return await asyncio.to_thread(burst, descriptor, file.fileno(), start, end, patience)
    finally:
        if descriptor != -1:
            os.close(descriptor)


async def _piece(_: asyncio.Transport, file: BinaryIO, start: int, end: int, __: int) -> tuple[int, bytes]:
    """Return the next piece to send: over TLS, the transport encrypts and sends."""
    piece = await asyncio.to_thread(os.pread, file.fileno(), min(_TLS_BYTES, end - start), start)
    if not piece:
        raise _ended()
    return 0, piece


async def _send_chunks(
    request: web.Request, response: web.StreamResponse, blob: AbstractContextManager[Iterator[bytes]], count: int
) -> None:
    with blob as chunks:
        await response.prepare(request)
        while count and (chunk := await asyncio.to_thread(_next, chunks)):
            piece = chunk[:count]
            await response.write(piece)
            response[SENT] += len(piece)
            count -= len(piece)
    if count:
        raise _ended()


def _ended() -> OSError:
    return OSError("the blob ends early")


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")


def _span(request: web.Request, blob: Descriptor, etag: str) -> tuple[int, int] | None:
    """Return the requested range as the offset of its first byte and the one after its last, None for the whole blob.

    A range that this server does not understand is ignored, as RFC 9110 (14.2) allows. Raises: Refusal if it cannot be
    satisfied.
    """
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    if found is None or found[0] == "bytes=-" or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(blob.size, int(last) + 1 if last else blob.size)
    else:
        start, end = max(0, blob.size - int(last)), blob.size
    if start >= end:
        unsatisfied = {"Content-Range": f"bytes */{blob.size}"}
        raise Refusal(416, "RANGE_INVALID", f"the blob has {blob.size} bytes", unsatisfied)
    return start, end
