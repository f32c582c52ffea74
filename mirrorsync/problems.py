"""The mistakes in a spec, each with its line and what to write instead, and the error that has all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.errors import ExitCode, MirrorsyncError
from mirrorsync.text import printable


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a spec: message, JSON pointer, line and column (from 1), and what to write instead.

    file: the path of a list of images that the spec names, if the mistake is in it, "" for the spec itself.
    """

    message: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None
    remedy: str = ""
    file: str = ""


class SpecError(MirrorsyncError):
    """The spec is invalid; `problems` lists all its mistakes, in the order of the file.

    excerpts: by problem, the line of the file and the line with the caret below it, without secrets.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self, source: str, problems: Sequence[Problem], excerpts: Mapping[Problem, Sequence[str]] | None = None
    ) -> None:
        self.source: Final = source
        self.problems: Final = tuple(problems)
        self.excerpts: Final = dict(excerpts or {})
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each problem: `file:line:column: pointer: message; remedy`."""
        rendered = []
        for problem in self.problems:
            position = ":".join(
                str(part) for part in (problem.file or self.source, problem.line, problem.column) if part is not None
            )
            pointer = f" {printable(problem.pointer)}:" if problem.pointer else ""
            remedy = f"; {problem.remedy}" if problem.remedy else ""
            rendered.append(f"{position}:{pointer} {problem.message}{remedy}")
        return rendered
