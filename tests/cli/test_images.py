"""`images` for scripts: one name a line, or one document as JSON or YAML; by source, or by destination."""

from __future__ import annotations

import yaml

from tests.parts.documents import valid
from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync


def test_images_are_listed_as_lines_and_as_documents_by_source_and_by_destination(mirrorsync: Mirrorsync) -> None:
    one, two = (image([layer({"name": name})]) for name in (b"1", b"2"))
    write_layout(mirrorsync.directory / "source", {"app:1": one, "db:2": two})
    at = f"oci:{mirrorsync.directory}/source"
    mirrors = [
        {"from": "oci:source:app", "tags": ["1"], "to": ["corp", "edge"]},
        {"from": "oci:source:db", "tags": [two.digest], "to": ["corp"]},
    ]
    mirrorsync.spec({"destinations": {"corp": "corp.invalid/m", "edge": "edge.invalid"}, "mirrors": mirrors})

    def text(*words: str) -> list[str]:
        return mirrorsync("images", "--format", "text", *words, code=0).out.splitlines()

    assert text() == [f"{at}:app:1", f"{at}:db@{two.digest}"]  # once, although there are two destinations
    assert text("--destination", "corp") == ["corp.invalid/m/app:1", f"corp.invalid/m/db@{two.digest}"]
    assert text("--destination", "edge", "--quiet") == ["edge.invalid/app:1"]
    document = mirrorsync("images", "--json", code=0).json()
    assert mirrorsync("images", "--format", "json", code=0).json() == document
    found = yaml.safe_load(mirrorsync("images", "--format", "yaml", code=0).out)
    assert found == valid(document, "images")
    assert len(found["images"]) == 3
    assert "contradict each other" in mirrorsync("images", "--json", "--format", "text", code=2).err
    assert "mirrorsync images" not in mirrorsync("images", "--destination", "moon", code=2).out
