"""Everything outside of a spec that a run depends on, as one value: variables, hosts, accounts, time, observer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mirrorsync.events import Observer, ignore
from mirrorsync.hosts import Access, HostSettings

# For large files that last as long as a run: /tmp is memory on many systems (containers/image does the same).
_TEMPORARY: Final = "/var/tmp"  # noqa: S108 - files there are made without a name
_DEFAULT: Final = HostSettings()


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and waiting, in seconds; tests give their own.

    sleep, asleep: wait so many seconds, in a thread and on the event loop; they may raise Interrupted instead.
    """

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Environment:
    """What stores take whole; each picks what it needs.

    hosts: settings by host, and logins of parts of a registry by host/namespace. variables: the environment variables,
    for credentials, proxies, certificates and the daemon. access: the account to use, before all other credentials; by
    host, or by host and repository. observer: is called with events, also from threads. daemon_host: the daemon of
    `docker-daemon:`, None = as the variables say. cache_directory: where manifests and layers are remembered for the
    next run, None = they are not. state_directory: where mirrors remember what they did, None = they do not. retries:
    how often a request to a registry is tried again, None = as usual. vouch: rejects a bundle that is read as a store
    if too few people have signed it; is given its name, its document, and the signatures.
    """

    hosts: Mapping[str, HostSettings] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    access: Mapping[str, Access] = field(default_factory=dict)
    observer: Observer = ignore
    clock: Clock = field(default_factory=Clock)
    daemon_host: str | None = None
    cache_directory: Path | None = None
    state_directory: Path | None = None
    retries: int | None = None
    vouch: Callable[[str, bytes, Sequence[bytes]], object] = lambda _, __, ___: None

    def settings(self, host: str) -> HostSettings:
        """Return the settings of a host; the default ones if it has none."""
        return self.hosts.get(host, _DEFAULT)

    def account(self, host: str, repository: str) -> str:
        """Return the key in `hosts` of the login for a repository: its longest namespace there, or the host."""
        while repository and f"{host}/{repository}" not in self.hosts:
            repository = repository.rpartition("/")[0]
        return f"{host}/{repository}" if repository else host

    @property
    def temporary(self) -> Path:
        """The directory for large files that last as long as a run."""
        return Path(self.variables.get("TMPDIR") or _TEMPORARY)
