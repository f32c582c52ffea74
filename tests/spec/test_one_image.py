"""Mirrors whose `from:` names one image, of any transport, and the ref that is resolved at the source."""

from __future__ import annotations

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag, parse_ref
from mirrorsync.oci.reference import Location
from mirrorsync.plan.policies import Referrers
from mirrorsync.spec.selection import Selection, Wanted
from tests.spec.reader import mirror, read

A = Digest.of(b"a")
ID = str(A)


def exact(tag: str, ref: str | None = None) -> Wanted:
    return Wanted(Tag(tag), Tag(tag) if ref is None else parse_ref(ref))


@pytest.mark.parametrize(
    ("entry", "source", "wanted", "target"),
    [
        ("{from: 'nginx:1'}", "docker.io/library/nginx", exact("1"), "library/nginx"),
        ("{from: 'nginx:1', tag: '2'}", "docker.io/library/nginx", exact("2", "1"), "library/nginx"),
        ("{from: 'nginx:1', tag: '1'}", "docker.io/library/nginx", exact("1"), "library/nginx"),
        (f"{{from: 'nginx@{A}', tag: '2'}}", "docker.io/library/nginx", exact("2", A), "library/nginx"),
        (f"{{from: 'nginx:1@{A}', tag: '2'}}", "docker.io/library/nginx", exact("2", A), "library/nginx"),
        ("{from: 'docker-daemon:app:dev'}", "docker-daemon:app", exact("dev"), "app"),
        ("'docker-daemon:app:dev'", "docker-daemon:app", exact("dev"), "app"),
        ("{from: 'docker-daemon:quay.io/x/y:1'}", "docker-daemon:quay.io/x/y", exact("1"), "x/y"),
        (f"{{from: 'docker-daemon:{ID}', tag: a, name: x}}", "docker-daemon:", exact("a", f"@{A}"), "x"),
        ("{from: 'docker-archive:a.tar:@1', tag: a}", "docker-archive:/base/a.tar", exact("a", "@1"), "a.tar"),
        ("{from: 'docker-archive:a.tar', tag: a, name: x}", "docker-archive:/base/a.tar", exact("a", ""), "x"),
        ("'docker-archive:a.tar:x/y:1'", "docker-archive:/base/a.tar:x/y", exact("1"), "x/y"),
        ("'oci-archive:a.tar:x/y:1'", "oci-archive:/base/a.tar:x/y", exact("1"), "x/y"),
        ("{from: 'oci:disk', tag: a, name: x}", "oci:/base/disk", exact("a", ""), "x"),
        ("{from: 'dir:img', tag: a}", "dir:/base/img", exact("a", ""), "img"),
    ],
)  # fmt: skip
def test_one_image_is_selected_as(entry: str, source: str, wanted: Wanted, target: str) -> None:
    (found,) = read(mirror(entry)).mirrors
    assert str(found.source) == source
    assert found.selection == Selection(exact=(wanted,))
    assert found.namespace is None
    assert found.target(found.destinations[0], found.source.repository) == Location("oci:/srv/mirror", target)


@pytest.mark.parametrize("address", ["oci:disk", "oci-archive:a.tar", "docker-archive:a.tar", "docker-daemon:"])
def test_all_repositories_of_a_store_can_be_wanted(address: str) -> None:
    (found,) = read(mirror(f"{{from: '{address}', tags: {{all: true}}}}")).mirrors
    assert found.namespace is not None
    assert found.source.repository == ""


@pytest.mark.parametrize(
    ("destination", "location"),
    [
        ("oci-archive:a.tar", Location("oci-archive:/base/a.tar", "library/nginx")),
        ("docker-archive:a.tar:x", Location("docker-archive:/base/a.tar", "x/library/nginx")),
        ("docker-archive:a.tar", Location("docker-archive:/base/a.tar", "nginx")),
        ("docker-daemon:", Location("docker-daemon:", "nginx")),
        ("docker-daemon:localhost:5000/m", Location("docker-daemon:", "localhost:5000/m/library/nginx")),
        ("dir:img", Location("dir:/base/img", "")),
    ],
)
def test_repository_names_are_in_the_canonical_spelling_of_the_destination(
    destination: str, location: Location
) -> None:
    text = f"version: 1\ndestinations: {{there: '{destination}'}}\nmirrors: [nginx:1]\n"
    (found,) = read(text).mirrors
    assert found.target(found.destinations[0], found.source.repository) == location


def test_what_becomes_of_the_index_comes_with_the_platforms() -> None:
    spec = read(
        "version: 1\ndestinations: {disk: 'oci:/srv/mirror'}\n"
        "defaults: {platforms: {only: [linux/amd64], index: sparse}}\n"
        "mirrors: [nginx:1, {from: 'nginx:2', platforms: [linux/arm64]}, "
        "{from: 'nginx:3', platforms: {only: [linux/arm64], index: rewrite}}]\n"
    )
    assert [(mirror.index, str(mirror.platforms[0])) for mirror in spec.mirrors] == [
        ("sparse", "linux/amd64"),
        ("", "linux/arm64"),
        ("rewrite", "linux/arm64"),
    ]


def test_platforms_and_referrers_come_from_the_mirror_or_the_defaults() -> None:
    text = (
        "version: 1\ndestinations: {disk: oci:/srv/mirror}\n"
        "defaults: {platforms: [linux/amd64], referrers: true}\n"
        "mirrors: [nginx:1, {from: 'nginx:2', platforms: [linux/arm64, linux/arm/v7], referrers: false}]\n"
    )
    first, second = read(text).mirrors
    assert (first.platforms, first.referrers) == ((Platform("linux", "amd64"),), Referrers())
    assert second.platforms == (Platform("linux", "arm64"), Platform("linux", "arm", "v7"))
    assert second.referrers is None


def test_the_followed_ref_of_a_mirror_is_its_tag_or_pick() -> None:
    def followed(entry: str) -> str | None:
        (found,) = read(mirror(entry)).mirrors
        (wanted,) = found.selection.exact
        return found.followed(wanted)

    assert followed("nginx:1") == "1"
    assert followed(f"nginx:1@{A}") is None
    assert followed(f"nginx@{A}") is None
    assert followed("{from: 'nginx:1', tag: '2'}") == "1"
    assert followed("{from: 'dir:img', tag: '2'}") == ""
    assert followed(f"{{from: 'nginx:1@{A}', platforms: [linux/amd64]}}") == A
