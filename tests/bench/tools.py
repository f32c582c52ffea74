"""The tools that are compared: how each is told to do the same job."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """Images of one source for some destinations.

    source: a registry's host, or `docker-archive:FILE`. tags: by repository; destinations: hosts or `oci:DIR`.
    authority: whose certificates the registries have, as a PEM file that every tool verifies them by; None: they speak
    plain HTTP. content: the files that have what is copied.
    """

    source: str
    tags: Mapping[str, Sequence[str]]
    destinations: Sequence[str]
    scratch: Path
    authority: Path | None = None
    content: Sequence[Path] = ()

    @property
    def one_image(self) -> str:
        """The only image of a job that has one, as `repository:tag`."""
        ((repository, (tag,)),) = self.tags.items()
        return f"{repository}:{tag}"


def _write(job: Job, name: str, document: object) -> str:
    """Write a configuration as JSON, which is YAML too; return its path."""
    path = job.scratch / name
    path.write_text(json.dumps(document))
    return str(path)


def _trusting(job: Job, command: list[str]) -> list[str]:
    """Let a program in Go trust the authority of a job: this variable is Go's own, and the same for all of them."""
    return command if job.authority is None else ["env", f"SSL_CERT_FILE={job.authority}", *command]


def mirrorsync(job: Job) -> list[str]:
    """Run a spec with exact tags."""
    return [*_new_here(job), "apply", "--quiet", _spec(job)]


def mirrorsync_bundle(job: Job) -> list[str]:
    """Write a bundle of a spec with exact tags, for a far side that has nothing, into `bundle` in the scratch."""
    output = str(job.scratch / "bundle")
    return [*_without_memory(job), "bundle", "create", "--quiet", "--output", output, _spec(job)]


def mirrorsync_import(job: Job) -> list[str]:
    """Verify a bundle, and import it."""
    targets = [word for place in job.destinations for word in ("--to", place)]
    access = [] if any(place.startswith("oci:") for place in job.destinations) else ["--tls-verify=false"]
    path = job.source.removeprefix("bundle:")
    return [*_without_memory(job), "bundle", "apply", "--quiet", "--elsewhere", *access, path, *targets]


def mirrorsync_import_in_passing(job: Job) -> list[str]:
    """Import a bundle, and verify it only while it is copied."""
    return [*mirrorsync_import(job), "--verify-in-passing"]


def copy_files(job: Job) -> list[str]:
    """Copy the same bytes on the same disk, and make them durable, as all tools that write files do."""
    target = str(job.scratch / "copied")
    script = 'mkdir "$0"; cp -r "$@" "$0"; find "$0" -type f -exec sync {} +'
    return ["sh", "-ec", script, target, *map(str, job.content)]


def push_file(job: Job) -> list[str]:
    """Push the file of a bundle as one blob: what the registry needs for these bytes, and nothing is verified here."""
    (destination,), (part,) = job.destinations, job.content
    script = (
        'digest=$(sed -n "s/  $(basename "$1")$//p" "$2")\n'
        'at=$(curl -sSf -D- -o/dev/null -XPOST "http://$0/v2/bench/blobs/uploads/" | sed -n "s/^[Ll]ocation: //p")\n'
        'curl -sSf -H Expect: -T "$1" "$(echo "$at" | tr -d "\\r")&digest=sha256:$digest"'
    )
    (sums,) = part.parent.glob("*.sha256")
    return ["sh", "-ec", script, destination, str(part), str(sums)]


def hauler_save(job: Job) -> list[str]:
    """Add one image of a registry to a store, and save that into a file."""
    script = (
        'hauler store add image "$1" --store "$0/store"; '
        'hauler store save --store "$0/store" --filename "$0/hauler.tar.zst"'
    )
    return _hauler(job, script, str(job.scratch), f"{job.source}/{job.one_image}")


def hauler_load(job: Job) -> list[str]:
    """Load what `hauler store save` wrote next to the bundle into a store, and copy that to a registry."""
    (destination,) = job.destinations
    script = (
        'hauler store load --store "$0" --filename "$1"; hauler store copy --store "$0" --plain-http "registry://$2"'
    )
    return _hauler(job, script, str(job.scratch / "store"), str(_beside(job, "hauler.tar.zst")), destination)


def _hauler(job: Job, script: str, *words: str) -> list[str]:
    """Run hauler in a scratch of its own: it remembers stores, and unpacks into a temporary directory."""
    places = [f"{name}={job.scratch}" for name in ("HOME", "HAULER_DIR", "HAULER_TEMP_DIR", "TMPDIR")]
    return ["env", *places, "sh", "-ec", script, *words]


