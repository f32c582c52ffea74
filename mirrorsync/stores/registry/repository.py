"""One repository of a registry: the requests of the distribution spec, and its blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlencode

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    GrammarError,
    MirrorsyncError,
    RegistryFailure,
    RepositoryNotFound,
    TagsNotDeleted,
    Unauthorized,
)
from mirrorsync.events import Noticed, Observer
from mirrorsync.files.chunks import VerifiedChunks, verified
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.stores.located import located_at
from mirrorsync.stores.registry.api import Api
from mirrorsync.stores.registry.blob_coding import SLACK, blob_of
from mirrorsync.stores.registry.bounds import Seen
from mirrorsync.stores.registry.foreign import open_foreign, read_foreign
from mirrorsync.stores.registry.harbor import Projects
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import MAX_PAGE_BYTES, Answer, Request
from mirrorsync.stores.registry.http.retry import Transient
from mirrorsync.stores.registry.learned import Learned
from mirrorsync.stores.registry.manifests import Manifests
from mirrorsync.stores.registry.pages import fresh, pages
from mirrorsync.stores.registry.presence import Found, find_blob
from mirrorsync.stores.registry.upload import StagedUpload, Upload
from mirrorsync.stores.registry.writes import Writes, located_with_login
from mirrorsync.text import printable

_ABSENT: Final = frozenset({404})
# If a mount fails for any reason, the blob can be copied (go-containerregistry#1404, #1679; Quay, ECR and others).
_NOT_MOUNTED: Final = frozenset({400, 401, 403, 404, 405, 409, 412, 422, 501})


class RegistryRepository:
    """One repository of a registry. `open`, `put`, `stage` and `publish` block; all others run on the event loop.

    staged: the uploads of the store that are neither closed nor cancelled, by repository and digest. destination: it
    will be written; see destination.py. projects: creates the project that a write needs, or None.
    """

    def __init__(
        self,
        client: Client,
        store: str,
        name: str,
        learned: Learned,
        observer: Observer,
        staged: MutableMapping[tuple[str, Digest], StagedUpload],
        *,
        destination: bool = False,
        projects: Projects | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._store = store
        self._learned = learned
        self._observer = observer
        self._staged = staged
        self._api = Api(client, name, learned.page_size, destination=destination)
        self._manifests = Manifests(self._api, learned)
        self._writes = Writes(client, name, self._api.push, projects)

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the descriptor that a tag or digest names, None if it is missing. One HEAD, which Docker Hub does not
        count as a pull.
        """
        if isinstance(ref, Pick):
            return None  # every image of a registry has a digest
        with self._located(ref):
            return await self._manifests.resolve(ref)

    def doubt(self, found: Descriptor) -> None:
        """Take of a descriptor that another address named only the digest for certain."""
        self._manifests.doubt(found)

    async def confirm(self, ref: Ref) -> Descriptor | None:
        """Ask again, by GET, for a ref that `resolve` did not find."""
        if isinstance(ref, Pick):
            return None
        with self._located(ref):
            return await self._manifests.confirm(ref)

    async def kept(self, content: Descriptor) -> bool:
        """Return whether content that was just written is stored with all its bytes: by HEAD, if necessary by GET."""
        # With the scope of the write, for which there is a token.
        with self._located(content.digest):
            if content.is_manifest:
                return await self._manifests.kept(content)
            return await self._keeps(content, self._api.push)

    async def _keeps(self, blob: Descriptor, scopes: tuple[str, ...]) -> bool:
        url = self._api.blob(blob.digest)
        found = await find_blob(self._api.asks, url, blob.digest, scopes, expected=blob.size)
        return found is not None and found.size in (None, blob.size)

    def login(self) -> str | None:
        """Return a name for the account that it was read with, "" without one, None if that is not known."""
        return self._client.login(self._api.pull)

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, each once; invalid tags are skipped and reported. Raises: RepositoryNotFound."""
        doing = "listing its tags"
        request = Request("GET", f"{self._api.url}/tags/list", self._api.pull, limit=MAX_PAGE_BYTES, known=_ABSENT)
        seen = Seen()
        invalid = 0
        with self._located():
            async for answer in pages(self._api.asks, request, doing, self._learned.page_size):
                if answer.status == 404:
                    raise RepositoryNotFound("the registry has no such repository")
                for text in fresh(answer, "tags", seen, doing):
                    tag = _tag(text)
                    if tag is None:
                        invalid += 1
                        self._report_invalid(text, invalid)
                        continue
                    yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Return whether the repository has the blob, with the right size."""
        found = await self._find_blob(blob.digest)
        return found is not None and found.size in (None, blob.size)

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None if it is missing or its size is unknown."""
        found = await self._find_blob(digest)
        if found is None or found.size is None:
            return None
        return Descriptor(media_types.ANY_BYTES, digest, found.size)

    async def _find_blob(self, digest: Digest) -> Found | None:
        with self._located(digest):
            return await find_blob(self._api.asks, self._api.blob(digest), digest, self._api.pull)

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest, whole and verified. Raises: ContentNotFound, IntegrityError."""
        with self._located(content.digest):
            manifest = await self._manifests.fetch(content.digest, content)
            if manifest is None:
                raise ContentNotFound("the repository has no such manifest")
            return manifest

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject has that digest, from the API or the fallback tag."""
        with self._located(subject):
            return await self._manifests.referrers.of(subject)

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob, whole and verified. Raises: ContentNotFound, IntegrityError."""
        with self._located(blob.digest):
            url, limit = self._api.blob(blob.digest), blob.size + SLACK
            request = Request("GET", url, self._api.pull, limit=limit, expects=blob.size, known=_ABSENT, as_sent=True)
            answer = await self._client.ask(request, f"reading blob {blob.digest.short}")
            if answer.status == 404 and blob.urls:
                return await read_foreign(self._client, blob)
            if answer.status == 404:
                raise ContentNotFound("the repository has no such blob")
            return blob_of(answer, blob)

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob's chunks from `offset` on; resumes by itself. Blocking. Raises: ContentNotFound."""
        # Imported here for the same reason as in client.py: it needs httpx.
        from mirrorsync.stores.registry.download import Download

        with self._located(blob.digest), ExitStack() as open_now:
            request = Request("GET", self._api.blob(blob.digest), self._api.pull)
            download = Download(self._client, request, blob, offset, self._learned.coding)
            try:
                chunks = open_now.enter_context(download.chunks())
            except ContentNotFound:
                if not blob.urls:
                    raise
                chunks = open_now.enter_context(open_foreign(self._client, blob, offset))
            yield chunks

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        """Mount a blob of repository `origin`; False if the registry does not, or only claims to have done it.

        There is one token for both repositories, so a blob of a repository with another login is copied.
        """
        if not self._learned.mounts:
            return False
        query = urlencode({"mount": blob.digest, "from": origin})
        source = f"repository:{origin}:pull"
        # The repository that is written to comes first: some token services only see the first scope.
        scopes = (*self._api.push, source)
        request = Request("POST", f"{self._api.url}/blobs/uploads/?{query}", scopes, body=b"", known=_NOT_MOUNTED)
        with self._located(blob.digest):
            if not await self._client.same_login(self._api.push, (source,)):
                return False
            try:
                answer = await self._client.ask(request, f"mounting blob {blob.digest.short}")
            except (Unauthorized, Denied, RegistryFailure):
                return False  # Docker Hub denies the token if one of the two repositories does not exist
            if answer.status == 202:
                await self._cancel(answer)
            if answer.status != 201:
                return False
            if await self._keeps(blob, scopes):
                self._manifests.mounted.add(blob.digest)
                return True
        self._learned.mounts = False  # 201 to a mount that was not made (manifest-tool#98)
        return False

    async def _cancel(self, answer: Answer) -> None:
        """Cancel the upload that a registry opens instead of mounting. It may ignore that, and cleans up later."""
        try:
            location = self._client.resolved(answer.url, answer.header("Location"))
            await self._client.once(Request("DELETE", location, self._api.push), "cancelling an upload")
        except (Transient, MirrorsyncError):
            pass

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError, MirrorsyncError."""
        with self._located(blob.digest):
            checked = verified(blob, data)
            await self._writes.attempt(lambda: self._upload(blob).small(checked))

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks, which are verified before the last of them is sent. Blocking."""
        with self._located(blob.digest), self._writes.blocking():
            self._upload(blob).stream(VerifiedChunks.of(blob, chunks))

    def stage(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Upload a blob from its chunks, and leave the upload open: nothing has it before `publish`. Blocking."""
        with self._located(blob.digest), self._writes.blocking():
            upload = self._upload(blob).stage(VerifiedChunks.of(blob, chunks))
        self._staged[self.name, blob.digest] = upload

    def publish(self, blob: Descriptor) -> bool:
        """Close the upload of a blob that was staged; return whether it was. Blocking."""
        staged = self._staged.pop((self.name, blob.digest), None)
        if staged is not None:
            with self._located(blob.digest), self._writes.blocking():
                staged.publish()
        return staged is not None

    def _upload(self, blob: Descriptor) -> Upload:
        return Upload(self._client, self._api.url, self._api.push, blob, self._learned.parts)

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under its digest."""
        with self._located(manifest.digest):
            await self._writes.attempt(lambda: self._manifests.put(manifest, manifest.digest))

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Store a manifest under a tag, in one request."""
        with self._located(tag):
            await self._writes.attempt(lambda: self._manifests.put(manifest, tag))

    async def delete(self, ref: Tag | Digest) -> None:
        """Delete a tag, or a manifest by digest.

        Raises: ContentNotFound; TagsNotDeleted; RegistryFailure if the registry does not support it.
        """
        with self._located(ref):
            request = Request("DELETE", self._api.manifest(ref), self._api.delete, known=frozenset({400, 404, 405}))
            answer = await self._client.ask(request, "deleting it")
            if answer.status == 404:
                raise ContentNotFound(f"the repository has no such {'manifest' if isinstance(ref, Digest) else 'tag'}")
            if not answer.ok and isinstance(ref, Tag):
                # distribution 2.8 reads the tag as a digest (DIGEST_INVALID), and answers UNSUPPORTED if all deletion
                # is off; only a request by digest shows whether it deletes at all.
                raise TagsNotDeleted("the registry does not delete single tags")
            if not answer.ok:
                raise RegistryFailure(
                    "the registry does not delete images",
                    remedy="allow it in the registry's configuration (REGISTRY_STORAGE_DELETE_ENABLED=true for "
                    "docker-registry)",
                )

    def _report_invalid(self, tag: str, number: int) -> None:
        shown = 3
        if number <= shown:
            message = f"skipping an invalid tag in its list: {printable(tag, 60)!r}"
            self._observer(Noticed(f"{self._store}/{self.name}", message))

    def _located(self, ref: Ref | None = None) -> located_at:
        return located_with_login(self._client, self._api.pull, self._store, self.name, ref)


def _tag(text: str) -> Tag | None:
    try:
        return Tag(text)
    except GrammarError:
        return None
