"""Inspect, list and delete: the verbs on one image or repository instead of a spec, as coroutines.

environment: None = the process's. stop: stops the run, which then raises Interrupted; None = it is not stopped.
References are written with their transport, such as `docker://host/repository:tag` or `oci:DIR:NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mirrorsync.app.reading import read_location, read_platform, read_reference
from mirrorsync.app.session import Run, apply_until_stopped, open_session, query
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag, written
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.model import Plan
from mirrorsync.sync.gather.attached import Attachment
from mirrorsync.sync.resume import remaining
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
from mirrorsync.text import printable

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
    """Return the description of an image, without reading its layers.

    reference: a repository alone means its `latest` and the list of its tags. platform: which image of an index
    (`linux/arm64`, `host`). tags: also list the tags of its repository. Raises: GrammarError, NotFound, UsageError.
    """
    image = read_reference(reference)
    wanted = None if platform is None else read_platform(platform)
    return await query(lambda session: examine(session, image, platform=wanted, tags=tags), environment, stop)


async def read_manifest(
    reference: str | Reference,
    *,
    platform: str | Platform | None = None,
    config: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> bytes:
    """Return the exact bytes of an image's manifest, or of its config.

    platform: which image of an index; None = the index itself, which has no config. Raises: GrammarError, NotFound,
    UsageError.
    """
    image = read_reference(reference)
    wanted = None if platform is None else read_platform(platform)
    return await query(lambda session: _bytes(session, image, wanted, config=config), environment, stop)


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
    """The tags of a repository or store. repositories: each with its tags, in the order in which they are listed.

    unnamed: the picks of images without a name, in a store on disk: `@0`, `@sha256:...`.
    """

    place: Location
    repositories: tuple[Named, ...]
    unnamed: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it is a whole store on disk, whose tags are listed with their repositories."""
        return not self.place.repository

    def name(self, repository: str, tag: Tag) -> str:
        """Return a tag as it is listed: alone, or with its repository in a whole store on disk."""
        return written(repository, tag) if self.whole else tag

    def __iter__(self) -> Iterator[str]:
        """Yield every tag as it is listed."""
        return (self.name(named.repository, tag) for named in self.repositories for tag in named.tags)


async def list_tags(place: str | Location, *, environment: Environment | None = None, stop: Stop | None = None) -> Tags:
    """Return the tags of a repository, or the names of all images in an archive or layout.

    Raises: GrammarError, UsageError if it is one image, RepositoryNotFound, ContentNotFound.
    """
    location = read_location(place)
    listed, unnamed = await query(lambda session: list_names(session, location), environment, stop)
    return Tags(location, tuple(listed), tuple(unnamed))


async def plan_delete(
    reference: str | Reference,
    *,
    all_tags: bool = False,
    look_around: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Plan:
    """Return the plan that deletes one tag, or an image by its digest. Nothing is changed.

    all_tags: delete the image with all of its tags. look_around: find the tags and indexes with the same digest even if
    they do not prevent it. Raises: GrammarError, NotFound, StillUsed, UsageError.
    """
    image = read_reference(reference)
    return await query(
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
    """Delete one tag, or an image by its digest, and nothing more.

    all_tags: as for `plan_delete`. agreed: the plan from `plan_delete` to apply, exactly. Failures are in
    `report.failures`. Raises: as `plan_delete`; StalePlan if the image or its tags have changed since `agreed`.
    """
    image, stop = read_reference(reference), stop or Stop()

    async def prepare(session: Session) -> Plan:
        if agreed is None:
            return await single.plan_delete(session, image, all_tags=all_tags)
        return await remaining(agreed, session)

    async with open_session(environment, stop) as session:
        plan = await stop.interruptible(prepare(session))
        return Run(plan, await apply_until_stopped(plan, session, stop))
