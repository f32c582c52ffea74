"""Check that a document agrees with itself: sorted, without duplicates, and every object has exactly its members."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mirrorsync.bundle.encoding import tree_digest
from mirrorsync.bundle.layout import body_bytes
from mirrorsync.bundle.model import (
    MAX_PARTS,
    Assumed,
    Bundle,
    Delta,
    Image,
    Member,
    Names,
    Object,
    Part,
    Pieces,
    Whole,
    members_of,
)
from mirrorsync.checked_json import Damaged, inside
from mirrorsync.oci.digest import Digest

_SITE: Final = re.compile(r"site/[a-z0-9][a-z0-9._-]{0,63}")
MAX_SITE_BYTES: Final = 64 * 1024 * 1024
# Of images in the index.json of all parts together: 100,000 images, each in several parts, are far below.
_MAX_NAMES: Final = 10_000_000


def check(bundle: Bundle) -> None:
    """Check a document. Raises: Damaged, with the path of the first value that is wrong."""
    _check_order(bundle)
    with inside("site"):
        for number, member in enumerate(bundle.site):
            if _SITE.fullmatch(member.name) is None or member.size > MAX_SITE_BYTES:
                raise Damaged("not a small file of the site", number)
    known: dict[Digest, Object | Assumed] = {one.digest: one for one in bundle.assumes}
    for number, one in enumerate(bundle.objects):
        if one.digest in known:
            raise Damaged("is assumed at the far side, too", "objects", number)
    known |= bundle.by_digest
    for number, one in enumerate(bundle.objects):
        with inside("objects"), inside(number):
            _check_object(one, known, len(bundle.parts))
    for number, image in enumerate(bundle.images):
        with inside("images"), inside(number):
            _check_image(image, known)
    roots = Counter(image.content.digest for image in bundle.images)
    if (
        sum(len(one.form.parts) * roots[one.digest] for one in bundle.objects if isinstance(one.form, Whole))
        > _MAX_NAMES
    ):
        raise Damaged("too many images in them", "parts")
    _check_parts(bundle)


def _check_order(bundle: Bundle) -> None:
    _sorted("images", [image_order(image) for image in bundle.images])
    _sorted("objects", [one.digest for one in bundle.objects])
    _sorted("assumes", [(one.sent, one.digest) for one in bundle.assumes])
    _sorted("site", [member.name for member in bundle.site])
    _unique("assumes", [one.digest for one in bundle.assumes])
    _unique("images", [(image.repository, image.tag) for image in bundle.images if image.tag])
    _check_repositories("objects", bundle.objects)
    _check_repositories("assumes", bundle.assumes)


def _check_repositories(key: str, ones: Sequence[Object | Assumed]) -> None:
    for number, one in enumerate(ones):
        with inside(key), inside(number):
            if not one.repositories:
                raise Damaged("empty", "repositories")
            _sorted("repositories", one.repositories)


def image_order(image: Image) -> tuple[str, str, str]:
    """Return the key by which images are sorted: the repository, the tag ("" without one), the digest."""
    return image.repository, image.tag or "", image.content.digest


def _sorted(key: str, values: Sequence[Any]) -> None:
    for number in range(1, len(values)):
        if not values[number - 1] < values[number]:
            raise Damaged("not sorted, or listed twice", key, number)


def _unique(key: str, values: Iterable[Any]) -> None:
    seen = set()
    for number, value in enumerate(values):
        if value in seen:
            raise Damaged("is there twice", key, number)
        seen.add(value)


def _check_object(one: Object, known: Mapping[Digest, Object | Assumed], parts: int) -> None:
    _unique("needs", one.needs)
    for number, digest in enumerate(one.needs):
        if digest not in known or digest == one.digest:
            raise Damaged("is neither an object of the bundle nor assumed", "needs", number)
    form = one.form
    if isinstance(form, Whole):
        _check_numbers("parts", form.parts, parts)
        if len(form.parts) > 1 and not one.manifest:
            raise Damaged("a blob is in one part", "parts")
        return
    if one.manifest:
        raise Damaged("a manifest is carried whole")
    if isinstance(form, Pieces):
        _check_numbers("pieces", [piece.part for piece in form.pieces], parts)
        if len(form.pieces) < 2 or sum(piece.size for piece in form.pieces) != one.content.size:
            raise Damaged("are not all of the blob", "pieces")
        return
    with inside("delta"):
        _check_numbers("part", [form.part], parts)
        base = known.get(form.base)
        if base is None or base.manifest or (isinstance(base, Object) and isinstance(base.form, Delta)):
            raise Damaged("not a blob that is carried whole, or assumed", "base")
        if form.base == one.digest:
            raise Damaged("is the blob itself", "base")


def _check_numbers(key: str, numbers: Sequence[int], parts: int) -> None:
    if not numbers:
        raise Damaged("empty", key)
    _sorted(key, numbers)
    if numbers[-1] > parts:
        raise Damaged(f"there are only {parts} parts", key)


def _check_image(image: Image, known: Mapping[Digest, Object | Assumed]) -> None:
    root = known.get(image.content.digest)
    if root is None or not root.manifest:
        raise Damaged("is neither a manifest of the bundle nor one that is assumed", "digest")
    if root.content != image.content:
        raise Damaged("size or media type differ from those of its manifest")
    if image.repository not in root.repositories:
        raise Damaged("its manifest is not for this repository", "repository")


def _check_parts(bundle: Bundle) -> None:
    if not 0 < len(bundle.parts) <= MAX_PARTS:
        raise Damaged(f"not 1 to {MAX_PARTS} parts", "parts")
    names = Names(bundle.stem, len(bundle.parts))
    expected = _expected(bundle)
    for number, part in enumerate(bundle.parts, 1):
        with inside("parts"), inside(number - 1):
            if part.name != names.part(number):
                raise Damaged(f"not {names.part(number)}", "name")
            _check_members(part, bundle.site if number == 1 else (), expected[number - 1])
            if part.digest != tree_digest(part.members):
                raise Damaged("not the digest of the members", "digest")
            if part.body != body_bytes(bundle, number):
                raise Damaged("not the size of index.json and the members", "body")


def _expected(bundle: Bundle) -> list[dict[str, tuple[Member, bool]]]:
    """Return the members that the objects have in each part, by name, and whether each is a manifest."""
    found: list[dict[str, tuple[Member, bool]]] = [{} for _ in bundle.parts]
    for one in bundle.objects:
        for part, member in members_of(one).items():
            found[part - 1][member.name] = (member, one.manifest)
    return found


def _check_members(part: Part, site: tuple[Member, ...], expected: Mapping[str, tuple[Member, bool]]) -> None:
    """Check that a part has the site's files, then manifests sorted by name, then content, and nothing else."""
    if part.members[: len(site)] != site:
        raise Damaged("does not begin with the files of the site", "members")
    seen: set[str] = set()
    manifests: list[str] = []
    for number, member in enumerate(part.members[len(site) :], len(site)):
        wanted, manifest = expected.get(member.name, (None, False))
        if member != wanted or member.name in seen:
            raise Damaged("not a member of an object, or listed twice", "members", number)
        seen.add(member.name)
        if manifest:
            if len(manifests) != len(seen) - 1:
                raise Damaged("a manifest after other content", "members", number)
            manifests.append(member.name)
    _sorted("members", manifests)
    for missing in _missing(expected, seen):
        raise Damaged(f"{missing} is missing", "members")


def _missing(expected: Iterable[str], seen: set[str]) -> Iterator[str]:
    return (name for name in expected if name not in seen)
