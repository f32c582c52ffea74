"""References: every spelling of an image's location, and the one canonical form."""

from __future__ import annotations

import pytest

from mirrorsync.errors import ExitCode, GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_host, check_repository, split_ref_name
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Tag, parse_ref, written
from mirrorsync.oci.reference import (
    Location,
    host_and_path,
    parse_destination,
    parse_image,
    parse_repository,
)

A = Digest.of(b"a")
HUB = "docker.io"


@pytest.mark.parametrize(
    ("text", "store", "repository", "tag", "digest"),
    [
        ("nginx", HUB, "library/nginx", None, None),
        ("nginx:1.27", HUB, "library/nginx", "1.27", None),
        ("team/app:1", HUB, "team/app", "1", None),
        ("a/b/c", HUB, "a/b/c", None, None),
        ("docker.io/nginx", HUB, "library/nginx", None, None),
        ("docker.io/library/nginx:1", HUB, "library/nginx", "1", None),
        ("index.docker.io/nginx", HUB, "library/nginx", None, None),
        ("registry-1.docker.io/team/app", HUB, "team/app", None, None),
        ("registry.hub.docker.com/team/app", HUB, "team/app", None, None),
        ("DOCKER.io/nginx", HUB, "library/nginx", None, None),
        ("docker://nginx", HUB, "library/nginx", None, None),
        ("docker://quay.io/a/b:1", "quay.io", "a/b", "1", None),
        ("Quay.IO/a/b", "quay.io", "a/b", None, None),
        ("quay.io/nginx", "quay.io", "nginx", None, None),
        ("localhost/a", "localhost", "a", None, None),
        ("localhost:5000", HUB, "library/localhost", "5000", None),
        ("nginx:1/2", "nginx:1", "2", None, None),
        ("localhost:5000/a", "localhost:5000", "a", None, None),
        ("h:65535/a/b:1", "h:65535", "a/b", "1", None),
        ("127.0.0.1:1/a", "127.0.0.1:1", "a", None, None),
        ("[::1]/a:1", "[::1]", "a", "1", None),
        ("[FE80::1]:5000/a/b", "[fe80::1]:5000", "a/b", None, None),
        ("HOST/a", "host", "a", None, None),
        ("xn--bcher-kva.example/a", "xn--bcher-kva.example", "a", None, None),
        (f"nginx@{A}", HUB, "library/nginx", None, A),
        (f"quay.io/a/b:1@{A}", "quay.io", "a/b", "1", A),
        (f"h:5000/a@{A}", "h:5000", "a", None, A),
        ("a.b/c__d/e.f/g--h/i-j_k", "a.b", "c__d/e.f/g--h/i-j_k", None, None),
        ("oci:/srv/m", "oci:/srv/m", "", None, None),
        ("oci:/srv/m:", "oci:/srv/m", "", None, None),
        ("oci:/srv/m:1.0", "oci:/srv/m", "", "1.0", None),
        ("oci:/srv/m:a/b:1", "oci:/srv/m", "a/b", "1", None),
        (f"oci:/srv/m:a/b@{A}", "oci:/srv/m", "a/b", None, A),
        (f"oci:/srv/m:a/b:1@{A}", "oci:/srv/m", "a/b", "1", A),
        ("oci:m/x", "oci:/base/m/x", "", None, None),
        ("oci:.", "oci:/base", "", None, None),
        ("oci:../m", "oci:/m", "", None, None),
        ("oci:/srv//x/./../m/", "oci:/srv/m", "", None, None),
        ("oci:/srv/My Disk/ä", "oci:/srv/My Disk/ä", "", None, None),
    ],
)
def test_an_image_is_read_as(text: str, store: str, repository: str, tag: str | None, digest: Digest | None) -> None:
    found = parse_image(text, "/base")
    assert (found.location, found.tag, found.digest) == (Location(store, repository), tag, digest)
    assert found.pick == (THE_ONLY_ONE if store.startswith("oci:") and not (tag or digest) else None)


