"""Transports: the kinds of stores, by the prefix of their addresses, with the grammar after it and what each can do.

A new kind of store is an entry here, a module with its store and its line in stores/open.py, and a word in the
descriptions of schemas/mirror.schema.json. Only this module looks at an address for the kind of its store.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import (
    check_layout_repository,
    check_repository,
    familiar_name,
    host_in_name,
    split_familiar_name,
    split_image_name,
    split_ref_name,
)
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Tag
from mirrorsync.text import printable

# Docker's IDs are the digests of configs; short ones have twelve digits (`docker images`).
_IMAGE_ID = re.compile(r"@?(?:sha256:)?(?P<id>[0-9a-f]{12,64})")
_POSITION = re.compile(r"@[0-9]{1,5}")
# skopeo writes it before the name of an image in a registry; docker does not.
REGISTRY_PREFIX: Final = "docker://"
BUNDLE: Final = "bundle:"


class Within(NamedTuple):
    """The name of an image inside its store. pick: how it is picked if it has no name, None if it has one."""

    repository: str
    tag: Tag | None = None
    digest: Digest | None = None
    pick: Pick | None = None


@dataclass(frozen=True, slots=True)
class Transport:
    """One kind of store.

    scheme: the prefix of its addresses, "" for registries. has_path: whether a path follows, which ends at the next
    colon. image: reads the name after that. canonical: returns the canonical spelling of a repository's name; both
    raise GrammarError. split_host: takes the store's address and a repository's name, and returns the host that the
    repository is from and the rest of its name. separator: is written between the address and a name in the store.

    many: whether a store can have several images. keeps_manifests: whether an image keeps its manifest, and with it
    its digest. deletes: whether an image can be deleted by its name. written_by: the command that alone writes such a
    store, "" if it can be a destination.
    """

    scheme: str
    image: Callable[[str], Within]
    canonical: Callable[[str], str] = check_repository
    split_host: Callable[[str, str], tuple[str, str]] = lambda _, name: ("", name)
    has_path: bool = True
    separator: str = ":"
    many: bool = True
    keeps_manifests: bool = True
    deletes: bool = False
    written_by: str = ""

    @property
    def is_registry(self) -> bool:
        """Whether it is a registry: on the network at a host, with logins and TLS."""
        return not self.scheme

    def address(self, path: str, base: str) -> str:
        """Return the address of the store at `path`; a relative path starts from the directory `base`."""
        if not self.has_path:
            return self.scheme
        return self.scheme + posixpath.normpath(posixpath.join(base, path))

    def split(self, text: str, base: str) -> tuple[str, str]:
        """Split a reference into its store's address, absolute if `base` is, and the rest, which `image` reads.

        Raises: GrammarError.
        """
        if self.is_registry:
            refuse_other_tools(text)
            rest = text.removeprefix(REGISTRY_PREFIX)
            return split_image_name(rest)[0], rest
        rest = text.removeprefix(self.scheme)
        if not self.has_path:
            return self.scheme, rest
        path, rest = (rest, "") if not self.many else (rest.partition(":")[0], rest.partition(":")[2])
        if not path or not path.isprintable():
            what = f"{self.scheme}PATH or {self.scheme}PATH:NAME" if self.many else f"{self.scheme}PATH"
            raise GrammarError(f"{printable(text)!r} has no valid path", remedy=f"write {what}")
        if path.startswith("//"):
            raise GrammarError(
                f"{printable(text)!r} could be a path or a URL",
                remedy=f"write {self.scheme}/PATH for a file or directory, and host/repository for a registry",
            )
        return self.address(path, base), rest


def _by_ref_name(text: str) -> Within:
    """Read a name in index.json."""
    return Within(*split_ref_name(text)) if text else Within("", pick=THE_ONLY_ONE)


def _in_archive(text: str) -> Within:
    """Read a name of a docker archive, or `@N` for its image number N, from 0."""
    if not text:
        return Within("", pick=THE_ONLY_ONE)
    return Within("", pick=Pick(text)) if _POSITION.fullmatch(text) else _by_docker_name(text)


def _in_daemon(text: str) -> Within:
    """Read a name in a daemon, or an image's ID."""
    if not text:
        raise GrammarError("docker-daemon: has no image name", remedy="write docker-daemon:NAME:TAG or :ID")
    found = _IMAGE_ID.fullmatch(text)
    return Within("", pick=Pick.by_id(found["id"])) if found else _by_docker_name(text)


