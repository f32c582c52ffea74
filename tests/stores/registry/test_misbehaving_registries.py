"""The engine with registries that misbehave: what it tolerates, what it reports, and what it never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.environment import Clock, Environment
from mirrorsync.errors import ExitCode
from mirrorsync.plan.model import Plan
from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec
from mirrorsync.stores.open import opener
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session
from tests.parts.images import Image, digest, image, index, layer, noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import RecordedEvents

LARGE = noise("a large layer", 2_500_000)
IMAGE = index([image([layer({"a": b"small"}), LARGE], architecture=name) for name in ("amd64", "arm64")])
OTHER = image([layer({"b": b"of another mirror"})])


@dataclass
class Road:
    """A source and destinations, and the engine between them; waiting takes no time."""

    source: Unruly
    targets: Sequence[Unruly]
    held: Sequence[TinyRegistry]
    recorded: RecordedEvents
    mirrors: Sequence[Any] = ()
    deep: bool = False

    def spec(self) -> Spec:
        hosts = [server.host for server in (self.source, *self.targets)]
        document: dict[str, Any] = {
            "version": 1,
            "registries": {host: {"plain_http": True} for host in hosts},
            "destinations": {f"d{number}": f"{server.host}/mirror" for number, server in enumerate(self.targets)},
            "defaults": {"to": [f"d{number}" for number in range(len(self.targets))]},
            "mirrors": list(self.mirrors) or [f"{self.source.host}/app:1", f"{self.source.host}/other:1"],
        }
        return load(json.dumps(document).encode(), source="mirror.yaml", environment={}, base="/")

    def go(self) -> tuple[Plan, Report]:
        """Plan and apply."""

        async def asleep(_: float) -> None:
            await asyncio.sleep(0)

        async def work() -> tuple[Plan, Report]:
            spec = self.spec()
            around = Environment(
                spec.registries, {}, observer=self.recorded, clock=Clock(sleep=lambda _: None, asleep=asleep)
            )
            async with Session(opener(around), observer=self.recorded) as session:
                plan = await make_plan(spec, session, deep=self.deep)
                return plan, await apply(plan, session, sleep=asleep)

        return asyncio.run(work())

    def complete(self, made: Image, name: str, tag: str = "1", target: int = 0) -> bool:
        """Return whether a destination has every byte of an image."""
        held = self.held[target]
        manifests = all(
            held.manifests.get((f"mirror/{name}", one.digest), ("", b""))[1] == one.raw for one in made.manifests()
        )
        blobs = all(held.blobs.get((f"mirror/{name}", key)) == data for key, data in made.all_blobs().items())
        return manifests and blobs and held.tags.get((f"mirror/{name}", tag)) == made.digest


@pytest.fixture
def road(server: Unruly, tiny: TinyRegistry) -> Iterator[Road]:
    tiny.hold("app", IMAGE, "1")
    tiny.hold("other", OTHER, "1")
    held = [TinyRegistry(), TinyRegistry()]
    with Unruly(held[0]) as first, Unruly(held[1]) as second:
        yield Road(server, [first, second], held, RecordedEvents())


def blob_of(data: bytes) -> str:
    return f"/blobs/{digest(data)}"


def test_without_faults_everything_is_copied_and_the_second_run_copies_nothing(road: Road) -> None:
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert all(road.complete(IMAGE, "app", target=number) for number in range(2))
    assert len(road.source.seen.of("GET", blob_of(LARGE))) == 1
    before = [len(server.seen.requests) for server in road.targets]
    plan, _ = road.go()
    assert plan.steps == ()
    for server, count in zip(road.targets, before, strict=True):
        assert {asked.method for asked in server.seen.requests[count:]} <= {"GET", "HEAD"}


FAULTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "the source closes the connection": ("source", "cut", "GET", {"at": 1_200_000, "hits": [1]}),
    "the source flips a bit once": ("source", "flip", "GET", {"at": 1_234_567, "hits": [1]}),
    "the source is unavailable once": ("source", "hang_up", "GET", {"hits": [1, 2]}),
    "the source answers errors": ("source", "answer", "GET", {"status": 502, "hits": [1, 2, 3]}),
    "the destination closes the connection": ("target", "unread", "PUT", {"at": 1_000_000, "hits": [1]}),
    "the destination resets the connection": ("target", "stop_reading", "PUT", {"at": 1_000_000, "hits": [1]}),
    "the destination fails at the end of an upload": ("target", "answer", "PUT", {"status": 503, "hits": [1]}),
    "the destination fails twice": ("target", "answer", "PUT", {"status": 500, "hits": [1, 2]}),
    "the destination loses its answer": ("target", "lose_answer", "PUT", {"hits": [1]}),
    "the destination loses the upload": ("target", "answer", "PUT", {"status": 404, "hits": [1]}),
    "the destination rejects the size": ("target", "answer", "PUT", {"status": 413, "hits": [1]}),
}


@pytest.mark.parametrize(("side", "fault", "method", "detail"), FAULTS.values(), ids=FAULTS)
def test_a_transient_fault_fails_no_image(
    road: Road, side: str, fault: str, method: str, detail: dict[str, Any]
) -> None:
    server = road.source if side == "source" else road.targets[0]
    pattern = blob_of(LARGE) if side == "source" else f"uploads/.*{blob_of(LARGE).rpartition(':')[2]}"
    server.fault(fault, method, pattern, **detail)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE, report.failures
    assert all(road.complete(made, name, target=number) for number in range(2) for made, name in WANTED)


WANTED = ((IMAGE, "app"), (OTHER, "other"))


def test_a_blob_that_is_damaged_every_time_is_not_stored_and_fails_only_its_image(road: Road) -> None:
    road.source.fault("flip", "GET", blob_of(LARGE), at=1_234_567)
    _, report = road.go()
    assert report.exit_code == ExitCode.PARTLY  # the other image is complete
    for number in range(2):
        assert not any("app" in name for name, _ in road.held[number].tags)
        assert LARGE not in road.held[number].blobs.values()
        assert not any(len(data) == len(LARGE) for data in road.held[number].blobs.values())
        assert road.complete(OTHER, "other", target=number)
    assert {failure.error.exit_code for failure in report.failures} == {ExitCode.INTEGRITY}
    assert all("does not match its digest" in failure.error.message for failure in report.failures)
    assert len(road.source.seen.of("GET", blob_of(LARGE))) == 3


def test_a_damaged_manifest_is_never_tagged(road: Road) -> None:
    child = IMAGE.children[0]
    road.source.fault("body", "GET", f"/manifests/{child.digest}", change=lambda raw: raw + b" ")
    plan, report = road.go()
    assert plan.failures or report.failures
    assert not any("app" in name for name, _ in road.held[0].tags)
    assert road.complete(OTHER, "other")


def test_an_unreachable_destination_does_not_affect_another(road: Road) -> None:
    road.targets[0].fault("answer", "POST", status=403)
    _, report = road.go()
    assert report.exit_code == ExitCode.PARTLY
    assert all(road.complete(made, name, target=1) for made, name in WANTED)
    assert road.held[0].tags == {}
    assert len(road.source.seen.of("GET", blob_of(LARGE))) == 1


def test_a_long_retry_after_of_one_host_does_not_affect_others(road: Road) -> None:
    road.targets[0].fault("answer", "POST", status=429, headers={"Retry-After": "7200"})
    _, report = road.go()
    assert report.exit_code == ExitCode.PARTLY
    assert "retry after 7200 seconds" in str(report.failures)
    assert all(road.complete(made, name, target=1) for made, name in WANTED)
    # Only requests that were in flight at the first answer were sent.
    assert len(road.targets[0].seen.of("POST")) <= 20


def test_a_rejected_write_is_not_retried(road: Road) -> None:
    road.targets[0].fault("answer", "PUT", "/manifests/", status=403)
    _, report = road.go()
    assert report.exit_code == ExitCode.PARTLY
    tried = [asked.target for asked in road.targets[0].seen.of("PUT", "/manifests/")]
    assert len(tried) == len(set(tried))


def test_each_failed_image_is_reported_under_its_own_name(road: Road) -> None:
    road.source.fault("answer", "*", "/v2/$", status=500)
    plan, _ = road.go()
    assert {failure.error.where for failure in plan.failures} == {
        f"{road.source.host}/app:1",
        f"{road.source.host}/other:1",
    }


def tampering(app: TinyRegistry) -> Any:
    """A registry that lists a tag with a path in its name."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/tags/list"):
            return Reply(200, {"Content-Type": "application/json"}, b'{"tags": ["1", "../../../etc/x", "a\\nb"]}')
        return app(asked) if "etc" not in asked.target else refusal(500, "BROKEN")

    return answer


def test_an_invalid_tag_never_becomes_a_path(road: Road, tiny: TinyRegistry, tmp_path: Path) -> None:
    road.source.app = tampering(tiny)
    document = {
        "version": 1,
        "registries": {road.source.host: {"plain_http": True}},
        "destinations": {"disk": f"oci:{tmp_path / 'layout'}"},
        "defaults": {"to": ["disk"]},
        "mirrors": [{"from": f"{road.source.host}/app", "tags": {"all": True}}],
    }
    spec = load(json.dumps(document).encode(), source="mirror.yaml", environment={}, base="/")

    async def work() -> Report:
        around = Environment(spec.registries, observer=road.recorded)
        async with Session(opener(around), observer=road.recorded) as session:
            return await apply(await make_plan(spec, session), session)

    report = asyncio.run(work())
    assert report.exit_code == ExitCode.DONE
    names = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    assert [one["annotations"]["org.opencontainers.image.ref.name"] for one in names] == ["app:1"]
    assert len(road.recorded.notices) == 2
