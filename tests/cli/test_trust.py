"""`verify --trust`: what the signatures prove that a location has, without its sources."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cosign import Key, bundle_by, fallback, legacy_by, make_key, referrer
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, artifact, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.sigstore import IDENTITY, ISSUER, Sigstore, raw
from tests.parts.wire import Registry

NOTATION = "application/vnd.cncf.notary.signature"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    """Return two key pairs."""
    directory = tmp_path_factory.mktemp("keys")
    return {name: make_key(directory, name) for name in ("site", "other")}


def one(name: str) -> Image:
    return image([layer({"name": name.encode()})])


def sig(made: Image) -> str:
    return f"{made.digest.replace(':', '-')}.sig"


def trust_of(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the state and the fact of each image that was examined, by its ref."""
    images = valid(document, "verification")["images"]
    return {one["ref"]: (one["trust"]["state"], one["trust"]["fact"]) for one in images if one["trust"]}


def test_a_layout_is_examined_image_by_image(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    two, three, other, none = one("2"), multi_platform("3"), one("other"), one("none")
    write_layout(
        mirrorsync.directory / "usb",
        {
            "two": two,
            sig(two): legacy_by(keys["site"], two.digest),
            "three": three,
            "other": other,
            sig(other): legacy_by(keys["other"], other.digest),
            "none": none,
        },
        untagged=[referrer(three, bundle_by(keys["site"], three.digest))],
    )
    site = str(keys["site"].public)
    done = mirrorsync("verify", "--trust", "--key", site, "oci:usb", code=3)
    usb = f"oci:{mirrorsync.directory}/usb"
    unsigned = f"no signature found: there is no tag {sig(none)}, and no referrer"
    by_other = f"cosign 2 signature: it was not made with the key {site}, or its payload was changed"
    assert done.out.splitlines()[:2] == [f"unproven: {usb}:none: {unsigned}", f"unproven: {usb}:other: {by_other}"]
    assert "complete; signatures: 2 proven, 2 unproven; " in done.out
    assert "referrers: true mirrors them with the images" in done.err
    found = trust_of(mirrorsync("verify", "--trust", "--key", site, "--json", "oci:usb", code=3).json())
    assert found["two"] == ("proven", f"cosign 2 signature, by {site}")
    assert found["three"] == ("proven", f"cosign 3 bundle, by {site}")
    assert found.keys() == {"two", "three", "other", "none"}
    whole = mirrorsync("verify", "--trust", "-v", "--key", site, "oci:usb:two", code=0)
    assert f"proven: oci:{mirrorsync.directory}/usb:two: cosign 2 signature, by {site}\n" in whole.out
    quiet = mirrorsync("verify", "--trust", "--quiet", "--key", site, "oci:usb:two", code=0)
    assert (quiet.out, quiet.err) == ("", "")
    several = ("--key", site, "--key", str(keys["other"].public))
    assert "3 proven, 1 unproven" in mirrorsync("verify", "--trust", *several, "oci:usb", code=3).out


def test_an_image_of_another_key_is_not_excused_by_a_subject(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    """An image that claims to be a referrer, and has a tag, has to be signed as any other."""
    made = one("1")
    write_layout(mirrorsync.directory / "usb", {"app:1": made, "app:evil": artifact(made, b"x")})
    done = mirrorsync("verify", "--trust", "--key", str(keys["site"].public), "oci:usb", code=3)
    assert "2 unproven" in done.out
    assert (
        "unproven: "
        in mirrorsync("verify", "--trust", "--key", str(keys["site"].public), f"oci:usb:app@{made.digest}", code=3).out
    )


def test_damage_counts_more_than_a_missing_proof(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    made = one("1")
    write_layout(
        mirrorsync.directory / "usb", {"app:1": made, f"app:{sig(made)}": legacy_by(keys["site"], made.digest)}
    )
    blob = next(key for key, data in made.blobs.items() if len(data) == max(map(len, made.blobs.values())))
    file = mirrorsync.directory / "usb/blobs/sha256" / blob.removeprefix("sha256:")
    file.write_bytes(b"x" * file.stat().st_size)
    done = mirrorsync("verify", "--trust", "--key", str(keys["site"].public), "oci:usb", code=4)
    assert "1 damaged; signatures: 1 proven; " in done.out


def test_a_store_without_manifests_cannot_prove_anything(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    write_layout(mirrorsync.directory / "in", {"app:1": one("1")})
    mirrorsync("copy", "oci:in:app:1", "docker-archive:app.tar:app:1", code=0)
    done = mirrorsync("verify", "--trust", "--key", str(keys["site"].public), "docker-archive:app.tar", code=3)
    assert "app:1: the store keeps no manifests, which are what signatures are for\n" in done.out
    mirrorsync("copy", "oci:in:app:1", "dir:app", code=0)
    done = mirrorsync("verify", "--trust", "--key", str(keys["site"].public), "dir:app", code=3)
    assert "no signature found" in done.out


def test_keyless_signatures_of_a_location(mirrorsync: Mirrorsync) -> None:
    sigstore, made, other = Sigstore(), one("1"), one("2")
    bundles = [referrer(made, raw(sigstore.sign(made.digest))), referrer(other, raw(Sigstore().sign(other.digest)))]
    write_layout(mirrorsync.directory / "usb", {"1": made, "2": other}, untagged=bundles)
    (mirrorsync.directory / "root.json").write_bytes(sigstore.trusted_root())
    words = ("--trust", "--identity", IDENTITY[:40] + "*", "--issuer", ISSUER, "--trusted-root", "root.json")
    found = trust_of(mirrorsync("verify", *words, "--json", "oci:usb", code=3).json())
    assert found["1"] == ("proven", f"cosign 3 bundle, by {IDENTITY} ({ISSUER})")
    assert found["2"][0] == "unproven"
    assert "it is not proven by the trusted root" in found["2"][1]


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": (("--trust", "oci:usb"), "no key or identity to verify signatures with"),
    "both": (("--trust", "--key", "k.pub", "--issuer", "x", "oci:usb"), "a key and an identity exclude each other"),
    "half": (("--trust", "--identity", "a@b.example", "oci:usb"), "an identity, its issuer and a trusted root belong"),
    "everyone": (("--trust", "--identity", "*", "--issuer", "x", "--trusted-root", "r", "oci:usb"), "is everyone"),
    "no trust": (("--key", "k.pub", "oci:usb"), "--key: no effect without --trust"),
    "spec": (("--trust", "--key", "k.pub", "mirror.yaml"), "--key: not possible with a spec"),
    "no verify": (("--trust", "mirror.yaml"), "no mirror has verify:, so that nothing can be proven"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_prove_nothing_are_rejected(mirrorsync: Mirrorsync, case: str) -> None:
    words, wrong = WRONG[case]
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["s.example/app:1"]})
    assert wrong in mirrorsync("verify", *words, code=2).err


def test_a_key_that_does_not_exist_is_an_error_and_not_a_finding(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "usb", {"app:1": one("1")})
    done = mirrorsync("verify", "--trust", "--key", "gone.pub", "oci:usb", code=1)
    assert f"the key {mirrorsync.directory}/gone.pub does not exist" in done.err
    assert done.out == ""


@pytest.fixture(params=["docker-registry", "serve", "oci"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return a destination: without the referrers API, with it, and a layout."""
    if request.param == "oci":
        yield f"oci:{tmp_path}/target"
        return
    kind: Any = DockerRegistry if request.param == "docker-registry" else Serve
    with kind(tmp_path / "target") as server:
        yield str(server.host)


def test_a_mirror_is_proven_after_its_source_is_gone(
    mirrorsync: Mirrorsync, tmp_path: Path, target: str, keys: dict[str, Key]
) -> None:
    two, three, bare, new, notary = one("2"), multi_platform("3"), one("bare"), one("new"), one("notary")
    with Serve(tmp_path / "source") as source:
        registry = Registry(source.host)
        for tag, made in {"two": two, "three": three, "bare": bare, "new": new}.items():
            registry.push("app", made, tag)
        registry.push("app", legacy_by(keys["site"], two.digest), sig(two))
        registry.push("app", referrer(three, bundle_by(keys["site"], three.digest)))
        registry.push("other", notary, "1")
        registry.push("other", artifact(notary, b"a signature", NOTATION))
        registry.push("other", one("plain"), "2")
        until = {"image": f"{source.host}/app:bare", "reason": "no key yet", "until": "2999-01-01"}
        verify = {"cosign": {"key": str(keys["site"].public)}, "except": [until]}
        spec = {
            "registries": plain(source.host) | ({} if target.startswith("oci:") else plain(target)),
            "destinations": {"there": target},
            "defaults": {"referrers": True},
            "mirrors": [
                {"from": f"{source.host}/app", "tags": {"glob": ["t*", "bare", "new"]}, "verify": verify},
                {"from": f"{source.host}/other", "tags": ["1", "2"]},
            ],
        }
        mirrorsync.spec(spec)
        mirrorsync("apply", code=3)
    found = trust_of(mirrorsync("verify", "--trust", "--json", code=0).json())
    assert found["two"] == ("proven", f"cosign 2 signature, by {keys['site'].public}")
    assert found["three"] == ("proven", f"cosign 3 bundle, by {keys['site'].public}")
    assert found["bare"][0] == "excepted"
    assert found["bare"][1].endswith("; excepted until 2999-01-01 (no key yet)")
    assert found["1"] == ("unverified", "1 of notation: mirrored, not verified")
    assert found["2"] == ("unsigned", "no signature")
    done = mirrorsync("verify", "--trust", code=0)
    assert "5 images complete; signatures: 2 proven, 1 excepted, 1 unverified, 1 unsigned; " in done.out
    assert done.out.startswith("excepted: ")
    assert "behind" not in done.out
    spec["mirrors"][0]["verify"] = {"cosign": {"key": str(keys["other"].public)}}  # type: ignore[index]
    mirrorsync.spec(spec)
    assert "3 unproven" in mirrorsync("verify", "--trust", code=3).out
    spec["mirrors"][0]["verify"]["policy"] = "dry_run"  # type: ignore[index]
    mirrorsync.spec(spec)
    assert "3 excepted" in mirrorsync("verify", "--trust", code=0).out


def test_signatures_that_stayed_at_the_source_prove_nothing(
    mirrorsync: Mirrorsync, tmp_path: Path, keys: dict[str, Key]
) -> None:
    made = multi_platform("m")
    with Serve(tmp_path / "source") as source:
        Registry(source.host).push("app", made, "1")
        Registry(source.host).push("app", legacy_by(keys["site"], made.digest), sig(made))
        entry = {"from": f"{source.host}/app", "tags": ["1"], "verify": {"cosign": {"key": str(keys["site"].public)}}}
        base = {"registries": plain(source.host), "destinations": {"disk": "oci:disk"}}
        mirrorsync.spec({**base, "mirrors": [entry]})
        mirrorsync("apply", code=0)
        assert "app:1: no signature found" in mirrorsync("verify", "--trust", code=3).out
        shutil.rmtree(mirrorsync.directory / "disk")
        mirrorsync.spec({**base, "mirrors": [{**entry, "platforms": ["linux/arm64"], "referrers": True}]})
        mirrorsync("apply", code=0)
        told = mirrorsync("verify", "--trust", code=3).out
        assert "if platforms were chosen from a signed index, its signatures are not for this image" in told
        sparse = {"platforms": {"only": ["linux/arm64"], "index": "sparse"}}
        for referrers, code, words in ({}, 3, "1 unproven"), ({"referrers": True}, 0, "1 proven"):
            mirrorsync.spec(
                {**base, "destinations": {"disk": f"oci:{code}"}, "mirrors": [{**entry, **sparse, **referrers}]}
            )
            mirrorsync("apply", code=0)
            told = mirrorsync("verify", "--trust", code=code).out
            assert f"signatures: {words}; " in told
            assert "platforms were chosen" not in told, "a sparse index has the digest that was signed"


def test_a_namespace_is_found_by_the_repositories_of_the_destination(
    mirrorsync: Mirrorsync, tmp_path: Path, keys: dict[str, Key]
) -> None:
    good, bad = one("good"), one("bad")
    with Serve(tmp_path / "source") as source:
        for name, made, key in (("good", good, "site"), ("bad", bad, "other")):
            Registry(source.host).push(f"team/{name}", made, "1")
            Registry(source.host).push(f"team/{name}", legacy_by(keys[key], made.digest), sig(made))
        entry = {"from": f"{source.host}/team/*", "tags": {"glob": ["1"]}, "referrers": True}
        mirrorsync.spec(
            {"registries": plain(source.host), "destinations": {"disk": "oci:disk:base"}, "mirrors": [entry]}
        )
        mirrorsync("apply", code=0)
    verify = {"cosign": {"key": str(keys["site"].public)}}
    spec = {"destinations": {"disk": "oci:disk:base"}, "mirrors": [{**entry, "verify": verify}]}
    mirrorsync.spec(spec)
    done = mirrorsync("verify", "--trust", code=3)
    assert "unproven: oci:" in done.out
    assert "base/team/bad:1: cosign 2 signature: it was not made with the key" in done.out
    assert "signatures: 1 proven, 1 unproven" in done.out
    mirrorsync.spec({**spec, "mirrors": [{**entry, "verify": verify, "name": "{basename}"}]})
    assert (
        "are not known without asking it: name: does not have {repository}"
        in mirrorsync("verify", "--trust", code=3).err
    )


def test_a_destination_without_the_wanted_tags_is_not_proven(mirrorsync: Mirrorsync, keys: dict[str, Key]) -> None:
    write_layout(mirrorsync.directory / "disk", {"other:1": one("1"), "app:2": one("2")})
    verify = {"cosign": {"key": str(keys["site"].public)}}
    entry = {"from": "s.example/app", "tags": {"glob": ["v*"]}, "verify": verify}
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [entry]})
    assert "0 tags of the destination match the filters" in mirrorsync("verify", "--trust", code=3).err
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [{**entry, "tags": ["1"]}]})
    assert "missing: " in mirrorsync("verify", "--trust", code=1).out


def test_a_fallback_index_in_the_destination_is_read(
    mirrorsync: Mirrorsync, tmp_path: Path, keys: dict[str, Key]
) -> None:
    """cosign 3 keeps an index under the tag sha256-HEX where a registry has no referrers API."""
    made = one("1")
    bundle = referrer(made, bundle_by(keys["site"], made.digest))
    with DockerRegistry(tmp_path / "registry") as server:
        registry = Registry(server.host)
        registry.push("app", made, "1")
        registry.push("app", bundle)
        registry.put_manifest("app", fallback(bundle), made.digest.replace(":", "-"))
        words = ("verify", "--tls-verify=false", "--trust", "--key", str(keys["site"].public), f"{server.host}/app")
        done = mirrorsync(*words, code=0)
    assert "2 images complete; signatures: 1 proven; " in done.out
