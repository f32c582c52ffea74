"""Opening a store by its address: the one table of the kinds of places there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mirrorsync.events import Observer, ignore
from mirrorsync.hosts import Access, HostSettings
from mirrorsync.stores.base import Store

# Where the standard library (urllib.request.getproxies_environment) looks for proxies; lower case wins.
_PROXY_SUFFIX: Final = "_proxy"
# Where large files go that last as long as a run: /tmp is memory on many systems (containers/image does the same).
_TEMPORARY: Final = "/var/tmp"  # noqa: S108 - files there are made without a name


@dataclass(frozen=True, slots=True)
class StoreEnvironment:
    """What stores need from outside.

    registries: settings by host. variables: the environment's. observer: hears the events. sleep, asleep: wait so many
    seconds, in a thread and on the event loop, and may raise Interrupted instead. access: who asks where, before all
    other credentials; by host, or by host and repository. daemon_host: the daemon of `docker-daemon:`, None for where
    the environment says it is. cache_directory: where what was learned of layers is kept for the next run, None for
    nowhere. retries: how often a request to a registry is tried again, None = as usual.
    """

    registries: Mapping[str, HostSettings] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    observer: Observer = ignore
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    access: Mapping[str, Access] = field(default_factory=dict)
    daemon_host: str | None = None
    cache_directory: Path | None = None
    retries: int | None = None

    @property
    def temporary(self) -> Path:
        """The directory for large files that last as long as a run."""
        return Path(self.variables.get("TMPDIR") or _TEMPORARY)


def opener(environment: StoreEnvironment) -> Callable[[str], Store]:
    """Return the function that opens a store by its address (`Location.store`); call it on the event loop.

    Nothing is contacted yet. A new kind of store is one entry of `_KINDS`, and one of `oci.transports`.
    """
    registries = _registries(environment)

    def open_store(address: str) -> Store:
        scheme, colon, place = address.partition(":")
        kind = _KINDS.get(scheme + colon)
        return kind(place, environment) if kind else registries(address)

    return open_store


def _layout(place: str, environment: StoreEnvironment) -> Store:
    from mirrorsync.stores.layout import LayoutStore

    return LayoutStore(Path(place), observer=environment.observer)


def _layout_archive(place: str, environment: StoreEnvironment) -> Store:
    from mirrorsync.stores.layout import LayoutArchive, LayoutPlaceStore

    return LayoutPlaceStore(LayoutArchive(Path(place), environment.temporary), observer=environment.observer)


def _directory(place: str, environment: StoreEnvironment) -> Store:  # noqa: ARG001 - a directory needs nothing from outside
    from mirrorsync.stores.directory import DirStore

    return DirStore(Path(place))


def _docker_archive(place: str, environment: StoreEnvironment) -> Store:
    from mirrorsync.stores.docker import DockerArchiveStore

    return DockerArchiveStore(
        Path(place),
        temporary=environment.temporary,
        cache_directory=environment.cache_directory,
        observer=environment.observer,
    )


def _docker_daemon(place: str, environment: StoreEnvironment) -> Store:  # noqa: ARG001 - there is one daemon
    from mirrorsync.stores.docker import DockerDaemonStore

    return DockerDaemonStore(
        environment.daemon_host,
        environment.variables,
        temporary=environment.temporary,
        cache_directory=environment.cache_directory,
        observer=environment.observer,
    )


# By what an address begins with; all other addresses are hosts of registries.
_KINDS: Final[Mapping[str, Callable[[str, StoreEnvironment], Store]]] = {
    "oci:": _layout,
    "oci-archive:": _layout_archive,
    "docker-archive:": _docker_archive,
    "docker-daemon:": _docker_daemon,
    "dir:": _directory,
}


def _registries(environment: StoreEnvironment) -> Callable[[str], Store]:
    # Imported here: a plan between layouts, and `mirrorsync --version`, need no HTTP.
    from mirrorsync.credentials import CredentialFinder
    from mirrorsync.stores.registry import ATTEMPTS, Clock, RegistryStore, Surroundings, certificate_roots

    clock = Clock(sleep=environment.sleep, asleep=environment.asleep)
    find = CredentialFinder(environment.registries, environment.variables, environment.access)
    around = Surroundings(
        find,
        proxies(environment.variables),
        environment.observer,
        clock,
        certificates=certificate_roots(environment.variables),
        attempts=ATTEMPTS if environment.retries is None else environment.retries + 1,
    )

    def open_registry(host: str) -> Store:
        return RegistryStore(host, environment.registries.get(host, HostSettings()), around)

    return open_registry


def proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that environment variables name: scheme -> URL, and "no" -> hosts without a proxy.

    HTTP_PROXY is not read where REQUEST_METHOD is set: a CGI client could set it (httpoxy, CVE-2016-1000110).
    """
    found: dict[str, str] = {}
    for name, value in sorted(variables.items()):  # upper case sorts before lower case, which wins
        if not name.lower().endswith(_PROXY_SUFFIX) or (name == "HTTP_PROXY" and "REQUEST_METHOD" in variables):
            continue
        if value:
            found[name.lower().removesuffix(_PROXY_SUFFIX)] = value
        else:
            found.pop(name.lower().removesuffix(_PROXY_SUFFIX), None)
    return found
