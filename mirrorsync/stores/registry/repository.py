"""One repository of a registry: the distribution spec's questions, and its blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    GrammarError,
    IntegrityError,
    MirrorsyncError,
    RegistryFailure,
    RepositoryNotFound,
    TagsNotDeleted,
    Unauthorized,
    printable,
)
from mirrorsync.events import Noticed, Observer
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.names import check_tag
from mirrorsync.stores.located import located
from mirrorsync.stores.registry.answers import codes, failure
from mirrorsync.stores.registry.client import Client
from mirrorsync.stores.registry.destination import DestinationQuestions
from mirrorsync.stores.registry.harbor import Projects
from mirrorsync.stores.registry.listing import Asks, PageSize, fresh, pages
from mirrorsync.stores.registry.messages import MAX_PAGE_BYTES, Answer, Request
from mirrorsync.stores.registry.origins import same_origin
from mirrorsync.stores.registry.referrers import Referrers
from mirrorsync.stores.registry.retry import Transient
from mirrorsync.stores.registry.upload import PartSize, Upload
from mirrorsync.stores.registry.writes import Writes, located_with_login
from mirrorsync.stores.verified import VerifiedChunks, verified

_ACCEPT: Final = {"Accept": media_types.ACCEPT}
# How often a manifest is sent again that names what the registry says it does not have.
_RACES: Final = 2
_ABSENT: Final = frozenset({404})
_ABSENT_OR_NO_HEAD: Final = frozenset({404, 405})
# Whatever goes wrong with a mount, the blob can be copied (go-containerregistry#1404, #1679; Quay, ECR and others).
_NOT_MOUNTED: Final = frozenset({400, 401, 403, 404, 405, 409, 412, 422, 501})


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned about one host in a run, for all of its repositories."""

    parts: PartSize = field(default_factory=PartSize)
    page_size: PageSize = field(default_factory=PageSize)


