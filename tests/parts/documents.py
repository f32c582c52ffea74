"""The documents that mirrorsync prints, checked against the schemas that it ships."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

from mirrorsync.schema_files import load_schema

COMMON = "common"
SCHEMAS = Path(__file__).parents[2] / "schemas"


@cache
def _registry() -> Registry[Any]:
    resource: Resource[Any] = Resource.from_contents(load_schema(COMMON))
    return resource @ Registry()


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(load_schema(kind), registry=_registry())


def problems(document: Any, kind: str) -> list[str]:
    """Return what the schema of a kind finds wrong with a document."""
    return [f"{error.json_path}: {error.message}" for error in validator(kind).iter_errors(document)]


def valid(document: Any, kind: str = "") -> Any:
    """Return a document after its schema has found nothing wrong with it. kind: the one that it has to be of."""
    found = document["kind"].removeprefix("mirrorsync.")
    assert kind in ("", found)
    assert problems(document, found) == []
    return document
