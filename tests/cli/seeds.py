"""The spec that most tests of failures use, and the tags that it copied."""

from __future__ import annotations

import json

from tests.parts.mirrorsync import Mirrorsync, plain


def mirror_all(mirrorsync: Mirrorsync, host: str, unique: str, *tags: str) -> None:
    mirrorsync.spec(
        {
            "registries": plain(host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{host}/{unique}/app:{tag}" for tag in tags],
        }
    )


def copied_tags(mirrorsync: Mirrorsync) -> set[str]:
    entries = json.loads((mirrorsync.directory / "disk/index.json").read_text())["manifests"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"].rpartition(":")[2] for entry in entries}
