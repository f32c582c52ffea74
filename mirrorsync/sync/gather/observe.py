"""Observe the destinations of wanted images: one request for each tag, more only for changed images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Noticed, PhaseAdvanced, PhaseStarted
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Pick, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.budget import waits
from mirrorsync.plan.inventory import Desired, Observed, may_lack_images
from mirrorsync.plan.model import Failure, Image
from mirrorsync.plan.policies import Decision, Facts, Policy, Verify, decide
from mirrorsync.sync.content import ContentReader
from mirrorsync.sync.gather.destination_contents import DestinationContents
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.direction import Directions
from mirrorsync.sync.gather.elsewhere import blobs_elsewhere
from mirrorsync.sync.gather.named import present_at
from mirrorsync.sync.gather.pulls import PullGate
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.sightings import NothingSeen, Sightings
from mirrorsync.sync.gather.signatures import Signatures
from mirrorsync.sync.gather.sparse import sparse_at
from mirrorsync.sync.pool import REQUESTS_AT_ONCE, for_each
from mirrorsync.sync.session import Session, located


async def observe(
    desired: Desired,
    session: Session,
    tags: DestinationTags | None = None,
    *,
    sightings: Sightings | None = None,
    policies: Mapping[str, Sequence[Policy]] | None = None,
    deep: bool = False,
    gate: PullGate | None = None,
) -> Observed:
    """Return the content of the destinations for `desired`, and the decisions of policies.

    tags: those that were resolved before. sightings: of roots, for policies about age, and of indexes that lack images.
    policies: by mirror. Without `deep`, an image whose tag names the right digest is complete, at one request each; for
    other images every manifest and blob is checked, unless the repository does not exist. With `deep`, this is done for
    every image, and content on this machine is read: damaged content counts as missing. The content of an image that a
    policy keeps, delays or refuses is not checked. gate: lets images wait that would need too many pulls, None = any
    number may be used.
    """
    sightings, tags = sightings or NothingSeen(), tags or DestinationTags(session)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(ContentReader(session.announce)) if deep else None
        observer = _Observer(session, tags, sightings, policies or {}, reader, gate)
        observer.note(desired)
        return await _observe(desired, session, tags, observer)


async def _observe(desired: Desired, session: Session, tags: DestinationTags, observer: _Observer) -> Observed:
    session.announce(PhaseStarted("observe", len(desired.images)))
    by_target: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
    for image in desired.images:
        by_target[image.target].append(_ref(image))
    await tags.ask(by_target)
    # With a limit of pulls one after the other, so that the order of the spec decides which images wait.
    limit = 1 if observer.limited else REQUESTS_AT_ONCE
    await for_each((image for image in desired.images if image not in desired.carriers), observer.root, limit)
    await for_each(desired.carriers.items(), observer.referrer, limit)
    changed = [image for image in desired.images if observer.wants_contents(image)]
    if changed:
        session.announce(PhaseStarted("manifests", len(changed)))
    await for_each(changed, observer.members)
    return observer.observed(desired.images, changed)


class _Observer:
    def __init__(
        self,
        session: Session,
        tags: DestinationTags,
        sightings: Sightings,
        policies: Mapping[str, Sequence[Policy]],
        reader: ContentReader | None,
        gate: PullGate | None,
    ) -> None:
        self._session = session
        self._tags = tags
        self._sightings = sightings
        self._policies = policies
        # Those that may decide on images that have not changed: mostly none, so that they cost such a run nothing.
        self._standing = {name: [one for one in rules if not one.only_changes] for name, rules in policies.items()}
        self._contents = DestinationContents(session, tags, reader)
        self._deep = reader is not None
        self._gate = gate
        self._waiting: set[Image] = set()  # for pulls
        self.limited = gate is not None
        self._unread: Mapping[Image, str] = {}
        self._signatures = Signatures(session)
        self._directions = Directions(session, sightings)
        self._older: dict[Image, str] = {}
        self._decisions: dict[Image, Decision] = {}
        self._roots: dict[Image, Descriptor | None] = {}
        self._failures: list[Failure] = []
        self._broken: set[Image] = set()

    def note(self, desired: Desired) -> None:
        """Remember which images were not read, and which come along with others."""
        self._unread = desired.waiting
        self._contents.note(desired, sparse_at(desired, self._session, self._sightings))
        if self._gate is not None:
            self._gate.note_referrers(desired.carriers)

    async def root(self, image: Image) -> None:
        """Resolve an image's tag at its destination, and let policies decide."""
        attached = image.tag is not None and may_be_referrer(image.tag, image.origin)
        policies = () if attached or image in self._unread else self._policies.get(image.mirror, ())
        if self._gate is None:
            await self._root(image, policies)
            return
        before = self._gate.used(image.source)
        await self._root(image, policies)
        self._gate.note_reading(image.source, image.root, before)
        await self._take_pulls(image)

    async def referrer(self, carried: tuple[Image, frozenset[Image]]) -> None:
        """Resolve a referrer at its destination. It waits, or stays behind, with the images that it is about."""
        image, carriers = carried
        await self._root(image, ())
        decisions = [self._why_not(one) for one in sorted(carriers, key=str)]
        if all(one is not None for one in decisions) and self.wants_contents(image):
            delayed = next((one for one in decisions if one is not None and one.verdict == "delay"), None)
            self._decisions[image] = delayed or Decision("keep", "its image is not mirrored")
            if not self._waiting.isdisjoint(carriers):
                self._waiting.add(image)
        await self._take_pulls(image)

    def _why_not(self, image: Image) -> Decision | None:
        """Return the decision that keeps an image from its destination, None if it is there, or will be."""
        present, decision = self._roots.get(image), self._decisions.get(image)
        if decision is None or decision.verdict in ("update", "report"):
            return None
        there = present is not None and present.digest == image.root.digest
        return None if there and decision.verdict != "refuse" else decision

    async def _root(self, image: Image, policies: Sequence[Policy]) -> None:
        try:
            with located("destination", image.target, _ref(image)):
                present = await self._present_root(image)
                if present is None and policies:
                    present = await self._present_in_another_form(image)
            self._set_root(image, present)
            await self._decide(image, present, policies)
        except MirrorsyncError as error:
            self._fail(image, error)
        self._session.announce(PhaseAdvanced("observe"))

    async def _present_root(self, image: Image) -> Descriptor | None:
        if self._session.converting(image.target) is None:
            return await self._tags.named(image.target, _ref(image))
        # An index is compared in any case: a store that cannot keep one says so before anything is copied.
        if self._tags.lacks(image.target, _ref(image)) and image.root.media_type not in media_types.INDEXES:
            return None
        return await present_at(self._session, image.target, _ref(image), image.root, image.source)

    async def _present_in_another_form(self, image: Image) -> Descriptor | None:
        """Return the present image of a store without manifests, if it is not the wanted one.

        Its digest may need layers to be compressed, so it is computed only if a policy may keep the image.
        """
        ref = _ref(image)
        if self._session.converting(image.target) is None or self._tags.lacks(image.target, ref):
            return None
        return await self._session.destination(image.target).resolve(ref)

    def _set_root(self, image: Image, present: Descriptor | None) -> None:
        self._roots[image] = present
        if present is not None and not self._deep:
            self._contents.add(image.target, present.digest)

    async def _decide(self, image: Image, present: Descriptor | None, policies: Sequence[Policy]) -> None:
        if present is not None and present.digest == image.root.digest and not self._deep:
            policies = self._standing.get(image.mirror, ()) if policies else ()
        why = self._unread.get(image) or self._cannot_read(image, present, policies)
        if why:
            # What the image says of itself, and its signatures, take pulls: without them it is not mirrored.
            self._wait(image, why)
            policies = [policy for policy in policies if not isinstance(policy, Verify)]
        older = "" if why else await self._directions.of(image, present)
        if older:
            self._older[image] = older
        if policies:
            await self._apply(image, present, policies, older)
        decision = self._decisions.get(image)
        if older and (decision is None or decision.verdict in ("update", "report")):
            self._session.announce(Noticed(str(image), older))

    async def _apply(self, image: Image, present: Descriptor | None, policies: Sequence[Policy], older: str) -> None:
        seen = self._sightings
        pinned = not isinstance(image.origin.followed, Tag | Pick)
        there = present is not None and present.digest == image.root.digest
        facts = Facts(
            image.tag,
            present,
            image.root,
            pinned,
            min(map(seen.first_seen, image.digests)),
            seen.now,
            older=older,
            referrers=image.referrers if self._deep or not there else None,
        )
        facts = await self._signatures.add_to(facts, image.origin, image.whole, policies, deep=self._deep)
        decision = decide(policies, facts)
        if decision is None or (image in self._waiting and decision.verdict in ("update", "report")):
            return
        self._waiting.discard(image)
        self._decisions[image] = decision
        if decision.verdict == "report":
            self._session.announce(Noticed(str(image), decision.reason))

    def _cannot_read(self, image: Image, present: Descriptor | None, policies: Sequence[Policy]) -> str:
        """Return why nothing can be read of an image that is to change, "" if it can, or if nothing has to be read."""
        unchanged = present is not None and present.digest == image.root.digest
        if self._gate is None or (unchanged and not self._deep):
            return ""
        known = self._gate.knows(image.source, image.root, whole=True)
        return (
            "" if known and not any(isinstance(one, Verify) for one in policies) else self._gate.refuses(image.source)
        )

    async def _take_pulls(self, image: Image) -> None:
        """Let an image wait if its manifests would need more pulls than are left."""
        if self._gate is None or not self.wants_contents(image):
            return
        try:
            why = await self._gate.take(image, partial(self._contents.has, is_manifest=True))
        except MirrorsyncError as error:
            self._fail(image, error)
        else:
            if why:
                self._wait(image, why)

    def _wait(self, image: Image, why: str) -> None:
        self._waiting.add(image)
        self._decisions[image] = waits(why)

    def wants_contents(self, image: Image) -> bool:
        """Return whether the manifests and blobs of an image have to be checked."""
        # Mostly all three are empty, and the hash of an image is most of what a look into them costs.
        if (self._broken and image in self._broken) or (self._waiting and image in self._waiting):
            return False
        present, decision = self._roots.get(image), self._decisions.get(image) if self._decisions else None
        unchanged = present is not None and present.digest == image.root.digest
        if decision is not None and decision.verdict not in ("update", "report") and not unchanged:
            return False
        return self._deep or not unchanged or may_lack_images(image, self._contents.sparse, decision)

    async def members(self, image: Image) -> None:
        """Check which manifests and blobs of an image its destination has."""
        if self._session.converting(image.target) is not None and self._roots.get(image) is not None:
            self._contents.add(image.target, image.root.digest)  # such a store keeps the image without its manifest
        try:
            await self._contents.look_into(image)
        except MirrorsyncError as error:
            self._fail(image, error)
        self._session.announce(PhaseAdvanced("manifests"))

    def _fail(self, image: Image, error: MirrorsyncError) -> None:
        if self._gate is not None and (why := self._gate.refused(image.source, error)):
            self._wait(image, why)
            return
        self._broken.add(image)
        self._failures.append(Failure.of(image, error))

    def observed(self, images: Iterable[Image], changed: Iterable[Image]) -> Observed:
        """Return all that was found out."""
        stores = {image.target.store for image in changed}
        return Observed(
            roots=self._roots,
            contents={target: frozenset(digests) for target, digests in self._contents.present.items()},
            elsewhere=blobs_elsewhere(
                [image for image in images if image.target.store in stores],
                self._roots,
                self._contents.present,
                self._session,
                deep=self._deep,
            ),
            shared=frozenset(store for store in stores if self._session.store(store).shares_blobs),
            manifests=self._contents.manifests,
            deep=self._deep,
            sparse=self._contents.sparse,
            failures=tuple(self._failures),
            broken=frozenset(self._broken),
            decisions=self._decisions,
            older=self._older,
        )


def _ref(image: Image) -> Tag | Digest:
    return image.tag or image.root.digest
