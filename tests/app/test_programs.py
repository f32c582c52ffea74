"""mirrorsync for Python programs: its public names, the page's example as it is written, and every verb once."""

from __future__ import annotations

import importlib.resources
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mirrorsync
from mirrorsync.events import Event, TagSet
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text()
NAMES = [
    "Access", "Change", "Credentials", "Endpoint", "Environment", "ExitCode", "HostSettings", "Image", "Interrupted",
    "MirrorsyncError", "Plan", "Problem", "Report", "Secret", "Spec", "SpecError", "Stop", "Verification",
    "__version__", "app", "apply_plan", "apply_spec", "check_login", "copy_image", "delete_image", "events",
    "find_login", "inspect_image", "keep_login", "list_images", "list_tags", "load_plan", "load_spec", "make_plan",
    "plan_delete", "process_environment", "read_history", "read_manifest", "remove_login", "roll_back", "save_plan",
    "verify_location", "verify_spec",
]  # fmt: skip
# Functions that only read files; all others in `mirrorsync.app` are coroutines.
BLOCKING = {
    "find_login",
    "keep_login",
    "load_plan",
    "load_spec",
    "process_environment",
    "read_history",
    "remove_login",
    "save_plan",
}


@pytest.fixture
def spec(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Path:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    return mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )


def test_the_public_names_are_complete_and_documented() -> None:
    assert mirrorsync.__all__ == NAMES
    assert dir(mirrorsync) == NAMES
    for name in NAMES:
        assert getattr(mirrorsync, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mirrorsync.nothing  # noqa: B018 - reading it is the test


def test_every_function_is_on_the_page() -> None:
    functions = [name for name in NAMES if inspect.isfunction(getattr(mirrorsync, name))]
    assert [name for name in functions if name not in re.findall(r"\w+", PAGE)] == []


def test_every_function_has_a_coroutine_of_the_same_name() -> None:
    assert dir(mirrorsync.app) == mirrorsync.app.__all__
    assert set(mirrorsync.app.__all__) <= set(NAMES)
    functions = {name for name in NAMES if inspect.isfunction(getattr(mirrorsync, name))}
    assert set(mirrorsync.app.__all__) - {"Stop"} == functions
    for name in functions:
        assert not inspect.iscoroutinefunction(getattr(mirrorsync, name))
        beside = getattr(mirrorsync.app, name)
        assert inspect.iscoroutinefunction(beside) is (name not in BLOCKING), name
        assert inspect.signature(getattr(mirrorsync, name)) == inspect.signature(beside)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mirrorsync.app.nothing  # noqa: B018 - reading it is the test


def test_events_are_part_of_the_public_names() -> None:
    assert mirrorsync.events.TagSet is TagSet


def test_the_package_is_marked_as_typed() -> None:
    assert (importlib.resources.files("mirrorsync") / "py.typed").is_file()


def test_the_example_of_the_page_runs_as_it_is_written(spec: Path) -> None:
    (example,) = re.findall(r"```python\n(import mirrorsync\n.*?)```", PAGE, re.DOTALL)
    assert len(example.splitlines()) <= 12
    runs = [
        subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=spec.parent)
        for _ in range(2)
    ]
    assert [done.returncode for done in runs] == [0, 0], runs
    assert runs[0].stdout.startswith("new ")
    assert runs[1].stdout == "0 bytes read\n"


def test_plans_are_made_saved_loaded_and_applied(spec: Path) -> None:
    loaded = mirrorsync.load_spec(str(spec))
    seen: list[Event] = []
    environment = mirrorsync.process_environment({}, observer=seen.append)
    plan = mirrorsync.make_plan(loaded, environment=environment)
    assert [change.state for change in plan.changed()] == ["new"]
    mirrorsync.save_plan(plan, spec.parent / "plan.json")
    assert mirrorsync.load_plan(spec.parent / "plan.json") == plan
    report = mirrorsync.apply_plan(plan, loaded, environment=environment)
    assert (report.exit_code, report.outcomes["done"]) == (mirrorsync.ExitCode.DONE, 1)
    assert [event.image for event in seen if isinstance(event, TagSet)] == [str(change) for change in plan.changes]
    again = mirrorsync.apply_plan(plan, loaded, environment=environment)
    assert (again.exit_code, again.outcomes["unchanged"]) == (mirrorsync.ExitCode.DONE, 1)
    assert not list(mirrorsync.make_plan(loaded, environment=environment).changed())


