"""Docker archives in the layouts of all tools, made without code of the product; and helpers to call a store."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag, parse_ref
from mirrorsync.stores.base import Store, WritableRepository
from mirrorsync.stores.docker.archive_store import DockerArchiveStore
from mirrorsync.stores.docker.daemon_store import DockerDaemonStore
from tests.parts.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Image, digest, layer, noise

BASE, TOP = layer({"bin/app": noise("base", 300_000)}, compress=False), layer({"etc/v": b"1"}, compress=False)
OTHER = layer({"etc/v": b"2"}, compress=False)


@dataclass(frozen=True)
class Plain:
    """An image in docker's format: a config and uncompressed layers."""

    layers: tuple[bytes, ...] = (BASE, TOP)
    label: str = "one"

    @property
    def config(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": [digest(data) for data in self.layers]}
        config = {"Cmd": ["/bin/app"], "Labels": {"label": self.label}}
        return json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs}).encode()

    @property
    def id(self) -> str:
        return digest(self.config)


ONE, TWO = Plain(), Plain((BASE, OTHER), "two")


def tarball(path: Path, members: Iterable[tuple[str, bytes | str]], *, last: bytes = b"") -> Path:
    """Write a tar of files, and of symbolic links where the content is a string. last: bytes after its end."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    if last:
        with path.open("ab") as file:
            file.write(last)
    return path


def manifest(*entries: tuple[str, Sequence[str] | None, Sequence[str]]) -> tuple[str, bytes]:
    """Return manifest.json for images of (config, names, layers)."""
    document = [{"Config": config, "RepoTags": names, "Layers": layers} for config, names, layers in entries]
    return "manifest.json", json.dumps(document).encode()


def hexes(data: bytes) -> str:
    return digest(data).removeprefix("sha256:")


def by_docker_24(made: Plain, names: Sequence[str]) -> list[tuple[str, bytes | str]]:
    """`<id>/layer.tar`, links for layers that are there twice, and the config by its digest."""
    first: dict[bytes, str] = {}
    members: list[tuple[str, bytes | str]] = []
    paths = []
    for number, data in enumerate(made.layers):
        directory = hexes(f"{made.label} {number}".encode())
        path = f"{directory}/layer.tar"
        paths.append(path)
        members += [(f"{directory}/VERSION", b"1.0"), (f"{directory}/json", b"{}")]
        members.append((path, f"../{first[data]}" if data in first else data))
        first.setdefault(data, path)
    config = f"{hexes(made.config)}.json"
    return [*members, (config, made.config), manifest((config, names, paths)), ("repositories", b"{}")]


def by_docker_25(made: Plain, names: Sequence[str], *, compress: bool = False) -> list[tuple[str, bytes | str]]:
    """An OCI layout, and a manifest.json that points into it."""
    layers = [gzip.compress(data, mtime=0) if compress else data for data in made.layers]
    blobs = {f"blobs/sha256/{hexes(data)}": data for data in (*layers, made.config, b"{}")}
    config, paths = f"blobs/sha256/{hexes(made.config)}", [f"blobs/sha256/{hexes(data)}" for data in layers]
    layout = [("index.json", b"{}"), ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("repositories", b"{}")]
    return [*blobs.items(), *layout, manifest((config, names, paths))]


def gzipped(made: Plain) -> list[tuple[str, bytes]]:
    """Return the layers under the digests of their compressed bytes."""
    layers = [gzip.compress(data, mtime=0) for data in made.layers]
    return [(f"{hexes(data)}.tar.gz", data) for data in layers]


def by_crane(made: Plain, names: Sequence[str]) -> list[tuple[str, bytes | str]]:
    layers = gzipped(made)
    config = f"sha256:{hexes(made.config)}"
    return [(config, made.config), *dict(layers).items(), manifest((config, names, [name for name, _ in layers]))]


def by_jib(made: Plain, names: Sequence[str]) -> list[tuple[str, bytes | str]]:
    layers, config = gzipped(made), ("config.json", made.config)
    return [*dict(layers).items(), config, manifest(("config.json", names, [name for name, _ in layers]))]


def by_nix(made: Plain, names: Sequence[str]) -> list[tuple[str, bytes | str]]:
    layers = [(f"{hexes(data)}/layer.tar", data) for data in made.layers]
    config = f"{hexes(made.config)}.json"
    return [*dict(layers).items(), (config, made.config), manifest((config, names, [name for name, _ in layers]))]


def by_bazel(made: Plain, names: Sequence[str]) -> list[tuple[str, bytes | str]]:
    return [(f"./{name}", content) for name, content in by_nix(made, names)]


def by_containers_image(made: Plain, names: Sequence[str]) -> list[tuple[str, bytes | str]]:
    layers = {f"{hexes(data)}.tar": data for data in made.layers}
    links: list[tuple[str, bytes | str]] = [(f"{hexes(name.encode())}/layer.tar", f"../{name}") for name in layers]
    config = f"{hexes(made.config)}.json"
    paths = [f"{hexes(data)}.tar" for data in made.layers]
    return [*layers.items(), *links, (config, made.config), manifest((config, names, paths))]


WRITERS: Mapping[str, Callable[[Plain, Sequence[str]], list[tuple[str, bytes | str]]]] = {
    "docker save 24": by_docker_24,
    "docker save 25": by_docker_25,
    "docker save with containerd": lambda made, names: by_docker_25(made, names, compress=True),
    "containers/image": by_containers_image,
    "crane": by_crane,
    "jib": by_jib,
    "nix": by_nix,
    "bazel": by_bazel,
}  # fmt: skip


@asynccontextmanager
async def opened(path: Path, cache: Path | None = None, **members: Any) -> AsyncIterator[DockerArchiveStore]:
    """A store of the archive at a path, with its temporary files next to it."""
    temporary = path.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    store = DockerArchiveStore(path, temporary=temporary, cache_directory=cache, **members)
    try:
        yield store
    finally:
        await store.close()
        assert not list(temporary.iterdir()), "temporary files are left"


Result = TypeVar("Result")


def within(path: Path, work: Callable[[Store], Awaitable[Result]], cache: Path | None = None) -> Result:
    """Run a scenario with the store of an archive."""

    async def run() -> Result:
        async with opened(path, cache) as store:
            return await work(store)

    return asyncio.run(run())


async def pulled(repository: WritableRepository, reference: str) -> tuple[Manifest, dict[str, bytes]]:
    """Return an image's manifest and blobs, all verified."""
    root = await repository.resolve(parse_ref(reference))
    assert root is not None, reference
    found = await repository.manifest(root)
    return found, {str(blob.digest): await repository.read(blob) for blob in found.blobs}


