"""From every kind of store to every other, byte for byte, and no byte or request more than necessary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.cli.tools import skopeo_digest
from tests.parts.docker_registry import Access, DockerRegistry
from tests.parts.images import Image, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry

PLACES = ("docker-registry", "serve", "layout")


@pytest.mark.parametrize("destination", PLACES)
@pytest.mark.parametrize("source", PLACES)
def test_an_image_is_copied_from_every_kind_of_store_to_every_other(
    mirrorsync: Mirrorsync,
    registry: DockerRegistry,
    served: Serve,
    unique: str,
    tmp_path: Path,
    source: str,
    destination: str,
) -> None:
    made = multi_platform("app")
    hosts = {"docker-registry": registry.host, "serve": served.host}
    name = f"{unique}/app"
    if source == "layout":
        write_layout(tmp_path / "source", {f"{name}:1": made})
    else:
        Registry(hosts[source]).push(name, made, "1")
    mirrorsync.spec(
        {
            "registries": plain(*hosts.values()),
            "destinations": {
                "there": "oci:there" if destination == "layout" else f"{hosts[destination]}/{unique}/there"
            },
            "mirrors": [f"oci:source:{name}:1" if source == "layout" else f"{hosts[source]}/{name}:1"],
        }
    )
    mirrorsync("apply", code=0)
    assert mirrorsync("plan", "--exit-code", code=0).out == "nothing to do: 1 image up to date at 1 destination\n"
    if destination == "layout":
        assert skopeo_digest(f"oci:{tmp_path}/there:{name}:1") == made.digest
        for key, data in {**made.all_blobs(), **{child.digest: child.raw for child in made.manifests()}}.items():
            assert (tmp_path / "there/blobs/sha256" / key.removeprefix("sha256:")).read_bytes() == data
    else:
        assert skopeo_digest(f"docker://{hosts[destination]}/{unique}/there/{name}:1") == made.digest
        assert Registry(hosts[destination]).holds(f"{unique}/there/{name}", made, "1")


def gets(requests: list[Access], part: str) -> Counter[str]:
    """Count the GETs of some kind by what they asked for."""
    return Counter(
        request.path.rpartition("/")[2]
        for request in requests
        if request.method == "GET" and f"/{part}/" in request.path and request.status == 200
    )


def test_a_run_to_several_destinations_reads_every_blob_and_manifest_once(
    mirrorsync: Mirrorsync,
    registry: DockerRegistry,
    second_registry: DockerRegistry,
    served: Serve,
    unique: str,
) -> None:
    # One layer is above 1 MiB, so that it is streamed; the others are copied as small blobs.
    images = [multi_platform(unique, version, size=1_500_000) for version in ("1", "2")]
    for repository in ("one", "two"):  # the same images in two repositories: all of their blobs are shared
        for version, made in zip(("1", "2"), images, strict=True):
            Registry(registry.host).push(f"{unique}/{repository}", made, version)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, second_registry.host, served.host),
            "destinations": {
                "first": f"{second_registry.host}/{unique}/first",
                "again": f"{second_registry.host}/{unique}/again",
                "served": f"{served.host}/{unique}/served",
                "disk": "oci:disk",
            },
            "defaults": {"to": ["first", "again", "served", "disk"]},
            "mirrors": [
                {"from": f"{registry.host}/{unique}/{repository}", "tags": {"all": True}}
                for repository in ("one", "two")
            ],
        }
    )
    registry.new_requests()
    second_registry.new_requests()
    report = mirrorsync("apply", "--json", code=0).json()

    blobs = {key: data for made in images for key, data in made.all_blobs().items()}
    asked = registry.new_requests()
    assert gets(asked, "blobs") == Counter(list(blobs))
    manifests = {manifest.digest for made in images for manifest in made.manifests()}
    assert gets(asked, "manifests") == Counter(list(manifests))
    assert report["counts"]["read"] == {"blobs": len(blobs), "bytes": sum(map(len, blobs.values()))}

    written = second_registry.new_requests()
    mounts = [request for request in written if request.method == "POST" and "mount=" in request.path]
    # Four repositories of one registry: each blob is written to one of them and mounted in the other three.
    assert Counter(request.status for request in mounts) == Counter({201: 3 * len(blobs)})
    uploads = [request for request in written if request.method == "POST" and "mount=" not in request.path]
    assert len(uploads) == len(blobs)
    for place in ("first", "again"):
        for repository in ("one", "two"):
            for version, made in zip(("1", "2"), images, strict=True):
                assert Registry(second_registry.host).holds(f"{unique}/{place}/{unique}/{repository}", made, version)


def test_a_layer_that_another_repository_of_the_destination_has_is_mounted_by_a_later_run(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    made = multi_platform(unique)
    Registry(registry.host).push(f"{unique}/one", made, "1")
    Registry(registry.host).push(f"{unique}/two", made, "1")
    spec = {
        "registries": plain(registry.host, second_registry.host),
        "destinations": {"there": f"{second_registry.host}/{unique}/there"},
    }
    mirrors = [f"{registry.host}/{unique}/one:1", f"{registry.host}/{unique}/two:1"]
    mirrorsync.spec({**spec, "mirrors": mirrors[:1]})
    mirrorsync("apply", code=0)
    mirrorsync.spec({**spec, "mirrors": mirrors})
    registry.new_requests()
    report = mirrorsync("apply", "--json", code=0).json()
    assert gets(registry.new_requests(), "blobs") == Counter()
    assert report["counts"]["mounted"]["blobs"] == len(made.all_blobs())
    assert report["counts"]["read"] == {"blobs": 0, "bytes": 0}
    assert Registry(second_registry.host).holds(f"{unique}/there/{unique}/two", made, "1")


def test_a_run_without_changes_makes_two_head_requests_for_each_tag(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1", "2", "3"):
        Registry(registry.host).push(f"{unique}/app", multi_platform("app", tag), tag)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, second_registry.host),
            "destinations": {"there": f"{second_registry.host}/{unique}"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["1", "2", "3"]}],
        }
    )
    mirrorsync("apply", code=0)
    for verb in ("plan", "apply"):
        registry.new_requests()
        second_registry.new_requests()
        mirrorsync(verb, code=0)
        for server in (registry, second_registry):
            asked = Counter(request.method for request in server.new_requests() if request.path != "/v2/")
            # A plan also says what the destination has and the spec does not want: a list for each repository.
            lists = 1 if (verb, server) == ("plan", second_registry) else 0
            assert asked == Counter({"HEAD": 3}) + Counter({"GET": lists})


def test_exact_tags_never_list_their_source_and_filters_list_it_once(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1", "2"):
        Registry(registry.host).push(f"{unique}/app", multi_platform("app", tag), tag)
    source = f"{registry.host}/{unique}/app"

    def lists(*mirrors: object) -> int:
        mirrorsync.spec(
            {
                "registries": plain(registry.host),
                "destinations": {"disk": "oci:disk", "other": "oci:other"},
                "defaults": {"to": ["disk", "other"]},
                "mirrors": list(mirrors),
            }
        )
        registry.new_requests()
        mirrorsync("plan", code=0)
        return sum("/tags/list" in request.path for request in registry.new_requests())

    assert lists(f"{source}:1", {"from": source, "tags": ["2"]}) == 0
    filters = {"tags": {"glob": ["*"], "exclude": ["1"]}}
    assert lists({"from": source, **filters}, {"from": source, **filters, "name": "elsewhere"}) == 1


def test_only_content_missing_at_the_destination_is_copied_again(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    made: Image = multi_platform("app")
    Registry(registry.host).push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host, second_registry.host),
            "destinations": {"corp": f"{second_registry.host}/{unique}/corp", "disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["1"], "to": ["corp", "disk"]}],
        }
    )
    mirrorsync("apply", code=0)
    (mirrorsync.directory / "disk/index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    second_registry.new_requests()
    report = mirrorsync("apply", "--json", code=0).json()
    assert [image["outcome"] for image in report["images"]] == ["unchanged", "done"]
    assert not [request for request in second_registry.new_requests() if request.method not in ("HEAD", "GET")]
    assert report["counts"]["read"]["blobs"] == 0  # the layout still has the files
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:{unique}/app:1") == made.digest
