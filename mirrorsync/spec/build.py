"""Build the model from a spec that fits the schema: references, destinations, filters, and checks across entries."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mirrorsync.errors import GrammarError, MirrorsyncError
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.narrowing import IndexMode
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location, Where, parse_destination
from mirrorsync.plan.budget import Budget, read_limit
from mirrorsync.plan.policies import Referrers
from mirrorsync.plan.prune import Cap, Prune
from mirrorsync.problems import Problem
from mirrorsync.spec.mirror_source import MirrorSource, listed_sources, read_source, written_sources
from mirrorsync.spec.model import DEFAULT_TEMPLATE, Destination, Mirror, Signers, Spec, check_template
from mirrorsync.spec.namespace import Namespace
from mirrorsync.spec.platforms import read_platform
from mirrorsync.spec.registries import check_destinations, read_registries
from mirrorsync.spec.rules import read_rules
from mirrorsync.spec.selection import Wanted
from mirrorsync.spec.yaml_source import Source, join
from mirrorsync.text import printable

# Returns the bytes of a list of images, by its absolute path. Raises: MirrorsyncError.
ReadFile = Callable[[str], bytes]
# The keys that choose tags of a repository: a list of images names them itself.
_NOT_LISTED: Final = ("from", "exclude_repositories", "tags", "tag", "min_tags", "allow_empty")
_MAX_DELETES: Final = 10
_DIFFER: Final = "make the names differ with {repository}, {host} or {basename} in name:"


def build(
    source_file: Source,
    value: Mapping[str, Any],
    *,
    source: str,
    digest: Digest,
    base: str,
    files: ReadFile | None = None,
) -> tuple[Spec | None, list[Problem]]:
    """Return the spec (None if it is invalid) and its problems, in no particular order. digest, files: as in `load`."""
    builder = _Builder(source_file, base, frozenset(value.get("destinations", {})), files)
    registries = builder.registries(value.get("registries", {}))
    destinations = builder.destinations(value.get("destinations", {}), registries)
    prune = builder.prune(value["prune"]) if "prune" in value else None
    budget = builder.budget(value["budget"]) if "budget" in value else None
    signers = builder.signers(value["signers"]) if "signers" in value else None
    mirrors = builder.mirrors(value["mirrors"], value.get("defaults", {}), destinations)
    if builder.problems:
        return None, list(builder.problems)
    if builder.lists:
        digest = Digest.of("\n".join([digest, *map(Digest.of, builder.lists.values())]).encode())
    return Spec(source, digest, tuple(mirrors), destinations, registries, prune, budget=budget, signers=signers), []


@dataclass
class _Builder:
    source: Source
    base: str
    named: frozenset[str]  # destinations, also invalid ones, which are reported once and not at each mirror
    files: ReadFile | None = None
    lists: dict[str, bytes] = field(default_factory=dict)  # of images, by their absolute paths
    problems: dict[Problem, None] = field(default_factory=dict)  # one of the defaults concerns many mirrors
    _single_image_stores: dict[str, str] = field(default_factory=dict)  # address -> pointer of the mirror that fills it
    _lines: dict[str, tuple[str, int]] = field(default_factory=dict)  # of images in lists, by pointer
    _targets: dict[Where, tuple[Location, Wanted, str]] = field(default_factory=dict)

    def _add_problem(self, pointer: str, message: str, remedy: str = "", *, at_key: bool = False) -> None:
        if pointer in self._lines:
            file, line = self._lines[pointer]
            self.problems.setdefault(Problem(message, line=line, column=1, remedy=remedy, file=file))
        else:
            self.problems.setdefault(self.source.problem(pointer, message, remedy, at_key=at_key))

    def _line(self, pointer: str) -> str:
        """Return where a mirror is, for messages."""
        if pointer in self._lines:
            file, number = self._lines[pointer]
            return f"line {number} of {printable(posixpath.basename(file))}"
        return f"line {self.source.positions[pointer].line}"

    @contextmanager
    def _problems_at(self, pointer: str) -> Iterator[None]:
        """Turn a GrammarError into a problem at a pointer."""
        try:
            yield
        except GrammarError as error:
            self._add_problem(pointer, error.message, error.remedy)

    def registries(self, value: Mapping[str, Mapping[str, Any]]) -> dict[str, HostSettings]:
        """Read the settings of each host."""
        return read_registries(value, self.base, self._add_problem)

    def destinations(self, value: Mapping[str, str], registries: Mapping[str, HostSettings]) -> dict[str, Destination]:
        """Read the destinations."""
        made = {}
        for name, text in value.items():
            with self._problems_at(join("/destinations", name)):
                made[name] = Destination(name, parse_destination(text, self.base))
        check_destinations(made, registries, self._add_problem)
        return made

    def prune(self, value: Mapping[str, Any]) -> Prune:
        """Read `prune:`; its shape was checked by the schema."""
        most = value.get("max_deletes", _MAX_DELETES)
        cap = Cap(number=most) if isinstance(most, int) else Cap(percent=float(most.removesuffix("%")))
        return Prune(cap, tuple(value.get("keep", ())), value.get("adopt", False), value.get("keep_generations"))

    def budget(self, value: Mapping[str, Any]) -> Budget:
        """Read `budget:`; its shape was checked by the schema."""
        limits = {}
        for key, written in value.items():
            with self._problems_at(join("/budget", key)):
                limits[key] = read_limit(key, written)
        return Budget(**limits)

    def signers(self, value: Mapping[str, Any]) -> Signers:
        """Read `signers:`; its shape was checked by the schema."""
        return Signers(posixpath.normpath(posixpath.join(self.base, value["allowed"])), value.get("threshold", 1))

    def mirrors(
        self, value: list[Any], defaults: Mapping[str, Any], destinations: Mapping[str, Destination]
    ) -> Iterator[Mirror]:
        """Read the mirrors, and check that no two of them write the same tag."""
        made = []
        for number, entry in enumerate(value):
            pointer = join("/mirrors", number)
            members = entry if isinstance(entry, dict) else {}
            to = self._destinations_of(pointer, members, defaults, destinations)
            name = self._name(pointer, members, defaults)
            rules = read_rules(pointer, members, defaults, self.base, self._add_problem)
            platforms, index = self._platforms(pointer, members, defaults)
            if members.get("allow_empty") and "min_tags" in members:
                self._add_problem(join(pointer, "min_tags"), "allow_empty needs no tags", "remove one of them")
            mirrors = [
                Mirror(
                    found.pointer,
                    found.location,
                    rules.waiting(found.selection),
                    to,
                    found.name or name,
                    platforms,
                    next((one for one in rules.policies if isinstance(one, Referrers)), None),
                    tuple(one for one in rules.policies if not isinstance(one, Referrers) or one.require),
                    0 if members.get("allow_empty") else members.get("min_tags", 1),
                    json.dumps(members.get("tags", "")),
                    self.source.positions[pointer if found.line else found.pointer].line,
                    found.namespace,
                    on_vanish=rules.on_vanish,
                    backup=rules.backup,
                    max_staleness=rules.max_staleness,
                    index=index,
                    foreign_layers=members.get("foreign_layers", defaults.get("foreign_layers")) == "copy",
                )
                for found in self._sources(entry, pointer, members)
            ]
            self._check_different(mirrors, pointer, members)
            for mirror in mirrors:
                self._check_targets(mirror, pointer, members)
            made += mirrors
        return iter(made)

    def _sources(
        self, entry: str | Mapping[str, Any], pointer: str, members: Mapping[str, Any]
    ) -> Sequence[MirrorSource]:
        """Return the sources of an entry; those with mistakes are reported and left out."""
        if "images_file" in members:
            return self._listed(pointer, members)
        sources, known = list(written_sources(entry, pointer)), []
        for one in sources:
            with self._problems_at(one.at):
                known.append(read_source(one, self.base, self._add_problem))
        single = len(known) == len(sources) and all(one.namespace is None for one in known)
        if "exclude_repositories" in members and single:
            message, remedy = "this has no effect: from: names one repository", "write a pattern in from:, or remove it"
            self._add_problem(join(pointer, "exclude_repositories"), message, remedy)
        return known

    def _listed(self, pointer: str, members: Mapping[str, Any]) -> Sequence[MirrorSource]:
        """Return the images of the list that an entry names."""
        for key in _NOT_LISTED:
            if key in members:
                message = "this has no effect together with images_file:"
                self._add_problem(join(pointer, key), message, "remove one of them, or write an entry of its own")
        at, found = join(pointer, "images_file"), []
        file = posixpath.normpath(posixpath.join(self.base, members["images_file"]))
        try:
            text = self.lists[file] = self.files(file) if self.files is not None else b""
        except MirrorsyncError as error:
            self._add_problem(at, error.message, "check the path; relative ones start from the directory of the spec")
            return ()
        for one in listed_sources(text, file, at):
            if isinstance(one, Problem):
                self.problems.setdefault(one)
                continue
            self._lines[one.pointer] = (file, one.line)
            if one.name and "name" in members:
                remedy = "remove name:, or write the image alone"
                self._add_problem(one.pointer, "the line has a name for the destination, and so has name:", remedy)
            found.append(one)
        if not found:
            self._add_problem(at, f"{printable(file)} has no images", "write one image a line")
        return found

    def _check_different(self, mirrors: Sequence[Mirror], entry: str, members: Mapping[str, Any]) -> None:
        """Check that the sources of one entry have repositories of their own at each destination."""
        pointer = join(entry, "name") if "name" in members else entry
        first: dict[Location, Mirror] = {}
        for mirror in mirrors if len(mirrors) > 1 and "from" in members else ():
            for destination in mirror.destinations:
                with suppress(GrammarError):  # a name that is not valid is reported for each mirror
                    other = first.setdefault(mirror.target(destination, mirror.source.repository), mirror)
                    if other is mirror:
                        continue
                    if other.source == mirror.source:
                        self._add_problem(mirror.pointer, f"{mirror.source} is listed twice", "remove one of them")
                    elif not other.selection.exact:
                        message = f"{other.source} and {mirror.source} would be mirrored to the same repository"
                        self._add_problem(pointer, message, _DIFFER)

    def _name(self, pointer: str, members: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
        """Return the template of a mirror's name; a mistake in the default is reported once, under defaults."""
        name: str = members.get("name", defaults.get("name", DEFAULT_TEMPLATE))
        try:
            check_template(name)
        except GrammarError as error:
            at = join(pointer, "name") if "name" in members else "/defaults/name"
            self._add_problem(at, error.message, error.remedy)
            return DEFAULT_TEMPLATE
        return name

    def _platforms(
        self, pointer: str, members: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> tuple[tuple[Platform, ...], IndexMode]:
        entry, written = (pointer, members) if "platforms" in members else ("/defaults", defaults)
        value, at = written.get("platforms", ()), join(entry, "platforms")
        index: IndexMode = ""
        if isinstance(value, Mapping):
            value, at, index = value["only"], join(at, "only"), value.get("index", "")
        platforms = []
        for number, text in enumerate(value):
            with self._problems_at(join(at, number)):
                platforms.append(read_platform(text))
        return tuple(platforms), index

    def _destinations_of(
        self,
        pointer: str,
        members: Mapping[str, Any],
        defaults: Mapping[str, Any],
        destinations: Mapping[str, Destination],
    ) -> tuple[Destination, ...]:
        wanted = members.get("to", defaults.get("to"))
        at = join(pointer, "to") if "to" in members else "/defaults/to"
        if wanted is None:
            if len(self.named) != 1:
                remedy = "add to:, or to: under defaults:" if self.named else "add one under destinations:"
                self._add_problem(pointer, "no destination", remedy)
                return ()
            return tuple(destinations.values())
        names = [wanted] if isinstance(wanted, str) else wanted
        unknown = [name for name in names if name not in self.named]
        for name in unknown:
            known = f"known: {', '.join(sorted(self.named))}" if self.named else "add it under destinations:"
            self._add_problem(at, f"unknown destination {printable(name, 80)!r}", printable(known))
        return tuple(destinations[name] for name in names if name in destinations)

    def _check_targets(self, mirror: Mirror, entry: str, members: Mapping[str, Any]) -> None:
        """Check that the destination repositories have valid names, and that no other mirror writes the same tags."""
        pointer = join(entry, "name") if "name" in members and mirror.pointer not in self._lines else mirror.pointer
        names: dict[Location, str] = {}
        for destination in mirror.destinations:
            other = names.setdefault(destination.location, destination.name)
            if other != destination.name:
                message = f"destinations {printable(other)} and {printable(destination.name)} are the same location"
                self._add_problem(mirror.pointer, message, "remove one of them")
            elif mirror.selection.digests and not destination.location.transport.many:
                message = f"{destination.location} cannot take an image by its digest alone"
                self._add_problem(mirror.pointer, message, "write it as {from: ..., tag: latest}")
            elif mirror.backup is not None and not _keeps_backups(destination.location):
                message = f"{destination.location} cannot keep backups"
                self._add_problem(mirror.pointer, message, "remove backup:, or write to a registry or oci:DIRECTORY")
            elif not self._has_room(destination, mirror):
                message = f"{destination.location} has room for one image; the spec wants more"
                self._add_problem(mirror.pointer, message, "use oci: or oci-archive:")
            elif mirror.namespace is not None:
                with self._problems_at(pointer):
                    self._check_namespace(mirror, mirror.namespace, destination)
            else:
                with self._problems_at(pointer):
                    self._check_target(mirror, mirror.target(destination, mirror.source.repository))

    def _check_namespace(self, mirror: Mirror, namespace: Namespace, destination: Destination) -> None:
        """Check that a namespace is not mirrored into itself, and that its repositories have names of their own."""
        same = destination.location.store == mirror.source.store
        if mirror.source.transport.is_registry:
            target = mirror.target(destination, namespace.example)
            same = same and namespace.has(target.repository)
            if "{repository}" not in mirror.template and "{basename}" not in mirror.template:
                message = f"the repositories of {mirror.source} would be mirrored to the same repository"
                raise GrammarError(message, remedy=_DIFFER)
        if same:
            message = f"{mirror.source} would be mirrored into itself"
            self._add_problem(mirror.pointer, message, "choose another destination")

    def _has_room(self, destination: Destination, mirror: Mirror) -> bool:
        """Return whether a store for one image gets at most one image from the spec."""
        if destination.location.transport.many:
            return True
        selection = mirror.selection
        several = mirror.namespace is not None or selection.lists or len(selection.exact) > 1
        first = self._single_image_stores.setdefault(destination.location.store, mirror.pointer)
        return not several and first == mirror.pointer

    def _check_target(self, mirror: Mirror, target: Location) -> None:
        if target == mirror.source:
            message = f"{target} would be mirrored onto itself"
            self._add_problem(mirror.pointer, message, "choose another destination or name")
        for wanted in mirror.selection.exact:
            self._check_unique(mirror, target.at(wanted.tag or wanted.ref), wanted)

    def _check_unique(self, mirror: Mirror, target: Where, wanted: Wanted) -> None:
        first = self._targets.setdefault(target, (mirror.source, wanted, mirror.pointer))
        source, other, pointer = first
        if other is wanted:
            return
        if other == wanted and (source == mirror.source or isinstance(wanted.ref, Digest)):
            self._add_problem(
                mirror.pointer, f"{target} is wanted twice, first in {self._line(pointer)}", "remove one of them"
            )
        else:
            self._add_problem(
                mirror.pointer,
                f"{target} would be two different images: {other.at(source)} ({self._line(pointer)}) "
                f"and {wanted.at(mirror.source)}",
                "give one of them another name or destination",
            )


def _keeps_backups(location: Location) -> bool:
    transport = location.transport
    return transport.many and transport.keeps_manifests and transport.scheme != "oci-archive:"
