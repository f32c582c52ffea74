"""`verify: {cosign: {key: FILE}}`: signatures as they are in registries, and what is at the destination afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cosign import (
    Key,
    bundle_by,
    encoded,
    fallback,
    legacy,
    legacy_by,
    make_key,
    payload,
    referrer,
)
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, artifact, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import Server
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry, ask


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    """Return three key pairs."""
    directory = tmp_path_factory.mktemp("keys")
    return {name: make_key(directory, name) for name in ("site", "next", "other")}


@dataclass
class Site:
    """A source with a repository `app`, of which signed images are mirrored to the destination."""

    run: Mirrorsync
    source: Server
    target: Server
    keys: dict[str, Key]
    hosts: dict[str, Any] = field(default_factory=dict)

    @property
    def api(self) -> bool:
        """Whether the source has the referrers API; otherwise clients keep an index under a tag."""
        return isinstance(self.source, Serve)

    def push(self, tag: str, made: Image) -> Image:
        Registry(self.source.host).push("app", made, tag)
        return made

    def sign_2(self, made: Image, by: str = "site", signed: str = "") -> None:
        """Sign as cosign 2 does. signed: the digest in the payload, if it is not the image's."""
        signature = legacy_by(self.keys[by], signed or made.digest)
        Registry(self.source.host).push("app", signature, f"{made.digest.replace(':', '-')}.sig")

    def sign_3(self, made: Image, by: str = "site", signed: str = "") -> Image:
        """Sign as cosign 3 does. signed: the digest in the statement, if it is not the image's."""
        return self.attach(made, referrer(made, bundle_by(self.keys[by], signed or made.digest)))

    def attach(self, made: Image, *referrers: Image, **claims: str) -> Image:
        for one in referrers:
            Registry(self.source.host).push("app", one)
        if not self.api:
            index = fallback(*referrers, **claims)
            Registry(self.source.host).put_manifest("app", index, made.digest.replace(":", "-"))
        return referrers[0]

    def spec(self, tags: Any, *by: str, host: str = "", **entry: Any) -> None:
        verify = entry.pop("verify", {})
        files = [str(self.keys[name].public) for name in by or ("site",)]
        source = host or self.source.host
        self.run.spec(
            {
                "registries": plain(source) | plain(self.target.host),
                "destinations": {"there": self.target.host},
                "mirrors": [
                    {"from": f"{source}/app", "tags": tags, "verify": {"cosign": {"key": files}, **verify}, **entry}
                ],
            }
        )

    def has(self, made: Image, tag: str | None = None) -> bool:
        return Registry(self.target.host).holds("app", made, tag)

    def is_empty(self) -> bool:
        return Registry(self.target.host).tags("app") == []


@pytest.fixture(params=["docker-registry", "serve"])
def site(
    request: pytest.FixtureRequest, mirrorsync: Mirrorsync, tmp_path: Path, keys: dict[str, Key]
) -> Iterator[Site]:
    """Return a site; docker-registry has no referrers API, `serve` has it."""
    kind: Any = DockerRegistry if request.param == "docker-registry" else Serve
    with kind(tmp_path / "source") as source, kind(tmp_path / "target") as target:
        yield Site(mirrorsync, source, target, keys)


def one(name: str) -> Image:
    return image([layer({"name": name.encode()})])


def test_images_signed_in_either_form_are_mirrored_and_others_are_not(site: Site) -> None:
    two, three, none = site.push("two", one("2")), site.push("three", multi_platform("m")), site.push("none", one("0"))
    site.sign_2(two)
    site.sign_3(three)
    site.spec(["two", "three", "none"])
    done = site.run("apply", code=3)
    assert f"{site.target.host}/app:none: verify: no signature found: there is no tag sha256-" in done.err
    assert site.has(two, "two")
    assert site.has(three, "three")
    assert Registry(site.target.host).tags("app") == ["three", "two"]
    assert ask("HEAD", f"http://{site.target.host}/v2/app/manifests/{none.digest}").status == 404
    assert all(
        ask("HEAD", f"http://{site.target.host}/v2/app/blobs/{blob}").status == 404
        for blob in none.blobs.keys() - two.blobs.keys()
    )


