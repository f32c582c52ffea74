"""skopeo and podman for the tests: what other tools read of what mirrorsync wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from tests.parts.images import Image, digest, write_layout
from tests.parts.processes import run


def skopeo_seed(directory: Path, host: str, repository: str, images: dict[str, Image]) -> None:
    """Write images as a layout, and let skopeo push them: a source that was not written by our code."""
    write_layout(directory, images)
    for tag in images:
        run(
            "skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false",
            f"oci:{directory}:{tag}", f"docker://{host}/{repository}:{tag}",
        )  # fmt: skip


def skopeo_raw(reference: str) -> bytes:
    """Return the manifest that skopeo reads at a reference, byte for byte."""
    done = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", reference], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def skopeo_digest(reference: str) -> str:
    """Return the digest of the manifest that skopeo reads at a reference."""
    return digest(skopeo_raw(reference))


class Podman:
    """podman with a storage of its own; use it as a context manager."""

    def __enter__(self) -> Self:
        self._home = TemporaryDirectory(prefix="podman")  # pytest's paths are too long for its sockets
        home = self._home.name
        self._storage = ("--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "vfs")
        return self

    def __exit__(self, *_: object) -> None:
        self("rmi", "--all", "--force")
        self._home.cleanup()

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command; return what it printed. env: more variables."""
        return run("podman", *self._storage, *words, env=env).strip()
