"""Blobs in answers with a Content-Encoding: the blob is either the bytes as sent, or the decoded content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from mirrorsync.errors import IntegrityError, Mismatch, Unreachable
from mirrorsync.files.chunks import verified
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.stores.registry.http.encoding import WrongCoding, check_known, codings, decoded, decoded_whole
from mirrorsync.stores.registry.http.messages import Answer
from mirrorsync.stores.registry.http.retry import Transient

# How much longer than the blob its compressed form may be, in bytes: incompressible data grows.
SLACK: Final = 1024
_TOTAL = re.compile(r"bytes \d{1,19}-\d{1,19}/(\d{1,19})")


class BlobCoding:
    """Whether to decode the blobs of one host if its answers have a Content-Encoding; learned during a run.

    Two kinds of host send gzip: one stores layers, which are gzip, and labels them (the bytes are the blob); the other
    has a compressing proxy in front of it (the decoded content is the blob). A stream that is being pushed cannot be
    both, so the length decides: it equals the blob's size if the bytes are the blob. An answer without a length is
    read in one way, and if that fails, the next attempt reads it in the other way.
    """

    def __init__(self) -> None:
        self._inside = False

    def to_decode(self, answer: Answer, blob: Descriptor, doing: str) -> tuple[str, ...]:
        """Return the codings to decode in this answer, () if its bytes are the blob. Raises: RegistryFailure."""
        coded = codings(answer.header("Content-Encoding"))
        if not coded:
            return ()
        length = _total(answer)
        if length == blob.size or (length is None and not self._inside):
            return ()
        check_known(coded, doing)
        return coded

    def content(self, answer: Answer, blob: Descriptor, chunks: Iterator[bytes], doing: str) -> Iterator[bytes]:
        """Return the blob's bytes, from chunks that are an answer's whole body, or a range of it without coding.

        Raises: RegistryFailure; while iterating: IntegrityError, Transient if the chunks end too early.
        """
        if not codings(answer.header("Content-Encoding")):
            return chunks
        coded = self.to_decode(answer, blob, doing)
        if answer.status != 200:
            return chunks
        return self._counted(_checked(chunks, coded) if coded else chunks, blob, inside=bool(coded))

    def _counted(self, chunks: Iterator[bytes], blob: Descriptor, *, inside: bool) -> Iterator[bytes]:
        size = 0
        try:
            for chunk in chunks:
                size += len(chunk)
                if size > blob.size:
                    self._inside = not inside
                yield chunk
        except IntegrityError:
            self._inside = not inside
            raise
        self._inside = inside if size == blob.size else not inside


def blob_of(answer: Answer, blob: Descriptor) -> bytes:
    """Return a small blob from its answer, which was requested `as_sent`. Raises: IntegrityError, RegistryFailure."""
    coded = codings(answer.header("Content-Encoding"))
    if not coded or blob.digest.matches(answer.body):
        if not answer.whole or len(answer.body) > blob.size:
            raise Mismatch(f"blob {blob.digest} has more than the {blob.size} bytes its descriptor says")
        return verified(blob, answer.body)
    check_known(coded, f"reading blob {blob.digest.short}")
    try:
        data, _ = decoded_whole(answer.body, coded, blob.size + 1)
    except (WrongCoding, EOFError):
        data = answer.body
    return verified(blob, data)


def _checked(chunks: Iterator[bytes], coded: Sequence[str]) -> Iterator[bytes]:
    try:
        yield from decoded(chunks, coded)
    except WrongCoding as error:
        raise IntegrityError(f"the blob does not match its Content-Encoding: {error}") from error
    except EOFError as error:
        raise Transient(Unreachable("the answer ended before the end of the blob")) from error


def _total(answer: Answer) -> int | None:
    """Return the length of the whole representation in bytes; None if the answer has no length."""
    if answer.status == 206:
        found = _TOTAL.fullmatch(answer.header("Content-Range"))
        return int(found[1]) if found else None
    return answer.length
