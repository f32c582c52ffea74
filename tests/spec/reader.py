"""Specs as the tests write them, and the case files: an invalid spec, and the lines of the error for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from mirrorsync.problems import SpecError
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec

CASES = Path(__file__).parent / "cases"
SOURCE = "mirror.yaml"
BASE = "/base"
SECRET = "hunter2"
ENVIRONMENT = {"USER": "robot", "TOKEN": SECRET, "EMPTY": "", "BAD": "no host/x"}


@dataclass(frozen=True)
class Case:
    """An invalid spec, and the lines of its error, without the file's name."""

    name: str
    spec: str
    says: list[str]


def _words(*, narrows: bool) -> list[str]:
    return [word for word, kind in FILTERS.items() if kind.narrows == narrows]


# What cases write for all words of `tags:` of one kind, so that a new word does not change them.
*_FIRST, _LAST = ["exact", *_words(narrows=False)]
WORDS = {"{including}": f"{', '.join(_FIRST)} or {_LAST}", "{narrowing}": " and ".join(_words(narrows=True))}


def said(lines: str) -> list[str]:
    """Return the lines of a case as they have to be said."""
    for name, words in WORDS.items():
        lines = lines.replace(name, words)
    return lines.splitlines()


def wrong_specs() -> Iterator[Case]:
    """Yield every case of every file."""
    for file in sorted(CASES.glob("*.yaml")):
        for case in yaml.safe_load_all(file.read_text("utf-8")):
            yield Case(f"{file.stem}: {case['name']}", case["spec"], said(case["says"]))


def read(text: str | bytes) -> Spec:
    """Load a spec with the environment of the case files."""
    data = text.encode() if isinstance(text, str) else text
    return load(data, source=SOURCE, environment=ENVIRONMENT, base=BASE)


def refusal(text: str | bytes) -> SpecError:
    """Return the error of an invalid spec; fail if it is valid."""
    try:
        spec = read(text)
    except SpecError as error:
        return error
    raise AssertionError(f"this is valid: {spec}")


def mirror(entry: str) -> str:
    """Return a valid spec around one mirror, to one destination."""
    return f"version: 1\ndestinations: {{disk: oci:/srv/mirror}}\nmirrors:\n  - {entry}\n"
