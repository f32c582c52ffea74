"""List the tags of a repository, or of all repositories of a store on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mirrorsync.errors import ContentNotFound, RepositoryNotFound
from mirrorsync.oci.ref import Tag, written
from mirrorsync.oci.reference import Location, Where
from mirrorsync.stores.base import HoldsUnnamed
from mirrorsync.sync.session import Session


class Named(NamedTuple):
    """The tags of one repository, in the order in which it lists them."""

    repository: str
    tags: Sequence[Tag]


async def list_names(session: Session, location: Location) -> tuple[list[Named], list[str]]:
    """Return the tags of a repository, or of every repository of a store on disk, and its images without a name.

    Raises: RepositoryNotFound if there is no such repository, ContentNotFound if the store has no images.
    """
    store = session.store(location.store)
    whole = not location.repository
    names = [name async for name in store.repositories()] if whole else [location.repository]
    listed = []
    for name in names:
        try:
            tags = [tag async for tag in store.repository(name).tags()]
        except RepositoryNotFound:
            if not whole:
                raise
            tags = []
        listed.append(Named(name, tags))
    without = await store.unnamed() if whole and isinstance(store, HoldsUnnamed) else ()
    unnamed = [written("", one.ref) for one in without]
    if whole and not names and not unnamed:
        raise ContentNotFound("the store has no images", place=Where(location.store), remedy="check its path")
    return listed, unnamed
