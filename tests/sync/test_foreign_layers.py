"""Foreign layers, which may not be distributed: they are not mirrored, and a notice reports it."""

from __future__ import annotations

import json

from tests.parts.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Image, digest, layer, noise
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def windows_image() -> Image:
    """Return an image whose base layer has the URL of a server that does not answer."""
    config, top, base = b'{"os":"windows","architecture":"amd64"}', layer({"app.exe": b"MZ"}), noise("base", 1000)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [
            {"mediaType": FOREIGN, "digest": digest(base), "size": len(base), "urls": ["https://127.0.0.1:1/base"]},
            {"mediaType": OCI_LAYER, "digest": digest(top), "size": len(top)},
        ],
    }
    return Image(OCI_MANIFEST, json.dumps(document).encode(), {digest(data): data for data in (config, top)})


def test_an_image_with_foreign_layers_is_mirrored_without_them(
    mirrorsync: Mirrorsync, served: Serve, unique: str
) -> None:
    source = Registry(served.host)
    made = windows_image()
    source.push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(served.host),
            "destinations": {"there": f"{served.host}/{unique}/copy"},
            "mirrors": [f"{served.host}/{unique}/app:1"],
        }
    )
    done = mirrorsync("apply", code=0)
    assert "1 foreign layer is not mirrored" in done.err
    assert source.holds(f"{unique}/copy/{unique}/app", made, "1")
    assert mirrorsync("verify", code=0).out.startswith("1 image complete; ")
