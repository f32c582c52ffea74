"""The spec as a value: what mirror.yaml says, checked, with every default and reference filled in."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mirrorsync.errors import GrammarError, printable
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location, check_repository, is_layout
from mirrorsync.secret import Secret
from mirrorsync.spec.filters import Selection

DEFAULT_TEMPLATE: Final = "{repository}"
_FIELDS = frozenset({"repository", "host", "basename"})
_FIELD = re.compile(r"\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to talk to one registry. Paths are absolute; max_connections is per run and host.

    realm_hosts: hosts other than the registry's own whose token service may get its credentials.
    """

    username: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure_skip_verify: bool = False
    plain_http: bool = False
    max_connections: int | None = None
    realm_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that mirrors go to, under the name that the spec gives it; `place.repository` is a prefix or ""."""

    name: str
    place: Location

    def repository(self, name: str) -> Location:
        """Return where the repository `name` stands at this destination."""
        return Location(self.place.store, "/".join(part for part in (self.place.repository, name) if part))


@dataclass(frozen=True, slots=True)
class Mirror:
    """One entry of the spec: images of one source repository that are wanted at some destinations.

    pointer: where the entry stands in the file (JSON pointer, such as `/mirrors/3`), for messages and reports.
    source: the repository; its name is "" and whole_layout True when all repositories of a layout are meant.
    template: the destination repository's name with `{repository}`, `{host}` and `{basename}` to fill in; checked.
    """

    pointer: str
    source: Location
    selection: Selection
    destinations: tuple[Destination, ...]
    template: str = DEFAULT_TEMPLATE
    whole_layout: bool = False

    def target(self, destination: Destination, repository: str) -> Location:
        """Return where `repository` of the source stands at `destination`. Raises: GrammarError when it is no name."""
        return destination.repository(check_repository(_render(self.template, self.source.store, repository)))


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole spec. source: the file's name as given; digest: of its bytes, so that a plan can tell it changed."""

    source: str
    digest: Digest
    mirrors: tuple[Mirror, ...]
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)


def check_template(template: str) -> None:
    """See that a template names only what there is. Raises: GrammarError."""
    for match in _FIELD.finditer(template):
        if match[1] not in _FIELDS:
            raise GrammarError(
                f"{printable(match[0])!r} in the name {printable(template)!r} stands for nothing",
                remedy="use {repository}, {host} or {basename}",
            )


def _render(template: str, store: str, repository: str) -> str:
    """Fill in a checked template. Images of a layout that have no repository name take that of its directory."""
    host = posixpath.basename(store).lower() if is_layout(store) else store.replace(":", "-")
    repository = repository or host
    fields = {"repository": repository, "host": host, "basename": posixpath.basename(repository)}
    return _FIELD.sub(lambda match: fields[match[1]], template)
