"""--quiet and --verbose: no output if nothing happened, more log lines with each -v, and none of them on stdout."""

from __future__ import annotations

import re

import pytest

from tests.cli.seeds import mirror_all
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Mirrorsync:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirror_all(mirrorsync, registry.host, unique, "1")
    return mirrorsync


def events(err: str) -> set[str]:
    return {found[1] or found[2] for found in re.finditer(r' event=(?:"([^"]*)"|(\S+))', err)}


def test_quiet_prints_nothing_if_all_is_well_so_that_cron_sends_no_mail(site: Mirrorsync) -> None:
    for verb in ("validate", "apply", "apply", "plan", "verify"):
        done = site(verb, "--quiet", code=0)
        assert (done.out, done.err) == ("", ""), verb
    assert site("plan", code=0).out.startswith("nothing to do")


def test_quiet_plan_and_verify_still_report_missing_images(site: Mirrorsync) -> None:
    assert site("plan", "-q", code=0).out.startswith("new ")
    assert site("verify", "-q", code=1).out.startswith("missing: ")


def test_quiet_still_reports_failures(site: Mirrorsync, registry: DockerRegistry) -> None:
    site.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/no/such:1"],
        }
    )
    for verb in ("plan", "apply", "verify", "images"):
        done = site(verb, "-q", code=3 if verb == "verify" else 1)
        assert f"failed: source {registry.host}/no/such:1: " in done.err, verb


def test_a_run_without_changes_is_one_line(site: Mirrorsync) -> None:
    site("apply", code=0)
    done = site("apply", code=0)
    assert (done.out, done.err) == ("nothing to do: 1 image up to date at 1 destination\n", "")


@pytest.mark.parametrize(
    ("option", "logged", "not_logged"),
    [
        ((), {"image done"}, {"phase", "blob"}),
        (("-v",), {"image done", "phase", "transfer"}, {"blob"}),
        (("-vv",), {"image done", "phase", "transfer", "blob", "blob ended"}, set()),
    ],
)
def test_each_v_adds_events(site: Mirrorsync, option: tuple[str, ...], logged: set[str], not_logged: set[str]) -> None:
    done = site("apply", *option, code=0)
    assert logged <= events(done.err)
    assert not not_logged & events(done.err)
    assert done.out.count("\n") == 1


def test_a_run_needs_no_home_directory(site: Mirrorsync) -> None:
    cache = site.directory / "cache"
    site("apply", env={"HOME": "", "CACHE_DIRECTORY": str(cache), "INVOCATION_ID": "1"}, code=0)
    assert (cache / "manifests.sqlite").exists()
    assert list(site.home.iterdir()) == []


def test_an_unusable_manifest_cache_is_not_an_error(site: Mirrorsync) -> None:
    """A cache is a hint: if it cannot be written or is damaged, it is left alone with a notice."""
    cache = site.directory / "cache"
    cache.mkdir()
    (cache / "manifests.sqlite").write_bytes(b"this is no database, and never was" * 100)
    done = site("apply", env={"CACHE_DIRECTORY": str(cache)}, code=0)
    assert "cache" in done.err
    assert done.out.startswith("1 done")
    (site.directory / "file").touch()
    assert site("plan", env={"CACHE_DIRECTORY": str(site.directory / "file")}, code=0)
