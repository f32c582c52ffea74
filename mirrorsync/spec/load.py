"""Load the text of mirror.yaml as a Spec, or report all its mistakes, each with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mirrorsync.oci.digest import Digest
from mirrorsync.problems import Problem, SpecError
from mirrorsync.spec.build import ReadFile, build
from mirrorsync.spec.excerpt import excerpts
from mirrorsync.spec.interpolate import interpolate
from mirrorsync.spec.model import Spec
from mirrorsync.spec.schema_check import check_shape
from mirrorsync.spec.yaml_source import YamlProblem, read


def load(text: bytes, *, source: str, environment: Mapping[str, str], base: str, files: ReadFile | None = None) -> Spec:
    """Read a spec.

    source: the file's name, for messages and plans. environment: what `${VARIABLE}` may name. base: the absolute
    directory that relative paths in the spec start from. files: returns the bytes of a list of images that the spec
    names, by its absolute path, or raises a MirrorsyncError; None = it names no lists. Raises: SpecError with all
    problems.
    """
    try:
        document = read(text)
    except YamlProblem as error:
        raise invalid(source, [error.problem], text) from error
    value = interpolate(document, environment)
    reported = {problem.pointer for problem in document.problems}
    shape = check_shape(document, value)
    # A value that could not be read does not fit the schema either; it is reported once.
    problems = document.problems + [problem for problem in shape if problem.pointer not in reported]
    spec = None
    if not problems:
        spec, problems = build(document, value, source=source, digest=Digest.of(text), base=base, files=files)
    if spec is None or problems:
        problems = sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        raise invalid(source, problems, text)
    return spec


def invalid(source: str, problems: Sequence[Problem], text: bytes) -> SpecError:
    """Return the error for the problems of a spec, with their excerpts."""
    return SpecError(source, problems, excerpts(text.decode("utf-8-sig", "replace"), problems))
