"""Lists that are kept in several files agree: filter keys, kinds of stores, the schema, the model, and the example."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mirrorsync.environment import Environment
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.reference import Location, parse_destination, parse_image, parse_repository
from mirrorsync.oci.transports import TRANSPORTS, transport_of
from mirrorsync.schema_files import load_schema
from mirrorsync.spec import filters, interpolate
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.load import load
from mirrorsync.spec.tags import read_tags
from mirrorsync.stores.base import Store
from mirrorsync.stores.directory import DirStore
from mirrorsync.stores.docker.archive_store import DockerArchiveStore
from mirrorsync.stores.docker.daemon_store import DockerDaemonStore
from mirrorsync.stores.layout.store import LayoutDirectoryStore, LayoutStore
from mirrorsync.stores.open import _KINDS, opener
from mirrorsync.stores.registry.store import RegistryStore
from tests.parts.mirrorsync import Mirrorsync
from tests.spec.reader import mirror, read
from tests.stores import test_contract, test_contract_of_bundles, test_contract_of_forms

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "mirror.example.yaml"
SCHEMA = load_schema("mirror")
TAGS = SCHEMA["$defs"]["tags"]
VARIABLES = {"HUB_USER": "robot", "HUB_TOKEN": "hunter2"}
# What the schema shows to editors; each is tried in a spec.
VALUES: Mapping[str, Any] = {
    word: found["examples"][0] for word, found in TAGS["properties"].items() if "examples" in found
}


def test_every_key_of_tags_has_a_class_and_a_property() -> None:
    assert set(TAGS["properties"]) == {"exact", "per", *FILTERS}


def test_every_key_has_an_example_in_the_schema() -> None:
    assert set(VALUES) == {"per", *FILTERS}


def test_every_filter_class_has_a_key() -> None:
    classes = {kind for _, kind in inspect.getmembers(filters, inspect.isclass)}
    assert {kind for kind in classes if type(getattr(kind, "narrows", None)) is bool} == set(FILTERS.values())
    assert len(set(FILTERS.values())) == len(FILTERS)


def test_the_schema_requires_one_of_the_including_keys() -> None:
    needed = {key for alternative in TAGS["then"]["anyOf"] for key in alternative["required"]}
    assert needed == {"exact"} | {key for key, kind in FILTERS.items() if not kind.narrows}


@pytest.mark.parametrize("key", FILTERS)
def test_every_key_is_read_from_a_spec(key: str) -> None:
    tags = {"exact": ["1.0"], key: VALUES[key]}
    found = read_tags(tags, "/tags", lambda *problem: pytest.fail(str(problem)))
    assert [type(chosen) for chosen in (*found.includes, *found.narrows)] == [FILTERS[key]]
    (entry,) = read(mirror(f"{{from: nginx, tags: {yaml.safe_dump(tags, default_flow_style=True).strip()}}}")).mirrors
    assert entry.selection == found


def test_every_setting_of_a_registry_has_a_field_and_a_property() -> None:
    # Plain HTTP to a host without TLS is only for --tls-verify=false; a spec has to set plain_http.
    fields = {field.name for field in dataclasses.fields(HostSettings)} - {"plain_http_fallback"}
    assert fields == set(SCHEMA["$defs"]["registry"]["properties"])


def test_every_transport_opens_a_store() -> None:
    assert set(_KINDS) == set(TRANSPORTS)


def test_every_kind_of_store_is_held_to_a_contract() -> None:
    held = {*test_contract.KINDS, *test_contract_of_forms.KINDS, *test_contract_of_bundles.KINDS}
    assert {"layout" if prefix == "oci:" else prefix.removesuffix(":") for prefix in _KINDS} <= held


@pytest.mark.parametrize("prefix", _KINDS)
def test_every_kind_of_store_is_in_the_grammar_and_the_schema(prefix: str) -> None:
    path = "/srv/x" if TRANSPORTS[prefix].has_path else ""
    address = f"{prefix}{path}"
    assert transport_of(address) is TRANSPORTS[prefix]
    if not TRANSPORTS[prefix].written_by:
        assert parse_destination(address).store == address
        assert prefix in SCHEMA["properties"]["destinations"]["description"]
    if TRANSPORTS[prefix].many:
        colon = ":" if path else ""
        assert parse_repository(f"{prefix}{path}{colon}a/b") == Location(address, "a/b")
        assert parse_image(f"{prefix}{path}{colon}a/b:1").location == Location(address, "a/b")
    assert prefix in SCHEMA["$defs"]["mirror"]["properties"]["from"]["description"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("oci:/srv/x:a", LayoutDirectoryStore),
        ("oci-archive:/srv/x:a", LayoutStore),
        ("docker-archive:/srv/x:a", DockerArchiveStore),
        ("docker-daemon:", DockerDaemonStore),
        ("dir:/srv/x", DirStore),
        ("harbor.example/x", RegistryStore),
        ("localhost:5000", RegistryStore),
        ("[::1]:5000/a", RegistryStore),
        ("docker.io/team", RegistryStore),
    ],
)
def test_an_address_opens_the_store_of_its_transport(text: str, kind: type[Store]) -> None:
    async def opened() -> Store:
        return opener(Environment())(parse_destination(text).store)

    assert isinstance(asyncio.run(opened()), kind)


def _properties(schema: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from ((f"{pointer}/{name}", found) for name, found in value.items())
            yield from _properties(value, f"{pointer}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from _properties(value, f"{pointer}/{number}")


def _resolved(found: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in found:
        return found
    target: Any = SCHEMA
    for part in found["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **found}


def test_the_schema_is_json_schema_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_property_has_a_description() -> None:
    descriptions = {pointer: _resolved(found).get("description", "") for pointer, found in _properties(SCHEMA)}
    assert len(descriptions) > 20
    assert [pointer for pointer, text in descriptions.items() if not text.endswith(".")] == []


def test_exactly_the_fields_with_variables_are_described_so() -> None:
    """An editor's user reads the schema, and not our code."""
    registry = SCHEMA["$defs"]["registry"]["properties"]
    described = {name for name, found in registry.items() if "${" in found["description"]}
    declared = {pointer[-1] for pointer in interpolate._DECLARED if pointer[0] == "registries"}
    assert described == declared
    assert "${VARIABLE} is expanded" in SCHEMA["properties"]["destinations"]["description"]
    assert "${VARIABLE} is expanded" in SCHEMA["$defs"]["mirror"]["properties"]["from"]["description"]


