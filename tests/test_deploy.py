"""deploy/: the image builds and mirrors as its user, and the CronJob starts what its ConfigMap and Secret are for."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.site import Site
from tests.cli.tools import Podman, skopeo_digest
from tests.conftest import Locked
from tests.parts.images import image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
USER = 65532


class Kitchen:
    """Builds images with podman, without network: Python and the dependencies are those of this machine.

    The base of the Containerfile is an image whose `python` is this one, with the directories that it needs mounted.
    """

    def __init__(self, podman: Podman, directory: Path) -> None:
        self._podman = podman
        base = directory / "base"
        base.mkdir()
        interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        (base / "python").write_text(f'#!/bin/sh\nexec {interpreter} "$@"\n')
        (base / "python").chmod(0o755)
        (base / "Containerfile").write_text(
            "FROM scratch\nCOPY python /local/python\nENV PATH=/local:/usr/bin:/bin\nVOLUME /tmp\n"
        )
        self.build(base, "base")

    def build(self, context: Path, name: str, *words: str) -> str:
        """Build an image from a directory; return what was printed."""
        needed = {
            sys.base_prefix,
            "/usr",
            *(f"/{name}" for name in ("bin", "lib", "lib64") if Path("/", name).exists()),
        }
        volumes = [f"--volume={path}:{path}:ro" for path in sorted(needed)]
        packages = f"--volume={sysconfig.get_path('purelib')}:/packages:ro"
        pip = ("PYTHONPATH=/packages", "PIP_NO_INDEX=1", "PIP_NO_DEPS=1", "PIP_NO_BUILD_ISOLATION=0")
        options = ("--isolation=chroot", "--pull=never", "--layers=false", *volumes, packages)
        return self._podman(
            "build", *options, *(f"--env={one}" for one in pip), *words, "-t", f"localhost/{name}", str(context)
        )


@pytest.fixture
def podman() -> Iterator[Podman]:
    with Podman() as program:
        yield program


def test_the_image_mirrors_as_a_user_without_rights(podman: Podman, tmp_path: Path) -> None:
    kitchen = Kitchen(podman, tmp_path)
    kitchen.build(ROOT, "mirrorsync", f"--file={DEPLOY}/Containerfile", "--build-arg=BASE=localhost/base")
    built = Path(podman("image", "mount", "localhost/mirrorsync"))
    assert list(built.glob("opt/mirrorsync/lib/python*/site-packages/mirrorsync/delta/_deflate.*.so")), "no deltas"
    podman("image", "unmount", "localhost/mirrorsync")
    (told,) = json.loads(podman("inspect", "localhost/mirrorsync"))
    assert (told["Config"]["User"], told["Config"]["Entrypoint"]) == (f"{USER}:0", ["mirrorsync"])

    made = multi_platform("app")
    site = tmp_path / "site"
    write_layout(site / "source", {"app:1": made})
    spec = "version: 1\ndestinations: {disk: oci:/var/lib/mirrorsync/mirror}\nmirrors: [oci:/source:app:1]\n"
    (site / "site.yaml").write_text(spec)
    (site / "Containerfile").write_text(
        "FROM localhost/mirrorsync\nCOPY source /source\nCOPY site.yaml /etc/mirrorsync/site.yaml\n"
        'RUN ["mirrorsync", "apply", "/etc/mirrorsync/site.yaml"]\n'
    )
    kitchen.build(site, "ran")
    root = Path(podman("image", "mount", "localhost/ran"))
    mirror = shutil.copytree(root / "var/lib/mirrorsync/mirror", tmp_path / "mirror")
    owner = (root / "var/lib/mirrorsync/mirror/index.json").stat().st_uid
    podman("image", "unmount", "localhost/ran")
    assert skopeo_digest(f"oci:{mirror}:app:1") == made.digest
    assert owner == USER


def objects() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "cronjob.yaml").read_bytes())}


def test_the_cronjob_runs_its_spec_with_its_login(mirrorsync: Mirrorsync, tls_registry: Locked, unique: str) -> None:
    """Its files are put where its mounts have them, and its container's command is run with its variables."""
    found = objects()
    pod = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {
        mount["name"]: mirrorsync.directory / mount["mountPath"].strip("/") for mount in container["volumeMounts"]
    }
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    for path in mounts.values():
        path.mkdir(parents=True)
    prefix = f"{tls_registry.host}/{unique}"
    text = found["ConfigMap"]["data"]["mirror.yaml"].replace("docker.io", f"{prefix}/hub")
    text = text.replace("harbor.corp.example", prefix).replace("oci:/", f"oci:{mirrorsync.directory}/")
    text += f"registries:\n  {tls_registry.host}: {{ca_file: {tls_registry.ca_file}}}\n"
    (mounts["spec"] / "mirror.yaml").write_text(text)
    secret = next(volume["secret"] for volume in pod["volumes"] if volume["name"] == "login")
    login = {tls_registry.host: {"username": tls_registry.username, "password": tls_registry.password}}
    (mounts["login"] / secret["items"][0]["path"]).write_text(json.dumps({"auths": login}))

    site = Site(mirrorsync, tls_registry, unique)
    site.login()
    for name in ("busybox:1.36.1", "alpine:3.17", "alpine:3.18", "alpine:3.20"):
        site.seed(f"hub/library/{name}", image([layer({"name": name.encode()})]))

    variables = {one["name"]: f"{mirrorsync.directory}{one['value']}" for one in container["env"]}
    words = [word.replace("/etc/", f"{mirrorsync.directory}/etc/") for word in container["args"]]
    done = mirrorsync(*words, env=variables, code=0)
    assert done.out == ""
    entries = json.loads((mounts["data"] / "mirror/index.json").read_bytes())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"].rpartition("library/")[2] for entry in entries}
    assert names == {"busybox:1.36.1", "alpine:3.18", "alpine:3.20"}


def test_the_cronjob_fits_the_restricted_pod_security_standard() -> None:
    found = objects()
    assert set(found) == {"ConfigMap", "PersistentVolumeClaim", "CronJob"}
    job = found["CronJob"]["spec"]
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == USER
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "secret", "persistentVolumeClaim", "emptyDir"}
    (rule,) = job["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy requires it
