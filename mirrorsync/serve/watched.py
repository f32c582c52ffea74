"""Files that are read again when they change: a renewed certificate, other users, without a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Noticed, Observer

T = TypeVar("T")
_Signature = tuple[tuple[int, ...] | None, ...]


class Watched(Generic[T]):
    """A value that is made of files.

    load: reads them; its errors are raised at the start, and later are notices: the value from before stays, since a
    renewal may just be half done. observer: gets a notice for each change, with what `describe` says of the new value.
    """

    def __init__(
        self, paths: Sequence[Path], load: Callable[[], T], describe: Callable[[T], str], observer: Observer
    ) -> None:
        self._paths = paths
        self._load = load
        self._describe = describe
        self._observer = observer
        self._signature = self._signed()
        self._value = load()

    def current(self) -> T:
        """Return the value, after reading the files again if they have changed: a `stat` of each, and no more."""
        signature = self._signed()
        if signature != self._signature:
            self._signature = signature  # of before the files are read: a change meanwhile is found the next time
            self._read_again()
        return self._value

    def reload(self) -> None:
        """Read the files again, whether they look changed or not."""
        self._signature = self._signed()
        self._read_again()

    def _read_again(self) -> None:
        try:
            self._value = self._load()
        except MirrorsyncError as error:
            remedy = f"; {error.remedy}" if error.remedy else ""
            self._observer(Noticed("serve", f"not taken over, what was read before stays: {error}{remedy}"))
        else:
            self._observer(Noticed("serve", self._describe(self._value)))

    def _signed(self) -> _Signature:
        return tuple(_signature(path) for path in self._paths)


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
