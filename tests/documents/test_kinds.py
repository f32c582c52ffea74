"""Every kind of document has its schema, and the schema has all its members."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest

from mirrorsync.documents.envelope import VERSIONS, Kind
from mirrorsync.schema_files import load_schema
from tests.documents.examples import documents
from tests.parts.documents import COMMON, SCHEMAS, problems, valid

NAMES = {path.name.removesuffix(".schema.json") for path in SCHEMAS.iterdir()}
# Objects whose members are not named by us: labels, annotations, platforms with their own fields.
MAPS = {"annotations", "labels", "platform", "destinations", "repositories", "tags", "manifests", "blobs"}


def objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of all objects in a document."""
    if isinstance(value, dict):
        yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from objects(child, (*path, key))


def test_every_kind_has_a_schema_and_every_schema_a_kind() -> None:
    assert NAMES - {"mirror", COMMON} == set(VERSIONS) == set(get_args(Kind))


def test_the_envelope_is_written_in_one_place() -> None:
    for path in (SCHEMAS.parent / "mirrorsync").rglob("*.py"):
        text = path.read_text("utf-8")
        assert not [kind for kind in VERSIONS if f'mirrorsync.{kind}"' in text], path
        assert '"kind": full_name(' not in text or path.name == "envelope.py"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_schemas_are_json_schema_2020_12(name: str) -> None:
    schema = load_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://mirrorsync.dev/schemas/{name}.schema.json"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_schema_has_the_kind_and_the_version_of_its_documents(kind: Kind) -> None:
    properties = load_schema(kind)["properties"]
    assert properties["kind"] == {"const": f"mirrorsync.{kind}"}
    assert properties["version"] == {"const": VERSIONS[kind]}


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_document_is_valid_by_its_schema(kind: Kind) -> None:
    valid(json.loads(json.dumps(documents()[kind])), kind)


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_schema_rejects_unknown_members(kind: Kind) -> None:
    whole = json.loads(json.dumps(documents()[kind]))
    for path in objects(whole):
        if MAPS.intersection(path):
            continue
        damaged = copy.deepcopy(whole)
        inside = damaged
        for key in path:
            inside = inside[key]
        inside["unknown"] = {}
        assert problems(damaged, kind), f"a member that the schema does not know, at {path}"


def test_a_definition_is_in_one_file_and_is_used() -> None:
    kinds = NAMES - {"mirror"}
    defined = [(name, what) for name in kinds for what in load_schema(name).get("$defs", {})]
    assert len({what for _, what in defined}) == len(defined)
    texts = {name: json.dumps(load_schema(name)) for name in kinds}
    for name, what in defined:
        used = f'"#/$defs/{what}"' in texts[name] or any(
            f'"{name}.schema.json#/$defs/{what}"' in text for text in texts.values()
        )
        assert used, f"{name}: {what}"
