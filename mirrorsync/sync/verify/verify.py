"""Verify a location, or the destinations of a spec: walk over the images, read content, and report their health."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from mirrorsync.errors import IntegrityError, MirrorsyncError, UsageError
from mirrorsync.events import PhaseAdvanced, PhaseStarted
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Reference
from mirrorsync.plan.model import Failure, SpecStamp
from mirrorsync.plan.policies import Policy, SignedBy, Verify
from mirrorsync.plan.vanish import Absence, SourceTag
from mirrorsync.spec.model import Spec
from mirrorsync.stores.located import located_at
from mirrorsync.sync.clock import now
from mirrorsync.sync.gather.signatures import Signatures
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.road import select, stamp
from mirrorsync.sync.session import Session
from mirrorsync.sync.suggest import absent
from mirrorsync.sync.verify.compare import Compared, compare
from mirrorsync.sync.verify.model import Depth, Finding, Health, Subject, Trusted, Verification, VerifiedImage
from mirrorsync.sync.verify.reading import read_content
from mirrorsync.sync.verify.scope import Scope, subjects_at
from mirrorsync.sync.verify.travelled import Travelled
from mirrorsync.sync.verify.trust import TrustCheck, by_mirror
from mirrorsync.sync.verify.walk import Key, Walked, Walker
from mirrorsync.sync.verify.wanted import present_of, wanted_by


async def verify_location(
    scope: Scope,
    session: Session,
    depth: Depth,
    clock: Callable[[], float],
    signed_by: SignedBy | Travelled | None = None,
) -> Verification:
    """Verify all images at a location, without a spec and without a source. clock: monotonic seconds.

    signed_by: what has to have signed all of them, or the policies that came with bundles; None = their signatures are
    not looked at. Raises: NotFound if there are no images, Denied if the registry does not list its repositories,
    MirrorsyncError; failures of single images are in the result.
    """
    verifying = _Verifying(session, Walker(session, session.repository, referrers=True), clock)
    subjects, failures = await subjects_at(session, scope)
    await verifying.walk(subjects)
    if (
        scope.ref is not None
        and not any(walked.root for walked in verifying.walked.values())
        and not verifying.failures
    ):
        raise await absent(session, Reference.of(scope.location, scope.ref))
    verifying.failures += failures
    if signed_by is not None:
        listed = not isinstance(scope.ref, Digest)  # a name can be a tag, a repository, or a prefix
        asking = signed_by.asked if isinstance(signed_by, Travelled) else by_mirror({"": Verify(signed_by)})
        await verifying.trust(TrustCheck(session, asking, time.time(), listed=listed))
    found = await verifying.result(subjects, depth, scope=str(scope))
    return replace(found, policies=signed_by.names) if isinstance(signed_by, Travelled) else found


async def verify_spec(
    spec: Spec,
    session: Session,
    depth: Depth,
    clock: Callable[[], float],
    only: Sequence[str] = (),
    absences: Mapping[SourceTag, Absence] | None = None,
) -> Verification:
    """Verify the images that a spec wants at its destinations, and that they are those of their sources now.

    A source that does not answer is a failure, and what the destinations have is verified all the same. clock:
    monotonic seconds. only: as for `road.make_plan`. absences: what sources have dropped, as it is remembered. Raises:
    UsageError if `only` matches nothing.
    """
    mirrors = select(spec, only)
    verifying = _Verifying(session, Walker(session, session.destination), clock)
    subjects, failures = await wanted_by(mirrors, session, absences or {})
    verifying.failures += failures
    await verifying.walk(subjects)
    await verifying.compare({mirror.pointer: mirror.policies for mirror in mirrors})
    return await verifying.result(subjects, depth, spec=stamp(spec, only))


async def verify_trust(
    spec: Spec, session: Session, depth: Depth, clock: Callable[[], float], only: Sequence[str] = ()
) -> Verification:
    """Verify the images that a spec wants at its destinations, and their signatures there, without any source.

    Filters choose from the tags of the destinations. clock, only: as for `verify_spec`. Raises: UsageError if no mirror
    says what has to have signed its images.
    """
    mirrors = select(spec, only)
    policies = {
        mirror.pointer: policy for mirror in mirrors for policy in mirror.policies if isinstance(policy, Verify)
    }
    if not policies:
        raise UsageError(
            "no mirror has verify:, so that nothing can be proven",
            remedy="add verify: to the spec, or name a location: `mirrorsync verify --trust LOCATION`",
        )
    verifying = _Verifying(session, Walker(session, session.destination), clock)
    subjects, failures = await present_of(mirrors, session)
    verifying.failures += failures
    await verifying.walk(subjects)
    await verifying.trust(TrustCheck(session, by_mirror(policies), time.time()))
    return await verifying.result(subjects, depth, spec=stamp(spec, only))


class _Verifying:
    """One verification. walked: the images whose content is known."""

    def __init__(self, session: Session, walker: Walker, clock: Callable[[], float]) -> None:
        self._session = session
        self._walker = walker
        self._clock = clock
        self._begun, self._started = clock(), now()
        self._damaged: set[Subject] = set()  # images whose root is damaged, which their store finds out itself
        self._compared: dict[Subject, Compared] = {}
        self._trusted: dict[Subject, Trusted] = {}
        self.walked: dict[Subject, Walked] = {}
        self.failures: list[Failure] = []

    async def walk(self, subjects: Sequence[Subject]) -> None:
        """Read the manifests of all images, and check that their blobs are present."""
        self._session.announce(PhaseStarted("observe", len(subjects)))
        await for_each(subjects, self._walk)

    async def _walk(self, subject: Subject) -> None:
        try:
            with located_at(subject.target.store, subject.target.repository, subject.ref):
                self.walked[subject] = await self._walker.walk(subject)
        except MirrorsyncError as error:
            if isinstance(error, IntegrityError):
                self._damaged.add(subject)
            self._fail(subject, error)
        self._session.announce(PhaseAdvanced("observe"))

    async def compare(self, policies: Mapping[str, Sequence[Policy]]) -> None:
        """Compare the images that are present with those that their sources name now."""
        signatures = Signatures(self._session)

        async def one(walked: Walked) -> None:
            subject = walked.subject
            if subject.wanted is None or walked.root is None:
                return
            try:
                own = policies.get(subject.mirror, ())
                compared = await compare(self._session, subject.wanted, walked.root, own, signatures)
            except MirrorsyncError as error:
                self._fail(subject, error)
                return
            self._compared[subject] = compared
            if compared.refused is not None:
                self.failures.append(compared.refused)

        await for_each(tuple(self.walked.values()), one)

    async def trust(self, check: TrustCheck) -> None:
        """Find out what the signatures of the images that are present prove."""

        async def one(walked: Walked) -> None:
            subject, root = walked.subject, walked.root
            if root is None:
                return
            try:
                with located_at(subject.target.store, subject.target.repository, subject.ref):
                    trusted = await check.examine(subject, root)
            except MirrorsyncError as error:
                self._fail(subject, error)
                return
            if trusted is not None:
                self._trusted[subject] = trusted

        await for_each(tuple(self.walked.values()), one)

    def _fail(self, subject: Subject, error: MirrorsyncError) -> None:
        located = error.at(side="destination") if subject.mirror else error
        if subject.wanted is not None:
            self.failures.append(Failure.of(subject.wanted, located))
        else:
            self.failures.append(Failure(str(subject), located, subject.mirror, targets=(subject.target,)))

    async def result(
        self, subjects: Iterable[Subject], depth: Depth, *, scope: str = "", spec: SpecStamp | None = None
    ) -> Verification:
        """Read the content, and return what was found of everything."""
        content = await read_content(self._walker, depth, self._session.announce)
        images = [image for subject in subjects if (image := self._image(subject)) is not None]
        states = self._walker.states
        errors = [
            Failure(str(state.location.at(state.part.content.digest)), state.error)
            for state in states.values()
            if state.error is not None
        ]
        manifests = self._walker.read
        return Verification(
            scope=scope,
            spec=spec,
            depth=depth,
            started=self._started,
            finished=now(),
            seconds=self._clock() - self._begun,
            images=tuple(images),
            findings=tuple(self._findings(images)),
            failures=(*self.failures, *errors),
            contents=len(states),
            manifests=manifests,
            blobs=content.read,
            candidates=content.candidates,
        )

    def _image(self, subject: Subject) -> VerifiedImage | None:
        """Return the result for an image; None if it is neither at its source nor at its destination."""
        walked, compared = self.walked.get(subject), self._compared.get(subject, Compared())
        if walked is None:
            return VerifiedImage(subject, None, Health.DAMAGED if subject in self._damaged else Health.UNCHECKED)
        if walked.root is None:
            return None if subject.source_lacks else VerifiedImage(subject, None, Health.MISSING)
        found = {self._walker.states[key].health for key in walked.needs}
        health = next((one for one in _WORST if one in found), Health.COMPLETE)
        if health == Health.COMPLETE and compared.behind:
            health = Health.BEHIND
        return VerifiedImage(subject, walked.root, health, compared.reason, self._trusted.get(subject))

    def _findings(self, images: Iterable[VerifiedImage]) -> Iterator[Finding]:
        """Yield what is missing or damaged, each once, with the images that need it."""
        bad = {key: state for key, state in self._walker.states.items() if state.health in _FINDINGS}
        needed_by: defaultdict[Key, list[Subject]] = defaultdict(list)
        for image in images if bad else ():
            walked = self.walked.get(image.subject)
            for key in walked.needs if walked else ():
                if key in bad:
                    needed_by[key].append(image.subject)
        for key, state in bad.items():
            yield Finding(state.health, state.location, state.part, state.found, tuple(needed_by[key]))


_WORST = (Health.DAMAGED, Health.MISSING, Health.UNCHECKED)
_FINDINGS = frozenset({Health.DAMAGED, Health.MISSING})