def test_every_object_of_the_schema_restricts_its_keys() -> None:
    for pointer, found in _properties({"properties": {"spec": SCHEMA}, "$defs": SCHEMA["$defs"]}):
        if "object" in _resolved(found).get("type", ()):
            assert "additionalProperties" in _resolved(found), pointer


def test_the_example_is_valid_for_the_schema_and_for_the_loader() -> None:
    text = EXAMPLE.read_bytes()
    jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(text))
    spec = load(text, source="mirror.example.yaml", environment=VARIABLES, base="/base")
    assert len({one.pointer.split("/")[2] for one in spec.mirrors}) == len(yaml.safe_load(text)["mirrors"])


def test_the_example_shows_every_key() -> None:
    document = yaml.safe_load(EXAMPLE.read_bytes())
    assert set(document) == set(SCHEMA["properties"])
    shown = {word for entry in document["mirrors"] if isinstance(entry, dict) for word in entry.get("tags", ())}
    assert shown >= set(TAGS["properties"])
    settings = {word for members in document["registries"].values() for word in members}
    assert settings == set(SCHEMA["$defs"]["registry"]["properties"])


def test_the_example_points_editors_to_the_schema() -> None:
    first = EXAMPLE.read_text("utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=https://")
    assert first.endswith("/schemas/mirror.schema.json")


def test_the_example_passes_validate_and_needs_its_variables(mirrorsync: Mirrorsync) -> None:
    (mirrorsync.directory / "mirror.yaml").write_bytes(EXAMPLE.read_bytes())
    assert mirrorsync("validate", "--no-files", env=VARIABLES, code=0).out.startswith(
        "mirror.yaml is valid: 18 mirrors"
    )
    error = mirrorsync("validate", env={"HUB_USER": "robot"}, code=2).err
    assert "the variable HUB_TOKEN is not set" in error
    assert len(error.splitlines()) == 1
