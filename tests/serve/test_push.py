"""Push blobs to our server: whole, in chunks, interrupted and continued, mounted; and in every wrong way."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest

from tests.parts.images import digest, noise
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, Response, ask
from tests.serve.harness import Connection, InProcessServer, chunked, code_of, path_of

BYTES = {"Content-Type": "application/octet-stream"}


def begin(server: Registry, repository: str, query: str = "") -> str:
    """Open an upload; return its URL."""
    started = ask("POST", f"{server.url}/{repository}/blobs/uploads/{query}")
    assert (started.status, started.body) == (202, b"")
    assert started.headers["Range"] == "0-0"
    assert started.headers["Docker-Upload-UUID"]
    return urljoin(f"{server.url}/", str(started.headers["Location"]))


def patch(upload: str, start: int, data: bytes) -> Response:
    return ask("PATCH", upload, data, {**BYTES, "Content-Range": f"{start}-{start + len(data) - 1}"})


def close(upload: str, data: bytes, rest: bytes = b"") -> Response:
    return ask("PUT", f"{upload}?digest={digest(data)}", rest, BYTES)


def where(upload: str) -> str:
    """Return how far an upload is, as its status says."""
    answer = ask("GET", upload)
    assert (answer.status, answer.body) == (204, b"")
    assert path_of(answer.headers["Location"]) == path_of(upload)
    return str(answer.headers["Range"])


def absent(server: Registry, repository: str, data: bytes) -> bool:
    return ask("HEAD", f"{server.url}/{repository}/blobs/{digest(data)}").status == 404


def assert_created(server: Registry, repository: str, data: bytes, done: Response) -> None:
    assert done.status == 201, done
    assert done.headers["Docker-Content-Digest"] == digest(data)
    assert ask("GET", urljoin(f"{server.url}/", done.headers["Location"])).body == data
    assert server.blob(repository, digest(data)).body == data


def assert_over(upload: str) -> None:
    answer = ask("GET", upload)
    assert (answer.status, code_of(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_001])
def test_a_blob_is_pushed_by_post_and_put(server: Registry, unique: str, size: int) -> None:
    data = noise(unique, size)
    upload = begin(server, unique)
    assert_created(server, unique, data, close(upload, data, data))
    assert_over(upload)


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_a_blob_is_pushed_by_a_single_post(server: Registry, unique: str, size: int) -> None:
    data = noise(unique, size)
    done = ask("POST", f"{server.url}/{unique}/blobs/uploads/?digest={digest(data)}", data, BYTES)
    assert_created(server, unique, data, done)


def test_a_blob_is_pushed_in_chunks_and_its_status_can_be_asked_in_between(server: Registry, unique: str) -> None:
    data = noise(unique, 2_500_000)
    upload = begin(server, unique)
    assert where(upload) == "0-0"
    for start in range(0, 2_000_000, 500_000):
        answer = patch(upload, start, data[start : start + 500_000])
        assert answer.status == 202
        upload = urljoin(upload, answer.headers["Location"])
        assert answer.headers["Range"] == where(upload) == f"0-{start + 499_999}"
    assert absent(server, unique, data)
    assert_created(server, unique, data, close(upload, data, data[2_000_000:]))


def test_the_last_put_may_be_empty_with_a_content_range(server: Registry, unique: str) -> None:
    data = noise(unique, 1000)
    upload = begin(server, unique)
    assert patch(upload, 0, data).status == 202
    assert_created(server, unique, data, close(upload, data))


def test_a_body_of_unknown_length_is_accepted(server: Registry, unique: str) -> None:
    data = noise(unique, 2_500_000)
    upload = begin(server, unique)
    answer = chunked(server.host, "PATCH", path_of(upload), [data[:10], data[10:2_000_000], data[2_000_000:]])
    assert (answer.status, answer.headers["Range"]) == (202, "0-2499999")
    assert_created(server, unique, data, close(upload, data))


@pytest.mark.parametrize("start", [0, 99, 101, 5000])
def test_a_chunk_out_of_order_is_rejected_and_the_upload_can_be_continued(
    server: Registry, unique: str, start: int
) -> None:
    data = noise(unique, 300)
    upload = begin(server, unique)
    assert patch(upload, 0, data[:100]).status == 202
    wrong = patch(upload, start, data[100:200])
    assert (wrong.status, code_of(wrong)) == (416, "BLOB_UPLOAD_INVALID")
    assert wrong.headers["Range"] == where(upload) == "0-99"
    assert path_of(wrong.headers["Location"]) == path_of(upload)
    # The same for the last one.
    headers = {**BYTES, "Content-Range": f"{start}-{start + 199}"}
    last = ask("PUT", f"{upload}?digest={digest(data)}", data[100:], headers)
    assert last.status == 416
    assert_created(server, unique, data, close(upload, data, data[100:]))


@pytest.mark.parametrize(
    "content_range", ["nonsense", "0-", "-5", "5-0", "bytes 0-9", "lines 0-99", "0-99999999999999999999"]
)
def test_a_chunk_whose_content_range_and_length_disagree_is_rejected(
    server: Registry, unique: str, content_range: str
) -> None:
    data = noise(unique, 100)
    upload = begin(server, unique)
    assert ask("PATCH", upload, data, {**BYTES, "Content-Range": content_range}).status in (400, 416)
    assert where(upload) == "0-0"
    assert_created(server, unique, data, close(upload, data, data))


@pytest.mark.parametrize(("size", "sent"), [(1000, 400), (5_000_000, 2_100_000)])
def test_an_interrupted_chunk_is_kept_and_continued(server: Registry, unique: str, size: int, sent: int) -> None:
    data = noise(unique, size)
    upload = begin(server, unique)
    with Connection(server.host) as line:
        line.begin("PATCH", path_of(upload), {"Content-Range": f"0-{size - 1}", "Content-Length": size})
        line.send(data[:sent])
    # This waits for the interrupted chunk, and returns where to continue.
    answer = patch(upload, size, b"?")
    assert (answer.status, answer.headers["Range"]) == (416, f"0-{sent - 1}")
    assert where(upload) == f"0-{sent - 1}"
    assert patch(upload, sent, data[sent:]).status == 202
    assert_created(server, unique, data, close(upload, data))


def test_an_interrupted_put_leaves_no_blob(server: Registry, unique: str) -> None:
    data = noise(unique, 2_000_000)
    upload = begin(server, unique)
    with Connection(server.host) as line:
        line.begin("PUT", f"{path_of(upload)}?digest={digest(data)}", {"Content-Length": len(data)})
        line.send(data[:-1])
    ended = patch(upload, 0, b"?")  # waits for it
    assert (ended.status, code_of(ended)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert absent(server, unique, data)


def test_content_with_another_digest_never_becomes_a_blob(server: Registry, unique: str) -> None:
    data, other = noise(unique, 2000), noise(f"{unique} other", 2000)
    upload = begin(server, unique)
    assert patch(upload, 0, data[:1000]).status == 202
    for answer in (
        close(upload, other, data[1000:]),
        close(begin(server, unique), other, data),
        close(begin(server, unique), other, b""),
        ask("POST", f"{server.url}/{unique}/blobs/uploads/?digest={digest(other)}", data, BYTES),
    ):
        assert (answer.status, code_of(answer)) == (400, "DIGEST_INVALID")
    assert_over(upload)
    assert absent(server, unique, other)
    assert absent(server, unique, data)


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:abc", "?digest=md5:abc", "?digest=../../etc/passwd"])
def test_a_put_without_a_valid_digest_is_rejected_and_the_upload_can_be_continued(
    server: Registry, unique: str, query: str
) -> None:
    data = noise(unique, 1000)
    upload = begin(server, unique)
    answer = ask("PUT", f"{upload}{query}", data, BYTES)
    assert (answer.status, code_of(answer)) == (400, "DIGEST_INVALID")
    assert_created(server, unique, data, close(upload, data, data))


def test_a_blob_is_pushed_by_sha512(server: Registry, unique: str) -> None:
    data = noise(unique, 1000)
    name = digest(data, "sha512")
    upload = begin(server, unique, "?digest-algorithm=sha512")
    assert patch(upload, 0, data).status == 202
    wrong = begin(server, unique, "?digest-algorithm=sha512")
    assert code_of(ask("PUT", f"{wrong}?digest={digest(b'', 'sha512')}", data, BYTES)) == "DIGEST_INVALID"
    assert ask("PUT", f"{upload}?digest={name}", b"", BYTES).status == 201
    assert server.blob(unique, name).body == data
    unasked = noise(f"{unique} unasked", 1000)
    assert ask("PUT", f"{begin(server, unique)}?digest={digest(unasked, 'sha512')}", unasked, BYTES).status == 201
    assert server.blob(unique, digest(unasked, "sha512")).body == unasked
    refused = ask("POST", f"{server.url}/{unique}/blobs/uploads/?digest-algorithm=md5")
    assert (refused.status, code_of(refused)) == (400, "DIGEST_INVALID")


def test_an_upload_is_cancelled(server: Registry, unique: str) -> None:
    upload = begin(server, unique)
    assert patch(upload, 0, b"some").status == 202
    assert ask("DELETE", upload).status == 204
    assert_over(upload)
    for answer in (patch(upload, 4, b"more"), close(upload, b"somemore", b"more"), ask("DELETE", upload)):
        assert (answer.status, code_of(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_belongs_to_its_repository(server: Registry, unique: str) -> None:
    upload = begin(server, f"{unique}/mine")
    theirs = upload.replace(f"{unique}/mine", f"{unique}/theirs")
    for answer in (ask("GET", theirs), patch(theirs, 0, b"x"), close(theirs, b"x", b"x"), ask("DELETE", theirs)):
        assert (answer.status, code_of(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert where(upload) == "0-0"


def test_a_blob_is_mounted_from_another_repository(server: Registry, unique: str) -> None:
    data = noise(unique, 1000)
    server.push_blob(f"{unique}/from", data)
    url = f"{server.url}/{unique}/to/blobs/uploads/?mount={digest(data)}&from={unique}/from"
    assert_created(server, f"{unique}/to", data, ask("POST", url))


def test_a_blob_is_mounted_without_from_if_all_repositories_share_blobs(served: Serve, unique: str) -> None:
    server, data = Registry(served.host), noise(unique, 1000)
    server.push_blob(f"{unique}/from", data)
    url = f"{server.url}/{unique}/to/blobs/uploads/?mount={digest(data)}"
    assert_created(server, f"{unique}/to", data, ask("POST", url))
    assert ask("POST", f"{url}&from=NO/../name").status == 202


@pytest.mark.parametrize("origin", ["&from={0}/from", "&from={0}/none", "", "&from=NO/../name"])
def test_a_mount_of_a_missing_blob_opens_an_upload(server: Registry, unique: str, origin: str) -> None:
    data = noise(unique, 1000)
    server.push_blob(f"{unique}/from", b"something else")
    upload = begin(server, f"{unique}/to", f"?mount={digest(data)}{origin.format(unique)}")
    assert_created(server, f"{unique}/to", data, close(upload, data, data))


def test_a_blob_is_only_in_the_repository_it_was_pushed_to(memory_server: InProcessServer, unique: str) -> None:
    server, data = Registry(memory_server.host), noise(unique, 10)
    server.push_blob(f"{unique}/one", data)
    assert absent(server, f"{unique}/other", data)


def test_no_file_is_left_of_a_rejected_or_ended_upload(served: Serve, unique: str) -> None:
    server = Registry(served.host)
    incoming = served.log.parent / served.log.name.removesuffix(".serve.log") / ".incoming"
    kept = begin(server, unique)  # so that there is a directory to look into
    before = set(incoming.iterdir())
    data = noise(unique, 1000)
    for query in ("?digest=nonsense", f"?digest={digest(b'other')}", "?mount=nonsense", "?digest-algorithm=md5"):
        assert ask("POST", f"{server.url}/{unique}/blobs/uploads/{query}", data, BYTES).status == 400
    close(begin(server, unique), b"other", data)
    ask("DELETE", begin(server, unique))
    server.push_blob(unique, data)
    assert set(incoming.iterdir()) == before
    ask("DELETE", kept)
