"""References: locations of images as people write them, and their canonical form."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_host, check_repository, host_in_name, looks_like_host, refuse_url
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Ref, Tag, written
from mirrorsync.oci.transports import REGISTRY_PREFIX, Transport, location_text, refuse_other_tools, transport_of
from mirrorsync.text import printable

# The tag that docker, skopeo and podman use for a name without one.
LATEST: Final = Tag("latest")


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A repository in a store.

    store: its canonical address, which is a host with its port for a registry (`docker.io`, `localhost:5000`), and a
    transport with an absolute path for a store on disk (`oci:/srv/mirror`). repository: its name in that store, in the
    transport's canonical spelling; "" for images without a repository name.
    """

    store: str
    repository: str

    def __str__(self) -> str:
        return location_text(self.store, self.repository)

    @property
    def transport(self) -> Transport:
        """The kind of the store, and what it can do."""
        return transport_of(self.store)

    def at(self, ref: Ref | None = None) -> Where:
        """Return the repository, or one of its images or blobs, as the location of an error."""
        return Where(self.store, self.repository, ref)


@dataclass(frozen=True, slots=True)
class Where:
    """Where an error occurred (`errors.Whereabouts`). None if unknown; a repository "" is known."""

    store: str | None = None
    repository: str | None = None
    ref: Ref | None = None

    def within(self, outer: Where) -> Where:
        """Return the same with unknown fields filled in from `outer`."""
        return Where(
            self.store if self.store is not None else outer.store,
            self.repository if self.repository is not None else outer.repository,
            self.ref if self.ref is not None else outer.ref,
        )

    def __str__(self) -> str:
        return "" if self.store is None else location_text(self.store, written(self.repository or "", self.ref))


@dataclass(frozen=True, slots=True)
class Reference:
    """One image: a location, and a tag, a digest, both (the tag must have that digest), or neither.

    pick: how an image without a name is picked; None if it has a name.
    """

    location: Location
    tag: Tag | None = None
    digest: Digest | None = None
    pick: Pick | None = None

    @classmethod
    def of(cls, location: Location, ref: Ref) -> Reference:
        """Return the image that `ref` names at `location`."""
        if isinstance(ref, Tag):
            return cls(location, tag=ref)
        return cls(location, digest=ref) if isinstance(ref, Digest) else cls(location, pick=ref)

    def __str__(self) -> str:
        name = written(self.location.repository, self.pick if self.tag is None else self.tag)
        return location_text(self.location.store, name if self.digest is None else f"{name}@{self.digest}")

    @property
    def names_one(self) -> bool:
        """Whether it names one image; otherwise it is only a repository."""
        return self.tag is not None or self.digest is not None or self.pick is not None

    @property
    def asked(self) -> Ref:
        """The ref to give to `Repository.resolve`: the digest before the tag. Only if `names_one`."""
        return self.digest or self.tag or self.pick or THE_ONLY_ONE

    def or_latest(self) -> Reference:
        """Return the reference, with the tag `latest` if it has no tag, digest or pick, as docker does."""
        return self if self.names_one else replace(self, tag=LATEST)


def canonical_repository(store: str, name: str) -> str:
    """Return a repository's name in the store's canonical spelling. Raises: GrammarError if it is not a valid name."""
    return transport_of(store).canonical(name)


def host_and_path(location: Location) -> tuple[str, str]:
    """Return the host that a repository is from, and its name without the host.

    The host is valid inside a repository's name (see `host_in_name`). For a store on disk whose names have no host, it
    is the last part of the store's path, and so is the name of an image without one.
    """
    transport = location.transport
    file_name = posixpath.basename(location.store).lower() if transport.has_path else ""
    host, path = transport.split_host(location.store, location.repository)
    return (host_in_name(host) or file_name), (path or file_name)


def registry_name(source: Location) -> Location | None:
    """Return the repository of a registry by which clients know the images of a source; None if there is none.

    Archives, daemons and layouts keep the names that images had at their registries, a layout those with a host.
    """
    if source.transport.is_registry:
        return source
    host, slash, rest = source.repository.partition("/")
    if source.transport.keeps_manifests:
        return Location(host, rest) if slash and looks_like_host(host) else None
    if not source.repository:
        return None
    return parse_image(source.repository).location


def parse_repository(text: str, base: str = "") -> Location:
    """Read a repository without tag or digest: `host/repository`, `oci:DIR:REPOSITORY`, or `oci:DIR` for all of it.

    base: the directory (a path) that relative paths start from. Docker Hub's short names are completed. The other
    transports for several images are read as `oci:` is. Raises: GrammarError, also for a tag or digest.
    """
    transport = transport_of(text)
    if not transport.is_registry:
        address, name = transport.split(text, base)
        return Location(address, transport.canonical(name) if name else "")
    reference = parse_image(text)
    if reference.tag or reference.digest:
        raise GrammarError(
            f"{printable(text)!r} is one image, not a repository",
            remedy=f"write {reference.location}, and the tag or digest under tags",
        )
    return reference.location


def parse_image(text: str, base: str = "") -> Reference:
    """Read one image of any transport: `host/repository[:tag][@digest]`, `oci:DIR[:NAME]`, `docker-daemon:NAME`...

    base: the directory (a path) that relative paths start from. A missing tag or digest stays missing: then the result
    names a repository. Raises: GrammarError.
    """
    transport = transport_of(text)
    address, name = transport.split(text, base)
    within = transport.image(name)
    return Reference(Location(address, within.repository), within.tag, within.digest, within.pick)


def parse_destination(text: str, base: str = "") -> Location:
    """Read a destination: `host[/prefix]`, or `oci:DIR[:PREFIX]`; the repository of the result is the prefix.

    base: the directory (a path) that relative paths start from. Raises: GrammarError.
    """
    transport = transport_of(text)
    if transport.written_by:
        raise GrammarError(
            f"{printable(text)!r} cannot be a destination: a store of this kind is only read",
            remedy=f"`{transport.written_by}` writes one; as a destination write host/prefix, or oci:DIRECTORY",
        )
    if not transport.is_registry:
        return parse_repository(text, base)
    refuse_other_tools(text)
    rest = text.removeprefix(REGISTRY_PREFIX)
    refuse_url(rest)
    host, _, prefix = rest.partition("/")
    if not looks_like_host(host):
        raise GrammarError(
            f"{printable(text)!r} does not begin with a host name",
            remedy="write host/prefix (docker.io/user for Docker Hub), or oci:DIRECTORY",
        )
    return Location(check_host(host), check_repository(prefix) if prefix else "")