def _by_docker_name(text: str) -> Within:
    host, repository, tag, digest = split_image_name(text)
    if digest is not None:
        raise GrammarError(
            f"{printable(text)!r} has a digest, which docker archives and daemons do not keep",
            remedy="write its name and tag, or for a daemon its ID",
        )
    return Within(familiar_name(host, repository), tag)


def _nothing(text: str) -> Within:  # noqa: ARG001 - a dir: is a path to its end
    return Within("", pick=THE_ONLY_ONE)


def _in_registry(text: str) -> Within:
    """Read `[host/]repository[:tag][@digest]`: a host is part of the name, since docker leaves its own out."""
    _, repository, tag, digest = split_image_name(text)
    return Within(repository, tag, digest)


def _layout_host(_: str, name: str) -> tuple[str, str]:
    """Return no host, since it is part of the name; with a port the name is made valid in every store."""
    host, slash, rest = name.partition("/")
    return "", f"{host_in_name(host.lower())}{slash}{rest}"


def _docker_host(_: str, name: str) -> tuple[str, str]:
    return split_familiar_name(name)


def _docker_repository(name: str) -> str:
    host, repository, tag, digest = split_image_name(name)
    if tag is not None or digest is not None:
        raise GrammarError(f"{printable(name)!r} is not a repository name", remedy="write it without tag and digest")
    return familiar_name(host, repository)


TRANSPORTS: Final[Mapping[str, Transport]] = {
    transport.scheme: transport
    for transport in (
        Transport("oci:", _by_ref_name, check_layout_repository, _layout_host, deletes=True),
        Transport("oci-archive:", _by_ref_name, check_layout_repository, _layout_host, deletes=True),
        Transport("docker-archive:", _in_archive, _docker_repository, _docker_host, keeps_manifests=False),
        Transport(
            "docker-daemon:",
            _in_daemon,
            _docker_repository,
            _docker_host,
            has_path=False,
            separator="",
            keeps_manifests=False,
        ),
        Transport("dir:", _nothing, lambda _: "", many=False),
        Transport(BUNDLE, _by_ref_name, check_layout_repository, _layout_host, written_by="mirrorsync bundle create"),
    )
}


# An address without a known scheme is a registry's: its host, which can have a port.
REGISTRY: Final = Transport(
    "", _in_registry, split_host=lambda host, name: (host, name), has_path=False, separator="/", deletes=True
)


# Transports of skopeo and podman that are not read here. Docker Hub has no images of these names.
_OTHERS: Final[Mapping[str, tuple[str, str]]] = {
    "containers-storage:": (
        "is in podman's storage, which only podman can read",
        "podman save --format oci-archive -o FILE NAME, and oci-archive:FILE; to fill it, podman load -i FILE",
    ),
    "sif:": ("is an image of Apptainer, which is not an OCI image", "write oci:PATH or docker-archive:FILE"),
    "tarball:": ("is a layer and not an image", "write docker-archive:FILE or oci-archive:FILE for an image"),
    "ostree:": ("is an ostree repository, which is not supported", "write oci:PATH"),
}  # fmt: skip
_PATH = re.compile(r"(?:/|\.{1,2}/|~).*|[^/:]+\.(?:tar|tgz|tar\.(?:gz|xz|bz2|zst))(?::.*)?")


def refuse_other_tools(text: str) -> None:
    """Reject a path without a transport, and a transport of other tools: read as names on Docker Hub, both would only
    be unknown hosts. Raises: GrammarError."""
    scheme, colon, _ = text.partition(":")
    if scheme + colon in _OTHERS:
        why, remedy = _OTHERS[scheme + colon]
        raise GrammarError(f"{printable(text)!r} {why}", remedy=remedy)
    if _PATH.fullmatch(text):
        raise GrammarError(
            f"{printable(text)!r} is a path without a transport",
            remedy=f"write oci:{printable(text, 200)} for a directory, docker-archive: or oci-archive: before a file, "
            f"and {REGISTRY_PREFIX} before a name in a registry",
        )


def transport_of(text: str) -> Transport:
    """Return the transport of a reference or address."""
    scheme, colon, _ = text.partition(":")
    return TRANSPORTS.get(scheme + colon, REGISTRY)


def location_text(store: str, inside: str = "") -> str:
    """Return a location as people write it: `host/repository:tag@digest`, `oci:/srv/mirror:repository:tag`.

    store: its address, as in `Location.store`. inside: the name in the store (`oci.ref.written`).
    """
    return f"{store}{transport_of(store).separator}{inside}" if inside else store