async def pushed(repository: WritableRepository, made: Image, tag: str) -> list[str]:
    """Store an image; return the digests of the blobs that the repository did not have."""
    lacking = []
    for data in made.all_blobs().values():
        blob = Descriptor.of(data, "application/octet-stream")
        if not await repository.has(blob):
            lacking.append(str(blob.digest))
            await asyncio.to_thread(
                repository.put, blob, [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
            )
    await repository.tag(Manifest.parse(made.raw, made.media_type), Tag(tag))
    return lacking


def packed(made: Plain, **members: Any) -> Image:
    """Return an uncompressed image in a registry's format. members: of the manifest, instead of its own."""
    layers = [gzip.compress(data, 1, mtime=0) for data in made.layers]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": made.id, "size": len(made.config)},
        "layers": [{"mediaType": OCI_LAYER, "digest": digest(data), "size": len(data)} for data in layers],
        **members,
    }
    blobs = {digest(data): data for data in (made.config, *layers)}
    return Image(OCI_MANIFEST, json.dumps(document).encode(), blobs)


def using(
    host: str | None,
    directory: Path,
    work: Callable[[Store], Awaitable[Result]],
    variables: Mapping[str, str] | None = None,
) -> Result:
    """Run a scenario with the store of a daemon; its cache and its temporary files are in a directory."""
    temporary = directory / "temporary"
    temporary.mkdir(exist_ok=True)

    async def run() -> Result:
        store = DockerDaemonStore(host, variables or {}, temporary=temporary, cache_directory=directory / "cache")
        try:
            return await work(store)
        finally:
            await store.close()
            assert not list(temporary.iterdir()), "temporary files are left"

    return asyncio.run(run())