@pytest.mark.parametrize("form", ["sign_2", "sign_3"])
@pytest.mark.parametrize(
    ("by", "signed", "fact"),
    [
        ("other", "", "it was not made with the key"),
        ("site", f"sha256:{'1' * 64}", f"it signs another image, sha256:{'1' * 64}"),
    ],
)
def test_a_signature_by_another_key_or_for_another_image_is_refused(
    site: Site, form: str, by: str, signed: str, fact: str
) -> None:
    made = site.push("1", one("1"))
    getattr(site, form)(made, by, signed)
    site.spec(["1"])
    plan = valid(site.run("plan", "--json", code=1).json(), "plan")
    (failure,) = plan["failures"]
    assert fact in failure["error"]["message"]
    assert fact in site.run("apply", code=1).err
    assert site.is_empty()


def test_a_signature_of_one_of_several_keys_is_enough(site: Site) -> None:
    made = site.push("1", one("1"))
    site.sign_2(made, "next")
    site.spec(["1"], "site", "next")
    site.run("apply", code=0)
    assert site.has(made, "1")


def test_a_valid_signature_counts_next_to_wrong_ones_in_the_other_form(site: Site) -> None:
    made = site.push("1", one("1"))
    site.sign_2(made, "other")
    site.sign_3(made)
    site.spec(["1"])
    site.run("apply", code=0)
    assert site.has(made, "1")


def test_the_index_has_to_be_signed_and_not_a_child(site: Site) -> None:
    whole = site.push("1", multi_platform("m"))
    site.sign_2(whole.children[0])
    site.sign_3(whole.children[1])
    site.spec(["1"])
    assert "no signature found" in site.run("apply", code=1).err
    assert site.is_empty()
    site.spec([whole.children[0].digest, whole.children[1].digest])
    site.run("apply", code=0)
    assert site.has(whole.children[0])
    assert site.has(whole.children[1])


def test_an_image_by_digest_alone_has_to_be_signed_too(site: Site) -> None:
    made = site.push("1", one("1"))
    site.spec([made.digest])
    assert "no signature found" in site.run("apply", code=1).err
    assert not site.has(made)


@pytest.mark.parametrize("platforms", [["linux/arm64"], ["linux/amd64", "linux/arm64"]])
def test_with_platforms_the_signature_of_the_whole_index_counts(site: Site, platforms: list[str]) -> None:
    signed, unsigned = site.push("1", multi_platform("m")), site.push("2", multi_platform("n"))
    site.sign_3(signed)
    for child in unsigned.children:
        site.sign_2(child)
    site.spec(["1", "2"], platforms=platforms)
    done = site.run("apply", code=3)
    assert f"app:2: verify: no signature found: there is no tag {unsigned.digest.replace(':', '-')}.sig" in done.err
    assert Registry(site.target.host).tags("app") == ["1"]
    assert site.has(signed.children[1])


def test_a_list_of_referrers_is_not_believed(site: Site) -> None:
    """GHCR's fallback index names wrong types; a referrer is what its manifest says."""
    made = site.push("1", one("1"))
    site.attach(made, referrer(made, bundle_by(site.keys["site"], made.digest)), artifact_type="application/x")
    sbom = site.push("2", one("2"))
    site.attach(sbom, artifact(sbom, b"an SBOM"))
    site.spec(["1", "2"])
    assert "and 1 referrer is not a bundle" in site.run("apply", code=3).err
    assert Registry(site.target.host).tags("app") == ["1"]


