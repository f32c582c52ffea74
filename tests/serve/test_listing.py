"""Lists of our server: tags, the catalog, referrers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest

from tests.parts.images import OCI_INDEX, Image, artifact, digest, image, index, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import code_of

TAGS = ["1.0", "1.10", "1.2", "A", "Z", "_x", "a", "b-c", "latest", "z"]  # in the order of their bytes


def tagged(server: Registry, repository: str, tags: list[str]) -> None:
    made = image([layer({"etc/none": b""})])
    server.push(repository, made)
    for tag in tags:
        server.put_manifest(repository, made, tag)


def walk(url: str, member: str) -> list[list[str]]:
    """Return all pages, from one Link to the next."""
    pages = []
    following: str | None = url
    while following:
        answer = ask("GET", following)
        assert answer.status == 200, answer
        pages.append(answer.json()[member])
        link = answer.headers.get("Link")
        found = re.fullmatch(r'<([^>]+)>; rel="next"', link) if link else None
        assert bool(link) == bool(found), link
        following = urljoin(following, found[1]) if found else None
        assert len(pages) < 100
    return pages


def test_all_tags_are_listed_in_byte_order(server: Registry, unique: str) -> None:
    tagged(server, f"{unique}/app", [*reversed(TAGS)])
    answer = ask("GET", f"{server.url}/{unique}/app/tags/list")
    assert answer.json() == {"name": f"{unique}/app", "tags": TAGS}
    assert "Link" not in answer.headers


@pytest.mark.parametrize("size", [1, 3, 5, 9, 10, 11, 1000, 999_999_999_999])
def test_tags_are_listed_in_pages(server: Registry, unique: str, size: int) -> None:
    tagged(server, unique, TAGS)
    pages = walk(f"{server.url}/{unique}/tags/list?n={size}", "tags")
    assert pages == [TAGS[start : start + size] for start in range(0, len(TAGS), min(size, len(TAGS)))]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("n=0", []),
        ("last=latest", ["z"]),
        ("last=z", []),
        ("last=zzz", []),
        ("last=Q", ["Z", "_x", "a", "b-c", "latest", "z"]),  # which is not a tag
        ("last=", TAGS),
        ("n=", TAGS),
        ("n=2&last=A", ["Z", "_x"]),
        ("n=0000000002&last=A", ["Z", "_x"]),
        ("n=0&last=A", []),
        ("last=%00%ff/../", TAGS),
        ("other=1", TAGS),
    ],
)
def test_a_page_starts_after_last_and_has_at_most_n_tags(
    server: Registry, unique: str, query: str, expected: list[str]
) -> None:
    tagged(server, unique, TAGS)
    answer = ask("GET", f"{server.url}/{unique}/tags/list?{query}")
    assert answer.json()["tags"] == expected
    if query.startswith("n=0") and not expected:
        assert "Link" not in answer.headers


@pytest.mark.parametrize("n", ["-1", "1.5", "ten", "0x10", "1e3", "\u0663", "9" * 5000, " "])
@pytest.mark.parametrize("path", ["{}/tags/list", "_catalog"])
def test_a_page_size_that_is_not_a_number_is_rejected(server: Registry, unique: str, n: str, path: str) -> None:
    tagged(server, unique, ["1"])
    answer = ask("GET", f"{server.url}/{path.format(unique)}?n={quote(n)}")
    assert (answer.status, code_of(answer)) == (400, "PAGINATION_NUMBER_INVALID")


def test_listing_a_missing_repository_is_answered_with_name_unknown(server: Registry, unique: str) -> None:
    answer = ask("GET", f"{server.url}/{unique}/none/tags/list")
    assert (answer.status, code_of(answer)) == (404, "NAME_UNKNOWN")


def test_the_catalog_lists_all_repositories_in_pages(server: Registry, unique: str) -> None:
    names = [f"{unique}/{letter}/app" for letter in "abcde"]
    for name in reversed(names):
        tagged(server, name, ["1"])
    everything = ask("GET", f"{server.url}/_catalog").json()["repositories"]
    assert everything == sorted(everything)
    assert [name for name in everything if name.startswith(f"{unique}/")] == names
    pages = walk(f"{server.url}/_catalog?n=2&last={unique}/", "repositories")
    assert [name for page in pages for name in page if name.startswith(f"{unique}/")] == names
    assert pages[0] == names[:2]
    assert [name for page in walk(f"{server.url}/_catalog?n=7", "repositories") for name in page] == everything
    assert ask("GET", f"{server.url}/_catalog?n=0").json() == {"repositories": []}


def test_the_catalog_is_without_names_that_no_client_can_ask_for(tmp_path: Path) -> None:
    """podman and crane write layouts with a host and a port in the names."""
    made = image([layer({"a": b"1"})])
    write_layout(tmp_path / "layout", {"localhost:5000/x/y:1": made, "app:1": made, "1.0": made})
    with Serve(tmp_path / "layout", writable=False) as server:
        assert ask("GET", f"http://{server.host}/v2/_catalog").json() == {"repositories": ["app"]}
        page = ask("GET", f"http://{server.host}/", headers={"Accept": "text/html"}).body.decode()
        assert "app" in page
        assert "localhost:5000/x/y" not in page


def referrers(server: Registry, repository: str, subject: str, query: str = "") -> tuple[list[dict[str, object]], str]:
    answer = ask("GET", f"{server.url}/{repository}/referrers/{subject}{query}")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, OCI_INDEX)
    document = answer.json()
    assert (document["schemaVersion"], document["mediaType"]) == (2, OCI_INDEX)
    found = sorted(document["manifests"], key=lambda entry: entry["digest"])
    return found, str(answer.headers.get("OCI-Filters-Applied"))


def entry(made: Image, artifact_type: str, **members: object) -> dict[str, object]:
    return {**made.descriptor, "artifactType": artifact_type, **members}


def test_referrers_are_listed_with_artifact_type_and_annotations(server: Registry, unique: str) -> None:
    subject = multi_platform("app")
    sbom, signature = artifact(subject, b"sbom"), artifact(subject, b"signature", "application/vnd.example.signature")
    image_like = image([layer({"a": b"1"})], subject=subject.descriptor)
    many = index([sbom], subject=subject.descriptor, artifactType="application/vnd.example.many")
    server.push(unique, subject, "1")
    for made in (sbom, signature, image_like, many):
        server.push(unique, made)
    about = {"annotations": {"org.example.about": "a test"}}
    expected = [
        entry(sbom, "application/vnd.example.sbom", **about),
        entry(signature, "application/vnd.example.signature", **about),
        entry(image_like, "application/vnd.oci.image.config.v1+json"),
        entry(many, "application/vnd.example.many"),
    ]
    everything, applied = referrers(server, unique, subject.digest)
    assert everything == sorted(expected, key=lambda one: str(one["digest"]))
    assert applied == "None"
    for wanted in expected:
        found, applied = referrers(
            server, unique, subject.digest, f"?artifactType={quote(str(wanted['artifactType']))}"
        )
        assert (found, applied) == ([wanted], "artifactType")
    assert referrers(server, unique, subject.digest, "?artifactType=none/none") == ([], "artifactType")


def test_referrers_of_a_missing_subject_are_listed_too(server: Registry, unique: str) -> None:
    assert referrers(server, f"{unique}/none", digest(b"none")) == ([], "None")
    subject = multi_platform(f"later {unique}")
    early = artifact(subject, b"early")
    server.push(unique, early)
    assert [found["digest"] for found in referrers(server, unique, subject.digest)[0]] == [early.digest]
    server.push(unique, subject, "1")
    assert [found["digest"] for found in referrers(server, unique, subject.digest)[0]] == [early.digest]


def test_a_referrer_is_listed_in_its_repository_only_and_until_it_is_deleted(server: Registry, unique: str) -> None:
    subject = multi_platform("app")
    made = artifact(subject, b"sbom")
    server.push(f"{unique}/one", made, "sbom")
    server.push(f"{unique}/other", subject, "1")
    assert len(referrers(server, f"{unique}/one", subject.digest)[0]) == 1
    assert referrers(server, f"{unique}/other", subject.digest)[0] == []
    assert ask("DELETE", f"{server.url}/{unique}/one/manifests/{made.digest}").status == 202
    assert referrers(server, f"{unique}/one", subject.digest)[0] == []
