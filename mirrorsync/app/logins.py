"""Logins: check them with their registry, and find, store and remove them in the files of podman and docker.

environment: None = the process's; its variables name the files. authfile: the only file to use, None = the default
files.
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
from mirrorsync.errors import MirrorsyncError, UsageError
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
    """Return True if a registry accepts these credentials, False if it does not ask for any and so cannot check them.

    Raises: Unauthorized or Denied if it rejects them; Interrupted.
    """
    # Imported here: finding and removing logins take no HTTP.
    from dataclasses import replace

    from mirrorsync.stores.registry import accepts

    given, stop = environment or process_environment(), stop or Stop()
    settings = replace(given, clock=replace(given.clock, sleep=stop.sleep, asleep=stop.asleep))
    try:
        async with stop.listening():
            return await stop.interruptible(accepts(host, credentials, settings))
    except BaseExceptionGroup as group:
        raise_one(group)


def find_login(
    host: str,
    namespace: str = "",
    *,
    authfile: str | os.PathLike[str] | None = None,
    environment: Environment | None = None,
) -> Credentials | None:
    """Return the login to a host, or to a namespace of it; None if not logged in. May run a credential helper.

    Raises: UsageError, StorageError for files and helpers that cannot be used.
    """
    given = environment or process_environment()
    access = {host: Access(auth_file=absolute(authfile))} if authfile else {}
    finder = CredentialFinder(Environment(variables=given.variables, access=access))
    found = finder(host, namespace)
    for trouble in () if found else finder.troubles(host):
        if trouble.message:
            raise UsageError(trouble.message, remedy=trouble.remedy)
    return found


def keep_login(
    host: str,
    namespace: str,
    credentials: Credentials,
    *,
    authfile: str | os.PathLike[str] | None = None,
    environment: Environment | None = None,
) -> Kept:
    """Store a login where podman and skopeo find it too; return where. Raises: StorageError, UsageError."""
    variables = (environment or process_environment()).variables
    path = absolute(authfile) if authfile else first_writable(files_written(variables))
    return AuthFile(path, variables).keep(host, namespace, credentials)


def will_be_lost(kept: Kept, *, environment: Environment | None = None) -> bool:
    """Return whether a login is in a file that is deleted at reboot."""
    return not kept.helper and is_lost_at_reboot(kept.path, (environment or process_environment()).variables)


def remove_login(
    host: str,
    namespace: str = "",
    *,
    authfile: str | os.PathLike[str] | None = None,
    environment: Environment | None = None,
) -> bool:
    """Remove a login from all files that `keep_login` can write, and from their helpers; return whether it was found.

    Raises: StorageError, UsageError.
    """
    removed = [file.remove(host, namespace) for file in _files(authfile, environment)]
    return any(removed)


def remove_all_logins(
    *, authfile: str | os.PathLike[str] | None = None, environment: Environment | None = None
) -> tuple[str, ...]:
    """Remove all logins; return their hosts (with namespaces). Raises: as `remove_login`."""
    return tuple(dict.fromkeys(key for file in _files(authfile, environment) for key in file.remove_all()))


def other_login_file(host: str, *, environment: Environment | None = None) -> Path | None:
    """Return another tool's file with a login to a host, which `remove_login` does not change; None if not found."""
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
