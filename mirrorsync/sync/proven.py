"""The signatures of images that are not asked for by a run of the spec: those of a saved plan, which is a file that can
be written by hand, and those of a rollback.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from mirrorsync.errors import MirrorsyncError, PolicyRefused
from mirrorsync.events import Noticed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure, Image, Origin, Plan
from mirrorsync.plan.policies import Facts, Verify
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.state import TagKey
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.signatures import Signatures
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


async def check_signatures(plan: Plan, spec: Spec, session: Session, now: float) -> None:
    """Verify the signatures of the images that a plan is about to write, as its spec asks.

    now: seconds since the epoch. Raises: PolicyRefused if an image is not proven, before anything is changed.
    """
    verifying = {mirror.pointer: (mirror, one) for mirror in spec.mirrors for one in _verify_of(mirror)}
    written = _written(spec)
    signatures = Signatures(session)
    refused: list[PolicyRefused] = []

    async def check(change: Change) -> None:
        mirror, policy = verifying[change.mirror]
        if change.origin is None or _is_only_referrer(change, mirror):
            return
        facts = Facts(change.tag, change.before, change.after, now=now)
        origin = replace(change.origin, written=written.get((change.mirror, change.origin.location, change.tag)))
        facts = await signatures.add_to(facts, origin, await _whole(change, session), (policy,))
        decision = policy.decide(facts)
        if decision is not None and decision.verdict == "refuse":
            reason = f"{decision.reason}; nothing was done"
            refused.append(PolicyRefused(reason, remedy=decision.remedy, place=change.target.at(change.tag)))

    await for_each([one for one in plan.changed() if one.mirror in verifying], check)
    if refused:
        raise min(refused, key=str)


async def refused_in_rollback(
    images: Mapping[TagKey, Image],
    sources: Mapping[TagKey, Location | None],
    spec: Spec,
    session: Session,
    tags: DestinationTags,
) -> dict[TagKey, Failure]:
    """Return a failure for each image of a rollback that the spec's `verify` refuses.

    sources: where images were read when they were mirrored. Signatures are looked for where the image is read now, and
    then there. An image that its tag names already is not looked at.
    """
    signatures, now = Signatures(session), time.time()
    refused: dict[TagKey, Failure] = {}

    async def check(one: tuple[TagKey, Image]) -> None:
        key, image = one
        source = sources.get(key)
        found = _asking(spec, image, source)
        if found is None:
            return
        mirror, policy = found
        converted = session.converting(image.target) is not None
        facts = Facts(image.tag, None if converted else await tags.named(*key), image.root, now=now)
        for place in dict.fromkeys((image.source, source or image.source)):
            origin = Origin(place if source is None else source, image.tag, mirror.platforms)
            facts = replace(facts, names=origin.names(image.root.digest))
            if not policy.asks(facts):
                return
            finding = await signatures.finding(place, image.root.digest, policy.signed_by)
            facts = replace(facts, signature=finding)
            if finding.proven:
                return
        decision = policy.decide(facts)
        if decision is not None and decision.verdict == "refuse":
            refused[key] = Failure.of(image, PolicyRefused(decision.reason, remedy=decision.remedy))
        elif decision is not None:
            session.announce(Noticed(str(image), decision.reason))

    async def checked(one: tuple[TagKey, Image]) -> None:
        key, image = one
        try:
            with located("destination", *key):
                await check(one)
        except MirrorsyncError as error:
            refused[key] = Failure.of(image, error)

    await for_each(tuple(images.items()), checked)
    return refused


def _asking(spec: Spec, image: Image, source: Location | None) -> tuple[Mirror, Verify] | None:
    """Return the mirror with `verify` that an image belongs to; one that wants its tag goes before others."""
    found = [(mirror, one) for mirror in spec.mirrors for one in _verify_of(mirror) if _writes(mirror, image, source)]
    tags = () if image.tag is None else (image.tag,)
    return next((one for one in found if one[0].selection.ageless.choose(tags)), found[0] if found else None)


def _writes(mirror: Mirror, image: Image, source: Location | None) -> bool:
    if source is None:
        return mirror.may_write(image.target)
    if not mirror.covers(source):
        return False
    return any(mirror.target(one, source.repository) == image.target for one in mirror.destinations)


def _verify_of(mirror: Mirror) -> list[Verify]:
    return [policy for policy in mirror.policies if isinstance(policy, Verify)]


def _written(spec: Spec) -> dict[tuple[str, Location, Tag | None], Tag | None]:
    """Return the tags that a spec or its lock writes before digests, by mirror, source and tag at the destination."""
    return {
        (mirror.pointer, mirror.source, wanted.tag): wanted.written_tag
        for mirror in spec.mirrors
        if _verify_of(mirror)
        for wanted in mirror.selection.exact
    }


def _is_only_referrer(change: Change, mirror: Mirror) -> bool:
    """Return whether an image may be a referrer of another, and is not named by the spec itself."""
    if change.origin is None or not may_be_referrer(change.tag, change.origin):
        return False
    return not any(wanted.tag is None and wanted.ref == change.digest for wanted in mirror.selection.exact)


async def _whole(change: Change, session: Session) -> Digest | None:
    """Return the digest of the source's root, if platforms were chosen from it."""
    origin = change.origin
    if origin is None or not origin.platforms or origin.followed is None:
        return None
    with located("source", origin.location, origin.followed):
        found = await named_at(session, origin.location, origin.followed)
    return None if found is None else found.digest
