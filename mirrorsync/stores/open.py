"""Opening a store by its address: the one table of the kinds of places there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mirrorsync.events import Observer, ignore
from mirrorsync.oci.reference import LAYOUT_SCHEME
from mirrorsync.spec.model import RegistrySettings
from mirrorsync.stores.base import Store

# Where the standard library (urllib.request.getproxies_environment) looks for proxies; lower case wins.
_PROXY_SUFFIX: Final = "_proxy"


@dataclass(frozen=True, slots=True)
class StoreEnvironment:
    """What stores need from outside.

    registries: settings by host. variables: the environment's. observer: hears the events. sleep, asleep: wait so many
    seconds, in a thread and on the event loop, and may raise Interrupted instead.
    """

    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    observer: Observer = ignore
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def opener(environment: StoreEnvironment) -> Callable[[str], Store]:
    """Return the function that opens a store by its address (`Location.store`); call it on the event loop.

    Nothing is contacted yet. A new kind of store is one entry of `_KINDS`.
    """
    registries = _registries(environment)

    def open_store(address: str) -> Store:
        for prefix, kind in _KINDS.items():
            if address.startswith(prefix):
                return kind(address)
        return registries(address)

    return open_store


def _layout(address: str) -> Store:
    from mirrorsync.stores.layout.store import LayoutStore

    return LayoutStore(Path(address.removeprefix(LAYOUT_SCHEME)))


# What an address begins with; all other addresses are hosts of registries.
_KINDS: Final[Mapping[str, Callable[[str], Store]]] = {LAYOUT_SCHEME: _layout}


def _registries(environment: StoreEnvironment) -> Callable[[str], Store]:
    # Imported here: a plan between layouts, and `mirrorsync --version`, need no HTTP.
    from mirrorsync.stores.registry.credentials import CredentialFinder
    from mirrorsync.stores.registry.retry import Clock
    from mirrorsync.stores.registry.store import RegistryStore, Surroundings

    clock = Clock(sleep=environment.sleep, asleep=environment.asleep)
    find = CredentialFinder(environment.registries, environment.variables)
    around = Surroundings(find, proxies(environment.variables), environment.observer, clock)

    def open_registry(host: str) -> Store:
        return RegistryStore(host, environment.registries.get(host, RegistrySettings()), around)

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
