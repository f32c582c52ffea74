"""`mirrorsync copy`: one image from any store to any other, complete, and only what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.tools import skopeo_digest, skopeo_raw
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, artifact, image, index, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.processes import run
from tests.parts.wire import Registry

SRC = "--src-tls-verify=false"
DST = "--dest-tls-verify=false"


def seeded(host: str, unique: str, tag: str = "1") -> Image:
    made = multi_platform("app", unique)
    Registry(host).push(f"{unique}/app", made, tag)
    return made


def test_the_whole_image_is_copied_and_a_second_copy_does_nothing(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    made = seeded(registry.host, unique)
    words = (
        "copy",
        SRC,
        DST,
        f"docker://{registry.host}/{unique}/app:1",
        f"docker://{second_registry.host}/{unique}/b:2",
    )
    first = mirrorsync(*words, code=0)
    assert f"new  {second_registry.host}/{unique}/b:2" in first.out
    assert Registry(second_registry.host).holds(f"{unique}/b", made, "2")
    second_registry.new_requests()
    again = mirrorsync(*words, code=0)
    assert again.out == "nothing to do: 1 image up to date at 1 destination\n"
    assert [request.method for request in second_registry.new_requests() if "/v2/t" in request.path] == ["HEAD"]


def test_present_blobs_are_reported_and_not_copied(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    write_layout(mirrorsync.directory / "old", {"app:1": multi_platform("app", "1")})
    write_layout(mirrorsync.directory / "new", {"app:2": multi_platform("app", "2")})
    mirrorsync("copy", "oci:old:app:1", f"docker://{registry.host}/{unique}/app:1", DST, code=0)
    done = mirrorsync("copy", "oci:new:app:2", f"docker://{registry.host}/{unique}/app:2", DST, code=0)
    assert "copy 4 blobs" in done.out  # two configs and two top layers
    assert "have 4 blobs" in done.out


def test_a_dry_run_of_copy_shows_the_plan_and_changes_nothing(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    seeded(registry.host, unique)
    shown = mirrorsync("copy", "--dry-run", SRC, f"docker://{registry.host}/{unique}/app:1", "oci:there", code=0)
    assert f"new  oci:{mirrorsync.directory}/there:{unique}/app:1" in shown.out
    assert not (mirrorsync.directory / "there").exists()


def test_an_image_name_without_a_repository_is_kept_on_disk(mirrorsync: Mirrorsync) -> None:
    made = multi_platform("app")
    write_layout(mirrorsync.directory / "source", {"1.0": made})
    mirrorsync("copy", "oci:source:1.0", "oci:disk", code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:1.0") == made.digest


@pytest.mark.parametrize(
    ("destination", "lands"),
    [
        ("docker://{host}/{unique}/x", "docker://{host}/{unique}/x:latest"),
        ("docker://{host}/{unique}/x:2", "docker://{host}/{unique}/x:2"),
        ("oci:disk:x/y:2", "oci:{directory}/disk:x/y:2"),
        ("oci:disk:2", "oci:{directory}/disk:2"),
        ("oci:disk", "oci:{directory}/disk:{unique}/app:1"),
    ],
)
def test_a_missing_name_or_tag_of_the_destination_is_taken_from_the_source(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, destination: str, lands: str
) -> None:
    made = seeded(registry.host, unique)
    fill = {"host": registry.host, "unique": unique, "directory": str(mirrorsync.directory)}
    mirrorsync("copy", "-q", SRC, DST, f"docker://{registry.host}/{unique}/app:1", destination.format(**fill), code=0)
    assert skopeo_digest(lands.format(**fill)) == made.digest


def test_a_source_without_a_tag_is_the_latest(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    made = seeded(registry.host, unique, "latest")
    mirrorsync("copy", SRC, f"docker://{registry.host}/{unique}/app", "oci:disk:1", code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:1") == made.digest


def test_an_image_is_copied_by_its_digest(
    mirrorsync: Mirrorsync, registry: DockerRegistry, served: Serve, unique: str
) -> None:
    made = seeded(registry.host, unique)
    source = f"docker://{registry.host}/{unique}/app"
    target = f"docker://{served.host}/{unique}/app@{made.digest}"
    mirrorsync("copy", SRC, DST, f"{source}@{made.digest}", target, code=0)
    assert skopeo_digest(target) == made.digest
    other = "sha256:" + "0" * 64
    refused = mirrorsync("copy", SRC, DST, f"{source}@{made.digest}", f"{source}@{other}", code=2)
    assert "the digests differ" in refused.err


def test_one_platform_is_copied_as_its_manifest_and_several_as_an_index(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    images = [image([layer({"a": name.encode()})], architecture=name) for name in ("amd64", "arm64", "s390x")]
    write_layout(mirrorsync.directory / "source", {"app:1": index(images)})
    target = f"docker://{registry.host}/{unique}/app"
    mirrorsync("copy", DST, "--platform", "linux/arm64/v8", "oci:source:app:1", f"{target}:one", code=0)
    assert skopeo_digest(f"{target}:one") == images[1].digest
    several = (
        "copy",
        DST,
        "--platform",
        "linux/amd64",
        "--platform",
        "linux/s390x",
        "oci:source:app:1",
        f"{target}:two",
    )
    mirrorsync(*several, code=0)
    found = json.loads(skopeo_raw(f"{target}:two"))["manifests"]
    assert [entry["digest"] for entry in found] == [images[0].digest, images[2].digest]
    assert found[0]["platform"] == {"os": "linux", "architecture": "amd64"}
    assert mirrorsync(*several, code=0).out.startswith("nothing to do")
    every = ("--platform", "linux/amd64", "--platform", "linux/arm64", "--platform", "linux/s390x")
    mirrorsync("copy", DST, *every, "oci:source:app:1", f"{target}:all", code=0)
    assert skopeo_digest(f"{target}:all") == index(images).digest


def test_a_missing_platform_is_reported_with_the_available_ones(mirrorsync: Mirrorsync, unique: str) -> None:
    write_layout(
        mirrorsync.directory / "source", {"app:1": multi_platform("app"), "one:1": image([layer({"a": b"1"})])}
    )
    refused = mirrorsync("copy", "--platform", "linux/s390x", "oci:source:app:1", "oci:disk", code=1)
    assert "no image for platform linux/s390x" in refused.err
    assert "available: linux/amd64, linux/arm64" in refused.err
    single = mirrorsync("copy", "--platform", "linux/arm64", "oci:source:one:1", "oci:disk", code=1)
    assert "available: linux/amd64" in single.err
    mirrorsync("copy", "--platform", "linux/amd64", "oci:source:one:1", "oci:disk", code=0)
    assert "'arm' is not a platform" in mirrorsync("copy", "--platform", "arm", "oci:a:b", "oci:c", code=2).err


def test_host_is_the_platform_of_this_machine(mirrorsync: Mirrorsync) -> None:
    machine = run("uname", "-m").strip()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    ours, other = (
        image([layer({"a": b"1"})], architecture=architecture),
        image([layer({"a": b"2"})], architecture="vax"),
    )
    root = index([ours, other])
    document = json.loads(root.raw)
    document["manifests"][0]["platform"]["architecture"] = architecture
    document["manifests"][1]["platform"]["architecture"] = "vax"
    write_layout(
        mirrorsync.directory / "source",
        {"app:1": Image(root.media_type, json.dumps(document).encode(), children=root.children)},
    )
    mirrorsync("copy", "--platform", "host", "oci:source:app:1", "oci:disk:1", code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:1") == ours.digest


def test_referrers_are_copied_with_the_option_referrers(
    mirrorsync: Mirrorsync, registry: DockerRegistry, served: Serve, unique: str
) -> None:
    made = seeded(served.host, unique)
    sbom = artifact(made, b"sbom of the index")
    of_child = artifact(made.children[0], b"of one platform")
    signed = artifact(sbom, b"signature of the sbom", "application/vnd.example.signature")
    cosign = image([layer({"sig": unique.encode()})])
    source = Registry(served.host)
    for one in (sbom, of_child, signed):
        source.push(f"{unique}/app", one)
    source.push(f"{unique}/app", cosign, f"{made.digest.replace(':', '-')}.sig")
    words = (SRC, f"docker://{served.host}/{unique}/app:1")
    mirrorsync("copy", *words, "oci:without", code=0)
    assert len(json.loads((mirrorsync.directory / "without/index.json").read_text())["manifests"]) == 1
    mirrorsync("copy", "--referrers", *words, "oci:disk", code=0)
    blobs = mirrorsync.directory / "disk/blobs/sha256"
    for one in (sbom, of_child, signed, cosign):
        assert (blobs / one.digest.removeprefix("sha256:")).read_bytes() == one.raw
    assert mirrorsync("copy", "--referrers", *words, "oci:disk", code=0).out.startswith("nothing to do: 5 images")
    # A registry without the referrers API finds them by the fallback tag that the client maintains.
    mirrorsync(
        "copy", "--referrers", DST, f"oci:disk:{unique}/app:1", f"docker://{registry.host}/{unique}/app:1", code=0
    )
    fallback = json.loads(skopeo_raw(f"docker://{registry.host}/{unique}/app:{made.digest.replace(':', '-')}"))
    assert [entry["digest"] for entry in fallback["manifests"]] == [sbom.digest]


def test_additional_tags_are_set_in_one_run(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    made = seeded(registry.host, unique)
    target = f"docker://{registry.host}/{unique}/b"
    more = ("--additional-tag", "2", "--additional-tag", "stable")
    mirrorsync("copy", SRC, DST, *more, f"docker://{registry.host}/{unique}/app:1", f"{target}:1", code=0)
    assert {skopeo_digest(f"{target}:{tag}") for tag in ("1", "2", "stable")} == {made.digest}
    wrong = mirrorsync("copy", SRC, DST, "--additional-tag", "a/b", f"{target}:1", f"{target}:3", code=2)
    assert "'a/b' is not a tag" in wrong.err


def test_a_dry_run_writes_no_digest(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": multi_platform("app")})
    mirrorsync("copy", "--dry-run", "--digestfile", "digest", "oci:source:app:1", "oci:disk", code=0)
    assert not (mirrorsync.directory / "digest").exists()


def test_digestfile_has_the_format_of_skopeo(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    made = seeded(registry.host, unique)
    ours, theirs = mirrorsync.directory / "ours", mirrorsync.directory / "theirs"
    source = f"docker://{registry.host}/{unique}/app:1"
    mirrorsync("copy", SRC, "--digestfile", ours, source, "oci:disk:1", code=0)
    run("skopeo", "copy", "-q", "--all", SRC, "--digestfile", str(theirs), source, f"oci:{mirrorsync.directory}/s:1")
    assert ours.read_text() == theirs.read_text() == made.digest
    mirrorsync("copy", SRC, "--digestfile", "again", source, "oci:disk:1", code=0)
    assert (mirrorsync.directory / "again").read_text() == made.digest
    assert "no-such" in mirrorsync("copy", SRC, "--digestfile", "no-such/file", source, "oci:disk:1", code=1).err


def test_source_and_destination_get_only_their_own_credentials(
    mirrorsync: Mirrorsync, tls_registry: Locked, token_registry: Locked, unique: str, registry: DockerRegistry
) -> None:
    made = seeded(registry.host, unique)
    certificates = mirrorsync.directory / "certs"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(Path(str(tls_registry.ca_file)).read_bytes())
    private = f"docker://{tls_registry.host}/{unique}/app:1"
    to_private = ("--dest-creds", tls_registry.username, "--dest-cert-dir", certificates)
    passwords = {"MIRRORSYNC_DEST_PASSWORD": tls_registry.password}
    mirrorsync("copy", SRC, *to_private, f"docker://{registry.host}/{unique}/app:1", private, env=passwords, code=0)
    mirrorsync(
        "copy", "--src-creds", tls_registry.username, "--src-cert-dir", certificates, private,
        "--dest-creds", token_registry.username, DST, f"docker://{token_registry.host}/{unique}/app:1",
        env={"MIRRORSYNC_SRC_PASSWORD": tls_registry.password, "MIRRORSYNC_DEST_PASSWORD": token_registry.password},
        code=0,
    )  # fmt: skip
    read = ("copy", "--src-creds", f"{token_registry.username}:{token_registry.password}", SRC)
    done = mirrorsync(*read, f"docker://{token_registry.host}/{unique}/app:1", "oci:disk:1", code=0)
    assert "can be read by every user" in done.err
    assert token_registry.password not in done.err + done.out
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:1") == made.digest
    wrong = ("--src-creds", f"{token_registry.username}:not-the-one", SRC)
    refused = mirrorsync("copy", *wrong, f"docker://{token_registry.host}/{unique}/app:1", "oci:x", code=1)
    assert "not-the-one" not in refused.err


def test_a_missing_image_exits_with_1_and_with_2_for_skopeo_scripts(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    seeded(registry.host, unique)
    missing = ("copy", SRC, f"docker://{registry.host}/{unique}/app:9", "oci:disk")
    done = mirrorsync(*missing, code=1)
    assert f"{registry.host}/{unique}/app:9" in done.err
    mirrorsync(*missing, "--skopeo-exit-codes", code=2)
    mirrorsync("copy", "oci:no-such-directory:a:1", "oci:disk", "--skopeo-exit-codes", code=2)
    unreachable = ("copy", "docker://127.0.0.1:1/a:1", "oci:disk", "--retry-times", "0", "--skopeo-exit-codes")
    mirrorsync(*unreachable, code=1)


def test_preserve_digests_rejects_options_that_would_change_them(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": multi_platform("app")})
    mirrorsync("copy", "--preserve-digests", "oci:source:app:1", "oci:disk", code=0)
    assert "never converted" in mirrorsync("copy", "--no-preserve-digests", "oci:source:app:1", "oci:disk", code=2).err
    two = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    refused = mirrorsync("copy", "--preserve-digests", *two, "oci:source:app:1", "oci:disk", code=2)
    assert "a new index" in refused.err
    archive = mirrorsync("copy", "--preserve-digests", "oci:source:app:1", "docker-archive:a.tar", code=2)
    assert "does not keep manifests" in archive.err


def test_quiet_prints_nothing_and_json_prints_a_report(mirrorsync: Mirrorsync) -> None:
    made = multi_platform("app")
    write_layout(mirrorsync.directory / "source", {"app:1": made})
    quiet = mirrorsync("copy", "--quiet", "oci:source:app:1", "oci:quiet", code=0)
    assert (quiet.out, quiet.err) == ("", "")
    report = mirrorsync("copy", "--json", "oci:source:app:1", "oci:disk", code=0).json()
    valid(report, "report")
    assert report["images"][0]["after"]["digest"] == made.digest
    assert mirrorsync("copy", "--json", "-q", "oci:source:app:1", "oci:disk", code=0).json()["kind"] == report["kind"]
    plan = mirrorsync("copy", "--json", "--dry-run", "oci:source:app:1", "oci:disk2", code=0).json()
    valid(plan, "plan")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("oci:a:b", "docker://r.example/A:1"), "not a repository name"),
        (("oci:a:b", "https://r.example/a"), "this is a URL"),
        (("oci:a:b", "docker-archive:x.tar:@1"), "has a pick where a destination needs a name"),
        (("oci:a", "oci:b"), "missing name for the image"),
        (("oci:a:b", "dir:x", "--additional-tag", "1"), "cannot have tags"),
        (("oci:a:b", "oci:c", "--all", "--platform", "host"), "contradict each other"),
        (("oci:a:b", "oci:c", "--src-cert-dir", "nowhere"), ""),
    ],
)
def test_invalid_copy_commands_are_rejected(mirrorsync: Mirrorsync, words: tuple[str, ...], says: str) -> None:
    done = mirrorsync("copy", *words)
    assert done.code in (1, 2)
    assert says in done.err
    assert not list(mirrorsync.directory.glob("[bcx]*"))