def oc_mirror_to_disk(job: Job) -> list[str]:
    """Mirror one image of a registry into a directory: oc-mirror copies it to its cache, and packs that."""
    return _oc_mirror(job, f"{job.source}/{job.one_image}", f"file://{job.scratch}/oc-mirror")


def oc_mirror_from_disk(job: Job) -> list[str]:
    """Mirror what oc-mirror wrote next to the bundle to a registry; its cache is empty."""
    (destination,) = job.destinations
    directory = _beside(job, "oc-mirror")
    image = (directory.parent / "oc-mirror.image").read_text()
    return _oc_mirror(job, image, "--from", f"file://{directory}", f"docker://{destination}")


def _oc_mirror(job: Job, image: str, *words: str) -> list[str]:
    config = {
        "apiVersion": "mirror.openshift.io/v2alpha1",
        "kind": "ImageSetConfiguration",
        "mirror": {"additionalImages": [{"name": image}]},
    }
    (job.scratch / "oc-mirror.image").write_text(image)
    path = _write(job, "image-set.yaml", config)
    access = ("--src-tls-verify=false", "--dest-tls-verify=false")
    places = [f"{name}={job.scratch}" for name in ("HOME", "OC_MIRROR_CACHE", "TMPDIR")]
    return ["env", *places, "oc-mirror", "--v2", "--config", path, *access, *words]


def _beside(job: Job, name: str) -> Path:
    """Return what another tool wrote next to the bundle."""
    return job.content[0].parents[1] / name


def oras_backup(job: Job) -> list[str]:
    """Back up one image of a registry into a file."""
    return ["oras", "backup", "--plain-http", "--output", f"{job.scratch}/oras.tar", f"{job.source}/{job.one_image}"]


def oras_restore(job: Job) -> list[str]:
    """Restore what `oras backup` wrote next to the bundle."""
    (destination,) = job.destinations
    archive = _beside(job, "oras.tar")
    return ["oras", "restore", "--plain-http", "--input", str(archive), f"{destination}/{job.one_image}"]


def _without_memory(job: Job) -> list[str]:
    """Start a mirrorsync that has made and imported no bundle."""
    return _new_here(job, f"STATE_DIRECTORY={job.scratch / 'state'}")


def _spec(job: Job) -> str:
    on_disk = ("oci:", "bundle:")
    hosts = [place.partition("/")[0] for place in (job.source, *job.destinations) if not place.startswith(on_disk)]
    joint = ":" if job.source.startswith(on_disk) else "/"
    speaking = {"plain_http": True} if job.authority is None else {"ca_file": str(job.authority)}
    spec = {
        "version": 1,
        "registries": dict.fromkeys(hosts, speaking),
        "destinations": {f"d{number}": place for number, place in enumerate(job.destinations)},
        "defaults": {"to": [f"d{number}" for number in range(len(job.destinations))]},
        "mirrors": [{"from": f"{job.source}{joint}{name}", "tags": list(tags)} for name, tags in job.tags.items()],
    }
    return _write(job, "mirror.yaml", spec)


def _new_here(job: Job, *variables: str) -> list[str]:
    """Start a mirrorsync that has never seen the images: without the manifests that an earlier run has kept."""
    return ["env", f"CACHE_DIRECTORY={job.scratch}", *variables, sys.executable, "-m", "mirrorsync"]


def _regsync(job: Job, registry: Mapping[str, object]) -> list[str]:
    (destination,) = job.destinations
    hosts = [job.source, destination]
    tls = "disabled" if job.authority is None else "enabled"
    config = {
        "version": 1,
        "creds": [{"registry": host, "tls": tls, **registry} for host in hosts],
        # Without it regsync works on one tag after the other, which no user with 2000 of them leaves so.
        "defaults": {"parallel": 16, "skipDockerConfig": True},
        "sync": [
            {
                "source": f"{job.source}/{name}",
                "target": f"{destination}/{name}",
                "type": "repository",
                "tags": {"allow": list(tags)},
            }
            for name, tags in job.tags.items()
        ],
    }
    command = ["regsync", "once", "--config", _write(job, "regsync.yaml", config), "--verbosity", "error"]
    return _trusting(job, command)


def regsync(job: Job) -> list[str]:
    """Run regsync once, with its own limit of three requests to a host."""
    return _regsync(job, {})


def regsync_tuned(job: Job) -> list[str]:
    """Run regsync once, with as many requests to a host as make it fastest."""
    return _regsync(job, {"reqConcurrent": 32})


