"""The spec as a value: mirror.yaml, checked, with all defaults and references filled in."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.narrowing import IndexMode
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location, canonical_repository, host_and_path
from mirrorsync.plan.backup import Backup
from mirrorsync.plan.budget import Budget
from mirrorsync.plan.policies import Policy, Referrers
from mirrorsync.plan.prune import OnVanish, Prune
from mirrorsync.plan.staleness import MaxStaleness
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.namespace import Namespace
from mirrorsync.spec.selection import Selection, Wanted
from mirrorsync.text import printable

DEFAULT_TEMPLATE: Final = "{repository}"
# The source of a spec that has no file. A file's is its absolute path.
STANDARD_INPUT: Final = "standard input"
_FIELDS = frozenset({"repository", "host", "basename"})
_FIELD = re.compile(r"\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Destination:
    """An entry of `destinations:`, under its name in the spec; `location.repository` is a prefix or ""."""

    name: str
    location: Location

    def repository(self, name: str) -> Location:
        """Return the location of the repository `name` at this destination. Raises: GrammarError if it is not valid."""
        whole = "/".join(part for part in (self.location.repository, name) if part)
        return Location(self.location.store, canonical_repository(self.location.store, whole) if whole else "")


@dataclass(frozen=True, slots=True)
class Mirror:
    """An entry of the spec, or one source of it: images of one source that are wanted at some destinations.

    pointer: JSON pointer of the entry in the file, such as `/mirrors/3`, or of the source in it if it has several
    (`/mirrors/3/from/0`); different for every mirror, for messages, reports and saved plans. source: the
    repository; that of a namespace is its pattern, and "" for a whole store on disk. template: the
    destination repository's name with `{repository}`, `{host}` and `{basename}` to fill in; checked. platforms: those
    wanted of an index, () for all. referrers: which of an image's (signatures, SBOMs, attestations) are mirrored too,
    None = none. policies: its rules for updates, in the order in which they are applied. min_tags: how many tags its
    filters have to match, 0 if none is right too. filters: its tags: as written, for messages. line: of the
    entry in the file, from 1; 0 if there is no file. namespace: which repositories are meant if there are several.
    locked: its images are those of a lock. on_vanish: what becomes of tags that the source has dropped.
    backup: under which name the image of a tag stays before the tag moves, None = it does not.
    max_staleness: how old what a destination has may be, None = as old as it is.
    index: what becomes of an index that platforms are wanted of.
    foreign_layers: whether layers that may not be distributed are mirrored, too.
    """

    pointer: str
    source: Location
    selection: Selection
    destinations: tuple[Destination, ...]
    template: str = DEFAULT_TEMPLATE
    platforms: tuple[Platform, ...] = ()
    referrers: Referrers | None = None
    policies: tuple[Policy, ...] = ()
    min_tags: int = 1
    filters: str = ""
    line: int = 0
    namespace: Namespace | None = None
    locked: bool = False
    on_vanish: OnVanish = "keep"
    backup: Backup | None = None
    max_staleness: MaxStaleness | None = None
    index: IndexMode = ""
    foreign_layers: bool = False

    @property
    def entry(self) -> str:
        """The pointer of the entry in `mirrors:` that the mirror is from, without the number of its source."""
        return "/".join(self.pointer.split("/")[:3])

    def covers(self, location: Location) -> bool:
        """Return whether a repository is one of the mirror's source."""
        if self.namespace is None:
            return location == self.source
        return location.store == self.source.store and self.namespace.has(location.repository)

    def only(self, names: tuple[str, ...]) -> Mirror:
        """Return the mirror of a namespace for only some of its repositories."""
        return replace(self, namespace=None if self.namespace is None else replace(self.namespace, only=names))

    def may_write(self, target: Location) -> bool:
        """Return whether the mirror writes to a repository if its source's store has the right one for it."""
        names = _rendered(self.template, self.source)
        for destination in self.destinations:
            prefix = f"{destination.location.repository}/".lstrip("/")
            within = target.store == destination.location.store and target.repository.startswith(prefix)
            if within and names.fullmatch(target.repository[len(prefix) :]):
                return True
        return False

    def repositories_at(self, destination: Destination, listed: Iterable[str]) -> Iterator[Location]:
        """Yield the repositories of a destination that the mirror fills, of those that its store lists.

        If `{repository}` is not in the name, or the source is not a registry, these are all that it may fill.
        """
        names = _rendered(self.template, self.source)
        prefix = f"{destination.location.repository}/".lstrip("/")
        for name in listed:
            found = names.fullmatch(name[len(prefix) :]) if name.startswith(prefix) else None
            if found is None:
                continue
            target = Location(destination.location.store, name)
            path = found.groupdict().get("repository") if self.source.transport.is_registry else None
            source = None if path is None else Location(self.source.store, path)
            if source is None or (self.covers(source) and self.target(destination, source.repository) == target):
                yield target

    def target(self, destination: Destination, repository: str) -> Location:
        """Return the location of the source's `repository` at `destination`. Raises: GrammarError for a bad name."""
        name = _render(self.template, Location(self.source.store, repository))
        if not name and self.template:
            raise GrammarError("the image has no name at its source", remedy="give it one with name:")
        return destination.repository(name)

    def followed(self, wanted: Wanted) -> Ref | None:
        """Return the ref that is resolved again at the source before a saved plan of this mirror runs.

        A tag or a pick, the digest of the index that platforms are chosen from, or None if the spec names the root by
        its digest.
        """
        return None if isinstance(wanted.ref, Digest) and not self.platforms else wanted.ref

    @property
    def sparse(self) -> bool:
        """Whether indexes are mirrored as they are, with only some of their images."""
        return self.index == "sparse" and bool(self.platforms)


