"""What the server says when it says no: the distribution spec's error codes and statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    GrammarError,
    IntegrityError,
    MirrorsyncError,
    OutOfFiles,
    RepositoryNotFound,
    StorageError,
    StoreChanged,
)
from mirrorsync.serve.answers import document


class Refusal(Exception):
    """An answer with an error code of the distribution spec ("Error Codes"). headers: more that it says."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def response(self) -> web.Response:
        """Return the answer, in the spec's shape."""
        body = {"errors": [{"code": self.code, "message": self.message}]}
        return document(body, status=self.status, headers=self.headers)


# The first that fits counts. What is not named here is this server's own trouble.
_REFUSALS: Final[tuple[tuple[type[MirrorsyncError], int, str], ...]] = (
    (RepositoryNotFound, 404, "NAME_UNKNOWN"),
    (ContentNotFound, 404, "MANIFEST_UNKNOWN"),
    (IntegrityError, 400, "DIGEST_INVALID"),
    (GrammarError, 400, "NAME_INVALID"),
    (Denied, 405, "UNSUPPORTED"),
    (StoreChanged, 503, "UNAVAILABLE"),
    (OutOfFiles, 503, "UNAVAILABLE"),
    (StorageError, 507, "DENIED"),
)


def refusal(error: MirrorsyncError) -> Refusal:
    """Return what a client is told about an error of the store: what happened, not where on this machine."""
    for kind, status, code in _REFUSALS:
        if isinstance(error, kind):
            return Refusal(status, code, error.message)
    return Refusal(502, "UNKNOWN", "the store behind this registry is in trouble")


def unknown_blob(digest: str) -> Refusal:
    """Return the answer to a question for a blob that is not there."""
    return Refusal(404, "BLOB_UNKNOWN", f"there is no blob {digest}")


def unknown_upload() -> Refusal:
    """Return the answer to a question for an upload that never was, or is over."""
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload; begin again")
