"""Saying where it happened: what every store adds to the errors that pass it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mirrorsync.errors import MirrorsyncError


@contextmanager
def located(store: str, repository: str | None = None, reference: str | None = None) -> Iterator[None]:
    """Say in errors that they are of the store at that address, and which repository and reference was asked for."""
    try:
        yield
    except MirrorsyncError as error:
        raise error.at(store=store, repository=repository, reference=reference) from error.__cause__