class RegistryRepository:
    """One repository of a registry. `open` and `put` block; all else runs on the event loop.

    destination: it will be written; see destination.py. projects: creates what a write needs, or None.
    """

    def __init__(
        self,
        client: Client,
        store: str,
        name: str,
        learned: Learned,
        observer: Observer,
        *,
        destination: bool = False,
        projects: Projects | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._store = store
        self._parts = learned.parts
        self._page_size = learned.page_size
        self._observer = observer
        self._url = f"{client.url}/v2/{name}"
        self._push = (f"repository:{name}:pull,push",)
        self._pull = self._push if destination else (f"repository:{name}:pull",)
        self._writes = Writes(client, name, self._push, projects)
        self._asks: Asks = client
        if destination:
            self._asks = DestinationQuestions(client, self._url, self._push, learned.page_size)
        self._referrers = Referrers(client, self._url, self._pull, self._tagged, self._put_tag)

    async def resolve(self, reference: str) -> Descriptor | None:
        """Return what a tag or digest names, None when it is not there. One HEAD, which Docker Hub does not count."""
        doing = "asking what it is"
        with self._located(reference):
            request = Request("HEAD", self._manifest_url(reference), self._pull, _ACCEPT, known=_ABSENT_OR_NO_HEAD)
            answer = await self._asks.ask(request, doing)
            if answer.status == 404:
                return None
            described = _described(answer, reference) if answer.ok else None
            if described is not None:
                return described
            # No digest, length or type in the answer: old registries and proxies lose them. The content has all three.
            manifest = await self._fetch(reference)
            return manifest.descriptor if manifest else None

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag, each once; what breaks the grammar is left out, and told. Raises: RepositoryNotFound."""
        doing = "listing its tags"
        request = Request("GET", f"{self._url}/tags/list", self._pull, limit=MAX_PAGE_BYTES, known=_ABSENT)
        seen: set[str] = set()
        refused = 0
        with self._located():
            async for answer in pages(self._asks, request, doing, self._page_size):
                if answer.status == 404:
                    raise RepositoryNotFound("the registry has no such repository")
                for tag in fresh(answer, "tags", seen, doing):
                    if not _is_tag(tag):
                        refused += 1
                        self._tell_of(tag, refused)
                        continue
                    yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Tell whether the repository holds the blob, with the right size."""
        answer = await self._head_blob(blob.digest)
        return answer is not None and (not answer.ok or answer.length in (None, blob.size))

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None when it is not there or its size is not told."""
        answer = await self._head_blob(digest)
        if answer is None or not answer.ok or answer.length is None:
            return None
        return Descriptor(media_types.ANY_BYTES, digest, answer.length)

    async def _head_blob(self, digest: Digest) -> Answer | None:
        """Ask for a blob; None when it is not there. An answer of 403 is a storage's, and says that it is there."""
        doing = f"asking for blob {digest.short}"
        with self._located(digest):
            request = Request("HEAD", self._blob_url(digest), self._pull, known=frozenset({403, 404}))
            answer = await self._asks.ask(request, doing)
            # A storage's URL can be signed for GET alone. That the registry leads there says that it has the blob.
            if answer.status == 403 and same_origin(answer.url, self._client.url):
                raise failure(answer, doing)
            return answer if answer.status != 404 else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest, whole and verified. Raises: ContentNotFound, IntegrityError."""
        with self._located(content.digest):
            manifest = await self._fetch(content.digest, content)
            if manifest is None:
                raise ContentNotFound("the repository has no such manifest")
            return manifest

    async def _fetch(self, reference: str, content: Descriptor | None = None) -> Manifest | None:
        """Get a manifest by tag or digest; content: what it has to be, None when that is not known."""
        request = Request(
            "GET", self._manifest_url(reference), self._pull, _ACCEPT, limit=MAX_MANIFEST_BYTES, known=_ABSENT
        )
        answer = await self._asks.ask(request, "reading its manifest")
        if answer.status == 404:
            return None
        if not answer.whole:
            raise IntegrityError(f"manifest is larger than {MAX_MANIFEST_BYTES} bytes")
        said = answer.media_type
        if said == "text/html":
            raise RegistryFailure(
                "it answers with a web page and no manifest",
                remedy="check the host name, and whether a proxy or a login page stands before the registry",
            )
        if content is None:
            digest = Digest(reference) if ":" in reference else None
            return Manifest.parse(answer.body, said, digest=digest)
        if media_types.is_manifest(said) and said != content.media_type:
            raise IntegrityError(f"manifest is sent as {said!r}, and its descriptor says {content.media_type!r}")
        return Manifest.parse(answer.body, content.media_type, digest=content.digest, size=content.size)

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject has that digest, by the API or the fallback tag."""
        with self._located(subject):
            return await self._referrers.of(subject)

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob, whole and verified. Raises: ContentNotFound, IntegrityError."""
        with self._located(blob.digest):
            request = Request("GET", self._blob_url(blob.digest), self._pull, limit=blob.size, known=_ABSENT)
            answer = await self._client.ask(request, f"reading blob {blob.digest.short}")
            if answer.status == 404:
                raise ContentNotFound("the repository has no such blob")
            if not answer.whole:
                raise IntegrityError(f"blob {blob.digest} has more than the {blob.size} bytes its descriptor says")
            return verified(blob, answer.body)

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob's chunks from `offset` on; resumes by itself. Blocking. Raises: ContentNotFound."""
        # Imported here for the same reason as in client.py: it needs httpx.
        from mirrorsync.stores.registry.download import Download

        with self._located(blob.digest):
            request = Request("GET", self._blob_url(blob.digest), self._pull)
            with Download(self._client, request, blob, offset).chunks() as chunks:
                yield chunks

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        """Mount a blob of repository `origin`; False when the registry does not do it."""
        query = urlencode({"mount": blob.digest, "from": origin})
        # The repository that is written to comes first: some token services only see the first scope.
        scopes = (*self._push, f"repository:{origin}:pull")
        request = Request("POST", f"{self._url}/blobs/uploads/?{query}", scopes, body=b"", known=_NOT_MOUNTED)
        with self._located(blob.digest):
            try:
                answer = await self._client.ask(request, f"mounting blob {blob.digest.short}")
            except (Unauthorized, Denied, RegistryFailure):
                return False  # Docker Hub refuses the token when it does not know one of the two repositories
            if answer.status == 202:
                await self._cancel(answer)
            return answer.status == 201

    async def _cancel(self, answer: Answer) -> None:
        """Give back the upload that a registry opens instead of mounting. It may not listen: it cleans up later."""
        try:
            location = self._client.resolved(answer.url, answer.header("Location"))
            await self._client.once(Request("DELETE", location, self._push), "giving an upload back")
        except (Transient, MirrorsyncError):
            pass

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError, MirrorsyncError."""
        with self._located(blob.digest):
            upload = Upload(self._client, self._url, self._push, blob, self._parts)
            checked = verified(blob, data)
            await self._writes.attempt(lambda: upload.small(checked))

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks, which are verified before the last of them is sent. Blocking."""
        with self._located(blob.digest), self._writes.blocking():
            upload = Upload(self._client, self._url, self._push, blob, self._parts)
            upload.stream(VerifiedChunks.of(blob, chunks))

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under its digest."""
        with self._located(manifest.digest):
            await self._writes.attempt(lambda: self._put(manifest, manifest.digest))

    async def tag(self, manifest: Manifest, tag: str) -> None:
        """Store a manifest under a tag: one request makes both."""
        with self._located(tag):
            check_tag(tag)
            await self._writes.attempt(lambda: self._put(manifest, tag))

    async def _put(self, manifest: Manifest, reference: str) -> None:
        headers = {"Content-Type": manifest.media_type}
        known = frozenset({400, 404})
        request = Request("PUT", self._manifest_url(reference), self._push, headers, manifest.raw, known=known)
        answer = await self._written(request)
        stored = answer.header("Docker-Content-Digest")
        if stored and stored != manifest.digest and stored.startswith(f"{manifest.digest.algorithm}:"):
            raise IntegrityError(f"the registry stored manifest {manifest.digest.short} as {printable(stored, 80)}")
        if manifest.subject is not None and not answer.header("OCI-Subject"):
            await self._referrers.add(manifest)

    async def _written(self, request: Request) -> Answer:
        """Send a manifest, and send it again when the registry does not find what it has just stored.

        distribution truncates a manifest's link before it writes the same again (storage driver "filesystem",
        PutContent), so that an index is refused when one of its images gets a second tag in that moment.
        """
        doing = "writing its manifest"
        refused = 0

        async def attempt() -> Answer:
            nonlocal refused
            answer = await self._client.once(request, doing)
            if answer.ok:
                return answer
            refused += 1
            if refused <= _RACES and "MANIFEST_BLOB_UNKNOWN" in codes(answer):
                raise Transient(failure(answer, doing), status=answer.status)
            raise failure(answer, doing)

        return await self._client.persist(doing, attempt)

    async def delete(self, reference: str) -> None:
        """Remove a tag, or a manifest by digest.

        Raises: ContentNotFound; TagsNotDeleted; RegistryFailure where nothing is deleted.
        """
        scopes = (f"repository:{self.name}:pull,push,delete",)
        with self._located(reference):
            request = Request("DELETE", self._manifest_url(reference), scopes, known=frozenset({400, 404, 405}))
            answer = await self._client.ask(request, "deleting it")
            if answer.status == 404:
                raise ContentNotFound(f"the repository has no such {'manifest' if ':' in reference else 'tag'}")
            if not answer.ok and ":" not in reference:
                # distribution 2.8 reads the tag as a digest (DIGEST_INVALID), and says UNSUPPORTED when all deletion is
                # off; whether it deletes at all, only the digest can tell.
                raise TagsNotDeleted("the registry does not delete single tags")
            if not answer.ok:
                raise RegistryFailure(
                    "the registry does not delete images",
                    remedy="allow it in the registry's configuration (REGISTRY_STORAGE_DELETE_ENABLED=true for "
                    "docker-registry)",
                )

    async def _tagged(self, tag: str) -> Manifest | None:
        return await self._fetch(tag)

    async def _put_tag(self, manifest: Manifest, tag: str) -> None:
        await self._put(manifest, tag)

    def _manifest_url(self, reference: str) -> str:
        return f"{self._url}/manifests/{reference if ':' in reference else check_tag(reference)}"

    def _blob_url(self, digest: Digest) -> str:
        return f"{self._url}/blobs/{digest}"

    def _tell_of(self, tag: str, number: int) -> None:
        shown = 3
        if number <= shown:
            message = f"a name in its list of tags is not a tag, and is left out: {printable(tag, 60)!r}"
            self._observer(Noticed(f"{self._store}/{self.name}", message))

    def _located(self, reference: str | None = None) -> located:
        return located_with_login(self._client, self._pull, self._store, self.name, reference)


def _is_tag(text: str) -> bool:
    try:
        check_tag(text)
    except GrammarError:
        return False
    return True


def _described(answer: Answer, reference: str) -> Descriptor | None:
    """Return what a HEAD says, None when it does not say all: digest, size and a manifest's media type.

    Raises: IntegrityError when a digest was asked for and another one is answered.
    """
    asked = Digest(reference) if ":" in reference else None
    told = _digest(answer.header("Docker-Content-Digest"))
    if asked is not None and told is not None and told != asked and told.algorithm == asked.algorithm:
        raise IntegrityError(f"asked for {asked} and got {told}")
    digest = asked or told
    kinds = media_types.MANIFESTS | media_types.SCHEMA_1
    if digest is None or not answer.length or answer.media_type not in kinds:
        return None
    return Descriptor(answer.media_type, digest, answer.length)


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text)
    except GrammarError:
        return None
