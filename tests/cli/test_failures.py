"""What fails, fails alone: the other images land, and the end says what failed, where, why, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import OCI_INDEX, Image, digest, image, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry

DAMAGES = {
    "other bytes": (lambda data: bytes(len(data)), "does not match its digest"),
    "fewer bytes": (lambda data: data[:-1], ""),
    "more bytes": (lambda data: data + b"x", ""),
}


def mirror_all(mirrorsync: Mirrorsync, host: str, unique: str, *tags: str) -> None:
    mirrorsync.spec(
        {
            "registries": plain(host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{host}/{unique}/app:{tag}" for tag in tags],
        }
    )


def landed(mirrorsync: Mirrorsync) -> set[str]:
    entries = json.loads((mirrorsync.directory / "disk/index.json").read_text())["manifests"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"].rpartition(":")[2] for entry in entries}


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


def test_a_missing_tag_fails_alone_and_names_those_that_are_nearly_it(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1.27.3", "1.27.4", "edge"):
        Registry(registry.host).push(f"{unique}/app", image([tag.encode()]), tag)
    mirror_all(mirrorsync, registry.host, unique, "1.27.3", "1.27.5", "edge")
    for verb in ("plan", "apply"):
        done = mirrorsync(verb, code=3)
        assert f"failed: {registry.host}/{unique}/app:1.27.5: source {registry.host}/{unique}/app:1.27.5: " in done.err
        assert "has no such tag" in done.err
        assert "there is 1.27.4, 1.27.3" in done.err or "there is 1.27.3, 1.27.4" in done.err
        assert "edge" not in done.err.partition("failed: ")[2]
    assert landed(mirrorsync) == {"1.27.3", "edge"}
    assert "2 unchanged, 1 failed" in mirrorsync("apply", code=3).out


@pytest.mark.parametrize("size", [5_000, 3_000_000])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_blob_that_is_damaged_at_its_source_never_lands_and_the_others_do(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry, served: Serve, unique: str, damage: str, size: int
) -> None:
    there = Registry(fresh_registry.host)
    good, bad = image([noise("good", 100)]), image([noise("bad", size)])
    there.push(f"{unique}/app", good, "good")
    there.push(f"{unique}/app", bad, "bad")
    key = digest(noise("bad", size))
    change, message = DAMAGES[damage]
    file = fresh_registry.blob_file(key)
    file.write_bytes(change(file.read_bytes()))
    mirrorsync.spec(
        {
            "registries": plain(fresh_registry.host, served.host),
            "destinations": {"disk": "oci:disk", "served": f"{served.host}/{unique}"},
            "defaults": {"to": ["disk", "served"]},
            "mirrors": [f"{fresh_registry.host}/{unique}/app:{tag}" for tag in ("bad", "good")],
        }
    )
    done = mirrorsync("apply", "--json", code=3)
    report = done.json()
    assert [item["outcome"] for item in report["images"]] == ["failed", "failed", "done", "done"]
    assert len(report["failures"]) == 2
    for failure in report["failures"]:
        assert message in failure["error"]["message"]
        assert failure["error"]["side"] == "source"
        assert failure["error"]["repository"] == f"{unique}/app"
    assert landed(mirrorsync) == {"good"}
    assert not (mirrorsync.directory / "disk/blobs/sha256" / key[7:]).exists()
    assert Registry(served.host).tags(f"{unique}/{unique}/app") == ["good"]
    assert Registry(served.host).blob(f"{unique}/{unique}/app", key).status == 404


def test_a_blob_that_is_missing_at_its_source_fails_its_images_and_no_others(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry, unique: str
) -> None:
    there = Registry(fresh_registry.host)
    shared = noise("shared", 2_000)
    images = {"a": image([shared, b"a"]), "b": image([shared, b"b"]), "c": image([b"c"])}
    for tag, made in images.items():
        there.push(f"{unique}/app", made, tag)
    fresh_registry.blob_file(digest(shared)).unlink()
    mirror_all(mirrorsync, fresh_registry.host, unique, *images)
    done = mirrorsync("apply", code=3)
    assert done.err.count("\nfailed: ") + done.err.startswith("failed: ") == 2
    assert digest(shared)[7:19] in done.err
    assert "1 done, 2 failed" in done.out
    assert landed(mirrorsync) == {"c"}


def test_when_everything_fails_the_code_says_how(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry, unique: str
) -> None:
    there = Registry(fresh_registry.host)
    for tag in ("one", "two"):
        there.push(f"{unique}/app", image([tag.encode() * 100]), tag)
        file = fresh_registry.blob_file(digest(tag.encode() * 100))
        file.write_bytes(b"x" * 300)
    mirror_all(mirrorsync, fresh_registry.host, unique, "one", "two")
    assert mirrorsync("apply", "--json", code=4).json()["exit_code"] == 4
    mirror_all(mirrorsync, fresh_registry.host, unique, "none", "nothing")
    assert mirrorsync("apply", code=1)
    mirror_all(mirrorsync, fresh_registry.host, unique, "one", "nothing")
    assert mirrorsync("apply", code=1)


def test_a_destination_that_is_down_does_not_stop_the_other_one(
    mirrorsync: Mirrorsync, registry: DockerRegistry, proxy: Proxy, unique: str
) -> None:
    made = multi_platform("app", size=1_200_000)
    Registry(registry.host).push(f"{unique}/app", made, "1")
    proxy.answer(path_has(f"/{unique}/there/"), 403, b'{"errors": [{"code": "DENIED", "message": "quota"}]}')
    mirrorsync.spec(
        {
            "registries": plain(registry.host, proxy.host),
            "destinations": {"disk": "oci:disk", "down": f"{proxy.host}/{unique}/there"},
            "defaults": {"to": ["disk", "down"]},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    done = mirrorsync("apply", code=3)
    assert landed(mirrorsync) == {"1"}
    assert f"destination {proxy.host}/{unique}/there/{unique}/app" in done.err
    assert "403: quota" in done.err


def test_a_destination_that_is_read_only_is_told_with_what_to_do(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", image([b"layer"]), "1")
    with Serve(mirrorsync.directory / "mirror", "--read-only") as server:
        mirrorsync.spec(
            {
                "registries": plain(registry.host, server.host),
                "destinations": {"there": f"{server.host}/there"},
                "mirrors": [f"{registry.host}/{unique}/app:1"],
            }
        )
        done = mirrorsync("apply", code=1)
    assert f"failed: {server.host}/there/{unique}/app:1: destination {server.host}/there/{unique}/app" in done.err
    assert "read-only" in done.err


def test_a_host_that_nobody_listens_on_is_said_in_plain_words(mirrorsync: Mirrorsync, registry: DockerRegistry) -> None:
    from tests.parts.processes import free_port

    port = free_port()
    mirror_all(mirrorsync, f"127.0.0.1:{port}", "some", "1", "2")
    done = mirrorsync("plan", code=1)
    assert f"source 127.0.0.1:{port}/some/app:1: " in done.err
    assert "refused" in done.err.lower()
    assert "check the host name" in done.err


def test_a_wrong_or_missing_password_is_said_with_where_to_put_it(
    mirrorsync: Mirrorsync, tls_registry: Locked, token_registry: Locked
) -> None:
    for locked in (tls_registry, token_registry):
        settings: dict[str, object] = (
            {"ca_file": str(locked.ca_file)} if locked.ca_file is not None else {"plain_http": True}
        )
        for more in ({}, {"username": locked.username, "password": "wrong-and-secret"}):
            mirrorsync.spec(
                {
                    "registries": {locked.host: {**settings, **more}},
                    "destinations": {"disk": "oci:disk"},
                    "mirrors": [f"{locked.host}/private/app:1"],
                }
            )
            done = mirrorsync("apply", "-vv", code=1)
            assert "wrong-and-secret" not in done.err + done.out
            assert f"failed: {locked.host}/private/app:1: " in done.err


@pytest.mark.parametrize("settings", [{}, {"plain_http": True}])
def test_a_certificate_that_is_not_trusted_and_http_to_a_tls_host_are_told_apart(
    mirrorsync: Mirrorsync, tls_registry: Locked, settings: dict[str, bool]
) -> None:
    mirrorsync.spec(
        {
            "registries": {tls_registry.host: settings},
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{tls_registry.host}/app:1"],
        }
    )
    done = mirrorsync("apply", code=1)
    expected = "remove plain_http" if settings else "set ca_file for this host"
    assert expected in done.err


def test_https_to_a_host_without_tls_says_how_to_allow_it(mirrorsync: Mirrorsync, registry: DockerRegistry) -> None:
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [f"{registry.host}/app:1"]})
    done = mirrorsync("apply", code=1)
    assert "plain_http if it speaks no TLS" in done.err


def test_a_missing_repository_is_not_called_a_missing_tag(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    mirror_all(mirrorsync, registry.host, unique, "1")
    done = mirrorsync("plan", code=1)
    assert "repository" in done.err
    assert "no such tag" not in done.err
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    filtered = mirrorsync("plan", code=1)
    assert f"failed: {registry.host}/{unique}/app: source {registry.host}/{unique}/app: " in filtered.err


def test_a_manifest_above_4_mib_is_refused(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> None:
    huge = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "x": "x" * 5_000_000}).encode()
    made = image([layer({"a": b"b"})])
    Registry(proxy.upstream).push(f"{unique}/app", made, "1")
    headers = {"Content-Type": OCI_INDEX, "Docker-Content-Digest": digest(huge)}
    proxy.answer(path_has(f"{unique}/app/manifests/"), 200, huge, headers)
    mirror_all(mirrorsync, proxy.host, unique, "1")
    done = mirrorsync("apply")
    assert done.code in (1, 4)
    assert "4 MiB" in done.err or "4194304" in done.err
    assert not list((mirrorsync.directory / "disk").glob("blobs/sha256/*"))


@pytest.mark.parametrize("where", ["tag", "child"])
def test_a_manifest_that_is_not_what_its_digest_says_never_lands(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, where: str
) -> None:
    made = multi_platform("app")
    evil = multi_platform("evil")
    Registry(proxy.upstream).push(f"{unique}/app", made, "1")
    wanted, given = (made, evil) if where == "tag" else (made.children[0], evil.children[0])
    headers = {"Content-Type": given.media_type, "Docker-Content-Digest": wanted.digest}
    proxy.answer(path_has(wanted.digest, "GET"), 200, given.raw, headers)
    mirror_all(mirrorsync, proxy.host, unique, "1")
    done = mirrorsync("apply", code=4)
    assert "digest" in done.err
    assert not (mirrorsync.directory / "disk/index.json").exists() or landed(mirrorsync) == set()


NASTY = ("../../etc/passwd", "\x1b[2J\x1b[31mred", "a b", "x" * 129, "", "-rf", "latest\n1.0", "ünïcode", "%2e%2e")


@pytest.mark.parametrize("verb", ["plan", "apply", "inventory"])
def test_names_from_a_server_that_are_no_tags_are_left_out_and_told_harmlessly(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, verb: str
) -> None:
    Registry(proxy.upstream).push(f"{unique}/app", image([b"good"]), "good")
    listing = json.dumps({"name": f"{unique}/app", "tags": [*NASTY, None, 7, "good"]}).encode()
    proxy.answer(path_has("/tags/list"), 200, listing, {"Content-Type": "application/json"})
    mirrorsync.spec(
        {
            "registries": plain(proxy.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{proxy.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    done = mirrorsync(verb, code=0)
    assert "good" in done.out + done.err
    assert "left out" in done.err
    for text in (done.out, done.err):
        assert all(char.isprintable() or char == "\n" for char in text)
    if verb == "apply":
        assert landed(mirrorsync) == {"good"}
        assert "1 done" in done.out


def test_what_a_server_says_about_its_error_is_shown_short_and_harmlessly(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\r\nfailed: everything is fine\x00" + "A" * 10_000
    body = json.dumps({"errors": [{"code": "DENIED", "message": evil}]}).encode()
    proxy.answer(path_has(unique), 403, body, {"Content-Type": "application/json"})
    mirror_all(mirrorsync, proxy.host, unique, "1")
    for words in (("apply",), ("apply", "-vv"), ("apply", "--log-format", "json"), ("plan", "--json")):
        done = mirrorsync(*words, code=1)
        assert all(char.isprintable() or char == "\n" for char in done.out + done.err)
        assert max(map(len, done.err.splitlines())) < 2_000
        assert not any(line.startswith("failed: everything") for line in done.err.splitlines())


def test_a_page_where_an_answer_should_be_is_an_error_in_one_line(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str
) -> None:
    proxy.answer(
        lambda method, path: True, 200, b"<html>Log in to the hotel's network</html>", {"Content-Type": "text/html"}
    )
    mirror_all(mirrorsync, proxy.host, unique, "1")
    done = mirrorsync("apply")
    assert done.code in (1, 4)
    assert f"{proxy.host}/{unique}/app:1" in done.err
    assert not (mirrorsync.directory / "disk/index.json").exists()


def test_an_index_whose_child_is_missing_at_the_source_fails_with_its_name(mirrorsync: Mirrorsync, unique: str) -> None:
    made = multi_platform("app")
    sparse = Image(made.media_type, made.raw, {}, made.children[:1])
    write_layout(mirrorsync.directory / "source", {"app:1": sparse})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:source:app:1"]})
    done = mirrorsync("apply", code=1)
    assert made.children[1].digest in done.err
    assert "publisher" in done.err
