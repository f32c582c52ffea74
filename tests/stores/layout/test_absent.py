"""Errors about missing tags and repositories of a layout: with the similar names that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.images import multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("oci:nowhere:app:1", "the path does not exist or is empty"),
        ("oci-archive:nowhere.tar:app:1", "the path does not exist or is empty"),
        ("docker-archive:nowhere.tar:app:1", "the path does not exist or is empty"),
        ("oci:source:ap:1", "available: app"),
        ("oci:source:app:1.", "did you mean 1?"),
    ],
)
def test_a_missing_source_is_reported_with_similar_names(
    mirrorsync: Mirrorsync, tmp_path: Path, source: str, says: str
) -> None:
    write_layout(tmp_path / "source", {"app:1": multi_platform("app")})
    done = mirrorsync("copy", source, "oci:disk:app:1", code=1)
    assert says in done.err
    assert "credentials" not in done.err
    assert not (tmp_path / "disk").exists()
