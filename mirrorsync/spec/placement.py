"""Where a spec puts an image: the name at a destination of an image that is known by its name at the source. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from mirrorsync.errors import UsageError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, Reference, registry_name
from mirrorsync.spec.model import Destination, Mirror, Spec
from mirrorsync.text import printable


@dataclass(frozen=True)
class Placement:
    """The mirrors of one destination. address: how clients name the destination, if they do so in another way."""

    mirrors: tuple[Mirror, ...]
    destination: Destination
    address: Location | None = None

    def check_pullable(self) -> None:
        """Check that clients can pull from the destination. Raises: UsageError if it is not a registry."""
        location = self.destination.location
        if self.address is None and not location.transport.is_registry:
            raise UsageError(
                f"{location} is not a registry, and clients cannot pull from it",
                remedy="serve it with `mirrorsync serve`, and name the server: --address HOST[:PORT]",
            )

    def place(self, image: Reference) -> Reference | None:
        """Return the reference of an image at the destination, None if no mirror has its repository as a source.

        If several mirrors do, one that wants the tag by its exact name or by its filters goes first. Raises: UsageError
        if its tag is not known and decides between several names.
        """
        covering = self._covering(image)
        if not covering:
            return None
        targets = [self._address(mirror.target(self.destination, source.repository)) for mirror, source in covering]
        names = {str(target) for target in targets if not image.names_one}
        if len(names) > 1:
            raise UsageError(f"it is {_list(names)} at the mirror, and its tag, which decides, is not here")
        return replace(image, location=targets[0], tag=_tag_there(covering[0][0], image))

    def asks_for(self, image: Reference) -> bool:
        """Return whether a mirror asks for an image's tag, as far as its name says; a destination may have others."""
        return any(_names(mirror, image) for mirror, _ in self._covering(image))

    def source(self, image: Reference) -> Location | None:
        """Return the repository that an image is mirrored from, which a lock names; None if no mirror has it."""
        return next((source for _, source in self._covering(image)), None)

    def _covering(self, image: Reference) -> list[tuple[Mirror, Location]]:
        """Return the mirrors that have an image's repository as a source, and its location there."""
        at = image.location
        found = [*self._single.get(at, ()), *((*one, at) for one in self._namespaces if one[1].covers(at))]
        found.sort(key=lambda one: (not _names(one[1], image), one[0]))
        return [(mirror, source) for _, mirror, source in found]

    @cached_property
    def _single(self) -> Mapping[Location, list[tuple[int, Mirror, Location]]]:
        """The mirrors of one repository with their numbers, by its location and by the name that clients know.

        Stores on disk keep the names of registries; which ones one has as a whole, only it knows.
        """
        found: dict[Location, list[tuple[int, Mirror, Location]]] = {}
        for number, mirror in enumerate(self.mirrors):
            if mirror.namespace is None:
                for name in {mirror.source, registry_name(mirror.source) or mirror.source}:
                    found.setdefault(name, []).append((number, mirror, mirror.source))
        return found

    @cached_property
    def _namespaces(self) -> list[tuple[int, Mirror]]:
        return [(number, mirror) for number, mirror in enumerate(self.mirrors) if mirror.namespace is not None]

    def is_placed(self, location: Location) -> bool:
        """Return whether a repository is one of the destination already."""
        base = self.address or self.destination.location
        return location.store == base.store and _is_below(location.repository, base.repository)

    @property
    def has_namespaces(self) -> bool:
        """Whether some mirror has a namespace as its source, whose repositories the spec does not name."""
        return any(mirror.namespace is not None for mirror in self.mirrors)

    def repositories(self, listed: Iterable[str] = ()) -> Iterator[Location]:
        """Yield the repositories at the destination that the mirrors fill, some of them several times.

        listed: those that its store has; without them, those of namespaces are not known.
        """
        names = tuple(listed)
        for mirror in self.mirrors:
            if mirror.namespace is None:
                yield self._address(mirror.target(self.destination, mirror.source.repository))
            else:
                yield from map(self._address, mirror.repositories_at(self.destination, names))

    def _address(self, target: Location) -> Location:
        if self.address is None:
            return target
        rest = target.repository.removeprefix(self.destination.location.repository).lstrip("/")
        whole = "/".join(part for part in (self.address.repository, rest) if part)
        return Location(self.address.store, whole)


def _is_below(repository: str, prefix: str) -> bool:
    return not prefix or f"{repository}/".startswith(f"{prefix}/")


def _tag_there(mirror: Mirror, image: Reference) -> Tag | None:
    """Return the tag of an image at the destination, where an exact one may have another name (`tag:`)."""
    found = (one.tag for one in mirror.selection.exact if image.tag is not None and one.source_tag == image.tag)
    return next(found, image.tag) or image.tag


def _names(mirror: Mirror, image: Reference) -> bool:
    """Return whether a mirror wants an image, as far as its name says: filters that compare tags are not asked."""
    if image.tag is None:
        return True
    if any(image.tag == one.source_tag for one in mirror.selection.exact):
        return True
    return any(image.tag in one.select([image.tag]) for one in mirror.selection.includes)


def placement(spec: Spec, name: str = "", address: Location | None = None) -> Placement:
    """Return the placement at a destination of a spec. name: "" if there is only one.

    address: how clients name the destination, if they do so in another way: that of a server over a layout. Raises:
    UsageError if the destination is unknown, or not named.
    """
    used = {one.name: one for mirror in spec.mirrors for one in mirror.destinations}
    known = {**used, **spec.destinations}
    if name and name not in known:
        raise UsageError(f"{printable(name)!r} is not a destination of the spec", remedy=f"choose one: {_list(known)}")
    if not name and len(used) != 1:
        raise UsageError("the spec has several destinations", remedy=f"choose one: --destination {_list(used)}")
    destination = known[name or next(iter(used))]
    mirrors = tuple(one for one in spec.mirrors if destination in one.destinations)
    return Placement(mirrors, destination, address)


def _list(names: Iterable[str]) -> str:
    return " or ".join(printable(name) for name in sorted(names))
