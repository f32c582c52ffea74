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
    """Return an environment with the variables and the cache directory of this process.

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
        cache_directory=_caches(known),
        retries=retries,
    )


def _caches(variables: Mapping[str, str]) -> Path | None:
    """Return the cache directory: systemd's CACHE_DIRECTORY, else XDG's, which depends on HOME; None without these."""
    home = variables.get("HOME")
    xdg = variables.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    directory = variables.get("CACHE_DIRECTORY") or (f"{xdg}/mirrorsync" if xdg else "")
    return Path(directory) if directory else None
