"""`newest: {by: created}` at a real registry: what it reads, what it costs, and what happens if it cannot read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, index, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

CREATED = "org.opencontainers.image.created"


def made(what: str, created: str | None = None, **members: Any) -> Image:
    return image([layer({"what": what.encode()})], created=created, **members)


def attested(created: str | None, **members: Any) -> Image:
    """Return an index whose first entry is an attestation, as `docker buildx` would write it first."""
    attestation, real = made(f"attestation {created}", "2030-01-01T00:00:00Z"), made(f"image {created}", created)
    entries = [
        {**attestation.descriptor, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {**real.descriptor, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    return index([attestation, real], **{**members, "manifests": entries})


class Site:
    """A source behind a proxy and a destination, at one registry."""

    def __init__(self, run: Mirrorsync, proxy: Proxy, registry: DockerRegistry, unique: str) -> None:
        self.run, self.proxy, self.registry, self.unique = run, proxy, registry, unique
        self.wire = Registry(registry.host)

    def push(self, **images: Image) -> None:
        for tag, pushed in images.items():
            self.wire.push(f"{self.unique}/app", pushed, tag)

    def spec(self, count: int = 2, **keys: Any) -> None:
        newest = {"count": count, "by": "created"}
        hosts = plain(self.proxy.host) | plain(self.registry.host)
        tags = {"all": True, "newest": newest}
        entry = {"from": f"{self.proxy.host}/{self.unique}/app", "name": "m", "tags": tags}
        to = {"there": f"{self.registry.host}/{self.unique}"}
        self.run.spec({"registries": hosts, "destinations": to, "mirrors": [entry], **keys})

    def held(self) -> list[str]:
        return sorted(self.wire.tags(f"{self.unique}/m"))

    def asked(self) -> Counter[str]:
        """Return how often the source has been asked for tags, manifests by digest, and blobs."""
        found: Counter[str] = Counter()
        for one in self.registry.requests():
            path = one.path.partition(f"/{self.unique}/app/")[2]
            by_digest = "sha256:" in path
            found["tag" if path.startswith("manifests/") and not by_digest else path.partition("/")[0]] += bool(path)
        return found


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Any:
    with Proxy(registry.host) as proxy:
        yield Site(mirrorsync, proxy, registry, unique)


def test_an_index_has_the_time_of_its_annotation_or_of_its_first_image(site: Site) -> None:
    site.push(
        image=made("a", "2026-01-02T00:00:00Z"),
        older=made("b", "2026-01-01T00:00:00Z"),
        index=attested("2026-01-03T00:00:00Z"),
        annotated=attested("1970-01-01T00:00:00Z", annotations={CREATED: "2026-01-04T00:00:00Z"}),
        artifact=made("c", None, annotations={CREATED: "2026-01-05T00:00:00Z"}),
    )
    order = ["artifact", "annotated", "index", "image", "older"]
    for count in range(1, 6):
        site.spec(count)
        shown = site.run("images", "--json", code=0).json()
        assert {one["tag"] for one in shown["images"]} == set(order[:count])


def test_a_second_run_only_resolves_the_tags(site: Site) -> None:
    site.push(**{f"v{day}": made(f"{day}", f"2026-01-0{day}T00:00:00Z") for day in range(1, 6)})
    site.spec(2)
    site.run("apply", code=0)
    assert site.held() == ["v4", "v5"]
    before = site.asked()
    site.run("apply", code=0)
    assert site.asked() - before == {"tags": 1, "tag": 5}, "and those that were chosen are not resolved again"


def test_a_damaged_cache_costs_requests_and_changes_nothing(site: Site) -> None:
    site.push(**{f"v{day}": made(f"{day}", f"2026-01-0{day}T00:00:00Z") for day in range(1, 4)})
    site.spec(1)
    site.run("apply", code=0)
    (path,) = site.run.home.rglob("manifests.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE created SET time = '2030-01-01T00:00:00Z' WHERE time LIKE '2026-01-01%'")
    connection.close()
    before = site.asked()
    assert "nothing to do" in site.run("apply", code=0).out
    assert (site.asked() - before)["blobs"] == 1


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_pruned(site: Site) -> None:
    unreadable = made("new", "2026-02-01T00:00:00Z")
    site.push(old=made("old", "2026-01-01T00:00:00Z"), mid=made("mid", "2026-01-02T00:00:00Z"))
    site.spec(2, prune={"max_deletes": 10})
    site.run("apply", code=0)
    site.push(new=unreadable)
    config = next(iter(unreadable.blobs))
    site.proxy.answer(path_has(config), 403, b'{"errors": [{"code": "DENIED"}]}')
    done = site.run("apply", code=3)
    assert f"{site.unique}/app:new" in done.err
    assert "newest cannot tell when it was created" in done.err
    assert site.held() == ["mid", "old"]
    site.spec(1, prune={"max_deletes": 10})
    site.run("apply", code=3)
    assert site.held() == ["mid", "old"], "what is not wanted any more is not known"
    site.proxy.recover()
    site.run("apply", code=0)
    assert site.held() == ["new"]
