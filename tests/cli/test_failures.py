"""An image fails alone: the others are copied, and the report says what failed where, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.cli.seeds import copied_tags, mirror_all
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, digest, image, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry

DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "other bytes": (lambda data: bytes(len(data)), "does not match its digest"),
    "fewer bytes": (lambda data: data[:-1], ""),
    "more bytes": (lambda data: data + b"x", ""),
}


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


def test_a_missing_tag_fails_alone_and_similar_tags_are_suggested(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1.27.3", "1.27.4", "edge"):
        Registry(registry.host).push(f"{unique}/app", image([tag.encode()]), tag)
    mirror_all(mirrorsync, registry.host, unique, "1.27.3", "1.27.5", "edge")
    for verb in ("plan", "apply"):
        done = mirrorsync(verb, code=3)
        assert f"failed: source {registry.host}/{unique}/app:1.27.5: " in done.err
        assert "has no such tag" in done.err
        assert "did you mean 1.27.4 or 1.27.3?" in done.err or "did you mean 1.27.3 or 1.27.4?" in done.err
        assert "edge" not in done.err.partition("failed: ")[2]
    assert copied_tags(mirrorsync) == {"1.27.3", "edge"}
    assert "1 failed, 2 unchanged" in mirrorsync("apply", code=3).out


@pytest.mark.parametrize("size", [5_000, 3_000_000])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_blob_damaged_at_its_source_is_never_published_and_other_images_are(
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
    assert copied_tags(mirrorsync) == {"good"}
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
    (line,) = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert all(f"{unique}/app:{tag}" in line for tag in "ab"), "one cause, and both images that it costs"
    assert "mirror.yaml:12, 13)" in line
    assert digest(shared)[7:19] in done.err
    assert "1 done, 2 failed" in done.out
    assert copied_tags(mirrorsync) == {"c"}


def test_the_exit_code_shows_how_all_images_failed(
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


@pytest.mark.parametrize("part", [f"/{name}/" for name in ("manifests", "uploads")])
def test_a_failing_destination_does_not_stop_the_other_one(
    mirrorsync: Mirrorsync, registry: DockerRegistry, proxy: Proxy, unique: str, part: str
) -> None:
    made = multi_platform("app", size=1_200_000)
    Registry(registry.host).push(f"{unique}/app", made, "1")
    proxy.answer(path_has(part), 403, b'{"errors": [{"code": "DENIED", "message": "quota"}]}')
    mirrorsync.spec(
        {
            "registries": plain(registry.host, proxy.host),
            "destinations": {"disk": "oci:disk", "down": f"{proxy.host}/{unique}/there"},
            "defaults": {"to": ["disk", "down"]},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    done = mirrorsync("apply", code=3)
    assert copied_tags(mirrorsync) == {"1"}
    assert f"destination {proxy.host}/{unique}/there/{unique}/app" in done.err
    assert "the registry answered 403" in done.err
    assert "source" not in done.err.partition("failed: ")[2]


def test_a_read_only_destination_is_reported_with_a_remedy(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", image([b"layer"]), "1")
    (mirrorsync.directory / "mirror").mkdir()
    with Serve(mirrorsync.directory / "mirror", writable=False) as server:
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


def test_an_index_with_a_missing_child_fails_with_the_childs_name(mirrorsync: Mirrorsync, unique: str) -> None:
    made = multi_platform("app")
    sparse = Image(made.media_type, made.raw, {}, made.children[:1])
    write_layout(mirrorsync.directory / "source", {"app:1": sparse})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:source:app:1"]})
    done = mirrorsync("apply", code=1)
    assert made.children[1].digest in done.err
    assert "publisher" in done.err
