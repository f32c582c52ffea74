"""What a client has to know: which repository is which at the destination, and how to talk to it.

A client is a program that pulls images by the names of their sources: containerd, podman, a cluster.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.spec.namespace import Namespace

REPOSITORY: Final = "{repository}"
BASENAME: Final = "{basename}"
_HUB: Final = "docker.io"
# The address at which Docker Hub has its API.
_HUB_API: Final = "registry-1.docker.io"
_WILD: Final = re.compile(r"[*?[]")
_NAME: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which repositories of a registry are at the destination, and under which names.

    host: the registry in the names that clients pull. name: one repository, or a shell pattern for several if it is of
    a namespace. target: its name at the destination, of a namespace with {repository} and {basename} to fill in.
    mirrors: the pointers of the spec's mirrors that it is from. tag: one that the repository has, for examples.
    """

    host: str
    name: str
    target: str
    mirrors: tuple[str, ...] = ()
    namespace: Namespace | None = None
    tag: str = ""

    @property
    def source(self) -> str:
        """The repositories as clients write them."""
        return f"{self.host}/{self.name}"

    @property
    def example(self) -> str:
        """The name of an image that a client could pull."""
        name = self.name if self.namespace is None else self.namespace.example
        return f"{self.host}/{name}:{self.tag or 'TAG'}"

    def has(self, repository: str) -> bool:
        """Return whether a repository of the host belongs to it."""
        return self.name == repository if self.namespace is None else self.namespace.has(repository)

    def at_destination(self, repository: str) -> str:
        """Return the name of one of its repositories at the destination."""
        if self.namespace is None:
            return self.target
        named = self.target.replace(REPOSITORY, repository)
        return named.replace(BASENAME, posixpath.basename(repository))

    @property
    def base(self) -> str | None:
        """The path at the destination behind which names are those of the source; None if they differ."""
        whole = self.name if self.namespace is None else REPOSITORY
        head = self.target.removesuffix(whole)
        if head == self.target or BASENAME in head or REPOSITORY in head or (head and not head.endswith("/")):
            return None
        return head.rstrip("/")

    @property
    def folders(self) -> tuple[str, str] | None:
        """The first part of names at the source, and what replaces it at the destination; None if more is replaced.

        "" is the whole registry. See `is_shallow` for those that are replaced rightly only directly in the folder.
        """
        if self.namespace is None:
            return self.name, self.target
        folder = self._folder
        head, field = _last_field(self.target)
        if field == REPOSITORY:
            whole = head + folder if folder else head
            return (folder, whole.rstrip("/")) if folder or not head or head.endswith("/") else None
        if field == BASENAME and posixpath.dirname(self.name) == folder and (not head or head.endswith("/")):
            return folder, head.rstrip("/")
        return None

    @property
    def is_shallow(self) -> bool:
        """Whether `folders` holds only for repositories directly in the folder, not for those further below."""
        return self.namespace is not None and _last_field(self.target)[1] == BASENAME

    @property
    def _folder(self) -> str:
        """The part of a pattern before its first wildcard, without a part of a name: `quay` of `quay/pro*/x`."""
        found = _WILD.search(self.name)
        return posixpath.dirname(self.name[: found.start()]) if found else posixpath.dirname(self.name)


def _last_field(target: str) -> tuple[str, str]:
    """Return what is before the only field of a template, and the field; "" if it has others, or text behind it."""
    for field in (REPOSITORY, BASENAME):
        head = target.removesuffix(field)
        if head != target and "{" not in head:
            return head, field
    return target, ""


@dataclass(frozen=True, slots=True)
class Registry:
    """The destination, as clients connect to it. host: with its port. ca: certificates of its authority (PEM), or "".

    login, client_cert: whether it wants credentials or a client certificate, which are secrets and written nowhere.
    """

    host: str
    plain_http: bool = False
    skip_verify: bool = False
    ca: str = ""
    login: bool = False
    client_cert: bool = False

    @property
    def url(self) -> str:
        """The URL of its root."""
        return f"{'http' if self.plain_http else 'https'}://{api_host(self.host)}"

    @property
    def insecure(self) -> bool:
        """Whether clients must not insist on TLS and a valid certificate."""
        return self.plain_http or self.skip_verify

    def location(self, repository: str) -> str:
        """Return a repository as people write it."""
        return f"{self.host}/{repository}" if repository else self.host

    def api(self, base: str) -> str:
        """Return the URL behind which the names of repositories below `base` are written."""
        return f"{self.url}/v2/{base}" if base else f"{self.url}/v2"


@dataclass(frozen=True, slots=True)
class Lost:
    """A rule that a client cannot express, and the reason."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Site:
    """What the files for a client are made from.

    spec: the name of its file. destination: by its name in the spec. fallback: whether clients may pull from the
    sources what the destination lacks. lost: what no client can express of the spec. address: as it was given, "" for
    that of the spec.
    """

    spec: str
    destination: str
    registry: Registry
    rules: tuple[Rule, ...]
    fallback: bool = True
    lost: tuple[Lost, ...] = ()
    address: str = ""

    @property
    def slug(self) -> str:
        """A name for files and objects of a cluster: lower case, digits and hyphens."""
        return f"mirrorsync-{_NAME.sub('-', self.destination.lower()).strip('-') or 'mirror'}"


@dataclass(frozen=True, slots=True)
class File:
    """A file for a client. path: where it belongs: absolute on its nodes, relative for what is given to a cluster."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The files for a client, the rules that it cannot express, and what its users should know."""

    files: tuple[File, ...] = ()
    lost: tuple[Lost, ...] = ()
    notes: tuple[str, ...] = ()


def api_host(host: str) -> str:
    """Return the host at which a registry has its API."""
    return _HUB_API if host == _HUB else host


def by_host(rules: Sequence[Rule]) -> dict[str, list[Rule]]:
    """Return rules by their host, hosts in their order."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        found.setdefault(rule.host, []).append(rule)
    return dict(sorted(found.items()))


def is_pattern(text: str) -> bool:
    """Return whether a name has a wildcard."""
    return _WILD.search(text) is not None
