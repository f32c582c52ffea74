"""Inventories: what a location has, for the other side of an air gap."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace

from mirrorsync.app.bundle.far_side import created, destination_of
from mirrorsync.app.bundle.signatures import add_signature, sign_inventory
from mirrorsync.app.outputs import is_standard_output, write_output
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute, read_store
from mirrorsync.app.session import query
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.held import Inventory
from mirrorsync.bundle.model import Link
from mirrorsync.documents.inventory import encode_inventory
from mirrorsync.environment import Environment
from mirrorsync.errors import StorageError, UsageError
from mirrorsync.events import Noticed
from mirrorsync.files.disk import replace_file, translated
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure
from mirrorsync.spec.model import Spec
from mirrorsync.state import AppliedBundles, TakenInventories
from mirrorsync.sync.bundle.inventory import take_inventory
from mirrorsync.sync.verify.scope import Scope
from mirrorsync.text import printable


async def make_inventory(
    location: str | Location, *, environment: Environment | None = None, stop: Stop | None = None
) -> tuple[Inventory, tuple[Failure, ...]]:
    """Return what a location has, and what could not be read. Raises: GrammarError, Denied, MirrorsyncError."""
    given = environment or process_environment()
    whole = Scope(read_store(location) if isinstance(location, str) else location, below=True)
    taken = await query(lambda session: take_inventory(whole, session, lambda: created(given)), given, stop)
    return _told(taken, given)


async def make_inventory_of(
    spec: Spec, destination: str | None, *, environment: Environment | None = None, stop: Stop | None = None
) -> tuple[Inventory, tuple[Failure, ...]]:
    """Return what a destination of a spec has, in the repositories that the spec names. destination: its name.

    For registries that do not list their repositories. Raises: UsageError, also if the spec has a namespace.
    """
    place = destination_of(spec, destination)
    mirrors = [mirror for mirror in spec.mirrors if any(one.name == place.name for one in mirror.destinations)]
    if any(mirror.namespace is not None for mirror in mirrors):
        raise UsageError("the repositories of a namespace are not in the spec", remedy="name the location instead")
    names = dict.fromkeys(mirror.target(place, mirror.source.repository) for mirror in mirrors)
    given = environment or process_environment()
    scope = Scope(place.location, below=True)
    repositories: Sequence[Location] = list(names)
    taken = await query(
        lambda session: take_inventory(scope, session, lambda: created(given), repositories),
        given,
        stop,
        spec.registries,
    )
    return _told(taken, given)


def _told(
    taken: tuple[Inventory, tuple[Failure, ...]], environment: Environment
) -> tuple[Inventory, tuple[Failure, ...]]:
    """Return an inventory with the bundles that were applied there, and remember it; report one of nothing.

    Its location may be spelled wrong.
    """
    inventory, failures = taken

    def warn(message: str) -> None:
        environment.observer(Noticed(inventory.location, message))

    memory = AppliedBundles(environment.state_directory, warn)
    try:
        applied = {chain: Link(one.sequence, one.digest) for chain, one in memory.at(inventory.location).items()}
        inventory = replace(inventory, applied=applied)
        TakenInventories(environment.state_directory).add(inventory.location, inventory.created)
    except StorageError as error:  # it names what is there, whichever bundles have brought it
        warn(error.message)
    if not inventory.held.repositories and not failures:
        warn("it has no images, so that all would be sent: check the name if it should have some")
    return inventory, failures


def save_signed_inventory(
    inventory: Inventory, path: str, keys: Sequence[str], environment: Environment | None = None
) -> None:
    """Write an inventory as `save_inventory`, and a signature by each key next to it: PATH.sig, PATH.2.sig ...

    keys: paths of SSH keys. The signatures are over the document as it is before it is compressed. Blocking. Raises:
    SshKeygenFailed, NotFound, StorageError; then the file is as before.
    """
    given = environment or process_environment()
    signatures = sign_inventory(encode_inventory(inventory), path, keys, given)
    save_inventory(inventory, path)
    for signature in signatures:
        add_signature(absolute(path), signature)


def save_inventory(inventory: Inventory, path: str) -> None:
    """Write an inventory; `.gz` compresses it. path: as for `write_output`. Raises: StorageError."""
    text = encode_inventory(inventory)
    if not path.endswith(".gz") or is_standard_output(path):
        write_output(path, [text.decode()])
        return
    with translated(f"writing {printable(path)}"):
        replace_file(absolute(path), [gzip.compress(text, mtime=0)])
