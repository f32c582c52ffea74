"""Image references in files of Kubernetes and compose, rewritten to the names that a mirror gives to the images.

environment: None = the process's. stop: stops the work, which then raises Interrupted; None = it is not stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mirrorsync.app.outputs import write_output
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.app.session import query
from mirrorsync.app.specs import FROM_STDIN, read_stdin
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.oci.reference import parse_destination
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.model import Spec
from mirrorsync.spec.placement import Placement, placement
from mirrorsync.sync.relocate import Moved, Relocated, relocate, relocate_pinned, relocate_pinning

__all__ = ["Moved", "Relocated", "place_of", "read_files", "relocate_files", "write_files"]

_MAX_BYTES: Final = 32 * 1024 * 1024


def place_of(spec: Spec, destination: str = "", address: str = "") -> Placement:
    """Return where a spec puts its images. destination: its name, "" if there is only one.

    address: `host[/prefix]` under which clients know it. Raises: UsageError, GrammarError.
    """
    return placement(spec, destination, parse_destination(address) if address else None)


def read_files(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Return the names and the bytes of files; `-` is standard input. Raises: UsageError, StorageError."""
    return [
        (path, read_stdin(_MAX_BYTES, "YAML") if path == FROM_STDIN else read_file(absolute(path), _MAX_BYTES, "file"))
        for path in paths
    ]


async def relocate_files(
    files: Sequence[tuple[str, bytes]],
    spec: Spec,
    place: Placement,
    *,
    pin: bool = False,
    lock: Lock | None = None,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> list[Relocated]:
    """Return files with the references of the mirror in the place of those of the sources.

    pin: add the digest to each, as the mirror has it now. lock: as this lock has it. Nothing is contacted without
    `pin`. What cannot be rewritten stays as it is, and is reported. Raises: UsageError if a file is not YAML.
    """
    if lock is not None:
        return relocate_pinned(files, place, lock)
    if not pin:
        return relocate(files, place)
    return await query(
        lambda session: relocate_pinning(files, place, session),
        environment,
        stop,
        spec.registries,
        signers=spec.signers,
    )


def write_files(files: Sequence[Relocated]) -> None:
    """Write the files that have changed in their place, each whole or not at all. Raises: StorageError."""
    for file in files:
        if any(one.fate == "rewritten" for one in file.images):
            write_output(file.name, [file.data.decode()])
