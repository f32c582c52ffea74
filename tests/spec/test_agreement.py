"""What stands in several places agrees: filter words, kinds of stores, the schema, the model, and the example."""

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
from mirrorsync.stores.layout.store import LayoutPlaceStore, LayoutStore
from mirrorsync.stores.open import _KINDS, opener
from mirrorsync.stores.registry.store import RegistryStore
from tests.parts.mirrorsync import Mirrorsync
from tests.spec.reader import mirror, read
from tests.stores import test_contract, test_contract_of_forms

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "mirror.example.yaml"
SCHEMA = load_schema("mirror")
TAGS = SCHEMA["$defs"]["tags"]
VARIABLES = {"HUB_USER": "robot", "HUB_TOKEN": "hunter2"}
# What the schema shows to editors; each is tried in a spec.
VALUES: Mapping[str, Any] = {
    word: found["examples"][0] for word, found in TAGS["properties"].items() if "examples" in found
}


def test_every_word_of_tags_has_a_class_and_a_property() -> None:
    assert set(TAGS["properties"]) == {"exact", *FILTERS}


def test_every_word_shows_an_editor_how_it_is_written() -> None:
    assert set(VALUES) == set(FILTERS)


def test_every_filter_class_has_a_word() -> None:
    classes = {kind for _, kind in inspect.getmembers(filters, inspect.isclass)}
    assert {kind for kind in classes if type(getattr(kind, "narrows", None)) is bool} == set(FILTERS.values())
    assert len(set(FILTERS.values())) == len(FILTERS)


def test_one_including_word_is_needed_and_the_schema_knows_them_all() -> None:
    needed = {word for alternative in TAGS["then"]["anyOf"] for word in alternative["required"]}
    assert needed == {"exact"} | {word for word, kind in FILTERS.items() if not kind.narrows}


@pytest.mark.parametrize("word", FILTERS)
def test_every_word_is_taken_from_a_spec(word: str) -> None:
    tags = {"exact": ["1.0"], word: VALUES[word]}
    found = read_tags(tags, "/tags", lambda *problem: pytest.fail(str(problem)))
    assert [type(chosen) for chosen in (*found.includes, *found.narrows)] == [FILTERS[word]]
    (entry,) = read(mirror(f"{{from: nginx, tags: {yaml.safe_dump(tags, default_flow_style=True).strip()}}}")).mirrors
    assert entry.selection == found


def test_every_setting_of_a_registry_has_a_field_and_a_property() -> None:
    # Plain HTTP to a host that was thought to speak TLS is for --tls-verify=false alone: a spec has to say plain_http.
    fields = {field.name for field in dataclasses.fields(HostSettings)} - {"plain_http_fallback"}
    assert fields == set(SCHEMA["$defs"]["registry"]["properties"])


def test_every_transport_opens_a_store() -> None:
    assert set(_KINDS) == set(TRANSPORTS)


def test_every_kind_of_store_is_held_to_a_contract() -> None:
    held = {*test_contract.KINDS, *test_contract_of_forms.KINDS}
    assert {"layout" if prefix == "oci:" else prefix.removesuffix(":") for prefix in _KINDS} <= held


@pytest.mark.parametrize("prefix", _KINDS)
def test_every_kind_of_store_is_known_to_the_grammar_and_the_schema(prefix: str) -> None:
    path = "/srv/x" if TRANSPORTS[prefix].has_path else ""
    address = parse_destination(f"{prefix}{path}").store
    assert address == f"{prefix}{path}"
    assert transport_of(address) is TRANSPORTS[prefix]
    if TRANSPORTS[prefix].many:
        colon = ":" if path else ""
        assert parse_repository(f"{prefix}{path}{colon}a/b") == Location(address, "a/b")
        assert parse_image(f"{prefix}{path}{colon}a/b:1").location == Location(address, "a/b")
    assert prefix in SCHEMA["properties"]["destinations"]["description"]
    assert prefix in SCHEMA["$defs"]["mirror"]["properties"]["from"]["description"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("oci:/srv/x:a", LayoutStore),
        ("oci-archive:/srv/x:a", LayoutPlaceStore),
        ("docker-archive:/srv/x:a", DockerArchiveStore),
        ("docker-daemon:", DockerDaemonStore),
        ("dir:/srv/x", DirStore),
        ("harbor.example/x", RegistryStore),
        ("localhost:5000", RegistryStore),
        ("[::1]:5000/a", RegistryStore),
        ("docker.io/team", RegistryStore),
    ],
)
def test_every_address_of_the_grammar_opens_as_its_kind(text: str, kind: type[Store]) -> None:
    async def opened() -> Store:
        return opener(Environment())(parse_destination(text).store)

    assert isinstance(asyncio.run(opened()), kind)


def _properties(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from ((f"{place}/{name}", found) for name, found in value.items())
            yield from _properties(value, f"{place}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from _properties(value, f"{place}/{number}")


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


def test_every_property_tells_an_editor_what_it_is() -> None:
    told = {place: _resolved(found).get("description", "") for place, found in _properties(SCHEMA)}
    assert len(told) > 20
    assert [place for place, text in told.items() if not text.endswith(".")] == []


def test_every_field_that_takes_variables_says_so_and_no_other_does() -> None:
    """An editor's user reads the schema, and not our code."""
    registry = SCHEMA["$defs"]["registry"]["properties"]
    told = {name for name, found in registry.items() if "${" in found["description"]}
    declared = {pointer[-1] for pointer in interpolate._DECLARED if pointer[0] == "registries"}
    assert told == declared
    assert "${VARIABLE} is expanded" in SCHEMA["properties"]["destinations"]["description"]
    assert "${VARIABLE} is expanded" in SCHEMA["$defs"]["mirror"]["properties"]["from"]["description"]


def test_nothing_of_the_schema_takes_unknown_keys_by_silence() -> None:
    for place, found in _properties({"properties": {"spec": SCHEMA}, "$defs": SCHEMA["$defs"]}):
        if "object" in _resolved(found).get("type", ()):
            assert "additionalProperties" in _resolved(found), place


def test_the_example_is_valid_for_the_schema_and_for_the_loader() -> None:
    text = EXAMPLE.read_bytes()
    jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(text))
    spec = load(text, source="mirror.example.yaml", environment=VARIABLES, base="/base")
    assert len(spec.mirrors) == len(yaml.safe_load(text)["mirrors"])


def test_the_example_shows_every_word() -> None:
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
    assert mirrorsync("validate", env=VARIABLES, code=0).out.startswith("mirror.yaml is valid: 12 mirrors")
    told = mirrorsync("validate", env={"HUB_USER": "robot"}, code=2).err
    assert "the variable HUB_TOKEN is not set" in told
    assert len(told.splitlines()) == 1
