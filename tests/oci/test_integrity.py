"""Exit code 4 means one thing: bytes that do not match their digest or size; each of these errors says which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mirrorsync

ROOT = Path(mirrorsync.__file__).parent
# What was compared, in the words of the message. A form that is not read is Malformed; missing content is NotFound.
COMPARED = (
    "does not match its digest",
    "does not match its diff_id",
    "does not match the cached digest",
    "does not match its Content-Encoding",
    "is damaged in the archive",  # the layer whose diff_id does not match
    "has the digest",
    "its descriptor says",
    "bytes",
    "asked for {} and got {}",
    "requested {}, but got {}",
    "the registry stored manifest {} as {}",
)


KINDS = {"IntegrityError", "Mismatch"}


def raised() -> Iterator[tuple[str, str]]:
    """Yield the place and the message of every IntegrityError that the product makes, with {} for what is filled in."""
    texts = {path: path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}
    for path in [path for path, text in texts.items() if any(f"{kind}(" in text for kind in KINDS)]:
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", _text(node.args[0])


def _text(message: ast.expr) -> str:
    if isinstance(message, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in message.values)
    return str(message.value) if isinstance(message, ast.Constant) else ""


RAISED = dict(raised())


@pytest.mark.parametrize("place", RAISED)
def test_an_integrity_error_names_what_does_not_match(place: str) -> None:
    assert any(words in RAISED[place] for words in COMPARED), RAISED[place]


def test_all_integrity_errors_are_found() -> None:
    assert len(RAISED) > 15
    assert {place.partition(":")[0] for place in RAISED} >= {"files/chunks.py", "oci/manifest.py", "serve/uploads.py"}
