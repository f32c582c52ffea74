"""References: how people write where an image is, and the grammar of the names in them."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.digest import Digest

DOCKER_HUB: Final = "docker.io"
LAYOUT_SCHEME: Final = "oci:"
_REGISTRY_SCHEME = "docker://"
_HUB_ALIASES = {
    "index.docker.io": DOCKER_HUB,
    "registry-1.docker.io": DOCKER_HUB,
    "registry.hub.docker.com": DOCKER_HUB,
}

# Distribution spec 1.1, "Pulling manifests": <name> and <reference> as a tag.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_REPOSITORY = 255
# distribution/reference: a domain name or bracketed IPv6 address, with an optional port.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A repository in a store.

    store: its canonical address, which is a host with its port for a registry (`docker.io`, `localhost:5000`) and
    `oci:` with an absolute path for a layout directory. repository: its name there; "" stands for the images of a
    layout that other tools wrote without a repository name.
    """

    store: str
    repository: str

    def __str__(self) -> str:
        separator = ":" if is_layout(self.store) else "/"
        return f"{self.store}{separator}{self.repository}" if self.repository else self.store


@dataclass(frozen=True, slots=True)
class Reference:
    """One image: a location, and a tag, a digest, both (the tag must have that digest), or neither."""

    location: Location
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.location}{tag}{digest}"


def is_layout(store: str) -> bool:
    """Tell whether a store's address is that of an OCI layout directory."""
    return store.startswith(LAYOUT_SCHEME)


def check_tag(text: str) -> str:
    """Return `text` when it is a tag by the distribution spec's grammar. Raises: GrammarError."""
    if _TAG.fullmatch(text) is None:
        raise GrammarError(
            f"{printable(text, 140)!r} is not a tag",
            remedy="a tag has up to 128 letters, digits, '_', '.', '-', and does not begin with '.' or '-'",
        )
    return text


def check_repository(text: str) -> str:
    """Return `text` when it is a repository name by the distribution spec's grammar. Raises: GrammarError."""
    if _REPOSITORY.fullmatch(text) is None or len(text) > _MAX_REPOSITORY:
        raise GrammarError(
            f"{printable(text)!r} is not a repository name",
            remedy="it is lower-case letters and digits, with single '.', '_', '__', '-' or '/' between them",
        )
    return text


def check_host(text: str) -> str:
    """Return the canonical spelling of a registry's host (and port). Raises: GrammarError."""
    _refuse_url(text)
    if _HOST.fullmatch(text) is None:
        raise GrammarError(f"{printable(text)!r} is not a host name", remedy="write it as host or host:port")
    port = text.rpartition("]")[2].partition(":")[2]
    if port and not 0 < int(port) < 65536:
        raise GrammarError(f"{printable(text)!r} has no valid port", remedy="ports go from 1 to 65535")
    host = text.lower()
    return _HUB_ALIASES.get(host, host)


def parse_repository(text: str, base: str = "") -> Location:
    """Read a repository without tag or digest: `host/repository`, `oci:DIR:REPOSITORY`, or `oci:DIR` for all of it.

    base: the directory (a path) that relative layout paths start from. Docker Hub's short names are completed.
    Raises: GrammarError, also when there is a tag or digest.
    """
    if is_layout(text):
        directory, repository = _split_layout(text, base)
        return Location(directory, check_repository(repository) if repository else "")
    reference = _parse_registry(text)
    if reference.tag or reference.digest:
        raise GrammarError(
            f"{printable(text)!r} names one image where a repository is expected",
            remedy=f"write {reference.location}, and the tag or digest under tags",
        )
    return reference.location


def parse_image(text: str, base: str = "") -> Reference:
    """Read one image: `host/repository[:tag][@digest]`, or `oci:DIR[:NAME]` with NAME as in index.json.

    base: the directory (a path) that relative layout paths start from. Neither tag nor digest is made up.
    Raises: GrammarError.
    """
    if not is_layout(text):
        return _parse_registry(text)
    directory, name = _split_layout(text, base)
    if not name:
        return Reference(Location(directory, ""))
    repository, tag, digest = split_ref_name(name)
    return Reference(Location(directory, repository), tag, digest)