@pytest.mark.parametrize(
    ("text", "store", "repository", "tag", "pick"),
    [
        ("oci-archive:a.tar", "oci-archive:/base/a.tar", "", None, ""),
        ("oci-archive:/m/a.tar:x/y:1", "oci-archive:/m/a.tar", "x/y", "1", None),
        ("docker-archive:/m/a.tar", "docker-archive:/m/a.tar", "", None, ""),
        ("docker-archive:a.tar:@0", "docker-archive:/base/a.tar", "", None, "@0"),
        ("docker-archive:a.tar:app:1", "docker-archive:/base/a.tar", "app", "1", None),
        ("docker-archive:a.tar:docker.io/library/app:1", "docker-archive:/base/a.tar", "app", "1", None),
        ("docker-archive:a.tar:docker.io/user/app:1", "docker-archive:/base/a.tar", "user/app", "1", None),
        ("docker-archive:a.tar:localhost:5000/app:1", "docker-archive:/base/a.tar", "localhost:5000/app", "1", None),
        ("docker-archive:a.tar:app", "docker-archive:/base/a.tar", "app", None, None),
        ("docker-daemon:app:dev", "docker-daemon:", "app", "dev", None),
        ("docker-daemon:quay.io/x/y:dev", "docker-daemon:", "quay.io/x/y", "dev", None),
        ("docker-daemon:localhost/app:dev", "docker-daemon:", "localhost/app", "dev", None),
        (f"docker-daemon:{A}", "docker-daemon:", "", None, f"@{A}"),
        (f"docker-daemon:@{A}", "docker-daemon:", "", None, f"@{A}"),
        ("docker-daemon:0123456789ab", "docker-daemon:", "", None, "@sha256:0123456789ab"),
        ("docker-daemon:0123456789ab:1", "docker-daemon:", "0123456789ab", "1", None),
        ("dir:/m/a:b", "dir:/m/a:b", "", None, ""),
        ("dir:a", "dir:/base/a", "", None, ""),
    ],
)
def test_an_image_of_another_transport_is_read_as(
    text: str, store: str, repository: str, tag: str | None, pick: str | None
) -> None:
    found = parse_image(text, "/base")
    assert (found.location, found.tag, found.digest, found.pick) == (Location(store, repository), tag, None, pick)
    assert parse_image(str(found)) == found
    assert found.names_one is (tag is not None or pick is not None)


@pytest.mark.parametrize(
    ("location", "host", "path"),
    [
        (Location("localhost:5000", "a/b"), "localhost-5000", "a/b"),
        (Location("oci:/srv/Mirror", "a/b"), "mirror", "a/b"),
        (Location("oci:/srv/Mirror", ""), "mirror", "mirror"),
        (Location("docker-archive:/srv/app.tar", "app"), "docker.io", "app"),
        (Location("docker-archive:/srv/app.tar", "localhost:5000/x/y"), "localhost-5000", "x/y"),
        (Location("docker-archive:/srv/app.tar", ""), "docker.io", "app.tar"),
        (Location("docker-daemon:", "quay.io/x/y"), "quay.io", "x/y"),
    ],
)
def test_a_location_has_a_host_and_a_name_for_templates(location: Location, host: str, path: str) -> None:
    assert host_and_path(location) == (host, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        "@",
        "/",
        "nginx:",
        "nginx@",
        "nginx:1@",
        "nginx:1:2",
        "nginx\n",
        "nginx:1\n",
        "nginx :1",
        "nginx: 1",
        "Nginx",
        "docker.io/Library/nginx",
        "docker.io/",
        "docker.io//a",
        "/a",
        "a/",
        "../etc/passwd",
        "docker.io/../a",
        "docker.io/a/../b",
        "docker.io/./a",
        "docker.io/a/..",
        "docker.io/.a",
        "docker.io/a..b",
        "docker.io/a___b",
        "docker.io/_a",
        "docker.io/a-",
        "docker.io/ä",
        "docker.io/a%2fb",
        "docker.io/a\\b",
        "docker.io/a?b",
        "docker.io/a#b",
        "docker.io/a\0b",
        "docker.io/" + "a" * 256,
        "nginx:-1",
        "nginx:.1",
        "nginx:" + "t" * 129,
        "nginx:ä",
        "nginx:1\u202e2",
        f"nginx@{A.upper()}",
        f"nginx@{A}:1",
        "nginx@md5:abc",
        "https://quay.io/a",
        "http://quay.io/a:1",
        "docker://docker://quay.io/a",
        "user:password@quay.io/a",
        "h:0/a",
        "h:65536/a",
        "h:123456/a",
        "h:/a",
        "h:-1/a",
        "h:80:80/a",
        "h_x.example/a",
        "-h.example/a",
        "h..example/a",
        "h.example./a",
        "ü.example/a",
        "::1/a",
        "[::1/a",
        "[::1]x/a",
        "[h]/a",
        "oci:",
        "oci::a:1",
        "oci://srv/m",
        "oci:///srv/m",
        "oci:/srv\0/m",
        "oci:/srv/m\n",
        "oci:/srv/\x1b[31m",
        "oci:/srv/m:A:1",
        "oci:/srv/m:../a:1",
        "oci:/srv/m:a:",
        "oci:/srv/m::1:2",
        "oci:/srv/m:a@",
        "oci:/srv/m:a:b:1",
        "oci-archive:",
        "docker-archive://a.tar",
        "docker-archive:a.tar:@-1",
        "docker-archive:a.tar:@x",
        "docker-archive:a.tar:A:1",
        f"docker-archive:a.tar:app@{A}",
        "docker-daemon:",
        "docker-daemon:App:1",
        "docker-daemon:app:",
        f"docker-daemon:app:1@{A}",
        "dir:",
        "dir:/m\n",
    ],
)
def test_an_invalid_image_is_rejected_with_a_remedy(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_image(text, "/base")
    assert caught.value.remedy
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(caught.value).isprintable()
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["docker.io/library/nginx:1", f"h:5000/a@{A}", f"[::1]:5000/a:1@{A}", "oci:/srv/m:a/b:1", "oci:/srv/m"]
)
def test_a_canonical_reference_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_image(text)) == text


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("nginx", Location(HUB, "library/nginx")),
        ("docker://h:5000/a/b", Location("h:5000", "a/b")),
        ("oci:m:a/b", Location("oci:/base/m", "a/b")),
        ("oci:m", Location("oci:/base/m", "")),
    ],
)
def test_a_repository_is_read_as(text: str, location: Location) -> None:
    assert parse_repository(text, "/base") == location


