"""docs/spec.md has every key of the schema, and every example of a spec on the pages is read as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from mirrorsync.schema_files import load_schema
from mirrorsync.spec.load import load
from tests.pages.markdown import DOCS, Block, blocks, read
from tests.pages.spec import keys

PAGE = "docs/spec.md"
VARIABLES = {
    "HUB_USER": "robot",
    "HUB_TOKEN": "hunter2",
    "CREDENTIALS_DIRECTORY": "/run/credentials",
}
REST: dict[str, Any] = {
    "version": 1,
    "destinations": {"corp": "harbor.corp.example/mirror", "disk": "oci:/srv/mirror"},
    "mirrors": ["docker.io/library/busybox:1.36.1"],
}
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))]
SPECS = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


def _names(schema: Any) -> Iterator[str]:
    """Yield the name of every property that a schema has anywhere."""
    for value in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _names(value)
    if isinstance(schema, Mapping) and isinstance(schema.get("properties"), Mapping):
        yield from schema["properties"]


def test_every_property_of_the_schema_has_a_section() -> None:
    assert sorted(key.name for key in keys()) == sorted(_names(load_schema("mirror")))
    headings = [line for line in read(PAGE).splitlines() if line.startswith("#")]
    assert [key.path for key in keys() if not any(line.endswith(f"# `{key.path}`") for line in headings)] == []


@pytest.mark.parametrize("block", SPECS, ids=lambda block: f"{block.page} line {block.line}")
def test_every_example_is_read_as_a_spec(block: Block) -> None:
    shown = yaml.safe_load(block.text)
    document = {**REST, **shown, "defaults": {"to": ["corp"], **shown.get("defaults", {})}}
    document["destinations"] = {**REST["destinations"], **shown.get("destinations", {})}
    text, files = yaml.safe_dump(document).encode(), {"/base/images.txt": b"docker.io/library/nginx:1.27\n"}
    spec = load(text, source=block.page, environment=VARIABLES, base="/base", files=files.__getitem__)
    assert spec.mirrors
