"""The files of the site, which travel with a bundle: the lock of its images, and the policies with their keys."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mirrorsync.bundle.encoding import canonical
from mirrorsync.bundle.model import Member
from mirrorsync.checked_json import Damaged, Read, items, members, some_text, text
from mirrorsync.errors import GrammarError, Malformed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.json_weight import json_weight
from mirrorsync.oci.ref import written
from mirrorsync.plan.model import Change, State
from mirrorsync.plan.policies import Exemption, Identities, KeyFiles, SignedBy, Verify
from mirrorsync.spec.lock import Lock, Name, lock_text
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.signers import with_texts
from mirrorsync.sync.verify.travelled import Exempted, ImagePolicy

LOCK: Final = "site/mirror.lock"
TRUST: Final = "site/trust.json"
FIRST_SEEN: Final = "site/first-seen.json"
GENERATION: Final = "site/generation.json"
MAX_BYTES: Final = 64 * 1024 * 1024  # of one file
_MAX_WEIGHT: Final = 512 * 1024 * 1024  # in memory, as json_weight estimates it
_FORMAT: Final = "mirrorsync.trust"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Carried:
    """An image that the far side has after the import. name: there, without the destination's prefix."""

    name: str
    digest: Digest
    change: Change


def carried(changes: Iterable[Change], prefix: str) -> list[Carried]:
    """Return the images of a bundle that is made for a plan. prefix: of the destination's repositories, with its /."""
    found = []
    for change in changes:
        image = change.after if change.state.changes or change.state == State.UNCHANGED else change.before
        if image is not None and change.state != State.DELETED:
            name = written(change.target.repository.removeprefix(prefix), change.tag or image.digest)
            found.append(Carried(name, image.digest, change))
    return found


def lock_file(images: Iterable[Carried], base: str) -> bytes:
    """Return the lock with exactly these images, by their names at the sources. base: the directory of the spec.

    Of an image of which platforms were chosen it has the digest of the whole index, as `mirrorsync lock` writes it;
    without referrers, and images that a policy keeps and whose index is not known any more.
    """
    found: dict[Name, Digest] = {}
    for one in images:
        origin = one.change.origin
        if origin is None or origin.subject is not None or one.change.backup_of is not None:
            continue
        is_new = one.change.after is not None and one.change.after.digest == one.digest
        if origin.platforms and not (is_new and one.change.whole is not None) and not origin.sparse:
            continue
        digest = one.change.whole if is_new and one.change.whole is not None else one.digest
        found[origin.location, origin.followed or digest] = digest
    return "".join(lock_text(Lock(found), "spec", base)).encode()


def trust_file(images: Iterable[Carried], mirrors: Iterable[Mirror]) -> bytes:
    """Return the policies of mirrors that say what has to have signed some images, with keys and trusted roots.

    Blocking: their files are read. No setting of a registry is in it, and no private key. Raises: StorageError,
    GrammarError if a key cannot be read.
    """
    asking = {mirror.pointer: policy for mirror in mirrors for policy in mirror.policies if isinstance(policy, Verify)}
    grouped: defaultdict[tuple[Verify, tuple[str, ...]], list[Carried]] = defaultdict(list)
    for one in images:
        change = one.change
        policy, origin = asking.get(change.mirror), change.origin
        if policy is None or origin is None or origin.subject is not None or policy.is_attached(change.tag):
            continue
        narrowed = () if origin.sparse else tuple(map(str, origin.platforms))
        grouped[policy, narrowed].append(one)
    policies = [_policy_json(policy, platforms, ones) for (policy, platforms), ones in grouped.items()]
    policies.sort(key=lambda one: str(one["images"][0]))
    return canonical({"format": _FORMAT, "version": _VERSION, "policies": policies})


def _policy_json(policy: Verify, platforms: tuple[str, ...], images: list[Carried]) -> dict[str, Any]:
    return {
        "dry_run": policy.dry_run,
        "except": [
            {
                "image": one.image,
                "images": sorted(image.name for image in images if one.covers(_names(image))),
                "reason": one.reason,
                "until": one.until.isoformat(),
            }
            for one in policy.exemptions
        ],
        "images": sorted(image.name for image in images),
        "platforms": list(platforms),
        "signed_by": _signers_json(with_texts(policy.signed_by)),
    }


