"""Wrong answers to HEAD: a GET decides, and from then on the host is asked by GET."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirrorsync.errors import Denied, IntegrityError, RegistryFailure
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag, parse_ref
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.registry.heads import Heads
from mirrorsync.stores.registry.repository import RegistryRepository
from tests.parts.images import DOCKER_MANIFEST, OCI_INDEX, image, layer, noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described

IMAGES = {tag: image([layer({"tag": tag.encode()})]) for tag in ("1", "2", "3")}
ROOTS = {tag: Manifest.parse(made.raw, made.media_type) for tag, made in IMAGES.items()}
LENGTH = str(len(IMAGES["1"].raw) + 7)
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
LAYER = noise("a layer", 5000)

Misbehave = Callable[[Unruly], None]


def head(name: str, **detail: Any) -> Misbehave:
    return lambda server: server.fault(name, "HEAD", "/manifests/", **detail)


# Wrong answers to HEAD with a right GET; the first group shows at once, the second only if the manifest is read.
PLAINLY_WRONG: dict[str, Misbehave] = {
    **{str(status): head("answer", status=status) for status in (400, 403, 405, 501)},
    "no digest": head("headers", change={"Docker-Content-Digest": None}),
    "no length": head("unsized"),
    "length 0": head("headers", change={"Content-Length": "0"}),
    "no type": head("headers", change={"Content-Type": None}),
    "schema 1": head("headers", change={"Content-Type": SCHEMA_1}),
    "JSON": head("headers", change={"Content-Type": "application/json"}),
}
FOUND_OUT_LATER: dict[str, Misbehave] = {
    "another length": head("headers", change={"Content-Length": LENGTH}),
    "another type": head("headers", change={"Content-Type": DOCKER_MANIFEST}),
    "the type of an index": head("headers", change={"Content-Type": OCI_INDEX}),
}


@pytest.fixture(autouse=True)
def held(tiny: TinyRegistry) -> None:
    for tag, made in IMAGES.items():
        tiny.hold("app", made, tag)


async def read_all(repository: WritableRepository) -> dict[str, Manifest]:
    found = {}
    for tag in IMAGES:
        root = await repository.resolve(parse_ref(tag))
        assert root is not None
        found[tag] = await repository.manifest(root)
    return found


@pytest.mark.parametrize("misbehave", PLAINLY_WRONG.values(), ids=PLAINLY_WRONG)
def test_after_an_incomplete_head_get_is_used_for_the_host(
    server: Unruly, harness: ClientHarness, misbehave: Misbehave
) -> None:
    misbehave(server)

    async def resolve(repository: WritableRepository) -> list[object]:
        return [await repository.resolve(parse_ref(tag)) for tag in IMAGES]

    assert harness.within(resolve) == [root.descriptor for root in ROOTS.values()]
    asked = [f"{one.method} {one.path.rpartition('/')[2]}" for one in server.seen.requests if one.path != "/v2/"]
    assert asked == ["HEAD 1", "GET 1", "GET 2", "GET 3"]


@pytest.mark.parametrize("misbehave", FOUND_OUT_LATER.values(), ids=FOUND_OUT_LATER)
def test_a_wrong_type_or_length_in_a_head_does_not_fail_the_manifest(
    server: Unruly, harness: ClientHarness, misbehave: Misbehave
) -> None:
    misbehave(server)
    assert harness.within(read_all) == ROOTS
    assert len(server.seen.of("HEAD", "/manifests/")) == 1


def test_a_wrong_length_in_a_descriptor_is_rejected(server: Unruly, harness: ClientHarness) -> None:
    true = ROOTS["1"].descriptor
    lying = Descriptor(true.media_type, true.digest, true.size + 1)
    with pytest.raises(IntegrityError, match="its descriptor says"):
        harness.within(lambda repository: repository.manifest(lying))


def test_an_error_of_both_head_and_get_is_reported(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "*", "/manifests/", status=403)
    with pytest.raises(Denied):
        harness.resolve("1")
    server.fault("answer", "*", "/manifests/", status=501)
    with pytest.raises(RegistryFailure):
        harness.resolve("1")


def test_an_absent_tag_costs_one_head_and_no_get(server: Unruly, harness: ClientHarness) -> None:
    async def absent(repository: WritableRepository) -> list[object]:
        return [await repository.resolve(Tag(f"absent{number}")) for number in range(20)]

    assert set(harness.within(absent)) == {None}
    assert len(server.seen.of("HEAD", "/manifests/")) == 20
    assert not server.seen.of("GET", "/manifests/")


def test_a_404_to_a_head_is_confirmed_by_get_once(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "HEAD", "/manifests/", status=404)

    async def work(repository: WritableRepository) -> list[object]:
        assert isinstance(repository, RegistryRepository)
        assert await repository.resolve(Tag("1")) is None
        confirmed = await repository.confirm(Tag("1"))
        return [confirmed, await repository.resolve(Tag("2")), await repository.confirm(Tag("absent"))]

    assert harness.within(work) == [ROOTS["1"].descriptor, ROOTS["2"].descriptor, None]
    assert len(server.seen.of("HEAD", "/manifests/")) == 1


def test_head_is_always_tried_first_if_a_get_counts_as_a_pull() -> None:
    hub, other = Heads("registry-1.docker.io"), Heads("registry.example:5000")
    for heads in (hub, other):
        assert heads.trusted
        heads.distrust()
    assert (hub.trusted, hub.counted) == (True, True)
    assert (other.trusted, other.counted) == (False, False)


# Blobs


def storage_that_signs_get_alone(tiny: TinyRegistry, status: int) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        if asked.method == "HEAD":
            return Reply(status, {"Content-Type": "application/xml"}, b"<Error/>")
        return tiny.blob_reply(tiny.blobs["app", described(LAYER).digest], asked)

    return answer


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_redirected_head_means_the_blob_exists_whatever_the_storage_answers(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, status: int
) -> None:
    tiny.hold_blob("app", LAYER)
    with Unruly(storage_that_signs_get_alone(tiny, status)) as storage:
        server.fault("answer", "*", "/blobs/", status=307, headers={"Location": f"{storage.url}/signed?x=1"})
        assert harness.within(lambda repository: repository.has(described(LAYER))) is True
        assert {asked.method for asked in storage.seen.requests} == {"HEAD"}

        async def kept(repository: WritableRepository) -> list[bool]:
            assert isinstance(repository, RegistryRepository)
            return [await repository.kept(described(LAYER))]

        assert harness.within(kept) == [True]
        (byte,) = storage.seen.of("GET")
        assert byte.headers["Range"] == "bytes=0-0"


def test_the_answer_of_a_registry_that_a_head_is_redirected_to_is_final(server: Unruly, harness: ClientHarness) -> None:
    blob = described(LAYER)
    with Unruly(TinyRegistry()) as other:
        location = f"{other.url}/v2/elsewhere/blobs/{blob.digest}"
        server.fault("answer", "*", "/blobs/", status=307, headers={"Location": location})
        assert harness.within(lambda repository: repository.has(blob)) is False


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_without_a_redirect_a_get_of_one_byte_shows_if_the_blob_exists(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, status: int, ranges: bool
) -> None:
    tiny.hold_blob("app", LAYER)
    tiny.hold_blob("app", b"")
    server.fault("answer", "HEAD", "/blobs/", status=status)
    if not ranges:
        server.fault("ignore_range", "GET", "/blobs/")

    async def asked(repository: WritableRepository) -> list[Any]:
        blobs = [described(data) for data in (LAYER, b"", b"absent")]
        return [await repository.has(blob) for blob in blobs] + [await repository.blob(blobs[0].digest)]

    *held, found = harness.within(asked)
    assert held == [True, True, False]
    assert found is not None
    assert found.size == len(LAYER)
    if ranges:
        assert {asked.headers["Range"] for asked in server.seen.of("GET", "/blobs/")} == {"bytes=0-0"}


@pytest.mark.parametrize("misbehave", ["0", "missing", "of the compressed form"])
def test_a_wrong_length_in_a_head_is_checked_by_get_after_a_write(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, misbehave: str
) -> None:
    tiny.hold_blob("app", LAYER)
    if misbehave == "0":
        server.fault("headers", "HEAD", "/blobs/", change={"Content-Length": "0"})
    elif misbehave == "missing":
        server.fault("unsized", "HEAD", "/blobs/")
    else:
        server.fault("headers", "HEAD", "/blobs/", change={"Content-Encoding": "gzip", "Content-Length": "77"})

    async def kept(repository: WritableRepository) -> list[bool]:
        assert isinstance(repository, RegistryRepository)
        whole = await repository.kept(described(LAYER))
        tiny.blobs["app", described(LAYER).digest] = b""
        return [whole, await repository.kept(described(LAYER))]

    assert harness.within(kept) == [True, False]
