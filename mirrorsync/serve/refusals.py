"""Error answers of the server, with the status and error code of the distribution spec."""

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
    """An answer with an error code of the distribution spec ("Error Codes"). headers: additional ones."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def response(self) -> web.Response:
        """Return the answer, in the format of the spec."""
        body = {"errors": [{"code": self.code, "message": self.message}]}
        return document(body, status=self.status, headers=self.headers)


# The first match counts. Errors of other kinds are failures of this server.
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
    """Return the answer for an error of the store: what happened, but no path of this machine."""
    for kind, status, code in _REFUSALS:
        if isinstance(error, kind):
            return Refusal(status, code, error.message)
    return Refusal(502, "UNKNOWN", "the store behind this registry failed")


def unknown_blob(digest: str) -> Refusal:
    """Return the answer to a request for a missing blob."""
    return Refusal(404, "BLOB_UNKNOWN", f"blob {digest} not found")


def unknown_upload() -> Refusal:
    """Return the answer to a request for an upload that does not exist or has ended."""
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload; start a new one")
