"""What a source drops is kept, reported until it is acknowledged, and deleted only if the spec says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

TAGS = ("1", "2", "3")


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """A source behind a proxy, with three tags of `app`, that the destination has already."""

    def __init__(self, run: Mirrorsync, proxy: Proxy, target: DockerRegistry, name: str) -> None:
        self.run, self.proxy, self.target, self.name = run, proxy, target, name
        self.source = Registry(proxy.upstream)
        self.upstream = f"{proxy.host}/{name}/app"

    def push(self, *tags: str) -> None:
        for tag in tags:
            self.source.push(f"{self.name}/app", made(tag), tag)

    def drop(self, *tags: str) -> None:
        for tag in tags:
            self.source.delete(f"{self.name}/app", made(tag).digest)

    def spec(self, tags: Any, *, prune: Any = None, **keys: Any) -> None:
        self.run.spec(
            {
                "registries": plain(self.proxy.host, self.target.host),
                "destinations": {"there": self.target.host},
                "mirrors": [{"from": self.upstream, "tags": tags, "name": f"{self.name}/m", **keys}],
                **({} if prune is None else {"prune": prune}),
            }
        )

    def held(self) -> list[str]:
        return Registry(self.target.host).tags(f"{self.name}/m")

    def impact(self) -> dict[str, Any]:
        """Return what is remembered of each tag's absence."""
        (found,) = valid(self.run("impact", self.upstream, "--json", code=0).json(), "impact")["sources"]
        return {one["tag"]: one["vanished"] for one in found["tags"]}


