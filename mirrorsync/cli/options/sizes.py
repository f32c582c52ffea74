"""Sizes and shares as options."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, Generic, TypeVar

import click

from mirrorsync.app.bundle.parity import read_share
from mirrorsync.errors import GrammarError
from mirrorsync.sizes import size

T = TypeVar("T")


class _Read(click.ParamType[T], Generic[T]):
    """A value that a function reads."""

    def __init__(self, name: str, read: Callable[[str], T]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Return the value."""
        try:
            return self._read(str(value))
        except GrammarError as error:
            self.fail(f"{error.message}; {error.remedy}", param, ctx)


SIZE: Final[click.ParamType[int]] = _Read("size", size)  # in bytes: `700MiB`
PERCENT: Final[click.ParamType[Fraction]] = _Read("share", read_share)  # `10%`
