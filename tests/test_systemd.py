"""The units: systemd accepts them, rates them well, and the service works in the environment that they set."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform, write_layout
from tests.parts.mirrorsync import COMMAND, Mirrorsync, plain
from tests.parts.processes import Server, command, free_port, run
from tests.parts.wire import Registry

UNITS = Path(__file__).parent.parent / "systemd"
MOST_EXPOSURE = 2.5


class _Unit(ConfigParser):
    """A unit file, in which a key can be repeated; all its values are kept, one per line."""

    def __init__(self, path: Path) -> None:
        super().__init__(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
        self.path = path
        self.read(path)

    def optionxform(self, optionstr: str) -> str:
        return optionstr

    def every(self, key: str) -> list[str]:
        """Return all values of a key."""
        return re.findall(rf"^{key}=(.*)$", self.path.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a directory with the units, and a program at the path of ExecStart=."""
    program = tmp_path / "mirrorsync"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    units = tmp_path / "units"
    shutil.copytree(UNITS, units)
    for service in units.glob("*.service"):
        service.write_text(service.read_text("utf-8").replace("/usr/local/bin/mirrorsync", str(program)), "utf-8")
    return units


@pytest.mark.parametrize(
    "unit", ["mirrorsync@.service", "mirrorsync@site.service", "mirrorsync@site.timer", "mirrorsync-serve@site.service"]
)
def test_systemd_accepts_the_units(installed: Path, unit: str) -> None:
    template = re.sub("@.*[.]", "@.", unit)
    if not (installed / unit).exists():
        (installed / unit).symlink_to(template)
    done = subprocess.run(["systemd-analyze", "verify", installed / unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["mirrorsync", "mirrorsync-serve"])
def test_systemd_rates_the_service_as_isolated(installed: Path, name: str) -> None:
    shutil.copy(installed / f"{name}@.service", installed / f"{name}@site.service")
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", installed / f"{name}@site.service")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found is not None, told
    assert float(found[1]) < MOST_EXPOSURE


def test_what_the_service_starts_mirrors_with_the_logins_of_its_credentials(
    tmp_path: Path, mirrorsync: Mirrorsync, token_registry: DockerRegistry, registry: DockerRegistry, unique: str
) -> None:
    made = multi_platform("app")
    Registry(registry.host).push(f"{unique}/app", made, "1")
    service = _Unit(UNITS / "mirrorsync@.service")
    spec = mirrorsync.spec(
        {
            "registries": plain(registry.host, token_registry.host),
            "destinations": {"locked": f"{token_registry.host}/{unique}", "disk": f"oci:{tmp_path / 'mirror'}"},
            "defaults": {"to": ["locked", "disk"]},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    login = f'{{"auths": {{"{token_registry.host}": {{"auth": "cm9ib3Q6czNjcmV0LW9mLXJvYm90"}}}}}}'
    (credentials / "auth.json").write_text(login)
    names = [value.partition(":")[0] for value in service.every("LoadCredential")]
    assert names == ["auth.json"]
    assert service.every("SetCredential") == ["auth.json:{}"]
    # What systemd sets: the variables of Environment=, a cache directory, and no usable home.
    environment = {"CACHE_DIRECTORY": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
    for assignment in service.every("Environment"):
        name, _, value = assignment.replace("%d", str(credentials)).partition("=")
        environment[name] = value
    program, *words = shlex.split(service["Service"]["ExecStart"].replace("/etc/mirrorsync/%i.yaml", str(spec)))
    assert Path(program).name == "mirrorsync"

    def start() -> str:
        done = subprocess.run([*COMMAND, *words], env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert start().startswith("2 done")
    assert (tmp_path / "cache/manifests.sqlite").exists()
    assert start() == "nothing to do: 2 images up to date at 2 destinations\n"
    assert run("skopeo", "inspect", "--raw", f"oci:{tmp_path / 'mirror'}:{unique}/app:1").encode() == made.raw


def test_what_the_serving_service_starts_serves_a_layout(tmp_path: Path) -> None:
    service = _Unit(UNITS / "mirrorsync-serve@.service")
    (options,) = service.every("Environment")
    name, _, value = options.strip('"').partition("=")
    assert name == "SERVE_OPTIONS"
    assert value == "--listen 127.0.0.1:5000"
    port = free_port()
    line = service["Service"]["ExecStart"].replace("/srv/%i", str(tmp_path)).replace(f"${name}", value)
    program, *words = shlex.split(line.replace(":5000", f":{port}"))
    assert Path(program).name == "mirrorsync"
    write_layout(tmp_path, {"app:1": multi_platform("app")})
    with Server(command(*COMMAND, *words), port, tmp_path / "log") as server:
        assert Registry(server.host).holds("app", multi_platform("app"), "1")


def test_the_timer_spreads_the_load_and_catches_up_after_downtime() -> None:
    timer = _Unit(UNITS / "mirrorsync@.timer")["Timer"]
    assert timer["Persistent"] == "yes"
    assert timer["RandomizedDelaySec"]
    assert run("systemd-analyze", "calendar", timer["OnCalendar"])
