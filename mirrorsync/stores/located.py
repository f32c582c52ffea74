"""Add the location to errors: used by every store, and by the engine above them."""

from __future__ import annotations

from types import TracebackType

from mirrorsync.errors import MirrorsyncError, Side
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Where


class located_at:  # noqa: N801 - used as a function is; a generator would cost three times as much, four times for each tag
    """Raise each MirrorsyncError of the block as a copy with its location: the store's address, repository and ref.

    Parts that the error already has are kept, and an error with all of them passes unchanged. side: the role of the
    store in this run, if it is known. The copy has the cause of the error and not the error as its cause: a traceback
    shows it once.
    """

    __slots__ = ("_ref", "_repository", "_side", "_store")

    def __init__(
        self, store: str, repository: str | None = None, ref: Ref | None = None, side: Side | None = None
    ) -> None:
        self._store = store
        self._repository = repository
        self._ref = ref
        self._side = side

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, MirrorsyncError) and (located := self.located(error)) is not error:
            raise located from error.__cause__

    def located(self, error: MirrorsyncError) -> MirrorsyncError:
        """Return the error with its location, or the same error if it already has one."""
        return error.at(Where(self._store, self._repository, self._ref), side=self._side)