def test_referrers_come_along_with_a_signed_image_and_stay_with_a_refused_one(site: Site) -> None:
    good, bad = site.push("1", one("1")), site.push("2", one("2"))
    signature = site.sign_3(good)
    site.sign_2(good)
    wrong = site.sign_3(bad, "other")
    site.spec(["1", "2"], referrers=True)
    site.run("apply", code=3)
    assert site.has(good, "1")
    assert site.has(signature)
    assert f"{good.digest.replace(':', '-')}.sig" in Registry(site.target.host).tags("app")
    assert not site.has(wrong)
    assert not site.has(bad)


def test_all_tags_of_a_repository_with_signatures_are_mirrored(site: Site) -> None:
    made = site.push("1", one("1"))
    site.sign_2(made)
    site.spec({"all": True})
    site.run("apply", code=0)
    assert Registry(site.target.host).tags("app") == ["1", f"{made.digest.replace(':', '-')}.sig"]


def test_a_tag_that_moves_to_an_unsigned_image_keeps_the_signed_one(site: Site) -> None:
    signed = site.push("1", one("1"))
    site.sign_2(signed)
    site.spec(["1"])
    site.run("apply", code=0)
    site.push("1", one("compromised"))
    assert "refused" in site.run("plan").out
    site.run("apply", code=1)
    assert site.has(signed, "1")
    assert "verify: no signature found" in site.run("verify").err


def test_a_present_image_is_checked_with_deep_only(site: Site) -> None:
    made = site.push("1", one("1"))
    site.run.spec(
        {
            "registries": plain(site.source.host) | plain(site.target.host),
            "destinations": {"there": site.target.host},
            "mirrors": [f"{site.source.host}/app:1"],
        }
    )
    site.run("apply", code=0)
    site.spec(["1"])
    site.run("apply", code=0)
    assert "verify: no signature found" in site.run("apply", "--deep", code=1).err
    assert site.has(made, "1")


def test_a_dry_run_mirrors_and_says_what_would_be_refused(site: Site) -> None:
    made = site.push("1", one("1"))
    site.spec(["1"], verify={"policy": "dry_run"})
    said = "verify (dry run, not refused): no signature found"
    assert said in site.run("plan", code=0).out
    assert said in site.run("apply", code=0).err
    assert site.has(made, "1")


def test_an_exception_is_shown_and_refuses_again_when_it_is_over(site: Site) -> None:
    made = site.push("1", one("1"))
    over = {"image": f"{site.source.host}/app:*", "reason": "no key yet", "until": "2020-01-01"}
    site.spec(["1"], verify={"except": [over]})
    assert "its exception (no key yet) ended on 2020-01-01" in site.run("apply", code=1).err
    assert site.is_empty()
    site.spec(["1"], verify={"except": [{**over, "until": "2999-01-01"}]})
    assert "excepted until 2999-01-01 (no key yet)" in site.run("plan", code=0).out
    site.run("apply", code=0)
    assert site.has(made, "1")
    site.spec(["1"], verify={"except": [over]})
    assert "ended on 2020-01-01" in site.run("apply", code=1).err


def test_an_exception_by_tag_counts_for_an_image_that_a_lock_or_the_spec_pins(site: Site) -> None:
    made = site.push("1", one("1"))
    excepted = {"image": f"{site.source.host}/app:1", "reason": "no key yet", "until": "2999-01-01"}
    site.spec(["1"], verify={"except": [excepted]})
    site.run("lock", code=0)
    assert "excepted until 2999-01-01 (no key yet)" in site.run("plan", "--locked", code=0).out
    site.run("plan", "--locked", "--output", "plan.json", code=0)
    site.run("apply", "plan.json", code=0)
    assert site.has(made, "1")
    other = site.push("2", one("2"))
    site.spec([f"1@{made.digest}", f"2@{other.digest}"], verify={"except": [{**excepted, "image": "*/app:2"}]})
    assert "app:1" not in site.run("plan").err
    assert "excepted until 2999-01-01" in site.run("plan").out
    site.run("apply", code=0)
    assert site.has(other, "2")


