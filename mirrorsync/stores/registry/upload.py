"""Write a blob: POST and one PUT, or in parts if the registry, or a proxy in front of it, rejects large requests.

A blob that may turn out to be wrong is staged: POST and one PATCH, as docker and go-containerregistry push every blob,
and the PUT that makes it a blob comes later, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import MirrorsyncError, RegistryFailure, RegistryUnavailable, TokenRanOut
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.registry.http.answers import codes, failure
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import Answer, Request
from mirrorsync.stores.registry.http.retry import Transient

# The first size of a part, in bytes; it is halved until the registry accepts it. nginx's default limit is 1 MiB.
_FIRST_PART: Final = 16 * 1024 * 1024
_SMALLEST_PART: Final = 512 * 1024
# For a line so slow that even that takes longer than a token is valid; and the longest time for one part, in seconds.
_SLOWEST_PART: Final = 64 * 1024
_PART_SECONDS: Final = 15.0
# The largest OCI-Chunk-Min-Length that is respected: a part is in memory.
_LARGEST_PART: Final = 64 * 1024 * 1024
_TOO_LARGE: Final = frozenset({413})
# Answers of a registry that has lost an upload or its state: it restarted, or cleaned up, or another replica answers.
# Only a new upload helps.
_LOST: Final = frozenset({400, 404, 416})
_LOST_CODES: Final = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"})


class PartSize:
    """Learned about one host: whether it accepts blobs in one request, and otherwise how large a part may be."""

    def __init__(self) -> None:
        self.limit: int | None = None

    def fit(self, size: int, seconds: float) -> None:
        """Record that a token expired while `size` bytes were sent, in so many seconds.

        A part must arrive while a token is valid that was fresh when the part began: for how long is not always
        announced, and GitLab's five minutes are as common as the token specification's one. A quarter of either is on
        the safe side.
        """
        fitting = int(size / seconds * min(seconds / 4, _PART_SECONDS)) if seconds > 0 else _FIRST_PART
        self.limit = max(_SLOWEST_PART, min(fitting, self.limit or _FIRST_PART))

    def shrink(self, size: int) -> bool:
        """Record that a request of `size` bytes was too large; False if there is no smaller size to try."""
        if size <= _SMALLEST_PART:
            return False
        self.limit = _FIRST_PART if size > _FIRST_PART else max(_SMALLEST_PART, size // 2)
        return True


class Upload:
    """The upload of one blob to one repository. repository: the URL of its API, such as https://host/v2/name."""

    def __init__(
        self, client: Client, repository: str, scopes: tuple[str, ...], blob: Descriptor, parts: PartSize
    ) -> None:
        self._client = client
        self._repository = repository
        self._scopes = scopes
        self._blob = blob
        self._parts = parts
        self._doing = f"writing blob {blob.digest.short}"

    async def small(self, data: bytes) -> None:
        """Upload a blob that is in memory. A failed attempt is retried with a new upload: the state of the old one is
        unknown.
        """

        async def attempt() -> None:
            started = await self._client.once(self._start(), self._doing)
            request = replace(self._finish(started), body=data, known=_LOST)
            self._kept(await self._client.once(request, self._doing))

        await self._client.persist(self._doing, attempt)

    def stream(self, chunks: Iterable[bytes]) -> None:
        """Upload a blob from its chunks, from a thread. Raises: MirrorsyncError; what `chunks` raises."""
        started = self._client.ask_blocking(self._start(), self._doing)
        counted = _Counted(chunks)
        try:
            if self._parts.limit is None:
                self._in_one(started, counted)
            else:
                self._in_parts(started, counted, self._parts.limit)
        except Transient as error:
            if not error.status and counted.size == self._blob.size and (self._landed() or self._closed_late(started)):
                return  # the answer was lost, and not the blob
            if self._parts.limit is None and counted.size > _FIRST_PART and not error.status:
                # A proxy that rejects a large request answers and hangs up; the client may notice only the latter.
                self._parts.shrink(counted.size)
            raise self._client.noted(error) from error
        except BaseException:
            self.cancel(started)
            raise

    def stage(self, chunks: Iterable[bytes]) -> StagedUpload:
        """Upload all bytes of a blob, and leave the upload open, from a thread.

        An exception of `chunks` passes through, and the upload is cancelled. Raises: MirrorsyncError.
        """
        last = self._client.ask_blocking(self._start(), self._doing)
        all_bytes = _AllBytes(chunks, self._blob.size)
        try:
            limit = self._parts.limit
            last = self._patched(last, all_bytes) if limit is None else self._patched_in_parts(last, all_bytes, limit)
            all_bytes.check()
        except Transient as error:
            self.cancel(last)
            raise self._client.noted(error) from error
        except BaseException:
            self.cancel(last)
            raise
        return StagedUpload(self, last)

    def _landed(self) -> bool:
        """Return whether the registry has the blob after all."""
        request = Request("HEAD", f"{self._repository}/blobs/{self._blob.digest}", self._scopes, known=frozenset({404}))
        try:
            answer = self._client.ask_blocking(request, self._doing)
        except MirrorsyncError:
            return False
        return answer.ok and answer.length in (None, self._blob.size)

    def _closed_late(self, started: Answer) -> bool:
        """Ask for the progress of an upload; if all bytes have arrived, close it. Return whether that made the blob."""
        try:
            status = self._client.ask_blocking(Request("GET", self._location(started), self._scopes), self._doing)
            if status.header("Range").rpartition("-")[2] != str(self._blob.size - 1):
                return False
            self.close(status if status.header("Location") else started)
        except MirrorsyncError:
            return False
        return True

    def _kept(self, answer: Answer) -> Answer:
        """Return the answer to a part of an upload. Raises: Transient if the registry has lost the upload."""
        if answer.ok or answer.status in _TOO_LARGE:
            return answer
        error = failure(answer, self._doing)
        found = set(codes(answer))
        if (answer.status != 400 and "NAME_UNKNOWN" not in found) or found & _LOST_CODES:
            raise Transient(RegistryUnavailable(error.message), status=answer.status)
        raise error

    def _start(self) -> Request:
        # sha512 has to be announced (distribution spec 1.1, end-4c).
        query = "" if self._blob.digest.algorithm == "sha256" else f"?digest-algorithm={self._blob.digest.algorithm}"
        return Request("POST", f"{self._repository}/blobs/uploads/{query}", self._scopes, body=b"")

    def _location(self, answer: Answer) -> str:
        location = answer.header("Location")
        if not location:
            raise RegistryFailure(f"{self._doing}: the registry's answer has no Location")
        return self._client.resolved(answer.url, location)

    def _finish(self, answer: Answer) -> Request:
        return _finish(self._location(answer), self._blob.digest, self._scopes)

    def _in_one(self, started: Answer, chunks: Iterable[bytes]) -> None:
        self._send_all(self._finish(started), chunks)

    def _patched(self, started: Answer, chunks: Iterable[bytes]) -> Answer:
        """Send all bytes in one PATCH, without a Content-Range, as docker does."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._send_all(Request("PATCH", self._location(started), self._scopes, headers), chunks)

    def _send_all(self, request: Request, chunks: Iterable[bytes]) -> Answer:
        """Send all bytes in one request."""
        began = self._client.monotonic()
        try:
            known = replace(request, known=_TOO_LARGE | _LOST)
            answer = self._kept(self._client.send(known, chunks, self._blob.size, self._doing))
        except TokenRanOut:
            # nginx reads the whole body before the registry behind it gets the token (GitLab).
            self._parts.fit(self._blob.size, self._client.monotonic() - began)
            raise
        if answer.status in _TOO_LARGE:
            if not self._parts.shrink(self._blob.size):
                raise RegistryFailure(f"{self._doing}: the registry accepts no blob of {self._blob.size} bytes")
            raise RegistryUnavailable(f"{self._doing}: {self._blob.size} bytes are too large for one request")
        return answer

    def _in_parts(self, started: Answer, chunks: Iterable[bytes], limit: int) -> None:
        self.close(self._patched_in_parts(started, chunks, limit))

    def _patched_in_parts(self, started: Answer, chunks: Iterable[bytes], limit: int) -> Answer:
        smallest = started.header("OCI-Chunk-Min-Length")
        wanted = int(smallest) if smallest.isascii() and smallest.isdigit() and len(smallest) < 12 else 0
        answer, offset = started, 0
        for part in _parts(chunks, lambda: min(max(self._parts.limit or limit, wanted), _LARGEST_PART)):
            answer = self._send_part(answer, part, offset)
            offset += len(part)
        return answer

    def close(self, answer: Answer) -> None:
        """Make an upload that has all its bytes the blob. answer: to its last request. Raises: MirrorsyncError."""
        try:
            self._kept(self._client.ask_blocking(replace(self._finish(answer), body=b"", known=_LOST), self._doing))
        except Transient as error:
            raise self._client.noted(error) from error

    def _send_part(self, answer: Answer, part: bytes, offset: int) -> Answer:
        """Send a part, split into smaller ones if it is too large."""
        end = offset + len(part) - 1
        # No "bytes " before the numbers: the distribution spec requires that, and ACR insists.
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{offset}-{end}"}
        request = Request("PATCH", self._location(answer), self._scopes, headers, part, known=_TOO_LARGE | _LOST)
        with self._client.reply(request, self._client.writing, self._doing) as reply:
            sent = self._kept(reply.answer)
        if sent.status not in _TOO_LARGE:
            return sent
        if not self._parts.shrink(len(part)):
            raise RegistryFailure(
                f"{self._doing}: the registry accepts no request of {len(part)} bytes",
                remedy="raise the size limit of the registry or of the proxy in front of it",
            )
        step = self._parts.limit or _SMALLEST_PART
        for start in range(0, len(part), step):
            answer = self._send_part(answer, part[start : start + step], offset + start)
        return answer

    def cancel(self, answer: Answer) -> None:
        """Cancel the upload. A registry may ignore that, and cleans up by itself later."""
        try:
            request = Request("DELETE", self._location(answer), self._scopes)
            with self._client.reply(request, self._client.writing, self._doing):
                pass
        except (Transient, MirrorsyncError):
            pass


@dataclass(frozen=True, slots=True)
class StagedUpload:
    """An upload that has all its bytes, and is neither closed nor cancelled. answer: to its last request.

    A registry removes it at some time if neither happens (docker-registry after a week).
    """

    upload: Upload
    answer: Answer

    def publish(self) -> None:
        """Make it the blob, from a thread; the registry compares the digest. Raises: MirrorsyncError."""
        self.upload.close(self.answer)

    def cancel(self) -> None:
        """Remove it, from a thread."""
        self.upload.cancel(self.answer)


class _Counted:
    """Chunks, and how many bytes of them were taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


