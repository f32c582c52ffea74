"""Pulls of a registry that limits them: how many are used, what is left, and which images wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.hub import Hub
from tests.parts.images import Image, image, index, noise
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.unruly import Unruly


class Site:
    """A registry that limits pulls, with an index of two images (three pulls) under each of some tags, and a layout."""

    def __init__(self, run: Mirrorsync, hub: Hub, server: Unruly) -> None:
        self.run, self.hub, self.server, self.host = run, hub, server, server.host
        for number in range(1, 6):
            hub.registry.hold("app", made(str(number)), str(number))

    def spec(self, tags: Any = ("1", "2", "3", "4", "5"), *, keep: int | None = None, **keys: Any) -> None:
        settings = {} if keep is None else {"pulls": {"keep": keep}}
        mirror = {"from": f"{self.host}/app", "tags": list(tags)}
        self.run.spec(
            {
                "registries": plain(self.host, **settings),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [mirror],
                **keys,
            }
        )

    def apply(self, code: int = 0) -> dict[str, Any]:
        report: dict[str, Any] = self.run("apply", "--json", code=code).json()
        return report


def made(name: str) -> Image:
    return index([image([noise(f"{name} {platform}", 100)], architecture=platform) for platform in ("amd64", "arm64")])


def outcomes(report: dict[str, Any]) -> str:
    """Return the outcomes of a report's images, in order: `done done delayed`."""
    return " ".join(one["outcome"] for one in report["images"])


@pytest.fixture
def site(mirrorsync: Mirrorsync) -> Iterator[Site]:
    hub = Hub()
    with Unruly(hub) as server:
        yield Site(mirrorsync, hub, server)


def test_the_report_says_how_many_pulls_were_used_and_what_is_left(site: Site) -> None:
    site.spec(["1", "2"])
    assert f"{site.host}: 6 pulls, 94 of 100 left\n2 done; " in site.run("apply", code=0).out
    site.spec(["1", "2", "3"])
    (pulls,) = site.apply()["pulls"].items()
    assert pulls == (
        site.host,
        {"used": 3, "remaining": 91, "limit": 100, "window_seconds": 21600, "source": "192.0.2.7"},
    )


def test_a_run_without_changes_uses_no_pulls(site: Site) -> None:
    site.spec()
    site.apply()
    pulled = site.hub.pulled
    report = site.apply()
    assert (site.hub.pulled - pulled, report["pulls"][site.host]["used"]) == (0, 0)
    assert "nothing to do" in site.run("apply", code=0).out