def test_all_problems_of_a_spec_are_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("version: 1\ndestinations: {disk: 'oci:d'}\nmirrors: ['nginx', 'a b']\n")
    with pytest.raises(mirrorsync.SpecError) as wrong:
        mirrorsync.load_spec(tmp_path / "wrong.yaml")
    assert [problem.line for problem in wrong.value.problems] == [3, 3]
    with pytest.raises(mirrorsync.MirrorsyncError, match="does not exist"):
        mirrorsync.load_spec(tmp_path / "missing.yaml")
    with pytest.raises(mirrorsync.MirrorsyncError, match="is not a plan"):
        mirrorsync.load_plan(tmp_path / "wrong.yaml")


def test_variables_come_from_the_given_environment(spec: Path) -> None:
    text = spec.read_text().replace('"plain_http": true', '"plain_http": true, "username": "u", "password": "${WORD}"')
    spec.write_text(text)
    with pytest.raises(mirrorsync.SpecError, match="WORD"):
        mirrorsync.load_spec(spec, variables={})
    (settings,) = mirrorsync.load_spec(spec, variables={"WORD": "canary"}).registries.values()
    assert settings.password is not None
    assert settings.password.reveal() == "canary"
    assert "canary" not in repr(settings)


def test_a_spec_is_applied_verified_and_listed_without_a_plan_in_between(spec: Path) -> None:
    environment = mirrorsync.process_environment({})
    loaded = mirrorsync.load_spec(spec)
    assert [one.health for one in mirrorsync.verify_spec(loaded, environment=environment).images] == ["missing"]
    report = mirrorsync.apply_spec(loaded, environment=environment)
    assert report.exit_code == mirrorsync.ExitCode.DONE
    whole = mirrorsync.verify_spec(loaded, environment=environment)
    assert (whole.exit_code, whole.findings) == (mirrorsync.ExitCode.DONE, ())
    assert mirrorsync.verify_location(f"oci:{spec.parent}/disk").counts == whole.counts
    (image,) = mirrorsync.list_images(loaded, environment=environment).images
    assert str(image) == str(report.results[0].change)
    max((spec.parent / "disk" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size).unlink()
    assert not list(mirrorsync.make_plan(loaded, environment=environment).changed())
    for found in (
        mirrorsync.verify_spec(loaded, environment=environment),
        mirrorsync.verify_location(f"oci:{spec.parent}/disk", content=False),
    ):
        assert [(one.health, one.part.role) for one in found.findings] == [("missing", "layer 1 of 3 of linux/amd64")]


def test_an_image_is_copied_inspected_listed_and_deleted(tmp_path: Path, registry: DockerRegistry, unique: str) -> None:
    made = multi_platform("app")
    Registry(registry.host).push(f"{unique}/app", made, "1")
    environment = mirrorsync.process_environment({}, hosts={registry.host: mirrorsync.HostSettings(plain_http=True)})
    source, there = f"docker://{registry.host}/{unique}/app:1", f"oci:{tmp_path}/disk:app:2"
    planned = mirrorsync.copy_image(source, there, dry_run=True, environment=environment)
    assert (planned.report, [change.state for change in planned.plan.changes]) == (None, ["new"])
    assert not (tmp_path / "disk").exists()
    copied = mirrorsync.copy_image(source, there, additional_tags=["3"], environment=environment)
    assert copied.report is not None
    assert copied.report.exit_code == mirrorsync.ExitCode.DONE
    assert list(mirrorsync.list_tags(f"oci:{tmp_path}/disk", environment=environment)) == ["app:2", "app:3"]
    assert list(mirrorsync.list_tags(f"{registry.host}/{unique}/app", environment=environment)) == ["1"]
    assert mirrorsync.read_manifest(there, environment=environment) == made.raw
    found = mirrorsync.inspect_image(source, platform="linux/arm64", environment=environment)
    assert found.image is not None
    assert str(found.root and found.root.digest) == made.digest
    agreed = mirrorsync.plan_delete(there, environment=environment)
    assert [change.tag for change in agreed.changes] == ["2"]
    deleted = mirrorsync.delete_image(there, agreed=agreed, environment=environment)
    assert deleted.plan == agreed
    assert deleted.report is not None
    assert deleted.report.exit_code == mirrorsync.ExitCode.DONE
    assert list(mirrorsync.list_tags(f"oci:{tmp_path}/disk", environment=environment)) == ["app:3"]


def test_only_the_chosen_platform_of_an_image_is_copied(tmp_path: Path) -> None:
    write_layout(tmp_path / "from", {"app:1": multi_platform("app")})
    copied = mirrorsync.copy_image(f"oci:{tmp_path}/from:app:1", f"oci:{tmp_path}/to:app:1", platforms=["linux/arm64"])
    found = mirrorsync.inspect_image(f"oci:{tmp_path}/to:app:1")
    assert found.image is not None
    assert found.image.manifest.digest == copied.plan.changes[0].digest


def test_a_login_is_checked_stored_found_and_removed(tmp_path: Path, token_registry: Locked) -> None:
    host = token_registry.host
    hosts = {host: mirrorsync.HostSettings(plain_http=True)}
    environment = mirrorsync.process_environment({"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}, hosts=hosts)
    me = mirrorsync.Credentials(token_registry.username, mirrorsync.Secret(token_registry.password))
    wrong = mirrorsync.Credentials(token_registry.username, mirrorsync.Secret("canary"))
    assert mirrorsync.check_login(host, me, environment=environment)
    with pytest.raises(mirrorsync.MirrorsyncError, match="401") as refused:
        mirrorsync.check_login(host, wrong, environment=environment)
    assert "canary" not in f"{refused.value} {refused.value.remedy}"
    assert mirrorsync.find_login(host, environment=environment) is None
    assert mirrorsync.keep_login(host, "", me, environment=environment).path == tmp_path / "auth.json"
    assert mirrorsync.find_login(host, environment=environment) == me
    assert mirrorsync.remove_login(host, environment=environment)
    assert not mirrorsync.remove_login(host, environment=environment)


def test_access_for_one_host_overrides_other_credentials(tmp_path: Path, token_registry: Locked, unique: str) -> None:
    write_layout(tmp_path / "from", {"app:1": multi_platform("app")})
    host = token_registry.host
    me = mirrorsync.Credentials(token_registry.username, mirrorsync.Secret(token_registry.password))
    environment = mirrorsync.process_environment(
        {},
        hosts={host: mirrorsync.HostSettings(plain_http=True)},
        access={f"{host}/{unique}/app": mirrorsync.Access(me)},
    )
    copied = mirrorsync.copy_image(
        f"oci:{tmp_path}/from:app:1", f"docker://{host}/{unique}/app:1", environment=environment
    )
    assert copied.report is not None
    assert copied.report.exit_code == mirrorsync.ExitCode.DONE


def test_programs_have_the_caches_of_the_command_line(spec: Path, registry: DockerRegistry, tmp_path: Path) -> None:
    environment = mirrorsync.process_environment({"CACHE_DIRECTORY": str(tmp_path / "cache")})
    loaded = mirrorsync.load_spec(spec)
    registry.new_requests()
    mirrorsync.make_plan(loaded, environment=environment)
    asked = [request.method for request in registry.new_requests() if "/manifests/" in request.path]
    assert asked.count("GET") == 3, "the index and its images"
    mirrorsync.make_plan(loaded, environment=environment)
    asked = [request.method for request in registry.new_requests() if "/manifests/" in request.path]
    assert asked == ["HEAD"]
    archive, layout = f"docker-archive:{tmp_path}/app.tar:app:1", f"oci:{tmp_path}/layout:app:1"
    write_layout(tmp_path / "from", {"app:1": image([layer({"a": b"1"})])})
    mirrorsync.copy_image(f"oci:{tmp_path}/from:app:1", archive, environment=environment)
    mirrorsync.copy_image(archive, layout, environment=environment)
    assert list((tmp_path / "cache" / "docker").rglob("*")), "what layers become is remembered"


def test_without_a_home_there_are_no_caches() -> None:
    assert mirrorsync.process_environment({}).cache_directory is None
    assert mirrorsync.process_environment({"HOME": "/h"}).cache_directory == Path("/h/.cache/mirrorsync")
    found = mirrorsync.process_environment({"HOME": "/h", "XDG_CACHE_HOME": "/x"})
    assert found.cache_directory == Path("/x/mirrorsync")
