"""Send a destination every request that a plan may need, and copy to it with the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mirrorsync.errors import RepositoryNotFound
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store
from mirrorsync.stores.registry.store import RegistryStore
from tests.parts.auth_service import PASSWORD, USER
from tests.parts.images import Image
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described


def asking(harness: ClientHarness, name: str) -> list[object]:
    """Ask for a tag, a blob (twice) and the tags; None and False mean absent, also for the list."""

    async def ask(store: Store) -> list[object]:
        assert isinstance(store, RegistryStore)
        repository = store.destination(name)
        blob = described(b"x")
        found: list[object] = [await repository.resolve(Tag("1")), await repository.has(blob)]
        found.append(await repository.blob(blob.digest))
        try:
            found.append([tag async for tag in repository.tags()])
        except RepositoryNotFound:
            found.append(None)
        return found

    return harness.run(ask)


def copied(mirrorsync: Mirrorsync, source: Unruly, to: str, password: str = PASSWORD, code: int = 0) -> str:
    """Copy app:1 to an image, with a login of the environment; return the output."""
    places = (f"docker://{source.host}/app:1", f"docker://{to}")
    words = ("--src-tls-verify=false", "--dest-tls-verify=false", "--dest-creds", USER)
    done = mirrorsync("copy", *words, *places, env={"MIRRORSYNC_DEST_PASSWORD": password}, code=code)
    return done.out + done.err


def spec(mirrorsync: Mirrorsync, source: Unruly, server: Unruly, prefix: str = "team", **settings: Any) -> Path:
    """Write a spec that mirrors app:1, with a login for the destination."""
    login = {"username": USER, "password": PASSWORD, **settings}
    return mirrorsync.spec(
        {
            "registries": {**plain(source.host), **plain(server.host, **login)},
            "destinations": {"there": f"{server.host}/{prefix}"},
            "mirrors": [f"{source.host}/app:1"],
        }
    )


def holds(registry: TinyRegistry, name: str, made: Image, tag: str = "1") -> bool:
    """Return whether a registry has every byte of an image, under a tag."""
    manifests = all(registry.manifests.get((name, one.digest), ("", b""))[1] == one.raw for one in made.manifests())
    blobs = all(registry.blobs.get((name, key)) == data for key, data in made.all_blobs().items())
    return manifests and blobs and registry.tags.get((name, tag)) == made.digest