@dataclass(frozen=True, slots=True)
class Lacking:
    """An image that a mirror wants, and the lock lacks. ref: None if its filters match no tag of the lock."""

    mirror: Mirror
    source: Location
    ref: Ref | None


@dataclass(frozen=True, slots=True)
class Signers:
    """`signers:`, who has to sign bundles and inventories. allowed: the path of a file of allowed signers, absolute if
    that of the spec is; threshold: how many people have to sign, from 1.
    """

    allowed: str
    threshold: int = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole spec. source: its file as given, or STANDARD_INPUT; digest: of its bytes and those of the lists of
    images that it names, by which a plan knows it.

    prune: which tags are deleted, None = none. lock: the images are those of this lock, None = what the sources have.
    lacking: the images that the lock lacks. budget: the most that one run may take, None = anything.
    signers: who has to sign bundles and inventories, None = they may be unsigned.
    """

    source: str
    digest: Digest
    mirrors: tuple[Mirror, ...]
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    registries: Mapping[str, HostSettings] = field(default_factory=dict)
    prune: Prune | None = None
    lock: Lock | None = None
    lacking: tuple[Lacking, ...] = ()
    budget: Budget | None = None
    signers: Signers | None = None


def check_template(template: str) -> None:
    """Check that a template has only known fields. Raises: GrammarError."""
    for match in _FIELD.finditer(template):
        if match[1] not in _FIELDS:
            raise GrammarError(
                f"{printable(match[0])!r} in the name {printable(template)!r} is not a known field",
                remedy="use {repository}, {host} or {basename}",
            )


def _render(template: str, source: Location) -> str:
    """Fill in a checked template."""
    host, repository = host_and_path(source)
    fields = {"repository": repository, "host": host, "basename": posixpath.basename(repository)}
    return _FIELD.sub(lambda match: fields[match[1]], template)


def _rendered(template: str, source: Location) -> re.Pattern[str]:
    """Return an expression for all names that a template can give to the repositories of a store."""
    host = re.escape(host_and_path(source)[0]) if source.transport.is_registry else ".*"
    fields = {"host": host, "basename": "[^/]*", "repository": "(?P<repository>.*)"}
    made, end = "", 0
    for found in _FIELD.finditer(template):
        made += re.escape(template[end : found.start()]) + fields[found[1]]
        fields["repository"] = "(?P=repository)" if found[1] == "repository" else fields["repository"]
        end = found.end()
    return re.compile(made + re.escape(template[end:]))
