"""A spec whose images are those of a lock: the tags that its mirrors want of the lock, each with its digest. Pure.

No tag is listed and no filter is applied to what a source has now: filters choose from the tags of the lock. Policies
about time and change do not apply, since people have decided on the lock.
"""

from __future__ import annotations

import posixpath
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.policies import POLICIES
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.model import STANDARD_INPUT, Lacking, Mirror, Spec
from mirrorsync.spec.selection import Selection, Wanted

# Decided when the lock was made, or by it.
_OVERRULED: Final = (POLICIES["min_age"], POLICIES["on_change"])
_DEFAULT_SPEC: Final = "mirror.yaml"


def locked(spec: Spec, lock: Lock) -> Spec:
    """Return `spec` with exactly the images of `lock`.

    An image that a mirror wants and the lock lacks is in `lacking`. An image of the lock that no mirror wants any more
    is left out. A mirror of a whole store becomes a mirror for each of its repositories, under the same pointer.
    """
    pins: defaultdict[Location, dict[Ref, Digest]] = defaultdict(dict)
    for location, ref in lock:
        pins[location][ref] = lock.images[location, ref]
    found = [_locked(mirror, pins) for mirror in spec.mirrors]
    return replace(
        spec,
        mirrors=tuple(mirror for one in found for mirror in one.mirrors),
        lock=lock,
        lacking=tuple(lacking for one in found for lacking in one.lacking),
    )


@dataclass(frozen=True, slots=True)
class _Locked:
    mirrors: tuple[Mirror, ...]
    lacking: tuple[Lacking, ...]


def _locked(mirror: Mirror, pins: Mapping[Location, Mapping[Ref, Digest]]) -> _Locked:
    sources = [mirror.source]
    if mirror.namespace is not None:
        sources = [location for location in pins if mirror.covers(location)]
    mirrors, lacking = [], []
    for source in sources:
        known = pins.get(source, {})
        wanted = list(_wanted(mirror.selection, known))
        lacking += [Lacking(mirror, source, one.ref) for one in wanted if one.ref not in known]
        mirrors.append(_of(mirror, source, tuple(_pinned(one, known[one.ref]) for one in wanted if one.ref in known)))
    if not mirrors:  # nothing of this store is in the lock
        mirrors = [replace(_of(mirror, mirror.source, ()), destinations=())]
    wants_some = mirror.selection.lists and mirror.min_tags
    if wants_some and not lacking and not any(one.selection.exact for one in mirrors):
        lacking.append(Lacking(mirror, mirror.source, None))
    return _Locked(tuple(mirrors), tuple(lacking))


def _wanted(selection: Selection, known: Mapping[Ref, Digest]) -> Iterator[Wanted]:
    """Yield the images that filters choose from the tags of the lock. How old they are was asked when it was made."""
    yield from selection.ageless.choose([ref for ref in known if isinstance(ref, Tag)])


def _pinned(wanted: Wanted, digest: Digest) -> Wanted:
    return Wanted(wanted.tag, digest, wanted.source_tag)


def _of(mirror: Mirror, source: Location, wanted: tuple[Wanted, ...]) -> Mirror:
    policies = tuple(policy for policy in mirror.policies if not isinstance(policy, _OVERRULED))
    return replace(mirror, source=source, selection=Selection(wanted), policies=policies, namespace=None, locked=True)


def update_command(spec: Spec, source: Location) -> str:
    """Return the command that updates the lock of a spec for one source."""
    name = posixpath.basename(spec.source)
    words = [] if name == _DEFAULT_SPEC else ["-" if spec.source == STANDARD_INPUT else name]
    return shlex.join(["mirrorsync", "lock", "--update", str(source), *words])


def lacking_reference(lacking: Lacking) -> Reference:
    """Return the image at its source that a lock lacks; the repository, if its tags are not known."""
    return Reference(lacking.source) if lacking.ref is None else Reference.of(lacking.source, lacking.ref)
