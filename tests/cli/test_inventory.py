"""`inventory` writes down what a location has, for the sender of bundles: tags, manifests and blobs by repository."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from mirrorsync.documents.inventory import encode_inventory, parse_inventory
from mirrorsync.errors import Malformed
from tests.documents.examples import inventory
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.front import front
from tests.parts.images import Image, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

PLAIN = "--tls-verify=false"


def made(what: str) -> Image:
    return image([layer({"what": what.encode()}), layer({"shared": b"by all"})])


def blobs(*images: Image) -> set[str]:
    return {digest for one in images for digest in one.blobs}


def test_the_inventory_of_a_registry_has_the_content_below_the_prefix(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    both = multi_platform("app")
    for name, tag, one in (("app", "1", both), ("app", "2", made("2")), ("lib/db", "1", made("db"))):
        Registry(registry.host).push(f"{unique}/{name}", one, tag)
    Registry(registry.host).push(f"{unique}-other/app", made("other"), "1")
    done = mirrorsync("inventory", PLAIN, f"{registry.host}/{unique}", "--output", "far.json", code=0)
    assert done.err.splitlines()[-1] == "far.json: 2 repositories, 3 tags, 5 manifests"
    document: dict[str, Any] = json.loads((mirrorsync.directory / "far.json").read_text())
    valid(document, "inventory")
    assert (document["location"], document["complete"]) == (f"{registry.host}/{unique}", True)
    assert set(document["repositories"]) == {"app", "lib/db"}
    app = document["repositories"]["app"]
    assert app["tags"] == {"1": both.digest, "2": made("2").digest}
    assert set(app["manifests"]) == {both.digest, made("2").digest, *(child.digest for child in both.children)}
    assert set(app["blobs"]) == blobs(made("2"), *both.children)


def test_the_inventory_of_a_layout_is_that_of_its_names(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "disk", {"app:1": made("1")})
    variables = {"SOURCE_DATE_EPOCH": "1700000000"}
    texts = [mirrorsync("inventory", "oci:disk", env=variables, code=0).out for _ in range(2)]
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert document["created"] == "2023-11-14T22:13:20Z"
    assert document["repositories"]["app"]["tags"] == {"1": made("1").digest}
    mirrorsync("inventory", "oci:disk", "--output", "far.json.gz", env=variables, code=0)
    assert gzip.decompress((mirrorsync.directory / "far.json.gz").read_bytes()).decode() == texts[0]


def test_images_that_an_index_lacks_are_not_in_the_inventory_even_if_they_are_known_from_elsewhere(
    mirrorsync: Mirrorsync,
) -> None:
    """In the cache of manifests, or in another repository: what is absent must be sent."""
    both = multi_platform("app")
    amd64 = both.children[0]
    write_layout(mirrorsync.directory / "disk", {"whole:1": both})
    mirrorsync("inventory", "oci:disk", code=0)
    sparse = Image(both.media_type, both.raw, {}, both.children[:1])
    write_layout(mirrorsync.directory / "sparse", {"app:1": sparse})
    done = mirrorsync("inventory", "oci:sparse", code=0)
    app = json.loads(done.out)["repositories"]["app"]
    assert set(app["manifests"]) == {both.digest, amd64.digest}
    assert set(app["blobs"]) == blobs(amd64)


def test_what_cannot_be_read_is_named_and_counts_as_absent(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1", "2"):
        Registry(registry.host).push(f"{unique}/app", made(tag), tag)
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", "*", "/manifests/2", status=403)
        done = mirrorsync("inventory", PLAIN, f"{proxy.host}/{unique}/", "--output", "far.json", code=3)
        assert f"{proxy.host}/{unique}/app:2" in done.err
    document = json.loads((mirrorsync.directory / "far.json").read_text())
    assert document["complete"] is False
    assert [one["name"] for one in document["unread"]] == [f"{proxy.host}/{unique}/app:2"]
    assert document["repositories"]["app"]["tags"] == {"1": made("1").digest}


def test_a_registry_without_a_catalog_is_asked_for_the_repositories_of_a_spec(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/team/app", made("1"), "1")
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", "GET", "_catalog", status=404)
        mirrorsync.spec(
            {
                "registries": plain(proxy.host),
                "destinations": {"corp": f"{proxy.host}/{unique}"},
                "defaults": {"to": ["corp"]},
                "mirrors": ["quay.io/team/app:1", "quay.io/team/new:1"],
            }
        )
        refused = mirrorsync("inventory", PLAIN, f"{proxy.host}/{unique}", code=1)
        assert "does not list" in refused.err
        done = mirrorsync("inventory", "--spec", "mirror.yaml", code=0)
    assert json.loads(done.out)["repositories"].keys() == {"team/app"}


def test_the_inventory_of_a_prefix_in_a_layout_is_for_that_destination(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "disk", {"pre/app:1": image([b"a"]), "other:1": image([b"b"])})
    for written, location, names in (
        ("oci:disk:pre", "disk:pre", {"app"}),
        ("oci:disk", "disk", {"pre/app", "other"}),
    ):
        found = json.loads(mirrorsync("inventory", written, code=0).out)
        assert found["location"] == f"oci:{mirrorsync.directory}/{location}"
        assert found["repositories"].keys() == names
    assert "'app:1' is not a repository name" in mirrorsync("inventory", "registry.example/app:1", code=2).err


def test_a_location_or_a_spec_is_needed(mirrorsync: Mirrorsync) -> None:
    assert "give a location, or --spec" in mirrorsync("inventory", code=2).err
    assert "takes no bundle" in mirrorsync("inventory", "docker-archive:x.tar", code=2).err
    empty = mirrorsync("inventory", "oci:spelled/wrong", code=0)  # a mirror that is new has nothing, too
    assert json.loads(empty.out)["repositories"] == {}
    assert "it has no images, so that all would be sent" in empty.err


# What is done to an inventory, and the place that is named.
LIES: dict[str, tuple[Any, str]] = {
    "another version": ({"version": 2}, "/version"),
    "another kind": ({"kind": "mirrorsync.lock"}, "/version"),
    "a member more": ({"more": 1}, "/more"),
    "a repository that is a path": (
        {"repositories": {"../x": {"tags": {}, "manifests": {}, "blobs": {}}}},
        "not a repository name",
    ),
    "a tag without its manifest": (
        {"repositories": {"x": {"tags": {"1": f"sha256:{'a' * 64}"}, "manifests": {}, "blobs": {}}}},
        "/repositories/x/tags/1",
    ),
    "a digest that is none": (
        {"repositories": {"x": {"tags": {}, "manifests": {}, "blobs": {"x": 1}}}},
        "/repositories/x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_an_inventory_that_lies_is_rejected_with_the_place(lie: str) -> None:
    change, word = LIES[lie]
    raw = encode_inventory(inventory())
    assert encode_inventory(parse_inventory(raw, "far.json")) == raw
    with pytest.raises(Malformed) as found:
        parse_inventory(json.dumps({**json.loads(raw), **change}).encode(), "far.json")
    assert word in found.value.message
