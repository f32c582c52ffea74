"""What the destinations hold of what is wanted: one question for each tag, more only where something changed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Noticed, PhaseAdvanced, PhaseStarted
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, Outline
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Observed, check_bounds, closure
from mirrorsync.plan.model import Failure, Image
from mirrorsync.plan.policies import Decision, Facts, Policy, decide
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.held import held_at
from mirrorsync.sync.gather.referring import comes_along
from mirrorsync.sync.pool import QUESTIONS_AT_ONCE, SMALL_BYTES, Answers, for_each
from mirrorsync.sync.session import Session, located


async def observe(
    desired: Desired,
    session: Session,
    tags: DestinationTags | None = None,
    *,
    policies: Mapping[str, Sequence[Policy]] | None = None,
    deep: bool = False,
) -> Observed:
    """Return what the destinations hold of `desired`, and what policies decide about it.

    tags: what was asked of the destinations before. policies: by mirror. Without `deep`, an image whose tag names the
    right digest is done, at one question each; of the others every member is asked for, unless the repository does not
    exist. With `deep`, every member of every image is asked for. Of what a policy keeps or refuses, nothing is.
    """
    tags = tags or DestinationTags(session)
    observer = _Observer(session, tags, policies or {}, deep)
    session.announce(PhaseStarted("observe", len(desired.images)))
    by_target: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
    for image in desired.images:
        by_target[image.target].append(_ref(image))
    await tags.ask(by_target)
    await for_each(desired.images, observer.root)
    changed = [image for image in desired.images if observer.wants_contents(image)]
    await for_each(changed, observer.members)
    return observer.observed(desired.images, changed)


class _Observer:
    def __init__(
        self, session: Session, tags: DestinationTags, policies: Mapping[str, Sequence[Policy]], deep: bool
    ) -> None:
        self._session = session
        self._tags = tags
        self._policies = policies
        self._deep = deep
        self._decisions: dict[Image, Decision] = {}
        self._roots: dict[Image, Descriptor | None] = {}
        self._failures: list[Failure] = []
        self._broken: set[Image] = set()
        self._held: Answers[tuple[Location, Digest], bool] = Answers()
        self._contents: defaultdict[Location, set[Digest]] = defaultdict(set)
        self._manifests: dict[Digest, Outline] = {}

    async def root(self, image: Image) -> None:
        """Ask what an image's tag names at its destination, and what policies decide of that."""
        policies = () if comes_along(image.tag, image.origin) else self._policies.get(image.mirror, ())
        try:
            with located("destination", image.target, _ref(image)):
                held = await self._held_root(image)
                if held is None and policies:
                    held = await self._held_in_another_form(image)
            self._set_root(image, held, policies)
        except MirrorsyncError as error:
            self._fail(image, error)
        self._session.announce(PhaseAdvanced("observe"))

    async def _held_root(self, image: Image) -> Descriptor | None:
        if self._session.converting(image.target) is None:
            return await self._tags.named(image.target, _ref(image))
        if self._tags.lacks(image.target, _ref(image)):
            return None
        return await held_at(self._session, image.target, _ref(image), image.root, image.source)

    async def _held_in_another_form(self, image: Image) -> Descriptor | None:
        """Return what a place without manifests has under the tag of another image than the wanted one.

        To find out its digest there, layers may have to be compressed: it is asked for only where a policy may keep it.
        """
        ref = _ref(image)
        if self._session.converting(image.target) is None or self._tags.lacks(image.target, ref):
            return None
        return await self._session.destination(image.target).resolve(ref)

    def _set_root(self, image: Image, held: Descriptor | None, policies: Iterable[Policy]) -> None:
        self._roots[image] = held
        if held is not None and not self._deep:
            self._contents[image.target].add(held.digest)
        decision = decide(policies, Facts(image.tag, held, image.root))
        if decision is not None:
            self._decisions[image] = decision

    def wants_contents(self, image: Image) -> bool:
        """Tell whether the members of an image must be known."""
        if image in self._broken:
            return False
        held, decision = self._roots.get(image), self._decisions.get(image)
        unchanged = held is not None and held.digest == image.root.digest
        if decision is not None and decision.verdict != "update" and not unchanged:
            return False
        return self._deep or not unchanged

    async def members(self, image: Image) -> None:
        """Find out which manifests and blobs of an image its destination holds."""
        try:
            await self._walk(image, image.root, 1, _Walked())
        except MirrorsyncError as error:
            self._fail(image, error)

    async def _walk(self, image: Image, content: Descriptor, depth: int, walked: _Walked) -> None:
        if content.digest in walked.manifests:
            return
        walked.manifests.add(content.digest)
        check_bounds(depth, len(walked.manifests))
        if await self._holds(image.target, content, is_manifest=True) and not self._deep:
            return  # a registry takes a manifest only after what it names
        with located("source", image.source, image.origin.reference(image.root.digest).asked):
            manifest = self._kept(await self._session.manifest(image.source, content), image)
        walked.blobs.update(blob.digest for blob in manifest.blobs)
        check_bounds(depth, len(walked.manifests), len(walked.blobs))
        # Of a repository that does not exist, little is worth a question: only large blobs, which a run may have left.
        absent = image.target in self._tags.absent
        blobs = [blob for blob in manifest.blobs if not absent or blob.size > SMALL_BYTES]
        await _all_of(self._walk(image, child, depth + 1, walked) for child in manifest.children)
        await _all_of(self._holds(image.target, blob, is_manifest=False) for blob in blobs)

    def _kept(self, manifest: Manifest, image: Image) -> Outline:
        if manifest.foreign and manifest.digest not in self._manifests:
            # They may not be distributed (Windows base layers), so they are neither fetched nor pushed; who pulls the
            # image gets them from where their URLs say.
            count = len(manifest.foreign)
            message = "1 layer stays" if count == 1 else f"{count} layers stay"
            message = f"{message} with the publisher, who does not let others distribute them"
            self._session.announce(Noticed(str(image), message))
        return self._manifests.setdefault(manifest.digest, manifest.outline)

    async def _holds(self, target: Location, content: Descriptor, *, is_manifest: bool) -> bool:
        if is_manifest and target in self._tags.absent:
            return False
        if content.digest in self._contents[target]:
            return True

        async def ask() -> bool:
            repository = self._session.destination(target)
            if is_manifest:
                return await repository.resolve(content.digest) is not None
            return await repository.has(content)

        with located("destination", target):
            held = await self._held.get((target, content.digest), ask)
        if held:
            self._contents[target].add(content.digest)
        return held

    def _fail(self, image: Image, error: MirrorsyncError) -> None:
        self._broken.add(image)
        self._failures.append(Failure(str(image), error))

    def observed(self, images: Iterable[Image], changed: Iterable[Image]) -> Observed:
        """Return all that was found out."""
        stores = {image.target.store for image in changed}
        return Observed(
            roots=self._roots,
            contents={target: frozenset(digests) for target, digests in self._contents.items()},
            elsewhere=self._elsewhere([image for image in images if image.target.store in stores]),
            shared=frozenset(store for store in stores if self._session.store(store).shares_blobs),
            manifests=self._manifests,
            deep=self._deep,
            failures=tuple(self._failures),
            broken=frozenset(self._broken),
            decisions=self._decisions,
        )

    def _elsewhere(self, images: Sequence[Image]) -> dict[str, dict[Digest, str]]:
        """Return where at each store a blob is known to be, as far as that costs no question.

        It is known from what was asked, and from the manifests of images that are in place, as far as this run or an
        earlier one has seen them. These are not believed where every blob was asked for: with `deep`, and where
        repositories share their blobs.
        """
        found: defaultdict[str, dict[Digest, str]] = defaultdict(dict)
        for target, digests in self._contents.items():
            for digest in digests:
                found[target.store].setdefault(digest, target.repository)
        stores = {image.target.store for image in images}
        asked = {store for store in stores if self._deep or self._session.store(store).shares_blobs}
        for image in images:
            held = self._roots.get(image)
            if held is None or held.digest != image.root.digest or image.target.store in asked:
                continue
            for manifest in self._known_parts(image.root):
                for blob in manifest.blobs:
                    found[image.target.store].setdefault(blob.digest, image.target.repository)
        return found

    def _known_parts(self, root: Descriptor) -> Iterator[Outline]:
        """Yield the manifests of an image that are known without a question."""
        known: dict[Digest, Outline] = {}

        def unknown(content: Descriptor) -> bool:
            manifest = self._session.known(content)
            if manifest is not None:
                known[content.digest] = manifest.outline
            return manifest is None

        return closure(root, lambda content: known[content.digest], skip=unknown)


def _ref(image: Image) -> Tag | Digest:
    return image.tag or image.root.digest


class _Walked:
    """What of an image was looked at so far."""

    def __init__(self) -> None:
        self.manifests: set[Digest] = set()
        self.blobs: set[Digest] = set()


async def _all_of(questions: Iterator[Awaitable[object]]) -> None:
    """Await all questions, so many at a time that a list of thousands takes no memory; raise the first failure."""
    while some := list(islice(questions, QUESTIONS_AT_ONCE)):
        for answer in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
