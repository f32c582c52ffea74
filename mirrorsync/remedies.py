"""Remedies that differ between verbs with a spec and verbs on references: a key of the spec, or an option."""

from __future__ import annotations

from typing import Self


class ByVerb(str):
    """A remedy with a form for each kind of verb; as text, it is both. The command line shows the one that applies.

    spec: for verbs that read a spec. options: for the others; options are named without `src-` or `dest-`.
    """

    spec: str
    options: str

    def __new__(cls, spec: str, options: str) -> Self:
        """Return a remedy in two forms."""
        made = super().__new__(cls, f"{spec}; without a spec: {options}")
        made.spec, made.options = spec, options
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.spec, self.options)  # errors can be pickled
