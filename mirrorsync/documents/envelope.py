"""The envelope of every document: its kind, and the version of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Kind = Literal[
    "bundle-answer",
    "bundle-contents",
    "bundle-creation",
    "bundle-export",
    "bundle-repair",
    "bundle-verification",
    "comparison",
    "configuration",
    "difference",
    "error",
    "explanation",
    "history",
    "images",
    "impact",
    "import",
    "imports",
    "inspection",
    "inventory",
    "lock",
    "login",
    "logout",
    "plan",
    "relocation",
    "report",
    "serving",
    "started",
    "state",
    "tags",
    "validation",
    "verification",
]

# The version of a kind is raised if its readers have to change. The schema of each is schemas/KIND.schema.json.
VERSIONS: Final[Mapping[Kind, int]] = {
    "bundle-answer": 1,
    "bundle-contents": 1,
    "bundle-creation": 1,
    "bundle-export": 1,
    "bundle-repair": 1,
    "bundle-verification": 1,
    "comparison": 1,
    "configuration": 1,
    "difference": 1,
    "error": 1,
    "explanation": 1,
    "history": 1,
    "images": 1,
    "impact": 1,
    "import": 1,
    "imports": 1,
    "inspection": 1,
    "inventory": 1,
    "lock": 1,
    "login": 1,
    "logout": 1,
    "plan": 2,
    "relocation": 1,
    "report": 2,
    "serving": 1,
    "started": 1,
    "state": 1,
    "tags": 1,
    "validation": 1,
    "verification": 1,
}


def full_name(kind: Kind) -> str:
    """Return a kind as it is written in documents: `mirrorsync.plan`."""
    return f"mirrorsync.{kind}"


def document(kind: Kind, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a document inside the envelope."""
    return {"kind": full_name(kind), "version": VERSIONS[kind], **members}
