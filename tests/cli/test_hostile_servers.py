"""Servers that lie, by mistake or on purpose: nothing wrong is published, and their text is only text."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.cli.seeds import copied_tags, mirror_all
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import OCI_INDEX, digest, image, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


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
def test_a_manifest_that_does_not_match_its_digest_is_never_published(
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
    assert not (mirrorsync.directory / "disk/index.json").exists() or copied_tags(mirrorsync) == set()


NASTY = ("../../etc/passwd", "\x1b[2J\x1b[31mred", "a b", "x" * 129, "", "-rf", "latest\n1.0", "ünïcode", "%2e%2e")


@pytest.mark.parametrize("verb", ["plan", "apply", "images"])
def test_invalid_tags_from_a_server_are_skipped_and_reported_without_control_characters(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, verb: str
) -> None:
    Registry(proxy.upstream).push(f"{unique}/app", image([b"good"]), "good")
    listing = json.dumps({"name": f"{unique}/app", "tags": [*NASTY, "good"]}).encode()
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
    assert "skipping an invalid tag" in done.err
    for text in (done.out, done.err):
        assert all(char.isprintable() or char == "\n" for char in text)
    if verb == "apply":
        assert copied_tags(mirrorsync) == {"good"}
        assert "1 done" in done.out


def test_error_messages_of_a_server_are_truncated_and_escaped(
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


def test_a_web_page_instead_of_json_is_reported_in_one_line(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> None:
    proxy.answer(
        lambda method, path: True, 200, b"<html>Log in to the hotel's network</html>", {"Content-Type": "text/html"}
    )
    mirror_all(mirrorsync, proxy.host, unique, "1")
    done = mirrorsync("apply")
    assert done.code in (1, 4)
    assert f"{proxy.host}/{unique}/app:1" in done.err
    assert not (mirrorsync.directory / "disk/index.json").exists()
