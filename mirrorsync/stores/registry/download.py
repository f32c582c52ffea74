"""Read a blob: one GET, and if the connection breaks, the rest with Range, so that no byte is yielded twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from mirrorsync.errors import ContentNotFound, IntegrityError, RegistryFailure, Unreachable
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.stores.registry.blob_coding import BlobCoding
from mirrorsync.stores.registry.http.answers import failure
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import Answer, Reply, Request
from mirrorsync.stores.registry.http.retry import ATTEMPTS, Transient

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_KNOWN: Final = frozenset({404, 416})


class Download:
    """The bytes of one blob from an offset on. request: the GET of the blob. coding: that of its host."""

    def __init__(
        self, client: Client, request: Request, blob: Descriptor, offset: int = 0, coding: BlobCoding | None = None
    ) -> None:
        self._client = client
        self._request = replace(request, known=_KNOWN)
        self._blob = blob
        self._offset = offset
        self._coding = coding or BlobCoding()
        self._whole = False  # if a proxy compresses, Range counts compressed bytes: then the whole blob is requested
        self._doing = f"reading blob {blob.digest.short}"

    @contextmanager
    def chunks(self) -> Iterator[Iterator[bytes]]:
        """Yield the chunks. Raises, on entry: ContentNotFound, MirrorsyncError."""
        with ExitStack() as open_now:
            first = self._client.persist_blocking(self._doing, lambda: self._enter(open_now))
            yield self._resuming(first, open_now)

    def _enter(self, open_now: ExitStack) -> Reply:
        """Send the request for the missing bytes, and check the answer."""
        open_now.close()
        headers = {"Range": f"bytes={self._offset}-"} if self._offset and not self._whole else {}
        request = replace(self._request, headers=headers)
        reply = open_now.enter_context(self._client.reply(request, self._client.reading, self._doing))
        answer = reply.answer
        if answer.status == 404:
            raise ContentNotFound("the repository has no such blob")
        if answer.status == 416:
            raise IntegrityError(f"blob {self._blob.digest} ends after {self._offset} of {self._blob.size} bytes")
        coded = self._coding.to_decode(answer, self._blob, self._doing)
        if coded and not self._whole:
            self._whole = True
            if answer.status == 206:
                return self._enter(open_now)
        reply = replace(reply, chunks=self._coding.content(answer, self._blob, reply.chunks, self._doing))
        if self._offset == 0 or answer.status == 206:
            self._check_range(answer)
            return reply
        # 200 means that Range was ignored and the whole blob is sent again.
        return replace(reply, chunks=_without(reply.chunks, self._offset))

    def _check_range(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        found = _CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
        if answer.status != 206 or found is None:
            raise failure(answer, self._doing)
        first, last, total = found.groups()
        if int(first) != self._offset or int(last) != self._blob.size - 1 or total not in (str(self._blob.size), "*"):
            # Ranges that do not fit must never be joined (containers/image, body_reader.go).
            raise RegistryFailure(f"{self._doing}: the registry sent another range than requested")

    def _resuming(self, reply: Reply, open_now: ExitStack) -> Iterator[bytes]:
        breaks = 0
        while True:
            begun = self._offset
            try:
                for chunk in reply.chunks:
                    self._offset += len(chunk)
                    yield chunk
                if not self._may_be_cut(reply.answer):
                    return
                broken = Transient(Unreachable("the answer ended before the end of the blob"))
            except Transient as error:
                broken = error
            # A server that closes the connection after every few bytes must not delay a run for ever.
            breaks = 0 if self._offset - begun >= CHUNK_BYTES else breaks + 1
            if breaks >= ATTEMPTS:
                if broken.__cause__ is None:
                    return  # it ends there every time: verification reports it
                raise broken.failure from broken.__cause__
            reply = self._client.persist_blocking(self._doing, self._after(broken, open_now))

    def _after(self, broken: Transient, open_now: ExitStack) -> Callable[[], Reply]:
        """Return a function that requests the rest; its first call raises, so that the retry is announced and waits."""
        pending = [broken]

        def again() -> Reply:
            if pending:
                raise pending.pop()
            return self._enter(open_now)

        return again

    def _may_be_cut(self, answer: Answer) -> bool:
        """Return whether the answer may have been truncated: it had no length, so a break looks like its end."""
        sized = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
        return self._offset < self._blob.size and not sized


def _without(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the chunks without their first `size` bytes."""
    for chunk in chunks:
        if size < len(chunk):
            yield chunk[size:]
        size = max(0, size - len(chunk))
