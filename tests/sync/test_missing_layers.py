"""An image whose manifest has no layers although its config names some: it is mirrored, with a notice (moby#47065)."""

from __future__ import annotations

import json

import pytest

from tests.parts.images import OCI_CONFIG, OCI_MANIFEST, Image, digest, write_layout
from tests.parts.mirrorsync import Mirrorsync


def without_layers(diff_ids: list[str]) -> Image:
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [],
    }
    return Image(OCI_MANIFEST, json.dumps(document).encode(), {digest(config): config})


@pytest.mark.parametrize("count", [0, 2])
def test_an_image_without_the_layers_of_its_config_is_mirrored_with_a_notice(
    mirrorsync: Mirrorsync, count: int
) -> None:
    made = without_layers([digest(bytes([number])) for number in range(count)])
    write_layout(mirrorsync.directory / "source", {"app:1": made})
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": ["oci:source:app:1"]})
    done = mirrorsync("apply", code=0)
    notice = "the image has no layers, but its config names 2; it is mirrored as it is"
    assert (notice in done.err) is (count == 2)
    assert done.err.count("the image has no layers") == (count == 2)
