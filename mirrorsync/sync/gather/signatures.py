"""The signatures of images, for the policy that verifies them: the one place where they are looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import cosign_tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Origin
from mirrorsync.plan.policies import Facts, Policy, SignedBy, Verify, decide_without_source
from mirrorsync.sync.gather.signers import read_signers
from mirrorsync.sync.pool import Answers
from mirrorsync.sync.session import Session
from mirrorsync.trust.evidence import (
    BUNDLE,
    CERTIFICATE_ANNOTATION,
    ENTRY_ANNOTATION,
    MAX_SIGNATURE_BYTES,
    MAX_SIGNATURES,
    NOTATION,
    SIGNATURE_ANNOTATION,
    SIMPLE_SIGNING,
    Bundle,
    Evidence,
    Finding,
    SimpleSigning,
    unproven,
)

if TYPE_CHECKING:
    from mirrorsync.trust.evidence import Signers


class Signatures:
    """The signatures of one run, each image's looked for once, however many mirrors and destinations want it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._evidence: Answers[tuple[Location, Digest], Evidence] = Answers()
        self._signers: Answers[SignedBy, Signers] = Answers()

    async def add_to(
        self, facts: Facts, origin: Origin, whole: Digest | None, policies: Sequence[Policy], *, deep: bool = False
    ) -> Facts:
        """Return the facts about an image with its names and, if a policy asks for it, whether it is signed.

        whole: the digest of the source's root, if platforms were chosen from it: signatures are about that. Makes no
        request if a policy decides without the source. What cannot be found out is in the finding.
        """
        verify = next((policy for policy in policies if isinstance(policy, Verify)), None)
        if verify is None or facts.found is None:
            return facts
        digest = whole or facts.found.digest
        facts = replace(facts, names=origin.names(digest))
        if not verify.asks(facts, deep=deep) or decide_without_source(policies, facts) is not None:
            return facts
        return replace(facts, signature=await self.finding(origin.location, digest, verify.signed_by))

    async def finding(self, location: Location, digest: Digest, signed_by: SignedBy) -> Finding:
        """Return whether the signatures that a repository has of a manifest prove it. What fails is in the finding."""
        from mirrorsync.trust.cosign import examine  # imported here: only specs that verify need it

        try:
            signers = await self._signers.get(signed_by, partial(asyncio.to_thread, read_signers, signed_by))
        except MirrorsyncError as error:
            return unproven((error.message,))
        return examine(digest, await self.evidence(location, digest), signers)

    async def evidence(self, location: Location, digest: Digest) -> Evidence:
        """Return the signatures that a repository has of a manifest."""
        return await self._evidence.get((location, digest), _Search(self._session, location, digest).evidence)


class _Search:
    """The search for the signatures of one manifest, in both forms of cosign."""

    def __init__(self, session: Session, source: Location, digest: Digest) -> None:
        self._session = session
        self._repository = session.repository(source)
        self._source = source
        self._digest = digest
        self._found: list[SimpleSigning | Bundle] = []
        self._missing: list[str] = []
        self._notation = 0

    async def evidence(self) -> Evidence:
        """Return what was found, and what could not be read: an error of a registry is never an absence."""
        referrers: Sequence[Descriptor] = ()
        tag = cosign_tag(self._digest, ".sig")
        with self._missing_if_it_fails(f"the referrers of {self._digest}"):
            referrers = await self._repository.referrers(self._digest)
        for content in referrers:
            with self._missing_if_it_fails(f"the referrer {content.digest}"):
                await self._read(content)
        with self._missing_if_it_fails(f"the tag {tag}"):
            content_of_tag = await self._repository.resolve(tag)
            if content_of_tag is not None:
                await self._read(content_of_tag)
        others = "1 referrer is not a bundle" if len(referrers) == 1 else f"{len(referrers)} referrers are not bundles"
        absent = f"there is no tag {tag}, and {others if referrers else 'no referrer'}"
        return Evidence(tuple(self._found), tuple(self._missing), absent, self._notation)

    @contextmanager
    def _missing_if_it_fails(self, what: str) -> Iterator[None]:
        try:
            yield
        except MirrorsyncError as error:
            self._missing.append(f"{what} could not be read: {error.message}")

    async def _read(self, content: Descriptor) -> None:
        """Read the signatures in a manifest. Its layers say what they are, not a list of referrers, which may be wrong:
        GHCR's fallback index has other artifact types than the manifests.
        """
        manifest = await self._session.manifest(self._source, content)
        self._notation += manifest.artifact_type == NOTATION
        for layer in manifest.layers:
            is_bundle = layer.media_type.startswith(BUNDLE)
            if not is_bundle and layer.media_type != SIMPLE_SIGNING:
                continue
            if layer.size > MAX_SIGNATURE_BYTES:
                self._missing.append(f"a signature was not read: it has {layer.size} bytes")
            elif len(self._found) == MAX_SIGNATURES:
                self._missing.append(f"there are more than {MAX_SIGNATURES} signatures")
                return
            else:
                raw = await self._repository.read(layer)
                self._found.append(Bundle(raw) if is_bundle else _simple_signing(raw, layer))


def _simple_signing(raw: bytes, layer: Descriptor) -> SimpleSigning:
    found = layer.annotations
    return SimpleSigning(
        raw, found.get(SIGNATURE_ANNOTATION), found.get(CERTIFICATE_ANNOTATION), found.get(ENTRY_ANNOTATION)
    )