def test_a_rollback_to_an_image_that_is_not_proven_is_refused(site: Site) -> None:
    """What was mirrored before the key was in the spec may be unsigned."""
    first = site.push("1", one("1"))
    site.spec(["1"], verify={"policy": "dry_run"})
    site.run("apply", code=0)
    second = site.push("1", one("2"))
    site.run("apply", code=0)
    site.spec(["1"])
    done = site.run("rollback", "1", code=1)
    assert f"{site.target.host}/app:1: verify: no signature found" in done.err
    assert site.has(second, "1")
    until = {"image": f"{site.source.host}/app:1", "reason": "in a hurry", "until": "2999-01-01"}
    site.spec(["1"], verify={"except": [until]})
    assert "excepted until 2999-01-01 (in a hurry)" in site.run("rollback", "1", "--dry-run", code=0).err
    site.sign_2(first)
    site.spec(["1"])
    site.run("rollback", "1", code=0)
    assert site.has(first, "1")
    assert "verify: no signature found" in site.run("rollback", "2", code=1).err


def test_an_image_that_only_notation_has_signed_is_refused_with_that_reason(site: Site) -> None:
    made = site.push("1", one("1"))
    site.attach(made, artifact(made, b"a signature", "application/vnd.cncf.notary.signature"))
    site.spec(["1"])
    done = site.run("apply", code=1)
    assert "verify: 1 signature of notation, which cannot be verified here" in done.err
    site.sign_2(made)
    site.run("apply", code=0)


def test_a_saved_plan_is_verified_again(site: Site) -> None:
    made = site.push("1", one("1"))
    site.sign_2(made)
    site.spec(["1"])
    site.run("plan", "--output", "plan.json", code=0)
    site.sign_2(made, "other")
    done = site.run("apply", "plan.json", code=1)
    assert "it was not made with the key" in done.err
    assert "nothing was done" in done.err
    assert site.is_empty()
    site.sign_2(made)
    site.run("apply", "plan.json", code=0)
    assert site.has(made, "1")


def test_a_saved_plan_with_platforms_is_verified_by_the_whole_index(site: Site) -> None:
    made = site.push("1", multi_platform("m"))
    site.sign_3(made)
    site.spec(["1"], platforms=["linux/arm64"])
    site.run("plan", "--output", "plan.json", code=0)
    site.run("apply", "plan.json", code=0)
    assert site.has(made.children[1], "1")


def test_a_refused_image_cannot_be_written_into_a_saved_plan(site: Site) -> None:
    good, bad = site.push("1", one("1")), site.push("2", one("2"))
    site.sign_2(good)
    site.spec(["1", "2"])
    site.run("plan", "--output", "plan.json", code=3)
    text = (site.run.directory / "plan.json").read_text().replace(good.digest, bad.digest)
    plan = json.loads(text.replace(":1", ":2").replace('"1"', '"2"'))
    plan["failures"] = []
    (site.run.directory / "plan.json").write_text(json.dumps(plan))
    site.run("apply", "plan.json")
    assert site.is_empty()


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/referrers/", "the referrers of sha256:"),
        (r"/manifests/sha256-.*\.sig", "the tag sha256-"),
        ("/blobs/{signed}", "the tag sha256-"),
    ],
)
def test_a_registry_that_does_not_answer_is_a_refusal(
    path: str, what: str, mirrorsync: Mirrorsync, second_registry: DockerRegistry, keys: dict[str, Key], unique: str
) -> None:
    made = one(unique)
    source = TinyRegistry()
    source.hold("app", made, "1")
    signature = legacy_by(keys["other" if path == "/referrers/" else "site"], made.digest)
    source.hold("app", signature, f"{made.digest.replace(':', '-')}.sig")
    text = next(key for key, data in signature.blobs.items() if b"critical" in data)
    with Unruly(source) as server:
        server.fault("answer", "*", path.format(signed=text), status=451)
        mirrorsync.spec(
            {
                "registries": plain(server.host) | plain(second_registry.host),
                "destinations": {"there": f"{second_registry.host}/{unique}"},
                "mirrors": [
                    {
                        "from": f"{server.host}/app",
                        "tags": ["1"],
                        "verify": {"cosign": {"key": str(keys["site"].public)}},
                    }
                ],
            }
        )
        done = mirrorsync("apply", code=1)
    assert what in done.err
    assert "could not be read" in done.err
    assert Registry(second_registry.host).tags(f"{unique}/app") == []