@pytest.mark.parametrize("text", ["nginx:1", f"nginx@{A}", f"h:5000/a:1@{A}", "nginx:", "oci:/m:a:1", "oci:/m:A", "A"])
def test_a_repository_with_a_tag_or_digest_is_rejected(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_repository(text)
    assert caught.value.remedy


def test_the_remedy_for_an_image_instead_of_a_repository_names_the_key_tags() -> None:
    with pytest.raises(GrammarError) as caught:
        parse_repository("nginx:1")
    assert caught.value.remedy == "write docker.io/library/nginx, and the tag or digest under tags"


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("h.example", Location("h.example", "")),
        ("h.example/", Location("h.example", "")),
        ("docker://h.example/a/b", Location("h.example", "a/b")),
        ("localhost:5000", Location("localhost:5000", "")),
        ("localhost", Location("localhost", "")),
        ("[::1]:5000/a", Location("[::1]:5000", "a")),
        ("docker.io/team", Location(HUB, "team")),
        ("index.docker.io", Location(HUB, "")),
        ("oci:m", Location("oci:/base/m", "")),
        ("oci:/m:a/b", Location("oci:/m", "a/b")),
    ],
)
def test_a_destination_is_read_as(text: str, location: Location) -> None:
    assert parse_destination(text, "/base") == location


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mirror",
        "team/app",
        "/srv/mirror",
        "./mirror",
        "h.example/A",
        "h.example/a:1",
        f"h.example/a@{A}",
        "https://h.example",
        "user:password@h.example/a",
        "https://user:password@h.example/a",
        "h.example//a",
        "oci:",
    ],
)
def test_an_invalid_destination_is_rejected_with_a_remedy(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_destination(text)
    assert caught.value.remedy
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "repository", "tag", "digest"),
    [
        ("1.0", "", "1.0", None),
        ("a/b:1", "a/b", "1", None),
        (f"a/b@{A}", "a/b", None, A),
        (f"a/b:1@{A}", "a/b", "1", A),
    ],
)
def test_a_name_in_a_layout_is_read_as(name: str, repository: str, tag: str | None, digest: Digest | None) -> None:
    assert split_ref_name(name) == (repository, tag, digest)
    if not (tag and digest):
        assert written(repository, parse_ref(tag or digest or "")) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "docker.io/a:1:2", "A:1", "a:", "../a:1", "a/../b:1", "a:1\n", "a@x", ".x"]
)
def test_an_invalid_name_in_a_layout_is_rejected(name: str) -> None:
    with pytest.raises(GrammarError):
        split_ref_name(name)


@pytest.mark.parametrize("name", ["a", "0", "a/b", "a.b_c__d-e---f/0", "a" * 255])
def test_a_valid_repository_name_is_accepted(name: str) -> None:
    assert check_repository(name) == name


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "a//b", "A", "..", "a/../b", ".a", "a_", "a\n", "a b", "a" * 256]
)
def test_an_invalid_repository_name_is_rejected(name: str) -> None:
    with pytest.raises(GrammarError):
        check_repository(name)


def test_a_long_message_is_truncated() -> None:
    for check in (Tag, Pick, parse_ref, check_repository, check_host, parse_image, parse_repository, parse_destination):
        with pytest.raises(GrammarError) as caught:
            check("\x1b]0;owned\x07" * 100_000)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()
