"""The environment of this process, as one value for the floors below."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mirrorsync.environment import Environment
from mirrorsync.events import Observer, ignore
from mirrorsync.hosts import Access, HostSettings


def process_environment(
    variables: Mapping[str, str] | None = None,
    *,
    hosts: Mapping[str, HostSettings] | None = None,
    access: Mapping[str, Access] | None = None,
    observer: Observer = ignore,
    daemon_host: str | None = None,
    retries: int | None = None,
) -> Environment:
    """Return an environment with the variables and the directories of this process.

    variables: instead of the process's. hosts: settings of hosts that are not in the spec. access: credentials that
    override all others, by host or `host/repository`. observer: called with events (mirrorsync.events), also from
    threads. daemon_host: of `docker-daemon:`. retries: how often a request to a registry is retried, None = 4.
    """
    known = os.environ if variables is None else variables
    return Environment(
        hosts or {},
        known,
        access or {},
        observer,
        daemon_host=daemon_host,
        cache_directory=_directory(known, "CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache"),
        state_directory=_directory(known, "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state"),
        retries=retries,
    )


def _directory(variables: Mapping[str, str], systemd: str, xdg: str, below_home: str) -> Path | None:
    """Return a directory: systemd's, else XDG's, which depends on HOME; None without these."""
    if given := variables.get(systemd):
        return Path(given.partition(":")[0])  # a unit may have several, which systemd separates by colons
    home = variables.get("HOME")
    base = variables.get(xdg) or (f"{home}/{below_home}" if home else "")
    return Path(base) / "mirrorsync" if base else None
