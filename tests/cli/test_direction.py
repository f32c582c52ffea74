"""A tag that moves back to an older image is said, by the memory of the mirror or by the times in the images."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cli.tools import skopeo_digest
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, index, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


def made(what: str, **members: Any) -> Image:
    return image([layer({"what": what.encode()})], **members)


class Site:
    """A source whose tag `1` moves, and a layout."""

    def __init__(self, run: Mirrorsync, source: DockerRegistry, name: str) -> None:
        self.run, self.source, self.name = run, source, name

    def push(self, new: Image) -> str:
        return Registry(self.source.host).push(f"{self.name}/app", new, "1")

    def spec(self, **keys: Any) -> None:
        entry = {"from": f"{self.source.host}/{self.name}/app", "tags": ["1"], **keys}
        self.run.spec({"registries": plain(self.source.host), "destinations": {"disk": "oci:disk"}, "mirrors": [entry]})

    def older(self) -> str:
        """Return what a plan says of the tag."""
        (change,) = valid(self.run("plan", "--json").json(), "plan")["images"]
        return str(change["older"])


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    site = Site(mirrorsync, registry, unique)
    site.spec()
    return site


def test_a_rollback_of_the_publisher_is_said_by_plan_and_report(site: Site) -> None:
    old, new = made("old"), made("new")
    for one in (old, new):
        site.push(one)
        site.run("apply", code=0)
    site.push(old)
    words = r"moves back to an image that this mirror had until \d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.search(words, " ".join(site.run("plan", code=0).out.split()))
    done = site.run("apply", "--json", code=0)
    (change,) = valid(done.json(), "report")["images"]
    assert re.fullmatch(words, change["older"])
    assert re.search(words, done.err)
    assert site.older() == "", "nothing moves any more"


@pytest.mark.parametrize("word", ["keep", "fail"])
def test_on_change_can_be_for_tags_that_move_back(site: Site, word: str) -> None:
    site.spec(on_change={"older": word})
    for one in ("old", "new"):
        site.push(made(one))
        site.run("apply", code=0)
    old = site.push(made("old"))
    done = site.run("apply", code=1 if word == "fail" else 0)
    assert ("on_change older fail" in done.err) == (word == "fail")
    assert skopeo_digest(f"oci:{site.run.directory}/disk:{site.name}/app:1") != old


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"created": "2026-05-02T00:00:00Z"}, {"created": "2026-04-01T00:00:00Z"}, True),
        ({"created": "2026-05-02T00:00:00Z"}, {"created": "2026-06-01T00:00:00Z"}, False),
        ({"created": "2026-05-02T00:00:00Z"}, {"created": "1970-01-01T00:00:00Z"}, False),
        ({"created": "2026-05-02T00:00:00Z"}, {}, False),
        (
            {"annotations": {"org.opencontainers.image.created": "2026-05-02T00:00:00.123456789+02:00"}},
            {"created": "2026-04-01T00:00:00Z"},
            True,
        ),
    ],
)
def test_without_a_memory_of_it_the_times_in_the_images_count(
    site: Site, before: dict[str, Any], after: dict[str, Any], said: bool
) -> None:
    site.push(made("before", **before))
    site.run("apply", code=0)
    site.push(index([made("after", **after)]))
    assert ("moves back to an older image: created 2026-04-01" in site.older()) == said


def test_an_image_that_is_kept_is_looked_into_once(site: Site) -> None:
    site.spec(on_change="keep")
    site.push(made("before", created="2026-05-02T00:00:00Z"))
    site.run("apply", code=0)
    site.push(made("after", created="2026-04-01T00:00:00Z"))
    site.run("apply", code=0)
    before = len(site.source.requests())
    site.run("apply", code=0)
    asked = {f"{one.method} {one.path}" for one in site.source.requests()[before:] if "/app/" in one.path}
    assert asked == {f"HEAD /v2/{site.name}/app/manifests/1"}
    assert "moves back" in site.older()
