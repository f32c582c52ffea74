"""An index of several platforms of which the source has only some, as docker saves it (diffoci#247, moby#49473)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.tools import skopeo_digest
from tests.parts.images import Image, index, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run


def saved(directory: Path, made: Image, kind: str) -> str:
    """Write an image without its arm64 part, and return its reference."""
    write_layout(directory / "saved", {"app:1": made})
    for digest in {made.children[1].digest, *made.children[1].blobs} - {*made.children[0].blobs}:
        (directory / "saved/blobs/sha256" / digest.removeprefix("sha256:")).unlink()
    if kind == "oci":
        return "oci:saved:app:1"
    run("tar", "-C", directory / "saved", "-cf", directory / "saved.tar", "oci-layout", "index.json", "blobs")
    return "oci-archive:saved.tar:app:1"


@pytest.mark.parametrize(("kind", "where"), [("oci", "layout"), ("oci-archive", "archive")])
def test_a_plan_names_the_platforms_that_a_source_lacks_and_has(
    mirrorsync: Mirrorsync, tmp_path: Path, kind: str, where: str
) -> None:
    made = multi_platform("app")
    source = saved(tmp_path, made, kind)
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [source]})
    done = mirrorsync("plan", code=1)
    assert f"linux/arm64 is not in this {where}, which has linux/amd64" in done.err
    assert "mirror only what it has with platforms: [linux/amd64]; " in done.err
    assert "--platform" not in done.err
    copied = mirrorsync("copy", source, "oci:copied:app:1", code=1)
    assert copied.err.count("linux/arm64 is not in this") == 1
    assert "copy only what it has: --platform linux/amd64; " in copied.err
    assert not (tmp_path / "mirror").exists()
    mirrorsync("copy", "--platform", "linux/amd64", source, "oci:copied:app:1", code=0)
    assert skopeo_digest(f"oci:{tmp_path}/copied:app:1") == made.children[0].digest
    (tmp_path / "mirror.yaml").unlink()
    mirrorsync.spec(
        {
            "destinations": {"disk": "oci:mirror"},
            "mirrors": [{"from": source.rpartition(":")[0], "tags": ["1"], "platforms": ["linux/amd64"]}],
        }
    )
    mirrorsync("apply", code=0)


def test_a_missing_part_of_a_nested_index_is_named_too(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    nested = index([made])
    document = json.loads(nested.raw)
    del document["manifests"][0]["platform"]
    nested.raw = json.dumps(document).encode()
    saved(tmp_path, made, "oci")
    (tmp_path / "saved/blobs/sha256" / nested.digest.removeprefix("sha256:")).write_bytes(nested.raw)
    entry = {**nested.descriptor, "annotations": {"org.opencontainers.image.ref.name": "app:1"}}
    (tmp_path / "saved/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    assert "linux/arm64 is not in this layout" in mirrorsync("copy", "oci:saved:app:1", "oci:copied", code=1).err
