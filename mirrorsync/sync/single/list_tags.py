"""The names of a place: the tags of a repository, or of all of them where several stand in one file or directory."""

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


async def list_names(session: Session, place: Location) -> tuple[list[Named], list[str]]:
    """Return the tags of a repository, or of every repository of a place on disk, and its images without a name.

    Raises: RepositoryNotFound when there is no such repository, ContentNotFound when there is no such file.
    """
    store = session.store(place.store)
    whole = not place.repository
    names = [name async for name in store.repositories()] if whole else [place.repository]
    listed = []
    for name in names:
        try:
            tags = [tag async for tag in store.repository(name).tags()]
        except RepositoryNotFound:
            if not whole:
                raise
            tags = []
        listed.append(Named(name, tags))
    unnamed = [written("", ref) for ref in await store.unnamed()] if whole and isinstance(store, HoldsUnnamed) else []
    if whole and not names and not unnamed:
        raise ContentNotFound("there is no image in this place", place=Where(place.store), remedy="check its path")
    return listed, unnamed
