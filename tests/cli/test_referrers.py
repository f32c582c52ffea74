"""`referrers:`: which signatures, SBOMs and attestations are mirrored, required and counted, and when."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.parts.cosign import fallback
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.front import front
from tests.parts.images import Image, artifact, image, index, layer
from tests.parts.mirrorsync import Mirrorsync, Running, Serve, plain
from tests.parts.unruly import HangUp, Unruly
from tests.parts.wire import Registry

SIGNATURE, SPDX, SCAN = "application/vnd.cncf.notary.signature", "application/spdx+json", "application/vnd.example.scan"


def one(name: str) -> Image:
    return image([layer({"name": name.encode()})])


def cosign_tag(made: Image, suffix: str) -> str:
    return f"{made.digest.replace(':', '-')}.{suffix}"


class Site:
    """A source with the referrers API, and a destination without it."""

    def __init__(self, run: Mirrorsync, source: str, target: str, unique: str) -> None:
        self.run = run
        self.name = f"{unique}/app"
        self.source, self.target = Registry(source), Registry(target)

    def push(self, made: Image, tag: str | None = None) -> Image:
        self.source.push(self.name, made, tag)
        return made

    def spec(self, tags: Any, **entry: Any) -> None:
        self.run.spec(
            {
                "registries": plain(self.source.host) | plain(self.target.host),
                "destinations": {"there": self.target.host},
                "mirrors": [{"from": f"{self.source.host}/{self.name}", "tags": tags, **entry}],
            }
        )

    def has(self, made: Image, tag: str | None = None) -> bool:
        return self.target.holds(self.name, made, tag)

    def listed(self, made: Image) -> list[str]:
        """Return the digests in the fallback index of an image at the destination."""
        found = self.target.manifest(self.name, made.digest.replace(":", "-"))
        return [entry["digest"] for entry in found.json()["manifests"]] if found.status == 200 else []

    def report(self, *words: str, code: int = 0) -> Any:
        return valid(json.loads(self.run("apply", "--json", *words, code=code).out), "report")


@pytest.fixture
def site(mirrorsync: Mirrorsync, served: Serve, registry: DockerRegistry, unique: str) -> Site:
    return Site(mirrorsync, served.host, registry.host, unique)


def test_referrers_of_wanted_types_are_mirrored_and_counted(site: Site) -> None:
    made = site.push(one("1"), "1")
    sbom, scan, signature = (site.push(artifact(made, kind.encode(), kind)) for kind in (SPDX, SCAN, SIGNATURE))
    of_sbom, of_signature = (site.push(artifact(of, b"countersigned", SIGNATURE)) for of in (sbom, signature))
    site.push(one("attestation"), cosign_tag(made, "att"))
    site.push(one("sbom"), cosign_tag(made, "sbom"))
    site.spec(["1"], referrers={"types": ["sbom", "application/vnd.example.*"]})
    assert site.report()["referrers"] == {"found": 7, "wanted": 3, "behind": 0, "copied": 3}
    assert site.listed(made) == [sbom.digest, scan.digest] or site.listed(made) == [scan.digest, sbom.digest]
    assert site.has(one("sbom"), cosign_tag(made, "sbom"))
    assert not any(site.has(left) for left in (signature, of_sbom, of_signature, one("attestation")))
    site.spec(["1"], referrers=True)
    done = site.run("apply", code=0)
    assert "referrers: 7 found, 7 wanted, 4 copied\n" in done.out
    assert site.listed(sbom) == [of_sbom.digest]
    assert site.run("apply", code=0).out.startswith("nothing to do: 8 images")


def test_the_manifest_says_what_a_referrer_is_and_not_a_list(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    """GHCR's fallback index names wrong types, and a list may name what refers to nothing."""
    site = Site(mirrorsync, registry.host, second_registry.host, unique)
    made = site.push(one("1"), "1")
    signature, other = site.push(artifact(made, b"signed", SIGNATURE)), site.push(artifact(one("2"), b"of another"))
    site.source.put_manifest(site.name, fallback(signature, other, artifact_type=SPDX), made.digest.replace(":", "-"))
    site.spec(["1"], referrers={"types": [SPDX]})
    assert site.report()["referrers"] == {"found": 1, "wanted": 0, "behind": 0, "copied": 0}
    site.spec(["1"], referrers={"types": ["signature"], "require": ["signature"]})
    site.run("apply", code=0)
    assert site.listed(made) == [signature.digest]
    assert not site.has(other)


def test_a_referrer_that_a_killed_run_has_not_listed_is_listed_by_the_next_one(
    mirrorsync: Mirrorsync, served: Serve, registry: DockerRegistry, unique: str
) -> None:
    """The list is written after it. A run that ends asks for no list of what stays as it is."""
    begun, killed = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        killed.wait(60)
        raise HangUp

    with Unruly(front({"/": registry.host})) as proxy:
        site = Site(mirrorsync, served.host, proxy.host, unique)
        made = site.push(one("1"), "1")
        sbom = site.push(artifact(made, b"an SBOM", SPDX))
        site.spec(["1"], referrers=True)
        proxy.fault("wait", "PUT", "/manifests/sha256-", hits=[1], arrived=hold)
        running = Running(mirrorsync, "apply")
        assert begun.wait(60)
        running.kill()
        killed.set()
        assert (site.has(sbom), site.listed(made)) == (True, [])
        site.run("apply", code=0)
        assert site.listed(made) == [sbom.digest]
        proxy.seen.requests.clear()
        assert site.run("apply", code=0).out.startswith("nothing to do: 2 images")
        assert not proxy.seen.of("GET", "/referrers/|/manifests/sha256-")


