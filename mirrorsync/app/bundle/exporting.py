"""Images of a bundle as files that container runtimes import at their start."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.applying import Rules, check_signers, open_bundle, read_bundle
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.session import open_session
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.stores.base import Store
from mirrorsync.stores.bundle import BundleStore
from mirrorsync.sync.bundle.exporting import Exported, Write, archives_in, contents_of, write_images
from mirrorsync.sync.bundle.image_cache import ImageCache
from mirrorsync.sync.bundle.reading import Contents

__all__ = ["RUNTIMES", "Exported", "Runtime", "export_bundle"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """directory: of the archives, below that of a node's files. use: how they are put to use.

    noun: of what is written for an image. writes: returns what writes an image into a directory.
    """

    directory: str
    use: str
    noun: str = "archive"
    writes: Callable[[Path, Contents], Write] = archives_in


def _cached_in(directory: Path, contents: Contents) -> Write:
    return ImageCache(directory, contents).add


# Where k3s and RKE2 look at their start is in their documentation, "air-gap install".
RUNTIMES: Final[Mapping[str, Runtime]] = {
    "k3s": Runtime("var/lib/rancher/k3s/agent/images", "k3s imports them at its start"),
    "rke2": Runtime("var/lib/rancher/rke2/agent/images", "RKE2 imports them at its start"),
    "containerd": Runtime("images", "for each: ctr -n k8s.io images import FILE"),
    "podman": Runtime("images", "for each: podman load -i FILE"),
    "talos": Runtime(
        "imagecache", "Talos reads it on a FAT or ISO volume whose label begins with TALOS_", "image", _cached_in
    ),
}


async def export_bundle(
    path: str | os.PathLike[str],
    runtime: str,
    output: str,
    *,
    rules: Rules | None = None,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Exported:
    """Write each image that a bundle carries whole, under the name that it has at its source.

    runtime: a key of RUNTIMES. output: the directory of a node's files; "/" is this node. rules: only who has to sign
    counts; None = unsigned is right. Raises: NotTrusted, NotFound, UsageError, Malformed, StorageError, Interrupted.
    """
    given, stop = environment or process_environment(), stop or Stop()
    found = open_bundle(path)
    check_signers(found, rules or Rules(), given)
    store = BundleStore(read_bundle(path), found=found)
    stores: dict[str, Store] = {store.address: store}
    async with open_session(given, stop, stores=stores) as session:
        contents = contents_of(store, session, stop.event)
        directory = absolute(output) / RUNTIMES[runtime].directory
        write = RUNTIMES[runtime].writes(directory, contents)
        return await stop.interruptible(write_images(store, directory, write, session))
