"""Inspect, list and delete: the verbs that look at one place instead of a spec, as coroutines.

environment: None = the process's. stop: tells the run to stop, None = it is not told; Interrupted is raised then.
References are written with their transport, such as `docker://host/repository:tag` or `oci:DIR:NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mirrorsync.app.reading import read_place, read_platform, read_reference
from mirrorsync.app.session import Run, asked, carried_out, opened
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError, printable
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag, written
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.model import Plan
from mirrorsync.sync.gather.attached import Attachment
from mirrorsync.sync.saved import check_fresh
from mirrorsync.sync.session import Session
from mirrorsync.sync.single import delete as single
from mirrorsync.sync.single.delete import check_reference
from mirrorsync.sync.single.inspect import (
    Examination,
    Inspected,
    Member,
    examine,
    find,
    is_image,
    members_of,
    read_config,
    select,
)
from mirrorsync.sync.single.list_tags import Named, list_names

__all__ = [
    "Attachment",
    "Examination",
    "Inspected",
    "Member",
    "Named",
    "Run",
    "Tags",
    "check_reference",
    "delete_image",
    "inspect_image",
    "is_image",
    "list_tags",
    "plan_delete",
    "read_manifest",
]


async def inspect_image(
    reference: str | Reference,
    *,
    platform: str | Platform | None = None,
    tags: bool = True,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Examination:
    """Look into an image where it is; no layer is fetched.

    reference: a repository alone is its `latest` and its tags. platform: which image of an index (`linux/arm64`,
    `host`). tags: also list those of its repository. Raises: GrammarError, NotFound, UsageError.
    """
    image = read_reference(reference)
    wanted = None if platform is None else read_platform(platform)
    return await asked(lambda session: examine(session, image, platform=wanted, tags=tags), environment, stop)


async def read_manifest(
    reference: str | Reference,
    *,
    platform: str | Platform | None = None,
    config: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> bytes:
    """Return the bytes of an image's manifest as they are, or of its config.

    platform: which image of an index; without one it is the index itself, which has no config. Raises: GrammarError,
    NotFound, UsageError.
    """
    image = read_reference(reference)
    wanted = None if platform is None else read_platform(platform)
    return await asked(lambda session: _bytes(session, image, wanted, config=config), environment, stop)


async def _bytes(session: Session, reference: Reference, platform: Platform | None, *, config: bool) -> bytes:
    root = await find(session, reference)
    if not config and platform is None:
        return root.raw
    image = await select(session, reference, root, platform)
    if image is None:
        raise UsageError(
            f"{reference} is an index of several images", remedy=f"choose one: --platform {_platforms(root)}"
        )
    return await read_config(session, reference.location, image) if config else image.raw


def _platforms(root: Manifest) -> str:
    names = [str(member.content.platform) for member in members_of(root) if member.kind == "image"]
    return printable(", or ".join(dict.fromkeys(names)))


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a place. repositories: each with its tags, in the order in which they are listed.

    unnamed: the images of a place on disk that have no name, as they are picked: `@0`, `@sha256:...`.
    """

    place: Location
    repositories: tuple[Named, ...]
    unnamed: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it is a whole place on disk, whose tags are told with their repositories."""
        return not self.place.repository

    def name(self, repository: str, tag: Tag) -> str:
        """Return a tag as it is told: alone, or with its repository in a whole place on disk."""
        return written(repository, tag) if self.whole else tag

    def __iter__(self) -> Iterator[str]:
        """Yield every tag as it is told."""
        return (self.name(named.repository, tag) for named in self.repositories for tag in named.tags)


async def list_tags(place: str | Location, *, environment: Environment | None = None, stop: Stop | None = None) -> Tags:
    """Return the tags of a repository, or the names of all images of an archive or layout.

    Raises: GrammarError, UsageError when it is one image, RepositoryNotFound, ContentNotFound.
    """
    location = read_place(place)
    listed, unnamed = await asked(lambda session: list_names(session, location), environment, stop)
    return Tags(location, tuple(listed), tuple(unnamed))


async def plan_delete(
    reference: str | Reference,
    *,
    all_tags: bool = False,
    look_around: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Plan:
    """Return the plan that deletes an image: a tag alone, or by its digest. Nothing is changed.

    all_tags: delete the image with every tag that it has. look_around: find out what shares its digest even if that
    does not matter. Raises: GrammarError, NotFound, StillUsed, UsageError.
    """
    image = read_reference(reference)
    return await asked(
        lambda session: single.plan_delete(session, image, all_tags=all_tags, look_around=look_around),
        environment,
        stop,
    )


async def delete_image(
    reference: str | Reference,
    *,
    all_tags: bool = False,
    agreed: Plan | None = None,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Run:
    """Delete an image: a tag alone, or by its digest; never more than that says.

    all_tags: as for `plan_delete`. agreed: what `plan_delete` returned before; nothing else is done. What failed is in
    `report.failures`. Raises: as `plan_delete`; StalePlan when it is not as `agreed` any more.
    """
    image, stop = read_reference(reference), stop or Stop()

    async def ready(session: Session) -> Plan:
        if agreed is None:
            return await single.plan_delete(session, image, all_tags=all_tags)
        await check_fresh(agreed, session)
        return agreed

    async with opened(environment, stop) as session:
        plan = await stop.unless(ready(session))
        return Run(plan, await carried_out(plan, session, stop))