def test_an_image_without_a_required_referrer_is_refused(site: Site) -> None:
    good, bad, moved = site.push(one("good"), "good"), site.push(one("bad"), "bad"), site.push(one("old"), "moved")
    for made in (good, moved):
        site.push(artifact(made, b"an SBOM", SPDX))
        site.push(one(f"signature of {made.digest}"), cosign_tag(made, "sig"))
    scan = site.push(artifact(bad, b"a scan", SCAN))
    site.spec(["good", "bad", "moved"], referrers={"require": ["sbom", "signature"]})
    done = site.run("apply", code=3)
    assert f"/{site.name}:bad: referrers: it lacks sbom and signature; it has {SCAN}" in done.err
    assert site.has(good, "good")
    assert site.has(moved, "moved")
    assert not site.has(bad)
    assert not site.has(scan)
    site.push(one("new"), "moved")
    assert "refused" in site.run("plan", code=3).out
    site.run("apply", code=3)
    assert site.has(moved, "moved")


def test_a_required_referrer_that_is_gone_stops_a_saved_plan(site: Site) -> None:
    made = site.push(one("1"), "1")
    site.push(one("signature"), cosign_tag(made, "sig"))
    site.spec(["1"], referrers={"types": ["sbom"], "require": ["signature"]})
    site.run("plan", "--output", "saved", code=0)
    site.source.delete(site.name, one("signature").digest)
    assert (
        "referrers: it lacks signature; it has no referrers; nothing was done" in site.run("apply", "saved", code=1).err
    )
    assert not site.has(made)


@pytest.mark.parametrize(
    "policy", [{"min_age": "3d"}, {"immutable": ["1"]}, {"on_change": "keep"}, {"on_change": "fail"}]
)
def test_referrers_wait_with_their_image(site: Site, policy: dict[str, Any]) -> None:
    before = site.push(one("before"), "1")
    site.spec(["1"])
    site.run("apply", code=0)
    made = site.push(one("after"), "1")
    referrer = site.push(artifact(made, b"an SBOM"))
    site.push(one("signature"), cosign_tag(made, "sig"))
    site.spec(["1"], referrers=True, **policy)
    site.run("apply")
    assert site.has(before, "1")
    assert not site.has(referrer)
    assert not site.has(one("signature"))
    site.spec(["1"], referrers=True)
    site.run("apply", code=0)
    assert site.has(made, "1")
    assert site.has(referrer)


def test_referrers_of_a_whole_index_stay_behind_and_those_of_kept_images_come_along(site: Site) -> None:
    children = [one("amd64"), image([layer({"arm": b""})], architecture="arm64"), image([layer({"z": b""})])]
    whole = site.push(index(children), "1")
    of_whole, of_first, of_last = (site.push(artifact(made, b"signed", SIGNATURE)) for made in (whole, *children[::2]))
    site.push(one("signature"), cosign_tag(whole, "sig"))
    wanted = {"platforms": ["linux/amd64", "linux/arm64"], "referrers": {"require": ["signature"]}}
    site.spec(["1"], **wanted)
    planned = site.run("plan", "--json", code=0).out
    (change,) = [one for one in json.loads(planned)["images"] if one["tag"] == "1"]
    assert change["whole"] == whole.digest != change["after"]["digest"]
    shown = site.run("plan", code=0).out
    assert f"{change['after']['digest'][7:19]} of {whole.digest[7:19]}" in shown
    assert (
        "platforms: 1 image with another digest than at the source; "
        "signatures of the whole index stay behind (2 referrers)\n" in shown
    )
    assert site.report()["referrers"] == {"found": 1, "wanted": 1, "behind": 2, "copied": 1}
    assert site.listed(children[0]) == [of_first.digest]
    assert not any(site.has(left) for left in (of_whole, of_last, one("signature")))
    assert site.run("apply", code=0).out.startswith("nothing to do: 2 images")


def test_all_tags_of_a_repository_without_the_referrers_api_can_be_mirrored(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    """The tag of its list of referrers is one of them, and names what the destination's own list names."""
    site = Site(mirrorsync, registry.host, second_registry.host, unique)
    made = site.push(one("1"), "1")
    found = [site.push(artifact(made, name)) for name in (b"first", b"second")]
    listed = made.digest.replace(":", "-")
    site.source.put_manifest(site.name, fallback(*found), listed)
    for referrers in (False, True):
        site.spec({"all": True}, referrers=referrers, **({"name": "again/{repository}"} if referrers else {}))
        site.run("apply", code=0)
        assert site.run("apply", code=0).out.startswith("nothing to do: ")
        name = f"again/{site.name}" if referrers else site.name
        assert site.target.tags(name) == ["1", listed]
        assert {entry["digest"] for entry in site.target.manifest(name, listed).json()["manifests"]} == {
            one.digest for one in found
        }


def test_a_list_that_lacks_a_referrer_is_mended_by_deep(site: Site) -> None:
    made = site.push(one("1"), "1")
    referrer = site.push(artifact(made, b"an SBOM"))
    other, gone = artifact(made, b"of another client"), artifact(made, b"deleted by another client")
    site.spec(["1"], referrers=True)
    site.run("apply", code=0)
    for pushed in (other, gone):
        site.target.push(site.name, pushed)
    site.target.put_manifest(site.name, fallback(other, gone), made.digest.replace(":", "-"))
    site.target.delete(site.name, gone.digest)
    assert site.run("apply", code=0).out.startswith("nothing to do: 2 images")
    site.run("apply", "--deep", code=0)
    assert site.listed(made) == [other.digest, referrer.digest]
    assert site.run("apply", "--deep", code=0).out.startswith("nothing to do: 2 images")
