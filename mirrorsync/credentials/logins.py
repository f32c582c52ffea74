"""Store and remove logins in the files that podman, skopeo and docker read, and in the helpers that they name."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mirrorsync.credentials.files import DOCKERS_HUB_KEY, entry_of, keys_of, mapping, read, spellings
from mirrorsync.credentials.helpers import Helper
from mirrorsync.errors import StorageError, UsageError
from mirrorsync.hosts import Credentials
from mirrorsync.oci.names import DOCKER_HUB

_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700
# The members of an entry that a new password replaces; other programs' members stay.
_SUPERSEDED: Final = frozenset({"auth", "identitytoken", "registrytoken", "username", "password"})
Edit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a login was stored. helper: the program that has it, "" for the file. tightened: others could read it."""

    path: Path
    helper: str = ""
    tightened: bool = False


@dataclass(frozen=True, slots=True)
class AuthFile:
    """One file of logins. environment: for the credential helpers that it names.

    A login is for a host, or for a namespace in it ("" = the whole host). Methods raise StorageError if the file cannot
    be read or written, and UsageError for a file or helper that cannot be used; a damaged file is never overwritten.
    """

    path: Path
    environment: Mapping[str, str] = field(repr=False)

    def keep(self, host: str, namespace: str, credentials: Credentials) -> Kept:
        """Store a login, replacing an older one. Helpers are for whole hosts: a namespace's login is in the file."""
        document = read(self.path) or {}
        helper, key = self._helper(document, host)
        own = key not in mapping(document.get("credHelpers"))
        if helper is not None and namespace and not own:
            raise UsageError(
                f"{self.path} leaves {host} to {helper.program}, which stores no logins for parts of a registry",
                remedy=f"log in to {host}, or name another file: --authfile FILE",
            )
        helper = None if namespace else helper
        if helper is not None:
            helper.store(key, credentials)

        def edit(document: dict[str, Any]) -> None:
            auths = document["auths"] = dict(mapping(document.get("auths")))
            name = self._key(host, namespace)
            former = mapping(auths.get(name))
            for spelling in () if namespace else spellings(auths, host):
                del auths[spelling]
            rest = {member: value for member, value in former.items() if member not in _SUPERSEDED}
            # docker writes an empty entry for each login that its credsStore has.
            auths[key if helper else name] = rest if helper else {**rest, "auth": entry_of(credentials)}

        tightened = self._change(edit) if own else False
        return Kept(self.path, helper.program if helper else "", tightened)

    def remove(self, host: str, namespace: str) -> bool:
        """Remove a login, under every spelling of the host; return whether there was one."""
        document = read(self.path)
        if document is None:
            return False
        auths = mapping(document.get("auths"))
        present = (
            [key for key in (self._key(host, namespace),) if key in auths] if namespace else spellings(auths, host)
        )
        held = dict.fromkeys((*keys_of(host), *present, *spellings(mapping(document.get("credHelpers")), host)))
        known = [] if namespace else [helper.erase(key) for helper, key in self._helpers(document, held)]
        if present:
            self._change(lambda document: _drop(document, present))
        return bool(present) or any(known)

    def remove_all(self) -> tuple[str, ...]:
        """Remove all logins, and return their keys. The file keeps its helpers (credHelpers, credsStore)."""
        document = read(self.path)
        if document is None:
            return ()
        auths = tuple(mapping(document.get("auths")))
        keys = dict.fromkeys((*auths, *mapping(document.get("credHelpers"))))
        erased = [key for helper, key in self._helpers(document, keys) if helper.erase(key)]
        if auths:
            self._change(lambda document: _drop(document, auths))
        return tuple(dict.fromkeys((*auths, *erased)))

    def _key(self, host: str, namespace: str) -> str:
        if namespace:
            return f"{host}/{namespace}"
        # Only docker's file has this name, and docker finds Docker Hub under this key alone; podman reads both.
        return DOCKERS_HUB_KEY if host == DOCKER_HUB and self.path.name == "config.json" else host

    def _helper(self, document: Mapping[str, Any], host: str) -> tuple[Helper | None, str]:
        """Return the helper that stores the logins of a host, and the host's key in it."""
        helpers = mapping(document.get("credHelpers"))
        for key in spellings(helpers, host):
            if isinstance(name := helpers.get(key), str):
                return Helper(name, self.environment), key
        if isinstance(store := document.get("credsStore"), str) and store:
            return Helper(store, self.environment), DOCKERS_HUB_KEY if host == DOCKER_HUB else host
        return None, ""

    def _helpers(self, document: Mapping[str, Any], keys: Iterable[str]) -> Iterator[tuple[Helper, str]]:
        """Yield every helper that may have a login for one of the keys, with that key."""
        helpers, store = mapping(document.get("credHelpers")), document.get("credsStore")
        for key in keys:
            name = helpers.get(key, store)
            if isinstance(name, str) and name:
                yield Helper(name, self.environment), key

    def _change(self, edit: Edit) -> bool:
        """Edit the file under a lock, atomically; return whether other users could read it before."""
        # A symbolic link is kept, and its target is replaced.
        target = Path(os.path.realpath(self.path))
        try:
            _make_directory(target.parent)
            with _locked(target.parent):
                document = read(target) or {}
                before = target.stat() if target.exists() else None
                edit(document)
                _write(target, json.dumps(document, indent="\t") + "\n", before)
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be written: {error.strerror}", remedy="name another file: --authfile FILE"
            ) from error
        return before is not None and bool(stat.S_IMODE(before.st_mode) & 0o077)


def first_writable(paths: Iterable[Path]) -> Path:
    """Return the first of the files whose directory exists or can be created, and is writable; the last if none is.

    Raises: StorageError if there are no files.
    """
    candidates = tuple(paths)
    for path in candidates:
        with suppress(OSError):
            _make_directory(path.parent)
            if os.access(path.parent, os.W_OK | os.X_OK):
                return path
    if not candidates:
        raise StorageError("no file to store the login in", remedy="name one: --authfile FILE")
    return candidates[-1]


def is_lost_at_reboot(path: Path, environment: Mapping[str, str]) -> bool:
    """Return whether a file is in memory, as the user's runtime directory is."""
    volatile = (Path("/run"), *((Path(runtime),) if (runtime := environment.get("XDG_RUNTIME_DIR")) else ()))
    return any(path.is_relative_to(directory) for directory in volatile)


def _drop(document: dict[str, Any], keys: Iterable[str]) -> None:
    gone = set(keys)
    document["auths"] = {key: entry for key, entry in mapping(document.get("auths")).items() if key not in gone}


def _make_directory(directory: Path) -> None:
    """Create a directory and its missing parents, for this user alone; existing ones are not changed."""
    for missing in reversed([path for path in (directory, *directory.parents) if not path.exists()]):
        with suppress(FileExistsError):
            missing.mkdir(_PRIVATE_DIRECTORY)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory, after waiting for it, so that of two logins at once none is lost."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # NFS cannot lock directories; podman and docker never lock
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, text: str, before: os.stat_result | None) -> None:
    """Write a file durably and atomically; if it replaces one, with the same owner."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8") as output:  # noqa: PTH123 - a descriptor
            os.fchmod(descriptor, _PRIVATE_FILE)
            if before is not None and (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
                # root, logging in for a service, must not make the file unreadable for the service.
                with suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            output.write(text)
            output.flush()
            os.fsync(descriptor)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
