"""Saying where it happened: what every store adds to the errors that pass it."""

from __future__ import annotations

from types import TracebackType

from mirrorsync.errors import MirrorsyncError


class located:  # noqa: N801 - used as a function is; a generator would cost three times as much, four times for each tag
    """Say in errors that they are of the store at that address, and which repository and reference was asked for."""

    __slots__ = ("_reference", "_repository", "_store")

    def __init__(self, store: str, repository: str | None = None, reference: str | None = None) -> None:
        self._store = store
        self._repository = repository
        self._reference = reference

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, MirrorsyncError):
            error.at(store=self._store, repository=self._repository, reference=self._reference)
