"""Sizes as options."""

from __future__ import annotations

from typing import Any, Final

import click

from mirrorsync.errors import GrammarError
from mirrorsync.sizes import size


class _Size(click.ParamType[int]):
    """A size in bytes: `700MiB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        try:
            return size(str(value))
        except GrammarError as error:
            self.fail(f"{error.message}; {error.remedy}", param, ctx)


SIZE: Final = _Size()
