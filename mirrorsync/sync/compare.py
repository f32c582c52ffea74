"""What nodes have, compared with what a mirror has: missing, drifted and unused images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mirrorsync.errors import Denied, MirrorsyncError, RepositoryNotFound, Unauthorized
from mirrorsync.events import Noticed
from mirrorsync.foreign.nodes import Used, merged
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import is_attachment_tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.model import Failure
from mirrorsync.spec.placement import Placement
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

Finding = Literal["present", "missing", "drifted"]


@dataclass(frozen=True, slots=True)
class Compared:
    """An image of nodes. target: its reference at the mirror, None if no mirror of the spec has it.

    digest: what the mirror has, None if it is missing.
    """

    used: Used
    finding: Finding
    target: Reference | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The images of nodes, sorted; and the images of the mirror, in repositories that the spec fills, that no node has.

    failures: images and repositories of the mirror that could not be asked for.
    """

    images: tuple[Compared, ...]
    unused: tuple[Reference, ...]
    failures: tuple[Failure, ...]

    def of(self, finding: Finding) -> list[Compared]:
        """Return the images with a finding."""
        return [one for one in self.images if one.finding == finding]


async def compare(session: Session, used: Iterable[Used], placement: Placement) -> Comparison:
    """Compare what nodes have with what a mirror has: one request for each image, one list for each repository.

    If the spec has namespaces, the repositories of the destination are listed, too.
    """
    images = sorted(merged(list(used)).values(), key=lambda one: str(one.reference))
    targets: dict[Reference, Reference | None] = {}
    failures: list[Failure] = []
    found: dict[Reference, Compared] = {}

    async def ask(number: int) -> None:
        one = images[number]
        try:
            target = targets[one.reference] = _target(one.reference, placement)
            found[one.reference] = await _compared(session, one, target)
        except MirrorsyncError as error:
            failures.append(Failure(str(one.reference), error))

    await for_each(range(len(images)), ask)
    unused = await _unused(session, targets, placement, failures)
    compared = tuple(found[one.reference] for one in images if one.reference in found)
    return Comparison(compared, tuple(unused), tuple(failures))


def _target(image: Reference, placement: Placement) -> Reference | None:
    return image if placement.is_placed(image.location) else placement.place(image)


async def _compared(session: Session, used: Used, target: Reference | None) -> Compared:
    if target is None:
        return Compared(used, "missing")
    with located("destination", target.location, target.asked):
        root = await session.repository(target.location).resolve(target.asked)
    if root is None:
        return Compared(used, "missing", target)
    same = not used.digests or root.digest in used.digests or await _leads_to(session, target, root, used.digests)
    return Compared(used, "present" if same else "drifted", target, root.digest)


async def _leads_to(session: Session, target: Reference, root: Descriptor, digests: frozenset[Digest]) -> bool:
    """Return whether the image of one platform is what a node has: some runtimes keep only its digest."""
    with located("destination", target.location, target.asked):
        manifest = await session.manifest(target.location, root)
    return any(child.digest in digests for child in manifest.children)


async def _listed(session: Session, placement: Placement, failures: list[Failure]) -> list[str]:
    """Return the repositories that the destination's store lists; [] with a notice if it does not list them."""
    address = placement.destination.location.store
    try:
        with located("destination", placement.destination.location):
            return [name async for name in session.store(address).repositories()]
    except (Denied, Unauthorized) as error:
        # Many registries list repositories to administrators only (Harbor), or not at all.
        why = f"{address}: {error.message}: unused tags of namespaces are found only where nodes have images"
        session.announce(Noticed("compare", why))
    except MirrorsyncError as error:
        failures.append(Failure(address, error))
    return []


async def _unused(
    session: Session,
    targets: Mapping[Reference, Reference | None],
    placement: Placement,
    failures: list[Failure],
) -> list[Reference]:
    """Return the tags that no node has, of the repositories that the spec fills, or that nodes have images of."""
    known = {(target.location, target.tag) for target in targets.values() if target is not None}
    listed = await _listed(session, placement, failures) if placement.has_namespaces else []
    locations = sorted({location for location, _ in known} | set(placement.repositories(listed)))
    found: dict[Location, list[Reference]] = {}

    async def list_one(location: Location) -> None:
        try:
            with located("destination", location):
                tags = [tag async for tag in session.repository(location).tags()]
        except RepositoryNotFound:
            return
        except MirrorsyncError as error:
            failures.append(Failure(str(location), error))
            return
        found[location] = [
            Reference(location, tag)
            for tag in sorted(tags)
            if (location, tag) not in known and not is_attachment_tag(tag)
        ]

    await for_each(locations, list_one)
    return [one for location in locations for one in found.get(location, ())]
