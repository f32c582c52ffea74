"""Logins: checking one with its registry, and finding, keeping and removing it where podman and docker look.

environment: None = the process's; its variables say where the files are. authfile: the only file, None = the usual.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mirrorsync.app.loops import raise_one
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.stop import Stop
from mirrorsync.credentials import (
    AuthFile,
    CredentialFinder,
    Kept,
    files_read,
    files_written,
    first_writable,
    is_lost_at_reboot,
)
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError
from mirrorsync.hosts import Access, Credentials

__all__ = [
    "Kept",
    "check_login",
    "find_login",
    "keep_login",
    "other_login_file",
    "remove_all_logins",
    "remove_login",
    "will_be_lost",
]


async def check_login(
    host: str, credentials: Credentials, *, environment: Environment | None = None, stop: Stop | None = None
) -> bool:
    """Return True when a registry takes these credentials, False when it asks for none, so that it cannot tell.

    Raises: Unauthorized or Denied when it does not take them; Interrupted.
    """
    # Imported here: finding and removing a login need no HTTP.
    from dataclasses import replace

    from mirrorsync.stores.registry import accepts

    given, stop = environment or process_environment(), stop or Stop()
    around = replace(given, clock=replace(given.clock, sleep=stop.sleep, asleep=stop.asleep))
    try:
        async with stop.watched():
            return await stop.unless(accepts(host, credentials, around))
    except BaseExceptionGroup as group:
        raise_one(group)


def find_login(
    host: str,
    namespace: str = "",
    *,
    authfile: str | os.PathLike[str] | None = None,
    environment: Environment | None = None,
) -> Credentials | None:
    """Return the login to a host, or to a part of it; None without one. May run a credential helper.

    Raises: UsageError, StorageError for files and helpers that cannot be used.
    """
    given = environment or process_environment()
    access = {host: Access(auth_file=absolute(authfile))} if authfile else {}
    return CredentialFinder(Environment(variables=given.variables, access=access))(host, namespace)


def keep_login(
    host: str,
    namespace: str,
    credentials: Credentials,
    *,
    authfile: str | os.PathLike[str] | None = None,
    environment: Environment | None = None,
) -> Kept:
    """Keep a login where podman and skopeo find it too; return where that is. Raises: StorageError, UsageError."""
    variables = (environment or process_environment()).variables
    path = absolute(authfile) if authfile else first_writable(files_written(variables))
    return AuthFile(path, variables).keep(host, namespace, credentials)


def will_be_lost(kept: Kept, *, environment: Environment | None = None) -> bool:
    """Tell whether a login is in a file that is gone after a reboot."""
    return not kept.helper and is_lost_at_reboot(kept.path, (environment or process_environment()).variables)


def remove_login(
    host: str,
    namespace: str = "",
    *,
    authfile: str | os.PathLike[str] | None = None,
    environment: Environment | None = None,
) -> bool:
    """Remove a login from all files that `keep_login` may write, and from their helpers; tell whether there was one.

    Raises: StorageError, UsageError.
    """
    removed = [file.remove(host, namespace) for file in _files(authfile, environment)]
    return any(removed)


def remove_all_logins(
    *, authfile: str | os.PathLike[str] | None = None, environment: Environment | None = None
) -> tuple[str, ...]:
    """Remove all logins; return the hosts (with their namespaces) that they were for. Raises: as `remove_login`."""
    return tuple(dict.fromkeys(key for file in _files(authfile, environment) for key in file.remove_all()))


def other_login_file(host: str, *, environment: Environment | None = None) -> Path | None:
    """Return the file of another tool that has a login to a host and that `remove_login` leaves alone, None without."""
    variables = (environment or process_environment()).variables
    own = tuple(files_written(variables))
    for path in files_read(variables):
        with suppress(MirrorsyncError):
            if path not in own and find_login(host, authfile=path, environment=environment) is not None:
                return path
    return None


def _files(authfile: str | os.PathLike[str] | None, environment: Environment | None) -> list[AuthFile]:
    variables = (environment or process_environment()).variables
    paths = (absolute(authfile),) if authfile else tuple(files_written(variables))
    return [AuthFile(path, variables) for path in paths]