def test_a_malformed_signature_manifest_is_a_refusal_and_named(site: Site) -> None:
    made = site.push("1", one("1"))
    tag = f"{made.digest.replace(':', '-')}.sig"
    text = payload(made.digest)
    Registry(site.source.host).push("app", legacy((text, None)), tag)
    site.spec(["1"])
    assert "cosign 2 signature: the signature is missing" in site.run("apply", code=1).err
    Registry(site.source.host).push("app", legacy((text, encoded(b"x" * 70))), tag)
    assert "it was not made with the key" in site.run("apply", code=1).err
    Registry(site.source.host).push("app", one("no signature"), tag)
    assert "no signature found" in site.run("apply", code=1).err
    Registry(site.source.host).push("app", legacy((b"x" * (1024 * 1024 + 1), "AAAA")), tag)
    assert "a signature was not read: it has 1048577 bytes" in site.run("apply", code=1).err
    Registry(site.source.host).push("app", legacy(*[(text, "!")] * 101), tag)
    assert "there are more than 100 signatures" in site.run("apply", code=1).err
    assert site.is_empty()


def test_signatures_cost_requests_only_for_images_that_change(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    source, made = TinyRegistry(), one("1")
    source.hold("app", made, "1")
    source.hold("app", legacy_by(keys["site"], made.digest), f"{made.digest.replace(':', '-')}.sig")
    with Unruly(source) as server:
        verify = {"cosign": {"key": str(keys["site"].public)}}
        mirrorsync.spec(
            {
                "registries": plain(server.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [{"from": f"{server.host}/app", "tags": ["1"], "verify": verify}],
            }
        )
        counts = []
        for _ in range(2):
            before = len(server.seen.requests)
            mirrorsync("apply", code=0)
            asked = [f"{one.method} {one.target}" for one in server.seen.requests[before:]]
            counts.append([one for one in asked if "/app/" in one])
    assert sum("/referrers/" in one or ".sig" in one for one in counts[0]) == 2
    assert counts[1] == ["HEAD /v2/app/manifests/1"]


def test_a_key_that_does_not_exist_is_reported_by_validate_and_refuses_every_image(site: Site) -> None:
    made = site.push("1", one("1"))
    site.sign_2(made)
    site.spec(["1"])
    site.keys = {"site": Key(Path("x"), Path("keys/gone.pub"), None)}
    site.spec(["1"])
    done = site.run("validate", code=2)
    assert f"the key {site.run.directory}/keys/gone.pub does not exist" in done.err
    assert "/mirrors/0/verify/cosign/key/0" in done.err
    assert "gone.pub does not exist" in site.run("apply", code=1).err
    assert site.is_empty()


def test_a_layout_as_the_source_and_the_destination(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    signed, unsigned = one("1"), one("2")
    tag = f"{signed.digest.replace(':', '-')}.sig"
    write_layout(
        mirrorsync.directory / "in",
        {"app:1": signed, "app:2": unsigned, f"app:{tag}": legacy_by(keys["site"], signed.digest)},
    )
    (mirrorsync.directory / "site.pub").write_bytes(keys["site"].public.read_bytes())
    mirrorsync.spec(
        {
            "destinations": {"disk": "oci:out"},
            "defaults": {"verify": {"cosign": {"key": "site.pub"}}},
            "mirrors": [{"from": "oci:in:app", "tags": ["1", "2"]}],
        }
    )
    mirrorsync("validate", code=0)
    assert "app:2: verify: no signature found" in mirrorsync("apply", code=3).err
    mirrorsync("inspect", "oci:out:app:1", code=0)
    assert "app:2" not in (mirrorsync.directory / "out" / "index.json").read_text()
