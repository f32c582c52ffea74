"""The images at a location: all of a store, those below a prefix, those of a repository, or one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass

from mirrorsync.errors import ContentNotFound, Denied, MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.model import Failure
from mirrorsync.stores.base import HoldsUnnamed, ListsRoots, Store
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session
from mirrorsync.sync.suggest import absent
from mirrorsync.sync.verify.model import Subject


@dataclass(frozen=True, slots=True)
class Scope:
    """What is verified, or written down, without a spec.

    location: a repository; if there is none of that name, or `below` says so, a prefix of names ("" for all). ref: the
    only image that is meant, None for all images.
    """

    location: Location
    ref: Ref | None = None
    below: bool = False

    def __str__(self) -> str:
        return str(self.location if self.ref is None else Reference.of(self.location, self.ref))


async def subjects_at(session: Session, scope: Scope) -> tuple[list[Subject], list[Failure]]:
    """Return the images at a location, and the failures to list some of its repositories.

    Raises: ContentNotFound, RepositoryNotFound if there are no images; Denied if a registry lists no repositories;
    MirrorsyncError.
    """
    store = session.store(scope.location.store)
    failures: list[Failure] = []
    if isinstance(store, ListsRoots):
        subjects = list(_named(scope, await store.roots()))
        if not subjects and isinstance(scope.ref, Digest):
            return [Subject(scope.location, scope.ref)], failures  # part of an index
    elif scope.ref is not None and scope.ref != THE_ONLY_ONE:
        return [Subject(scope.location, scope.ref)], failures
    else:
        subjects = await _listed(session, scope, store, failures)
    if not subjects and not failures:
        raise await _nothing(session, scope)
    return subjects, failures


def _named(scope: Scope, roots: Mapping[tuple[str, Ref], Descriptor]) -> Iterator[Subject]:
    """Yield the images of a store that names their roots. A name without a colon can be a tag or a repository."""
    location, ref = scope.location, scope.ref
    exact = (location.repository, ref) in roots
    prefix = ref if isinstance(ref, Tag) and not location.repository else location.repository
    whole = not prefix and (ref is None or ref == THE_ONLY_ONE)
    within = whole or (not exact and (ref is None or prefix == ref))
    for (repository, name), root in sorted(roots.items()):
        is_inside = within and (whole or repository == prefix or repository.startswith(f"{prefix}/"))
        if is_inside or (exact and (repository, name) == (location.repository, ref)):
            yield Subject(Location(location.store, repository), name, root)


async def _listed(session: Session, scope: Scope, store: Store, failures: list[Failure]) -> list[Subject]:
    """List the images of a repository, or of all repositories below a prefix."""
    location = scope.location
    if location.repository and not scope.below:
        try:
            return [subject async for subject in _tags(session, location)]
        except RepositoryNotFound as error:
            if not location.transport.is_registry:
                raise
            no_repository = error
    else:
        no_repository = None
    names = [name async for name in _repositories(store, location, no_repository)]
    found: dict[str, list[Subject]] = {}

    async def list_one(name: str) -> None:
        one = Location(location.store, name)
        try:
            found[name] = [subject async for subject in _tags(session, one)]
        except RepositoryNotFound:
            found[name] = []  # a registry lists repositories that have lost their last tag
        except MirrorsyncError as error:
            failures.append(Failure(str(one), error))

    await for_each(names, list_one)
    subjects = [subject for name in names for subject in found.get(name, ())]
    if isinstance(store, HoldsUnnamed) and not location.repository:
        subjects += [Subject(Location(location.store, ""), ref) for ref, _ in await store.unnamed()]
    elif "" in names and not subjects:
        subjects = [Subject(Location(location.store, ""), THE_ONLY_ONE)]  # a dir: has one image, without a name
    return subjects


async def _repositories(
    store: Store, location: Location, no_repository: RepositoryNotFound | None
) -> AsyncIterator[str]:
    """Yield the names of the repositories below a prefix. Raises: Denied if the registry does not list them."""
    prefix = f"{location.repository}/" if location.repository else ""
    try:
        async for name in store.repositories():
            if name.startswith(prefix) or (name == location.repository and no_repository is None):
                yield name
    except Denied as error:
        if no_repository is not None:
            raise no_repository.with_(
                message=f"{no_repository.message}, and does not list those below this name",
                remedy=f"name one repository: {location}/NAME",
            ) from error
        raise error.with_(remedy=f"name one repository: {location}/NAME") from error.__cause__


async def _tags(session: Session, location: Location) -> AsyncIterator[Subject]:
    async for tag in session.repository(location).tags():
        yield Subject(location, tag)


async def _nothing(session: Session, scope: Scope) -> MirrorsyncError:
    location, ref = scope.location, scope.ref
    if ref is not None and not isinstance(ref, Pick):
        return await absent(session, Reference.of(location, ref))
    if location.repository:
        return RepositoryNotFound("no repository of this name, or below it, has images", place=location.at())
    remedy = "check the path" if location.transport.has_path else "check the name"
    return ContentNotFound(f"there are no images in {location.store}", remedy=remedy)