class _AllBytes:
    """Chunks whose error is held back until `check` if it comes after all bytes, `size` of them.

    docker-registry cannot cancel an upload after a PATCH that was cut off; one that got all bytes it can.
    """

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        self._left = size
        self._error: MirrorsyncError | None = None
        self._iterator = self._run(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self._iterator

    def _run(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._left -= len(chunk)
                yield chunk
        except MirrorsyncError as error:
            if self._left > 0:
                raise
            self._error = error

    def check(self) -> None:
        """Raise what came after the last byte: libcurl asks for no more than it has to send."""
        for _ in self._iterator:
            pass
        if self._error is not None:
            raise self._error


def _finish(location: str, digest: Digest, scopes: tuple[str, ...]) -> Request:
    """Return the PUT that closes an upload; a query of the location is kept."""
    url = f"{location}{'&' if '?' in location else '?'}digest={digest.replace(':', '%3A')}"
    return Request("PUT", url, scopes, {"Content-Type": "application/octet-stream"})


def _parts(chunks: Iterable[bytes], size: Callable[[], int]) -> Iterator[bytes]:
    """Join chunks to parts of the current size in bytes; the last one may be smaller."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= (wanted := size()):
            yield bytes(buffer[:wanted])
            del buffer[:wanted]
    if buffer:
        yield bytes(buffer)
