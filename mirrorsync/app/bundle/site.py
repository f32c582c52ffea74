"""The files of the site: made with a bundle, read from one, and the policies that are remembered of them.

environment: None = the process's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.sending import Sender
from mirrorsync.app.memory import RunMemory
from mirrorsync.app.outputs import write_output
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.bundle.encoding import canonical
from mirrorsync.bundle.model import Bundle, Member
from mirrorsync.documents.state import state_document
from mirrorsync.environment import Environment
from mirrorsync.errors import GrammarError, Malformed, MirrorsyncError, Mismatch, NotFound
from mirrorsync.events import Noticed
from mirrorsync.files.disk import make_directory, translated
from mirrorsync.oci.reference import Location, parse_destination
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import STANDARD_INPUT, Spec
from mirrorsync.state import Applied, AppliedBundles, Remembered, SitePolicy
from mirrorsync.stores.bundle import Found, find_bundle
from mirrorsync.sync.bundle.site import (
    FIRST_SEEN,
    GENERATION,
    LOCK,
    MAX_BYTES,
    TRUST,
    carried,
    lock_file,
    read_trust,
    trust_file,
)
from mirrorsync.sync.verify.scope import Scope
from mirrorsync.sync.verify.travelled import BundlePolicies, Travelled

_SUBJECT: Final = "bundle"


def make_site(
    plan: Plan, spec: Spec, destination: Location, bundle: tuple[str, int], memory: RunMemory
) -> dict[str, bytes]:
    """Return the files of the site for a bundle that is made for a plan, by name; blocking.

    bundle: its name and number. Raises: StorageError, GrammarError if the key of a policy cannot be read.
    """
    prefix = f"{destination.repository}/" if destination.repository else ""
    images = carried(plan.changes, prefix)
    name, sequence = bundle
    generation = memory.last_generation()
    number = {"number": generation.number, "created": generation.created} if generation is not None else None
    seen = Remembered(memory.seen_before({one.change.whole or one.digest for one in images}))
    base = "" if spec.source == STANDARD_INPUT else str(absolute(spec.source).parent)
    return {
        LOCK: lock_file(images, base),
        TRUST: trust_file(images, spec.mirrors),
        FIRST_SEEN: canonical(state_document(f"{name} (bundle {sequence})", seen)),
        GENERATION: canonical({"name": name, "sequence": sequence, "generation": number}),
    }


def site_again(sender: Sender, bundle: Bundle, path: Path) -> Mapping[str, bytes]:
    """Return the files of the site of a bundle that was made before: as remembered, or of its first part.

    path: of its document, or of a part. Raises: NotFound, StorageError, Mismatch.
    """
    remembered = sender.site(bundle.sequence) if sender.chain == bundle.chain else {}
    if all(_is_same(member, remembered.get(member.name)) for member in bundle.site):
        return {member.name: remembered[member.name] for member in bundle.site}
    return read_site(find_bundle(path))


def _is_same(member: Member, data: bytes | None) -> bool:
    return data is not None and len(data) == member.size and member.digest.matches(data)


def read_site(found: Found) -> dict[str, bytes]:
    """Return the files of the site that a bundle has, verified by digest; blocking.

    Raises: NotFound if its first part is not here, StorageError, Mismatch.
    """
    return {member.name: _read(found, member) for member in found.bundle.site}


def _read(found: Found, member: Member) -> bytes:
    part = found.parts.get(1)
    if part is None:
        raise NotFound(
            f"{member.name} is in {found.bundle.parts[0].name}, which is not here", remedy="add the first part"
        )
    if member.size > MAX_BYTES:
        raise Malformed(f"{member.name} has {member.size} bytes, more than a file of the site may have")
    data = b"".join(part.chunks(member.name))
    if not _is_same(member, data):
        raise Mismatch(f"{part.path.name}: {member.name} does not match its digest {member.digest}")
    return data


def save_site(path: str | os.PathLike[str], found: Found) -> tuple[str, ...]:
    """Write the files of the site into a directory, and return their paths. Raises: as `read_site`."""
    directory = absolute(path)
    files = read_site(found)
    with translated(f"writing {directory}"):
        make_directory(directory)
    written = {str(directory / name.removeprefix("site/")): data for name, data in files.items()}
    for file, data in written.items():
        write_output(file, [data.decode("utf-8", "replace")])
    return tuple(written)


def policy_of(found: Found, environment: Environment) -> SitePolicy | None:
    """Return the policies that a bundle brings, None if its first part is not here, or they cannot be read: a notice.

    Blocking.
    """
    bundle = found.bundle
    member = next((one for one in bundle.site if one.name == TRUST), None)
    if member is None or 1 not in found.parts:
        return None
    try:
        data = _read(found, member)
        read_trust(data, member.name)
    except MirrorsyncError as error:
        message = f"its policies are not taken over, and those of before stay: {error.message}"
        environment.observer(Noticed(bundle.stem, message))
        return None
    images = {image.name: image.content.digest for image in bundle.images}
    return SitePolicy(bundle.stem, bundle.sequence, bundle.created, images, data.decode())


def policies_at(scope: Scope, *, environment: Environment | None = None) -> Travelled | None:
    """Return the policies that bundles have brought to a location, None without any. Raises: StorageError."""
    given = environment or process_environment()
    memory = AppliedBundles(given.state_directory, lambda message: given.observer(Noticed(_SUBJECT, message)))
    found = [
        policies
        for destination, applied in memory.every()
        if (policies := _policies(destination, applied, given)) and _meets(policies.destination, scope.location)
    ]
    found.sort(key=lambda one: (one.created, one.bundle), reverse=True)
    return Travelled(found) if any(one.policies for one in found) else None


def _policies(destination: str, applied: Applied, environment: Environment) -> BundlePolicies | None:
    policy = applied.policy
    if policy is None:
        return None
    try:
        location = parse_destination(destination, str(absolute(".")))
        read = read_trust(policy.text.encode(), policy.bundle)
    except (GrammarError, Malformed) as error:
        environment.observer(Noticed(policy.bundle, f"its policies cannot be read: {error.message}"))
        return None
    return BundlePolicies(policy.bundle, policy.created, location, policy.images, read)


def _meets(destination: Location, location: Location) -> bool:
    """Return whether some repositories are of both."""
    one, other = destination.repository, location.repository
    same = not one or not other or f"{other}/".startswith(f"{one}/") or f"{one}/".startswith(f"{other}/")
    return destination.store == location.store and same
