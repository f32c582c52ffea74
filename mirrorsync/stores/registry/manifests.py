"""Manifests over the distribution API: resolve, read and write them by tag or digest."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from mirrorsync.errors import BlobsUnknown, GrammarError, IntegrityError, Malformed, MirrorsyncError, RegistryFailure
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.registry.api import Api
from mirrorsync.stores.registry.heads import ODD
from mirrorsync.stores.registry.http.answers import codes, failure
from mirrorsync.stores.registry.http.encoding import codings
from mirrorsync.stores.registry.http.messages import Answer, Request
from mirrorsync.stores.registry.http.retry import Transient
from mirrorsync.stores.registry.learned import Learned
from mirrorsync.stores.registry.referrers import Referrers
from mirrorsync.text import printable

_ACCEPT: Final = {"Accept": media_types.ACCEPT}
_ABSENT: Final = frozenset({404})
_ODD_OR_ABSENT: Final = ODD | _ABSENT
# How often a manifest is read or sent again if it was damaged on its way, or if the registry claims that its content is
# missing: three attempts in all, as for blobs.
_AGAIN: Final = 2
_SENT_AGAIN: Final = frozenset({"MANIFEST_BLOB_UNKNOWN", "DIGEST_INVALID", "MANIFEST_INVALID"})


class Manifests:
    """The manifests of one repository. mounted: the blobs that the registry claims to have mounted in this run."""

    def __init__(self, api: Api, learned: Learned) -> None:
        self._api = api
        self._client = api.client
        self._learned = learned
        self.referrers = Referrers(api.client, api.url, api.pull, self)
        self.mounted: set[Digest] = set()
        self._listed: set[Digest] = set()  # manifests that are on their subjects' lists of referrers
        # Media types and lengths from HEADs, which may be wrong: only the digest is certain.
        self._from_head: dict[Digest, Descriptor] = {}

    async def resolve(self, ref: Tag | Digest) -> Descriptor | None:
        """Return the descriptor that a tag or digest names, None if it is missing: by HEAD, if necessary by GET."""
        if self._learned.heads.trusted:
            answer = await self._head(ref, self._api.pull)
            if answer.status == 404:
                return None
            described = _described(answer, ref) if answer.ok else None
            if described is not None:
                self.doubt(described)
                return described
        return await self._by_get(ref)

    def doubt(self, described: Descriptor) -> None:
        """Record that media type and length of a descriptor are from a HEAD, of this registry or another address."""
        self._from_head[described.digest] = described

    def _head(
        self, ref: Tag | Digest, scopes: tuple[str, ...], known: frozenset[int] = _ODD_OR_ABSENT
    ) -> Awaitable[Answer]:
        request = Request("HEAD", self._api.manifest(ref), scopes, _ACCEPT, known=known)
        return self._api.asks.ask(request, "resolving it")

    async def confirm(self, ref: Tag | Digest) -> Descriptor | None:
        """Ask again, by GET, for a ref that `resolve` did not find, unless GETs count as pulls here. See `Heads`."""
        return None if self._learned.heads.counted else await self._by_get(ref)

    async def _by_get(self, ref: Tag | Digest) -> Descriptor | None:
        manifest = await self.fetch(ref)
        if manifest is None:
            return None
        self._learned.heads.distrust()
        return manifest.descriptor

    async def kept(self, content: Descriptor) -> bool:
        """Return whether a manifest that was just written is stored with all its bytes.

        CNCF distribution answers 500 for a manifest whose file is empty, every time.
        """
        if self._learned.heads.trusted:
            answer = await self._head(content.digest, self._api.push, _ODD_OR_ABSENT | {500})
            if answer.ok and _length(answer) == content.size:
                return True
        try:
            return await self.fetch(content.digest, content, self._api.push) is not None
        except (IntegrityError, Malformed, RegistryFailure):
            return False

    async def fetch(
        self, ref: Tag | Digest, content: Descriptor | None = None, scopes: tuple[str, ...] | None = None
    ) -> Manifest | None:
        """Get a manifest by tag or digest, None if it is missing. content: the expected descriptor, if it is known.

        scopes: None = those for reading. Raises: IntegrityError, Malformed, RegistryFailure.
        """
        doing = "reading its manifest"
        url, scopes = self._api.manifest(ref), scopes or self._api.pull
        request = Request("GET", url, scopes, _ACCEPT, limit=MAX_MANIFEST_BYTES, known=_ABSENT)
        digest = ref if isinstance(ref, Digest) else None
        wrong = 0

        async def attempt() -> Manifest | None:
            nonlocal wrong
            answer = await self._api.asks.ask(request, doing)
            if answer.status == 404:
                return None
            try:
                return self._read(answer, digest, content)
            except IntegrityError as error:
                wrong += 1
                damaged = digest is not None and answer.whole and not digest.matches(answer.body)
                if not damaged or wrong > _AGAIN:
                    raise
                raise Transient(error) from error

        return await self._client.persist(doing, attempt)

    def _read(self, answer: Answer, digest: Digest | None, content: Descriptor | None) -> Manifest:
        if not answer.whole:
            raise Malformed(f"the manifest exceeds the limit of {MAX_MANIFEST_BYTES} bytes")
        said = answer.media_type
        if said == "text/html":
            raise RegistryFailure(
                "the answer is a web page and not a manifest",
                remedy="check the host name, and whether a proxy or a login page is in front of the registry",
            )
        if content is None:
            return Manifest.parse(answer.body, said, digest=digest)
        if self._from_head.get(content.digest) == content:
            # The media type and length are only from a HEAD, and HEADs are often wrong in both (oras-go#1176).
            kind = said if media_types.is_manifest(said) else content.media_type
            manifest = Manifest.parse(answer.body, kind, digest=content.digest)
            if manifest.descriptor != content:
                self._learned.heads.distrust()
            return manifest
        if media_types.is_manifest(said) and said != content.media_type:
            raise Malformed(f"manifest is sent as {said!r}; its descriptor says {content.media_type!r}")
        return Manifest.parse(answer.body, content.media_type, digest=content.digest, size=content.size)

    async def put(self, manifest: Manifest, ref: Tag | Digest) -> None:
        """Store a manifest under its digest or a tag. Raises: BlobsUnknown, IntegrityError, MirrorsyncError."""
        answer = await self._written(manifest, ref)
        if manifest.subject is not None and not answer.header("OCI-Subject") and manifest.digest not in self._listed:
            await self.referrers.add(manifest)
            self._listed.add(manifest.digest)

    async def _written(self, manifest: Manifest, ref: Tag | Digest) -> Answer:
        """Send a manifest, and retry if it was damaged on its way, or if the registry does not find existing content.

        distribution truncates a manifest's link before it writes the same again (storage driver "filesystem",
        PutContent), so an index is rejected if one of its images gets a second tag at that moment.
        """
        doing = "writing its manifest"
        headers = {"Content-Type": manifest.media_type}
        known = frozenset({400, 404})
        request = Request("PUT", self._api.manifest(ref), self._api.push, headers, manifest.raw, known=known)
        refused = 0

        async def attempt() -> Answer:
            nonlocal refused
            answer = await self._client.once(request, doing)
            error = _stored_another(answer, manifest) if answer.ok else failure(answer, doing)
            if error is None:
                return answer
            refused += 1
            found = set(codes(answer))
            if refused <= _AGAIN and (answer.ok or found & _SENT_AGAIN):
                raise Transient(error, status=answer.status)
            raise self._blobs_unknown(answer, manifest, error) if "MANIFEST_BLOB_UNKNOWN" in found else error

        return await self._client.persist(doing, attempt)

    def _blobs_unknown(self, answer: Answer, manifest: Manifest, error: MirrorsyncError) -> BlobsUnknown:
        if self.mounted.intersection(blob.digest for blob in manifest.blobs):
            self._learned.mounts = False  # its HEAD confirmed a blob that it does not have
        named = [blob.digest for blob in manifest.blobs if blob.digest.encode() in answer.body]
        return BlobsUnknown(error.message, named=named, remedy=error.remedy)


def _described(answer: Answer, ref: Tag | Digest) -> Descriptor | None:
    """Return the descriptor in the answer to a HEAD, None if digest, size or a manifest's media type is missing.

    Raises: IntegrityError if the answer has another digest than the request.
    """
    asked = ref if isinstance(ref, Digest) else None
    answered = _digest(answer.header("Docker-Content-Digest"))
    if asked is not None and answered is not None and answered != asked and answered.algorithm == asked.algorithm:
        raise IntegrityError(f"asked for {asked} and got {answered}")
    digest = asked or answered
    length = _length(answer)
    if digest is None or not length or not media_types.is_manifest(answer.media_type):
        return None
    return Descriptor(answer.media_type, digest, length)


def _length(answer: Answer) -> int | None:
    """Return the Content-Length if it is the manifest's, and not that of a compressed form."""
    return None if codings(answer.header("Content-Encoding")) else answer.length


def _stored_another(answer: Answer, manifest: Manifest) -> IntegrityError | None:
    """Return the error for a registry that reports another digest than that of the manifest it was sent."""
    stored = answer.header("Docker-Content-Digest")
    if not stored or stored == manifest.digest or not stored.startswith(f"{manifest.digest.algorithm}:"):
        return None
    return IntegrityError(f"the registry stored manifest {manifest.digest.short} as {printable(stored, 80)}")


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text)
    except GrammarError:
        return None