@pytest.fixture
def site(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> Iterator[Site]:
    with Proxy(registry.host) as proxy:
        site = Site(mirrorsync, proxy, second_registry, unique)
        site.push(*TAGS)
        yield site


def test_the_commands_of_an_alarm_name_the_spec(site: Site) -> None:
    site.spec({"all": True})
    (site.run.directory / "mirror.yaml").rename(site.run.directory / "nightly.yaml")
    site.run("apply", "nightly.yaml", code=0)
    site.drop("1")
    said = site.run("apply", "nightly.yaml", code=0).err
    assert f"`mirrorsync impact {site.upstream} nightly.yaml`" in said
    assert f"`mirrorsync acknowledge {site.upstream} --spec nightly.yaml`" in said
    site.run("impact", site.upstream, "nightly.yaml", code=0)
    site.run("acknowledge", site.upstream, "--spec", "nightly.yaml", code=0)


def test_a_dropped_tag_of_a_filter_is_kept_and_said_once_then_counted_until_it_is_acknowledged(site: Site) -> None:
    site.spec({"all": True})
    site.run("apply", code=0)
    site.drop("1", "2")
    assert "2 tags of" in site.run("plan", code=0).err, "a plan says it, and does not take note of it"
    first = site.run("apply", "--quiet", code=0)
    assert f"alarm: 2 tags of {site.upstream} have vanished from it and are kept: 1, 2" in first.err
    assert f"mirrorsync impact {site.upstream}" in first.err
    later = site.run("apply", code=0)
    assert "alarm" not in later.err
    assert re.search(r"vanished from sources and kept: 2 tags of \S+, since \d{4}-", later.out)
    site.run("acknowledge", site.upstream, "--why", "moved to another registry", code=0)
    assert site.run("apply", code=0).out == "nothing to do: 1 image up to date at 1 destination\n"
    assert site.impact()["1"]["why"] == "moved to another registry"
    assert site.impact()["3"] is None
    assert site.held() == ["1", "2", "3"]
    site.drop("3")
    assert "1 tag" in site.run("apply", code=3).err, "what is dropped later is said again"


def test_the_documents_have_what_vanished_and_a_saved_plan_carries_it(site: Site) -> None:
    site.spec({"all": True})
    site.run("apply", code=0)
    site.drop("1")
    (plan,) = valid(site.run("plan", "--json", "--output", "plan.json", code=0).json(), "plan")["vanished"]
    (report,) = valid(site.run("apply", "plan.json", "--json", code=0).json(), "report")["vanished"]
    assert plan == report
    assert (report["tags"], report["whole"], report["since"], report["acknowledged"]) == (["1"], False, None, False)
    (known,) = site.run("apply", "--json", code=0).json()["vanished"]
    assert known["since"] is not None


def test_an_exact_tag_that_is_dropped_is_a_failure_until_it_is_acknowledged(site: Site) -> None:
    site.spec(["1", "2"])
    site.run("apply", code=0)
    site.drop("1")
    done = site.run("apply", code=3)
    assert "the repository has no such tag" in done.err
    assert f"`mirrorsync acknowledge {site.upstream}` accepts" in done.err
    verbs = (["verify"], ["images"], ["lock", "--output", "new.lock"])
    assert [site.run(*verb).code for verb in verbs] == [3, 3, 3]
    site.run("acknowledge", site.upstream, code=0)
    done = site.run("apply", code=0)
    assert done.err == ""
    assert site.held() == ["1", "2"]
    for verb in verbs:
        said = site.run(*verb, code=0).err
        assert f"{site.upstream}:1" in said
        assert "dropped by its source, which is acknowledged" in said
    assert "2 images complete" in site.run("verify", code=0).out
    old = (site.run.directory / "new.lock").read_text()
    assert (":1" in old, ":2" in old) == (False, True)
    Registry(site.target.host).delete(f"{site.name}/m", made("1").digest)
    assert "no such tag" in site.run("apply", code=3).err, "it is not at the destination any more"
    assert "missing" in site.run("verify", code=1).out, "the last copy is lost"


def test_a_tag_that_was_never_mirrored_has_not_vanished(site: Site) -> None:
    site.spec(["1", "none"])
    assert "alarm" not in site.run("apply", code=3).err
    assert "no run has noticed" in site.run("acknowledge", site.upstream, code=2).err


def test_a_repository_that_is_gone_is_a_failure_until_it_is_acknowledged_and_is_never_deleted(site: Site) -> None:
    site.spec({"all": True}, on_vanish="delete", prune={"max_deletes": "100%"})
    site.run("apply", code=0)
    site.proxy.answer(path_has("/app/"), 404, json.dumps({"errors": [{"code": "NAME_UNKNOWN"}]}).encode())
    done = site.run("apply", code=1)
    assert f"alarm: {site.upstream} has vanished: 3 tags are kept: 1, 2, 3" in done.err
    site.run("acknowledge", site.proxy.host, code=0)
    site.run("apply", code=0)
    assert site.held() == ["1", "2", "3"]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_source_that_fails_has_not_vanished(site: Site, status: int) -> None:
    site.spec({"all": True}, on_vanish="delete")
    site.run("apply", code=0)
    site.proxy.answer(path_has("/app/"), status)
    done = site.run("apply")
    assert done.code in (1, 3)
    assert "vanished" not in done.err
    assert site.held() == ["1", "2", "3"]


@pytest.mark.parametrize("listed", [["3"], []])
def test_a_list_that_is_not_whole_deletes_nothing(site: Site, listed: list[str]) -> None:
    site.spec({"all": True}, on_vanish="delete", allow_empty=True)
    site.run("apply", code=0)
    body = json.dumps({"name": "app", "tags": listed}).encode()
    site.proxy.answer(path_has("app/tags/list"), 200, body, {"Content-Type": "application/json"})
    done = site.run("apply", code=0)
    assert ("alarm" in done.err) == (listed == [])
    assert site.held() == ["1", "2", "3"]


def test_on_vanish_delete_deletes_what_the_source_has_dropped_and_nothing_else(site: Site) -> None:
    site.spec({"all": True}, on_vanish="delete")
    site.run("apply", code=0)
    site.drop("1")
    shown = site.run("plan", code=0)
    assert "on_vanish delete: its source has dropped it" in shown.out
    site.run("plan", "--output", "plan.json", code=0)
    site.run("apply", "plan.json", code=0)
    assert site.held() == ["2", "3"]
    assert site.run("apply", code=0).err == ""


def test_on_vanish_delete_obeys_the_cap(site: Site) -> None:
    site.push("4")
    site.spec({"all": True}, on_vanish="delete", prune={"max_deletes": 1})
    site.run("apply", code=0)
    site.drop("1", "2")
    done = site.run("apply", code=1)
    assert "max_deletes allows 1" in done.err
    assert "2 tags of" in done.err, "they are kept, which is said"
    assert site.held() == ["1", "2", "3", "4"]


def test_a_tag_that_comes_back_is_forgotten_and_said_again_if_it_goes(site: Site) -> None:
    site.spec({"all": True})
    site.run("apply", code=0)
    site.drop("1")
    site.run("apply", code=0)
    site.run("acknowledge", site.upstream, code=0)
    site.push("1")
    site.run("apply", code=0)
    assert site.impact()["1"] is None
    site.drop("1")
    assert "alarm: 1 tag of" in site.run("apply", code=0).err


def test_a_dropped_tag_is_neither_pruned_nor_listed_as_unwanted(site: Site) -> None:
    site.spec({"all": True}, prune={})
    site.run("apply", code=0)
    site.drop("1")
    assert "not in the spec" not in site.run("plan", code=0).out
    site.run("apply", code=0)
    assert site.held() == ["1", "2", "3"]


def test_impact_names_mirrors_tags_and_digests_without_a_request(site: Site) -> None:
    site.spec({"all": True})
    site.run("apply", code=0)
    before = len(site.proxy.requests)
    shown = site.run("impact", site.proxy.host, code=0).out.splitlines()
    assert re.fullmatch(rf"1 mirror \(mirror.yaml:\d+\) and 3 tags depend on {re.escape(site.proxy.host)}", shown[0])
    assert f"{site.target.host}/{site.name}/m:1" in shown[1]
    assert site.run("impact", f"{site.proxy.host}/other", code=0).out.startswith("nothing depends on")
    assert len(site.proxy.requests) == before
    site.run("impact", "not a host", code=2)


def test_what_is_known_to_be_gone_costs_no_request_to_the_source_in_later_runs(site: Site) -> None:
    site.spec({"all": True})
    site.run("apply", code=0)
    site.drop("1", "2")
    site.run("apply", code=0)
    before = len(site.proxy.requests)
    site.run("apply", code=0)
    asked = [path for _, path in site.proxy.requests[before:]]
    assert not [path for path in asked if path.endswith(("/1", "/2"))]


def test_an_acknowledgement_survives_the_loss_of_the_memory_in_an_export(site: Site) -> None:
    site.spec(["1", "2"])
    site.run("apply", code=0)
    site.drop("1")
    site.run("apply", code=3)
    site.run("acknowledge", site.upstream, "--why", "known", code=0)
    valid(site.run("state", "export", "state.json", "--json", code=0).json(), "state")
    for path in (site.run.home / ".local/state/mirrorsync").iterdir():
        path.unlink()
    site.run("apply", code=3)
    site.run("state", "import", "state.json", code=0)
    site.run("apply", code=0)
    assert site.impact()["1"]["why"] == "known"


def test_a_locked_run_which_does_not_ask_the_source_forgets_no_acknowledgement(site: Site) -> None:
    site.spec(["1", "2"])
    site.run("lock", code=0)
    site.run("apply", code=0)
    site.drop("1")
    site.run("apply", code=3)
    site.run("acknowledge", site.upstream, code=0)
    site.run("apply", "--locked", code=0)
    assert site.impact()["1"]["acknowledged"]
    assert site.run("apply", code=0).err == ""
