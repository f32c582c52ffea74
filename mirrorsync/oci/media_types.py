"""Media types of the OCI image spec 1.1 and of Docker's schema 2, by kind of content."""

from __future__ import annotations

from typing import Final

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
ANY_BYTES: Final = "application/octet-stream"
# The artifact manifest was withdrawn before image spec 1.1 was final; images made with the release candidates exist.
OCI_ARTIFACT: Final = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"

IMAGE_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
IMAGES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
MANIFESTS: Final = INDEXES | IMAGES | {OCI_ARTIFACT}

# Docker's schema 1 signs its bytes and lists layers without sizes; no current registry accepts it.
SCHEMA_1: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

# The types that a client accepts, in one comma-joined header: a missing type is answered with 404 or, for a tag of a
# list, with another image (distribution's handlers/manifests.go); `*/*` gets schema 1 from old registries.
ACCEPT: Final = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT))


def is_manifest(media_type: str) -> bool:
    """Return whether content of this type is a manifest or index, served at /manifests/ and not at /blobs/."""
    return media_type in MANIFESTS


def is_foreign_layer(media_type: str) -> bool:
    """Return whether a layer of this type may not be distributed, and is fetched from its own URLs (Windows bases)."""
    return ".nondistributable." in media_type or ".foreign." in media_type
