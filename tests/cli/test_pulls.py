"""Pulls of a registry that limits them: how many are used, what is left, and which images wait."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cosign import make_key
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


def pulls_of_four_runs(site: Site) -> list[int]:
    """Mirror five images in four runs, of which the last has nothing to do; return the pulls of each."""
    said, pulled = [], []
    for _ in range(4):
        before = site.hub.pulled
        report = site.apply()
        said.append(outcomes(report))
        pulled.append(site.hub.pulled - before)
        assert pulled[-1] == report["pulls"][site.host]["used"]
    assert said == [
        "done done delayed delayed delayed",
        "unchanged unchanged done done delayed",
        "unchanged unchanged unchanged unchanged done",
        "unchanged unchanged unchanged unchanged unchanged",
    ]
    return pulled


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


def test_runs_within_a_budget_of_pulls_mirror_everything_in_the_end(site: Site) -> None:
    site.spec(budget={"pulls": 7})
    # The index of the first image that does not fit is read, and is known in the next run.
    assert pulls_of_four_runs(site) == [7, 6, 2, 0]


def test_the_budget_is_the_decision_on_an_image_that_waits(site: Site) -> None:
    site.spec(budget={"pulls": 7})
    decisions = [one["decision"] for one in site.apply()["images"]]
    waits = {"policy": "budget", "verdict": "delay", "until": None}
    assert decisions == [None, None, waits, waits, waits]


def test_an_image_of_more_pulls_than_the_budget_is_mirrored_alone(site: Site) -> None:
    site.spec(budget={"pulls": 1})
    assert outcomes(site.apply()) == "done delayed delayed delayed delayed"
    assert outcomes(site.apply()) == "unchanged done delayed delayed delayed"


def test_plan_shows_what_waits_for_pulls_and_apply_does_what_it_shows(site: Site) -> None:
    site.spec(budget={"pulls": 7})
    shown = site.run("plan", "--output", "saved.plan", code=0).out
    assert "3 images wait for the next run: the budget of 7 pulls is used\nPlan: 2 new, 3 delayed" in shown
    pulled = site.hub.pulled
    assert "2 done, 3 delayed" in site.run("apply", "saved.plan", code=0).out
    assert site.hub.pulled == pulled, "manifests are remembered"


def test_some_pulls_are_kept_for_others_until_the_limit_refills(site: Site) -> None:
    site.hub.limit, site.hub.left = 30, 26
    site.spec(keep=20)
    done = site.run("apply", code=0).out
    why = f"{site.host} has 20 of 30 pulls left, and keep is 20; it refills within 6 h"
    assert f"3 images wait for the next run: {why}\n{site.host}: 6 pulls, 20 of 30 left\n2 done, 3 delayed" in done
    assert "3 images wait for the next run" in site.run("plan", code=0).out
    assert outcomes(site.apply()) == "unchanged unchanged delayed delayed delayed"
    assert (site.hub.left, site.hub.refused) == (20, 0)
    site.hub.refill()
    assert outcomes(site.apply()) == "unchanged unchanged done done done"


def test_without_the_key_a_used_up_limit_is_a_failure_that_names_the_key(site: Site) -> None:
    site.hub.limit, site.hub.left = 30, 1
    site.spec(["1", "2", "3"])
    done = site.run("apply", code=1)
    assert "asks to retry after 3600 seconds" in done.err
    assert "answered 429: TOOMANYREQUESTS You have reached your unauthenticated pull rate limit" in done.err
    assert "log in for a higher limit than this of 30 pulls in 6 h, or set pulls: {keep: 20} for this host" in done.err


def test_with_the_key_a_registry_that_refuses_all_the_same_is_not_a_failure(site: Site) -> None:
    site.spec(keep=0)
    said = {"ratelimit-remaining": "50;w=21600"}  # others share the address
    site.server.fault("headers", "HEAD", "/manifests/", change=said)
    site.hub.left = 0
    report = site.apply()
    assert outcomes(report) == "delayed delayed delayed delayed delayed"
    assert report["images"][0]["reason"] == f"waits for the next run: {site.host} refuses more pulls"


def test_one_source_at_its_limit_does_not_stop_the_others(site: Site) -> None:
    other = Hub()
    other.registry.hold("tool", made("tool"), "1")
    site.hub.left = 20
    with Unruly(other) as server:
        mirrors = [f"{site.host}/app:1", f"{server.host}/tool:1"]
        site.run.spec(
            {
                "registries": plain(site.host, server.host, pulls={"keep": 20}),
                "destinations": {"disk": "oci:disk"},
                "mirrors": mirrors,
            }
        )
        assert outcomes(site.apply()) == "delayed done"


def test_an_image_to_two_destinations_takes_its_pulls_once_and_one_that_is_present_takes_none(site: Site) -> None:
    site.spec(
        ["1", "2"],
        budget={"pulls": 3},
        destinations={"disk": "oci:disk", "other": "oci:other"},
        defaults={"to": ["disk", "other"]},
    )
    assert outcomes(site.apply()) == "done done delayed delayed"
    site.hub.registry.tags["app", "again"] = site.hub.registry.tags["app", "1"]
    site.spec(["2", "3", "again"], budget={"pulls": 3})
    assert outcomes(site.apply()) == "done delayed done"


def test_an_image_whose_signature_was_not_looked_for_waits_even_if_it_takes_no_pulls(
    site: Site, tmp_path: Path
) -> None:
    key = make_key(tmp_path, "site")
    site.spec(["2"])
    site.run("plan", code=0)  # its manifests are known from now on
    first = {"from": f"{site.host}/app", "tags": ["1", "3"]}
    signed = {"from": f"{site.host}/app", "tags": ["2"], "verify": {"cosign": {"key": str(key.public)}}}

    def both(**keys: Any) -> None:
        site.run.spec(
            {
                "registries": plain(site.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [first, signed],
                **keys,
            }
        )

    both(budget={"pulls": 1})
    assert outcomes(site.apply()) == "done delayed delayed"
    both()
    report = site.apply(code=3)
    assert outcomes(report) == "unchanged done"
    assert "verify" in report["failures"][0]["error"]["message"]


def test_signatures_come_along_with_their_image_and_wait_with_it(site: Site) -> None:
    for number in ("1", "2"):
        site.hub.registry.hold("app", attached(made(number)))
    site.run.spec(
        {
            "registries": plain(site.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{site.host}/app", "tags": ["1", "2"], "referrers": True}],
            "budget": {"pulls": 4},
        }
    )
    assert outcomes(site.apply()) == "done done delayed"
    assert outcomes(site.apply()) == "unchanged unchanged done done"


def attached(subject: Image) -> Image:
    return image([noise(f"about {subject.digest}", 10)], artifactType="application/x", subject=subject.descriptor)


def test_only_the_indexes_of_images_that_fit_are_read_to_choose_platforms(site: Site) -> None:
    site.spec(defaults={"platforms": ["linux/amd64"]}, budget={"pulls": 5})
    assert pulls_of_four_runs(site) == [4, 4, 2, 0]


def test_a_sparse_index_takes_the_pulls_of_its_selected_images_alone(site: Site) -> None:
    site.spec(defaults={"platforms": {"only": ["linux/amd64"], "index": "sparse"}}, budget={"pulls": 5})
    assert pulls_of_four_runs(site) == [4, 4, 2, 0]
    site.run("verify", code=0)


def test_a_moved_tag_that_was_not_read_is_kept_and_no_policy_takes_it_for_another_image(site: Site) -> None:
    site.spec(["1", "2"], defaults={"platforms": ["linux/amd64"]})
    site.apply()
    for number in ("1", "2"):
        site.hub.registry.hold("app", made(f"new {number}"), number)
    site.spec(["1", "2"], defaults={"platforms": ["linux/amd64"], "on_change": "fail"}, budget={"pulls": 1})
    report = site.apply(code=3)
    assert outcomes(report) == "refused delayed"
    second = report["images"][1]
    assert (second["state"], second["reason"]) == (
        "delayed",
        "waits for the next run: the budget of 1 pull is used",
    )


def test_a_saved_plan_whose_manifests_are_not_remembered_keeps_the_limit_too(site: Site) -> None:
    site.hub.limit = 30
    site.spec(keep=20)
    site.run("plan", "--output", "saved.plan", code=0)
    assert site.hub.left == 100 - 15
    shutil.rmtree(site.run.home / ".cache")
    site.hub.left = 26
    done = site.run("apply", "saved.plan", code=0).out
    why = f"{site.host} has 20 of 30 pulls left, and keep is 20; it refills within 6 h"
    assert f"3 images wait for the next run: {why}\n{site.host}: 6 pulls, 20 of 30 left\n2 done, 3 delayed" in done
    site.hub.refill()
    assert "3 done, 2 unchanged" in site.run("apply", "saved.plan", code=0).out


def test_tags_that_move_are_read_in_the_order_of_the_spec_too(site: Site) -> None:
    site.spec(["1", "2", "3"])
    site.apply()
    for number in ("1", "2", "3"):
        site.hub.registry.hold("app", image([noise(f"new {number}", 10)]), number)
    pulled = site.hub.pulled
    site.spec(["1", "2", "3"], budget={"pulls": 2})
    assert outcomes(site.apply()) == "done done delayed"
    assert site.hub.pulled - pulled == 2
    site.spec(["1", "2", "3"], budget={"pulls": 1, "bytes": "1B"})
    assert outcomes(site.apply()) == "unchanged unchanged done"


def test_tags_says_what_waits_for_pulls(site: Site) -> None:
    site.hub.left = 22
    site.spec(["1"], keep=20)
    assert "waits for the next run: " in " ".join(site.run("tags", code=0).out.split())
