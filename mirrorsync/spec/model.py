"""The spec as a value: what mirror.yaml says, checked, with every default and reference filled in."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mirrorsync.errors import GrammarError, printable
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location, canonical_repository, host_and_path
from mirrorsync.plan.policies import Policy
from mirrorsync.spec.selection import Selection, Wanted

DEFAULT_TEMPLATE: Final = "{repository}"
_FIELDS = frozenset({"repository", "host", "basename"})
_FIELD = re.compile(r"\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that mirrors go to, under the name that the spec gives it; `place.repository` is a prefix or ""."""

    name: str
    place: Location

    def repository(self, name: str) -> Location:
        """Return where the repository `name` stands at this destination. Raises: GrammarError when it is no name."""
        whole = "/".join(part for part in (self.place.repository, name) if part)
        return Location(self.place.store, canonical_repository(self.place.store, whole) if whole else "")


@dataclass(frozen=True, slots=True)
class Mirror:
    """One entry of the spec: images of one source repository that are wanted at some destinations.

    pointer: where the entry stands in the file (JSON pointer, such as `/mirrors/3`), for messages and reports.
    source: the repository; its name is "" and whole_store True when all repositories of a place on disk are meant.
    template: the destination repository's name with `{repository}`, `{host}` and `{basename}` to fill in; checked.
    platforms: what is wanted of an index, all of it when there are none. referrers: whether what refers to an image
    (signatures, SBOMs, attestations) comes with it. policies: what may become of its images, in the order in which
    they are asked.
    """

    pointer: str
    source: Location
    selection: Selection
    destinations: tuple[Destination, ...]
    template: str = DEFAULT_TEMPLATE
    whole_store: bool = False
    platforms: tuple[Platform, ...] = ()
    referrers: bool = False
    policies: tuple[Policy, ...] = ()

    def target(self, destination: Destination, repository: str) -> Location:
        """Return where `repository` of the source stands at `destination`. Raises: GrammarError when it is no name."""
        name = _render(self.template, Location(self.source.store, repository))
        if not name and self.template:
            raise GrammarError("the image has no name to take over", remedy="give it one with name:")
        return destination.repository(name)

    def followed(self, wanted: Wanted) -> Ref | None:
        """Return what the source is asked again before a saved plan of this mirror runs.

        That is a tag or a pick, the digest of what platforms are taken from, or None where the spec names the root
        itself.
        """
        return None if isinstance(wanted.ref, Digest) and not self.platforms else wanted.ref


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole spec. source: the file's name as given; digest: of its bytes, so that a plan can tell it changed."""

    source: str
    digest: Digest
    mirrors: tuple[Mirror, ...]
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    registries: Mapping[str, HostSettings] = field(default_factory=dict)


def check_template(template: str) -> None:
    """See that a template names only what there is. Raises: GrammarError."""
    for match in _FIELD.finditer(template):
        if match[1] not in _FIELDS:
            raise GrammarError(
                f"{printable(match[0])!r} in the name {printable(template)!r} stands for nothing",
                remedy="use {repository}, {host} or {basename}",
            )


def _render(template: str, source: Location) -> str:
    """Fill in a checked template."""
    host, repository = host_and_path(source)
    fields = {"repository": repository, "host": host, "basename": posixpath.basename(repository)}
    return _FIELD.sub(lambda match: fields[match[1]], template)