def _names(image: Carried) -> tuple[str, ...]:
    origin = image.change.origin
    return origin.names(image.change.whole or image.digest) if origin is not None else ()


def _signers_json(signed_by: SignedBy) -> dict[str, Any]:
    if isinstance(signed_by, Identities):
        root = {"name": signed_by.trusted_root, "text": signed_by.text}
        return {"identities": list(signed_by.patterns), "issuer": signed_by.issuer, "trusted_root": root}
    pairs = zip(signed_by.files, signed_by.texts, strict=True)
    return {"keys": [{"name": name, "pem": pem} for name, pem in pairs]}


def read_trust(data: bytes, what: str) -> tuple[ImagePolicy, ...]:
    """Read the policies that travelled with a bundle. what: the file, for messages. Raises: Malformed."""
    if json_weight(data) > _MAX_WEIGHT:
        raise Malformed(f"{what} is {len(data)} bytes, more than is read")
    try:
        read = members(json.loads(data), {"format": _is(_FORMAT), "version": _is(_VERSION), "policies": _policies})
    except Damaged as error:
        raise Malformed(f"{what} at {error.pointer}: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is not JSON") from error
    found: tuple[ImagePolicy, ...] = read["policies"]
    return found


def _is(expected: str | int) -> Read[str | int]:
    def read(value: Any) -> str | int:
        if type(value) is not type(expected) or value != expected:
            raise Damaged(f"not {expected}")
        return expected

    return read


def _policies(value: Any) -> tuple[ImagePolicy, ...]:
    return items(value, _policy)


def _policy(value: Any) -> ImagePolicy:
    read = members(
        value,
        {
            "dry_run": _truth,
            "except": lambda found: items(found, _exempted),
            "images": lambda found: frozenset(items(found, some_text)),
            "platforms": lambda found: items(found, some_text),
            "signed_by": _signed_by,
        },
    )
    exempted: tuple[Exempted, ...] = read["except"]
    policy = Verify(read["signed_by"], read["dry_run"], tuple(one.exemption for one in exempted))
    return ImagePolicy(policy, read["images"], exempted, bool(read["platforms"]))


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise Damaged("not true or false")
    return value


def _exempted(value: Any) -> Exempted:
    images = {"images": lambda found: frozenset(items(found, some_text))}
    read = members(value, {"image": some_text, "reason": text, "until": _day, **images})
    return Exempted(Exemption(read["image"], read["reason"], read["until"]), read["images"])


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(some_text(value))
    except ValueError as error:
        raise Damaged("not a date") from error


def _signed_by(value: Any) -> SignedBy:
    if type(value) is dict and "keys" in value:
        keys = members(value, {"keys": lambda found: items(found, _key)})["keys"]
        if not keys:
            raise Damaged("no keys", "keys")
        return KeyFiles(tuple(name for name, _ in keys), tuple(pem for _, pem in keys))
    read = members(
        value, {"identities": lambda found: items(found, some_text), "issuer": some_text, "trusted_root": _root}
    )
    name, root = read["trusted_root"]
    try:
        found = Identities.of(read["identities"], read["issuer"], name)
    except GrammarError as error:
        raise Damaged(error.message, "identities") from error
    return Identities(found.patterns, found.issuer, name, root)


def _key(value: Any) -> tuple[str, str]:
    read = members(value, {"name": some_text, "pem": some_text})
    return read["name"], read["pem"]


def _root(value: Any) -> tuple[str, str]:
    read = members(value, {"name": some_text, "text": some_text})
    return read["name"], read["text"]


def site_members(files: Mapping[str, bytes]) -> tuple[Member, ...]:
    """Return the files of the site as members of a bundle's first part. files: their content by name."""
    return tuple(Member(name, len(data), Digest.of(data)) for name, data in sorted(files.items()))
