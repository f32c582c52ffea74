"""`max_staleness:` is an alarm for images that have to be renewed, also if nothing has changed."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(**members: Any) -> Image:
    return image([layer({"what": b"a database"})], **members)


class Site:
    """A source with a tag `1`, and another registry."""

    def __init__(self, run: Mirrorsync, source: DockerRegistry, target: DockerRegistry, name: str) -> None:
        self.run, self.source, self.target, self.name = run, source, target, name

    def push(self, new: Image) -> None:
        Registry(self.source.host).push(f"{self.name}/db", new, "1")

    def spec(self, **keys: Any) -> None:
        self.run.spec(
            {
                "registries": plain(self.source.host, self.target.host),
                "destinations": {"there": f"{self.target.host}/m"},
                "mirrors": [{"from": f"{self.source.host}/{self.name}/db", "tags": ["1"], **keys}],
            }
        )


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str) -> Site:
    site = Site(mirrorsync, registry, second_registry, unique)
    site.spec(max_staleness="5d")
    return site


@pytest.mark.parametrize(
    "members",
    [{"created": days_ago(9)}, {"annotations": {"org.opencontainers.image.created": days_ago(9)}}],
)
def test_what_is_too_old_is_mirrored_and_fails_every_run_and_plan(site: Site, members: dict[str, Any]) -> None:
    site.push(made(**members))
    done = site.run("apply", "--json", code=3)
    report = valid(done.json(), "report")
    assert [one["outcome"] for one in report["images"]] == ["done"]
    (failure,) = report["failures"]
    assert failure["error"]["message"].startswith("older than max_staleness 5d allows: created 20")
    assert "older than max_staleness" in site.run("apply", "--quiet", code=3).err
    assert "older than max_staleness" in site.run("plan", code=3).err
    site.push(made(created=days_ago(1)))
    site.run("apply", code=0)


def test_an_unchanged_image_costs_no_more_requests_with_the_key(site: Site) -> None:
    site.push(made(created=days_ago(9)))
    site.run("apply", code=3)
    before = len(site.source.requests()), len(site.target.requests())
    site.run("apply", code=3)
    asked = [*site.source.requests()[before[0] :], *site.target.requests()[before[1] :]]
    assert {f"{one.method} {one.path}" for one in asked if "/db/" in one.path} == {
        f"HEAD /v2/{site.name}/db/manifests/1",
        f"HEAD /v2/m/{site.name}/db/manifests/1",
    }


def test_an_image_without_a_time_counts_from_its_first_sighting(site: Site) -> None:
    site.push(made())
    site.run("apply", code=0)
    (path,) = (site.run.home / ".local/state/mirrorsync").glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE seen SET first = ?", (days_ago(9),))
    connection.close()
    assert "max_staleness 5d allows: first seen" in site.run("apply", code=3).err


def test_what_a_policy_keeps_is_what_counts(site: Site) -> None:
    site.push(made(created=days_ago(9)))
    site.run("apply", code=3)
    site.spec(max_staleness="5d", on_change="keep")
    site.push(made(created=days_ago(1)))
    site.run("apply", code=3)


def test_a_tag_that_moves_to_an_image_that_is_mirrored_already_does_not_hide_when_that_was_made(site: Site) -> None:
    old, new = (image([layer({site.name: name.encode()})], created=days_ago(9)) for name in ("old", "new"))
    push = Registry(site.source.host).push
    push(f"{site.name}/db", new, "1")
    push(f"{site.name}/db", old, "2")
    site.spec(max_staleness="5d", tags=["1", "2"])
    site.run("apply", code=3)
    push(f"{site.name}/db", old, "1")
    site.source.blob_file(next(iter(old.blobs))).write_bytes(b"")  # its config, which the destination has
    shutil.rmtree(site.run.home / ".cache")
    failures = site.run("plan", "--json", code=3).json()["failures"]
    assert [one["error"]["message"].partition(": created ")[0] for one in failures] == [
        "older than max_staleness 5d allows"
    ] * 2


def test_a_mistake_is_an_error_of_the_spec(site: Site) -> None:
    site.spec(max_staleness="soon")
    assert "not a duration" in site.run("validate", code=2).err