def skopeo_sync(job: Job) -> list[str]:
    """Run `skopeo sync` from a YAML file; the repositories of the bench all stand under one prefix."""
    (destination,) = job.destinations
    prefix = next(iter(job.tags)).partition("/")[0]
    verify = job.authority is not None
    source = {job.source: {"tls-verify": verify, "images": {name: list(tags) for name, tags in job.tags.items()}}}
    command = [
        "skopeo", "sync", "--src", "yaml", "--dest", "docker", f"--dest-tls-verify={json.dumps(verify)}",
        _write(job, "skopeo.yaml", source), f"{destination}/{prefix}",
    ]  # fmt: skip
    return _trusting(job, command)


def mirrorsync_push(job: Job) -> list[str]:
    """Push a docker archive."""
    (destination,) = job.destinations
    return [
        *_new_here(job), "copy", "--quiet", "--dest-tls-verify=false",
        f"{job.source}:{job.one_image}", f"docker://{destination}/{job.one_image}",
    ]  # fmt: skip


def skopeo_push(job: Job) -> list[str]:
    """Push a docker archive with skopeo."""
    (destination,) = job.destinations
    return [
        "skopeo", "copy", "--quiet", "--dest-tls-verify=false",
        f"{job.source}:{job.one_image}", f"docker://{destination}/{job.one_image}",
    ]  # fmt: skip


def skopeo_copy(job: Job) -> list[str]:
    """Copy one image with skopeo, to a registry or a layout."""
    (destination,) = job.destinations
    target = (
        f"{destination}:{job.one_image}"
        if destination.startswith("oci:")
        else f"docker://{destination}/{job.one_image}"
    )
    return [
        "skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests",
        f"docker://{job.source}/{job.one_image}", target,
    ]  # fmt: skip


def crane_copy(job: Job) -> list[str]:
    """Copy one image between registries with crane."""
    (destination,) = job.destinations
    return [
        "crane",
        "copy",
        "--insecure",
        "--jobs",
        "4",
        f"{job.source}/{job.one_image}",
        f"{destination}/{job.one_image}",
    ]


def regctl_copy(job: Job) -> list[str]:
    """Copy one image between registries, or to a layout, with regctl."""
    (destination,) = job.destinations
    directory = destination.removeprefix("oci:")
    target = f"ocidir://{directory}:1" if directory != destination else f"{destination}/{job.one_image}"
    hosts = [job.source, *([] if destination.startswith("oci:") else [destination])]
    plain = [word for host in hosts for word in ("--host", f"reg={host},tls=disabled")]
    return ["regctl", *plain, "--verbosity", "error", "image", "copy", f"{job.source}/{job.one_image}", target]


@dataclass(frozen=True)
class Tool:
    """A program and how it is called; program: what must be on PATH, None for mirrorsync itself."""

    name: str
    program: str | None
    command: Callable[[Job], list[str]]

    @property
    def present(self) -> bool:
        """Whether this machine has it."""
        return self.program is None or shutil.which(self.program) is not None


MIRRORSYNC = Tool("mirrorsync", None, mirrorsync)
MIRRORSYNC_PUSH = Tool("mirrorsync", None, mirrorsync_push)
MIRRORSYNC_BUNDLE = Tool("mirrorsync", None, mirrorsync_bundle)
MIRRORSYNC_IMPORT = Tool("mirrorsync", None, mirrorsync_import)
MIRRORSYNC_IN_PASSING = Tool("in passing", None, mirrorsync_import_in_passing)
CP = Tool("cp", "cp", copy_files)
ORAS_BACKUP = Tool("oras backup", "oras", oras_backup)
ORAS_RESTORE = Tool("oras restore", "oras", oras_restore)
CURL = Tool("curl", "curl", push_file)
HAULER_SAVE = Tool("hauler", "hauler", hauler_save)
HAULER_LOAD = Tool("hauler", "hauler", hauler_load)
OC_MIRROR_TO_DISK = Tool("oc-mirror", "oc-mirror", oc_mirror_to_disk)
OC_MIRROR_FROM_DISK = Tool("oc-mirror", "oc-mirror", oc_mirror_from_disk)
REGSYNC = Tool("regsync", "regsync", regsync)
REGSYNC_TUNED = Tool("regsync -c 32", "regsync", regsync_tuned)
SKOPEO_SYNC = Tool("skopeo sync", "skopeo", skopeo_sync)
SKOPEO_PUSH = Tool("skopeo copy", "skopeo", skopeo_push)
SKOPEO_COPY = Tool("skopeo copy", "skopeo", skopeo_copy)
CRANE = Tool("crane copy", "crane", crane_copy)
REGCTL = Tool("regctl copy", "regctl", regctl_copy)
