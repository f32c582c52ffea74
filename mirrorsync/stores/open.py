"""Open a store by its address: the table of all kinds of stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mirrorsync.environment import Environment
from mirrorsync.stores.base import Store


def opener(environment: Environment) -> Callable[[str], Store]:
    """Return the function that opens a store by its address (`Location.store`); call it on the event loop.

    No connection is opened yet. A new kind of store is one entry of `_KINDS`, and one of `oci.transports`.
    """
    registries = _registries(environment)

    def open_store(address: str) -> Store:
        scheme, colon, path = address.partition(":")
        kind = _KINDS.get(scheme + colon)
        return kind(path, environment) if kind else registries(address)

    return open_store


def _layout(path: str, environment: Environment) -> Store:
    from mirrorsync.stores.layout import LayoutDirectoryStore

    return LayoutDirectoryStore(Path(path), observer=environment.observer)


def _layout_archive(path: str, environment: Environment) -> Store:
    from mirrorsync.stores.layout import LayoutArchive, LayoutStore

    return LayoutStore(LayoutArchive(Path(path), environment.temporary), observer=environment.observer)


def _directory(path: str, environment: Environment) -> Store:  # noqa: ARG001 - a directory needs no environment
    from mirrorsync.stores.directory import DirStore

    return DirStore(Path(path))


def _docker_archive(path: str, environment: Environment) -> Store:
    from mirrorsync.stores.docker import DockerArchiveStore

    return DockerArchiveStore(
        Path(path),
        temporary=environment.temporary,
        cache_directory=environment.cache_directory,
        observer=environment.observer,
    )


def _docker_daemon(path: str, environment: Environment) -> Store:  # noqa: ARG001 - there is one daemon
    from mirrorsync.stores.docker import DockerDaemonStore

    return DockerDaemonStore(
        environment.daemon_host,
        environment.variables,
        temporary=environment.temporary,
        cache_directory=environment.cache_directory,
        observer=environment.observer,
    )


def _bundle(path: str, environment: Environment) -> Store:
    from mirrorsync.stores.bundle import BundleStore

    return BundleStore(Path(path), vouch=environment.vouch)


# By the prefix of an address; all other addresses are hosts of registries.
_KINDS: Final[Mapping[str, Callable[[str, Environment], Store]]] = {
    "oci:": _layout,
    "oci-archive:": _layout_archive,
    "docker-archive:": _docker_archive,
    "docker-daemon:": _docker_daemon,
    "dir:": _directory,
    "bundle:": _bundle,
}


def _registries(environment: Environment) -> Callable[[str], Store]:
    # Imported here: a plan between layouts, and `mirrorsync --version`, need no HTTP.
    from mirrorsync.credentials import CredentialFinder
    from mirrorsync.stores.registry import RegistryStore, with_endpoints

    find = CredentialFinder(environment)
    # A host that is an endpoint, too, has one store: its limits are for all requests to it.
    opened: dict[str, RegistryStore] = {}

    def registry(host: str) -> RegistryStore:
        if host not in opened:
            opened[host] = RegistryStore(host, environment, find, find.troubles)
        return opened[host]

    def open_registry(host: str) -> Store:
        return with_endpoints(registry(host), environment.settings(host).endpoints, registry, environment.observer)

    return open_registry
