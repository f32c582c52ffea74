"""Which images the far side lacks and cannot get any more: their sources have dropped them."""

from __future__ import annotations

from collections.abc import Iterable

from mirrorsync.bundle.model import Image
from mirrorsync.errors import ContentNotFound, MirrorsyncError
from mirrorsync.oci.reference import Location, parse_repository
from mirrorsync.plan.model import Failure, Plan
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


async def gone_images(
    lacking: Iterable[Image], plan: Plan, destination: Location, session: Session
) -> tuple[tuple[Failure, ...], tuple[Image, ...]]:
    """Return the lacking images that a plan does not bring: those that are gone, and those that are not wanted now.

    destination: with the prefix of its names. Images that failed in the plan are left out.
    """
    prefix = f"{destination.repository}/" if destination.repository else ""
    wanted = {(one.target.repository.removeprefix(prefix), one.tag or one.digest) for one in plan.changes}
    failed = {(str(one.source), one.ref) for one in plan.failures}
    left = [
        image
        for image in lacking
        if (image.repository, image.ref) not in wanted
        and failed.isdisjoint({(image.source, image.ref), (image.source, None)})
    ]
    gone: list[Failure] = []
    unwanted: list[Image] = []

    async def ask(image: Image) -> None:
        source = parse_repository(image.source)
        target = Location(destination.store, f"{prefix}{image.repository}")
        try:
            with located("source", source):
                if await session.repository(source).resolve(image.ref) is not None:
                    unwanted.append(image)
                    return
                raise ContentNotFound("the far side lacks it, and its source does not have it any more")
        except MirrorsyncError as error:
            gone.append(Failure(image.name, error, source=source, ref=image.ref, targets=(target,)))

    await for_each(left, ask)
    return tuple(gone), tuple(unwanted)
