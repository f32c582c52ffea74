"""The files in which podman, skopeo and docker store logins: their paths, and how to read an entry.

The rules are those of containers-auth.json(5) and of containers/image, pkg/docker/config. Not supported: `.dockercfg`,
which docker has not written since 2014, and the credential-helpers of registries.conf.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.hosts import Credentials
from mirrorsync.oci.names import DOCKER_HUB
from mirrorsync.secret import Secret
from mirrorsync.text import printable

# Where podman stores logins of a user without XDG_RUNTIME_DIR, in a directory named by the user ID.
RUN_DIRECTORY: Final = Path("/run/containers")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
# The key that docker login writes Docker Hub under (docker/cli, registry.IndexServer); podman writes docker.io.
DOCKERS_HUB_KEY: Final = "https://index.docker.io/v1/"
_HUB_KEYS: Final = (DOCKER_HUB, DOCKERS_HUB_KEY, "index.docker.io")
_HUB_HOSTS: Final = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_SCHEMES: Final = ("https", "http")
# What old docker wrote behind a host; a namespace does not end with a slash.
_API_PATHS: Final = frozenset({"", "v1/", "v2/"})


def files_read(environment: Mapping[str, str], run_directory: Path = RUN_DIRECTORY) -> Iterator[Path]:
    """Yield the files in which logins are searched, in the order of containers-auth.json(5), docker's last."""
    yield from files_written(environment, run_directory)
    home = environment.get("HOME")
    if environment.get("REGISTRY_AUTH_FILE"):
        return
    if docker := environment.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else ""):
        yield Path(docker) / "config.json"


def files_written(environment: Mapping[str, str], run_directory: Path = RUN_DIRECTORY) -> Iterator[Path]:
    """Yield the files in which a login can be stored; the first writable one is to be taken.

    environment: REGISTRY_AUTH_FILE names the only one; otherwise XDG_RUNTIME_DIR (if unset, `run_directory` and the
    user ID), XDG_CONFIG_HOME and HOME say where they are.
    """
    if explicit := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(explicit)
        return
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        if Path(runtime).is_dir():  # the system creates it when the user logs in; we must not
            yield Path(runtime) / "containers" / "auth.json"
    else:
        yield run_directory / str(os.getuid()) / "auth.json"
    home = environment.get("HOME")
    if config := environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else ""):
        yield Path(config) / "containers" / "auth.json"


def read(path: Path) -> dict[str, Any] | None:
    """Return an auth file's content, None if there is no such file. Raises: StorageError, UsageError."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_FILE_BYTES) or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON", remedy="log in again, or remove the file") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is not an auth file", remedy="log in again, or remove the file")
    return document


def keys_of(host: str) -> tuple[str, ...]:
    """Return the usual keys of a whole registry, podman's first; old docker wrote URLs. See `spellings`."""
    return _HUB_KEYS if host == DOCKER_HUB else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")


def spellings(keys: Iterable[str], host: str) -> tuple[str, ...]:
    """Return those of the keys that name a whole registry, in whatever form; the usual ones first."""
    usual = keys_of(host)
    wanted = _host_of(host)
    found = (key for key in keys if _host_of(key) == wanted)
    return tuple(sorted(found, key=lambda key: usual.index(key) if key in usual else len(usual)))


def _host_of(key: str) -> str | None:
    """Return the host that a key names, None for a namespace in it.

    As containers/image, pkg/docker/config.normalizeAuthFileKey: the path of a URL says nothing (containers/image#96).
    """
    scheme, is_url, rest = key.partition("://")
    host, _, path = (rest if is_url else key).partition("/")
    if (scheme.lower() not in _SCHEMES) if is_url else (path not in _API_PATHS):
        return None
    return DOCKER_HUB if host.lower() in _HUB_HOSTS else host.lower()


def namespaces(host: str, repository: str) -> Iterator[str]:
    """Yield the keys that podman login writes for namespaces of a registry, longest first (containers-auth.json(5))."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:count]))


def entry_of(credentials: Credentials) -> str:
    """Return the value of "auth" for a username and password."""
    pair = f"{credentials.username}:{credentials.password.reveal()}"
    return base64.b64encode(pair.encode()).decode()


def decode(entry: Mapping[str, Any], path: Path, key: str) -> Credentials | None:
    """Return the credentials of one entry, None if it has no credentials. Raises: UsageError if it is damaged."""
    token = entry.get("identitytoken")
    identity = Secret(token if isinstance(token, str) else "")
    encoded = entry.get("auth")
    if not isinstance(encoded, str) or not encoded:
        return _of_members(entry, identity)
    # Line breaks: `base64` without -w0 writes them into secrets (kubernetes#85687), and Go's decoder skips them.
    encoded = "".join(encoded.split())
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        username = colon = password = ""
    if not colon and not identity:
        raise _damaged(path, key)
    # docker pads with NUL (docker/cli, config/configfile.decodeAuth strips it).
    return Credentials(username, Secret(password.rstrip("\0")), identity)


def _of_members(entry: Mapping[str, Any], identity: Secret) -> Credentials | None:
    """Return the credentials of an entry without "auth": Kubernetes writes username and password alone."""
    username, password = entry.get("username"), entry.get("password")
    if isinstance(username, str) and isinstance(password, str) and username and password:
        return Credentials(username, Secret(password), identity)
    return Credentials(identity_token=identity) if identity else None


def _damaged(path: Path, host: str) -> MirrorsyncError:
    return UsageError(f"{path} has an invalid entry for {printable(host)}", remedy="log in again")


def mapping(value: object) -> Mapping[str, Any]:
    """Return a member that should be an object; an empty object if it is not one."""
    return value if isinstance(value, dict) else {}
