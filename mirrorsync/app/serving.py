"""Serve stores on disk as a registry: which ones, who may use them, and which of their images."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.signers import voucher
from mirrorsync.app.reading import read_store
from mirrorsync.bundle.archives import closure
from mirrorsync.bundle.model import Image
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_repository
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.serve import Guard, Logins, Settings, Snapshot, Tls, serving
from mirrorsync.state import Generation
from mirrorsync.stores.base import ReadOnly, Repository, Store
from mirrorsync.stores.bundle import BundleStore
from mirrorsync.stores.open import opener
from mirrorsync.stores.united import Part, UnitedStore
from mirrorsync.text import some_of

_SHOWN: Final = 10  # images in a notice
_PREFIXED: Final = re.compile(r"([^=:]+)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Served:
    """A store that is served. prefix: what its repositories are shown under, "" for nothing."""

    location: Location
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where clients connect, and how they prove who they are.

    port: 0 = any free port. certificate, key: PEM files; None = no TLS. htpasswd: the users; None = no logins.
    anonymous_pull: whether reading needs no login. writable: whether pushes and deletes are accepted.
    """

    host: str
    port: int
    writable: bool = False
    certificate: Path | None = None
    key: Path | None = None
    htpasswd: Path | None = None
    anonymous_pull: bool = False


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that listens. reload: reads its certificate and users again; None if it has neither."""

    port: int
    reload: Callable[[], None] | None


def read_served(written: str) -> Served:
    """Read `[PREFIX=]oci:DIRECTORY`, or another store on disk. Raises: GrammarError, UsageError."""
    found = _PREFIXED.fullmatch(written)
    prefix, address = found.groups() if found else ("", written)
    location = read_store(address)
    transport = location.transport
    if not (transport.has_path and transport.many and transport.keeps_manifests):
        raise UsageError(
            f"{address} cannot be served",
            remedy="serve oci:, oci-archive: or bundle:; `mirrorsync copy` fills a layout from any other store",
        )
    if location.repository:
        raise UsageError(f"{address} names a repository", remedy=f"serve the whole store: {location.store}")
    return Served(location, check_repository(prefix) if prefix else "")


@asynccontextmanager
async def serving_stores(
    served: Sequence[Served], entrance: Entrance, *, environment: Environment, generation: Generation | None = None
) -> AsyncIterator[Serving]:
    """Serve stores while the block runs. Several are shown as one, in their order, and cannot be written.

    With `writable`, the first push creates a missing layout. Without, a missing one is an error: it is a typo, or a
    disk that is not mounted, and would look like a mirror without images. generation: the only images to show, each
    with the digest that its tag named then; None = all of the stores.

    Raises: StorageError if one is not a layout, or the address cannot be listened on; IntegrityError; UsageError if a
    store cannot be written, the generation has nothing here, or certificate or users cannot be used.
    """
    observer = environment.observer
    parts = await _parts(served, environment, writable=entrance.writable)
    whole = parts[0].store if len(parts) == 1 and not parts[0].prefix else UnitedStore(parts)
    for part in parts:
        if isinstance(part.store, BundleStore):
            await _report_incomplete(part, part.store, whole, observer)
    if entrance.writable and isinstance(whole, ReadOnly):
        raise UsageError(
            f"{whole.address} cannot be written: {whole.read_only}", remedy="leave out --writable, or name one layout"
        )
    shown = None if generation is None else await _shown(whole, parts, generation, observer)
    if isinstance(whole, UnitedStore) and shown is None:
        await _report_hidden(whole, observer)
    tls = None
    if entrance.certificate is not None and entrance.key is not None:
        tls = Tls(entrance.certificate, entrance.key, observer)
    logins = None if entrance.htpasswd is None else _logins(entrance.htpasswd, observer)
    guard = None if logins is None else Guard(logins, entrance.anonymous_pull)
    settings = Settings(writable=entrance.writable, shown=shown, tls=tls, guard=guard)
    reloads = [one.reload for one in (tls, logins) if one is not None]
    async with serving(whole, entrance.host, entrance.port, settings, observer) as port:
        yield Serving(port, (lambda: _all(reloads)) if reloads else None)


def _logins(path: Path, observer: Observer) -> Logins:
    return Logins(path, observer, asyncio.get_running_loop().time)


def _all(calls: Iterable[Callable[[], None]]) -> None:
    for call in calls:
        call()


async def _parts(served: Sequence[Served], environment: Environment, *, writable: bool) -> list[Part]:
    open_store, parts = opener(replace(environment, vouch=voucher(environment))), []
    for one in served:
        store = open_store(one.location.store)
        async for _ in store.repositories():
            break  # reject a directory that is not a layout now, and not at the first request
        if not writable:
            _check_exists(one.location)
        parts.append(Part(store, one.prefix))
    return parts


def _check_exists(location: Location) -> None:
    if not Path(location.store.removeprefix(location.transport.scheme)).exists():
        raise StorageError(
            f"{location.store} does not exist", remedy="check the path; with --writable, the first push creates it"
        )


async def _report_incomplete(part: Part, bundle: BundleStore, whole: Store, observer: Observer) -> None:
    """Report the images that a bundle does not have whole, nor together with the stores that are served with it.

    Deltas are rebuilt, and the rest added, by an import.
    """
    lacking = [
        image.name
        for image in await asyncio.to_thread(_incomplete, bundle)
        if whole is bundle or not await _is_whole(whole.repository(part.outside(image.repository)), image.content)
    ]
    if lacking:
        images = "1 image is" if len(lacking) == 1 else f"{len(lacking)} images are"
        text = f"{images} not whole in it, and cannot be pulled before it is imported: {some_of(lacking, _SHOWN)}"
        observer(Noticed(bundle.address, text))


def _incomplete(bundle: BundleStore) -> list[Image]:
    """Return the images that a bundle does not have whole."""
    found = []
    for image in bundle.bundle.images:
        objects = closure(bundle.bundle, image.content.digest)
        if objects is None or not all(map(bundle.has, objects.values())):
            found.append(image)
    return found


async def _is_whole(repository: Repository, content: Descriptor) -> bool:
    """Return whether a repository has a manifest and all that it names; False also if it cannot be read."""
    try:
        manifest = await repository.manifest(content)
        blobs = [await repository.has(blob) for blob in manifest.blobs]
    except MirrorsyncError:
        return False
    return all(blobs) and all([await _is_whole(repository, child) for child in manifest.children])


async def _report_hidden(store: UnitedStore, observer: Observer) -> None:
    """Report the images that are not shown, because an earlier store has others of the same names."""
    hidden = await store.hidden()
    by_store: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in hidden:
        by_store[one.store, one.shown].append(one.name)
    for (address, first), names in by_store.items():
        images = "1 image is" if len(names) == 1 else f"{len(names)} images are"
        text = f"{images} not shown, {first} has others of these names: {some_of(names, _SHOWN)}"
        observer(Noticed(address, text))


async def _shown(store: Store, parts: Sequence[Part], generation: Generation, observer: Observer) -> Snapshot:
    """Return the images of a generation at stores; those that they lack are a notice. Raises: UsageError if none."""
    tags: defaultdict[str, dict[Tag, Digest]] = defaultdict(dict)
    for part in parts:
        for (target, tag), owned in generation.tags.items():
            if target.store == part.store.address:
                tags[part.outside(target.repository)].setdefault(tag, owned.digest)
    if not tags:
        others = sorted({target.store for target, _ in generation.tags})
        raise UsageError(
            f"generation {generation.number} has no images at {store.address}",
            remedy=f"it has images at {', '.join(others)}" if others else "it is empty",
        )
    day, _, rest = generation.created.partition("T")
    shown = Snapshot(store, f"generation {generation.number} ({day} {rest[:5]} UTC)", tags)
    gone = await shown.missing()
    if gone:
        images = "1 image is" if len(gone) == 1 else f"{len(gone)} images are"
        observer(Noticed(shown.label, f"{images} not in {store.address} any more: {some_of(gone, _SHOWN)}"))
    return shown
