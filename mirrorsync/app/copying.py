"""A copy as a spec with one entry: `mirrorsync copy SRC DST` in the terms of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mirrorsync.app.reading import read_reference
from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import familiar_name
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import THE_ONLY_ONE, Tag, ref_type
from mirrorsync.oci.reference import LATEST, Location, Reference, host_and_path
from mirrorsync.plan.policies import Referrers
from mirrorsync.spec.model import Destination, Mirror, Spec
from mirrorsync.spec.selection import Selection
from mirrorsync.text import printable


@dataclass(frozen=True, slots=True)
class Copy:
    """One image and all the references that it gets, all of one store."""

    source: Reference
    targets: tuple[Reference, ...]
    platforms: tuple[Platform, ...] = ()
    referrers: bool = False


def read_copy(
    source: str | Reference,
    destination: str | Reference,
    additional: Sequence[str] = (),
    *,
    platforms: Sequence[Platform] = (),
    referrers: bool = False,
) -> Copy:
    """Read source and destination of a copy. additional: more tags (or `NAME:TAG`) at the destination.

    Raises: GrammarError, UsageError.
    """
    image = read_reference(source).or_latest()
    target = _target(read_reference(destination), image, str(destination))
    if target.tag is None and target.digest is not None:
        if image.digest not in (None, target.digest):
            raise UsageError(f"cannot copy {image} to {target}: the digests differ", remedy="leave out one digest")
        image = Reference(image.location, None, target.digest)
    targets = tuple(dict.fromkeys((target, *(_additional(target, text) for text in additional))))
    return Copy(image, targets, tuple(dict.fromkeys(platforms)), referrers)


def spec_of(copy: Copy) -> Spec:
    """Return the spec of only this copy."""
    destination = Destination("", Location(copy.targets[0].location.store, ""))  # it has no name: there is no file
    by_name: dict[str, list[Selection]] = {}
    for target in copy.targets:
        by_name.setdefault(target.location.repository, []).append(Selection.of(copy.source, target.tag))
    mirrors = tuple(
        Mirror(
            f"/mirrors/{number}",
            copy.source.location,
            _joined(selections),
            (destination,),
            name,
            platforms=copy.platforms,
            referrers=Referrers() if copy.referrers else None,
        )
        for number, (name, selections) in enumerate(by_name.items())
    )
    text = " ".join(map(str, (copy.source, *copy.targets)))
    return Spec(f"copy {text}", Digest.of(text.encode()), mirrors)


def _joined(selections: Sequence[Selection]) -> Selection:
    return Selection(tuple(wanted for selection in selections for wanted in selection.exact))


def _target(target: Reference, source: Reference, written: str) -> Reference:
    """Return the complete target. A missing name is that of the source (in stores on disk), a missing tag `latest`."""
    transport = target.location.transport
    if target.pick != THE_ONLY_ONE:
        if target.pick is not None:
            raise GrammarError(
                f"{printable(written)!r} has a pick where a destination needs a name", remedy="write NAME:TAG instead"
            )
        return target.or_latest()
    if not transport.many:
        return replace(target, tag=LATEST, pick=None)
    name = _inherited(source, by_docker=not transport.keeps_manifests)
    if name is None:
        raise UsageError(
            f"missing name for the image: neither {source} nor {printable(written)} has one",
            remedy=f"write {printable(written)}:NAME:TAG",
        )
    location = Location(target.location.store, transport.canonical(name) if name else "")
    return Reference(location, source.tag, None if source.tag else source.digest)


def _inherited(source: Reference, *, by_docker: bool) -> str | None:
    """Return the repository name that a store on disk takes from the source, None if the source has no name.

    by_docker: whether the store has names as docker writes them, with the host.
    """
    location = source.location
    if source.pick is not None or (by_docker and not location.repository):
        return None
    if by_docker and location.transport.is_registry:
        return familiar_name(location.store, location.repository)
    return location.repository if by_docker or not location.repository else host_and_path(location)[1]


def _additional(target: Reference, text: str) -> Reference:
    """Return an additional target: TAG in the repository of `target`, or NAME:TAG in its store."""
    transport = target.location.transport
    if not transport.many:
        raise UsageError(f"{target.location} cannot have tags", remedy="leave out --additional-tag")
    if transport.is_registry or ref_type(text) is Tag:
        return Reference(target.location, Tag(text))
    within = transport.image(text)
    if within.tag is None:
        raise GrammarError(f"missing tag in {printable(text)!r}", remedy="write TAG or NAME:TAG")
    return Reference(Location(target.location.store, within.repository), within.tag)