def parse_destination(text: str, base: str = "") -> Location:
    """Read where mirrors go: `host[/prefix]`, or `oci:DIR[:PREFIX]`; the repository of the result is the prefix.

    base: the directory (a path) that relative layout paths start from. Raises: GrammarError.
    """
    if is_layout(text):
        return parse_repository(text, base)
    rest = text.removeprefix(_REGISTRY_SCHEME)
    _refuse_url(rest)
    host, _, prefix = rest.partition("/")
    if not _looks_like_host(host):
        raise GrammarError(
            f"{printable(text)!r} does not begin with a host name",
            remedy="write host/prefix (docker.io/user for Docker Hub), or oci:DIRECTORY",
        )
    return Location(check_host(host), check_repository(prefix) if prefix else "")


def split_ref_name(name: str) -> tuple[str, str | None, Digest | None]:
    """Read the name that an image has in index.json: (repository, tag, digest).

    mirrorsync writes `repository:tag` and `repository@digest`. A name without a colon, as other tools write it, is a
    tag of the unnamed repository (""). Raises: GrammarError when it is none of these.
    """
    before, at, encoded = name.partition("@")
    digest = Digest(encoded) if at else None
    repository, colon, tag = before.rpartition(":")
    if not colon and digest is None:
        repository, tag = "", before
    elif not colon:
        repository, tag = before, ""
    if repository:
        check_repository(repository)
    return repository, check_tag(tag) if tag or digest is None else None, digest


def join_ref_name(repository: str, tag: str | None, digest: Digest | None = None) -> str:
    """Return the name under which an image stands in index.json; `split_ref_name` reads it."""
    if tag is None:
        return f"{repository}@{digest}"
    return f"{repository}:{tag}" if repository else tag


def _split_layout(text: str, base: str) -> tuple[str, str]:
    """Split `oci:PATH[:REST]` into the store's address, absolute where `base` is, and REST."""
    path, _, rest = text.removeprefix(LAYOUT_SCHEME).partition(":")
    if not path or not path.isprintable():
        raise GrammarError(
            f"{printable(text)!r} names no directory", remedy="write oci:DIRECTORY or oci:DIRECTORY:NAME"
        )
    if path.startswith("//"):
        raise GrammarError(
            f"{printable(text)!r} could be a directory or a URL",
            remedy="write oci:/DIRECTORY for an OCI layout, and host/repository for a registry",
        )
    return LAYOUT_SCHEME + posixpath.normpath(posixpath.join(base, path)), rest


def _parse_registry(text: str) -> Reference:
    rest, at, encoded = text.removeprefix(_REGISTRY_SCHEME).partition("@")
    if "://" in rest or "/" in encoded:
        _refuse_url(f"{rest}{at}{encoded}")
    digest = Digest(encoded) if at else None
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, colon, tag = rest, "", ""
    host, slash, repository = path.partition("/")
    if not slash or not _looks_like_host(host):
        host, repository = DOCKER_HUB, path
    host = check_host(host)
    check_repository(repository)
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if colon and not tag:
        raise GrammarError(f"{printable(text)!r} has an empty tag", remedy="write the tag after the colon")
    return Reference(Location(host, repository), check_tag(tag) if tag else None, digest)


def _refuse_url(text: str) -> None:
    """Raise GrammarError, which does not repeat what could be a password, for a URL or what begins like one."""
    scheme, separator, _ = text.partition("://")
    if separator:
        raise GrammarError(f"it begins with {printable(scheme, 40)}://, as a URL", remedy="leave that out")
    if "@" in text:
        raise GrammarError(
            "there is an '@' before the host",
            remedy="write username and password of a host under registries:",
        )


def _looks_like_host(text: str) -> bool:
    """Tell a host from the first part of a Docker Hub name, by docker's own rule (distribution/reference)."""
    return "." in text or ":" in text or text == "localhost" or text.lower() != text
