"""A spec, and a saved plan, from standard input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.tools import skopeo_digest, skopeo_seed
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain


@pytest.fixture
def spec(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path) -> str:
    """A spec in no file: one image, to a layout in the current directory."""
    skopeo_seed(tmp_path / "seed", registry.host, f"{unique}/app", {"1.0": multi_platform("app")})
    return json.dumps(
        {
            "version": 1,
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1.0"],
        }
    )


def test_every_verb_reads_a_spec_from_stdin_and_its_paths_start_from_the_current_directory(
    mirrorsync: Mirrorsync, spec: str, unique: str
) -> None:
    assert mirrorsync("validate", "-", stdin=spec, code=0).out.startswith("standard input is valid: 1 mirror")
    assert mirrorsync("plan", "-", "--exit-code", stdin=spec, code=10).out.startswith("new ")
    assert f"{unique}/app:1.0" in mirrorsync("images", "-", stdin=spec, code=0).out
    mirrorsync("apply", "-", stdin=spec, code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:{unique}/app:1.0") == multi_platform("app").digest
    mirrorsync("verify", "-", stdin=spec, code=0)


def test_a_plan_can_be_piped_into_apply(mirrorsync: Mirrorsync, spec: str, unique: str) -> None:
    (mirrorsync.directory / "mirror.yaml").write_text(spec)
    saved = mirrorsync("plan", "-o", "-", code=0).out
    mirrorsync("apply", "-", stdin=saved, code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:{unique}/app:1.0") == multi_platform("app").digest


def test_the_plan_of_a_spec_from_stdin_needs_the_spec_by_name(mirrorsync: Mirrorsync, spec: str, unique: str) -> None:
    mirrorsync("plan", "-", "-o", "plan.json", stdin=spec, code=0)
    assert json.loads((mirrorsync.directory / "plan.json").read_text())["spec"]["path"] == "standard input"
    refused = mirrorsync("apply", "plan.json", code=2)
    assert "the spec of this plan was read from standard input" in refused.err
    assert "--spec FILE" in refused.err
    (mirrorsync.directory / "kept.yaml").write_text(spec)
    mirrorsync("apply", "plan.json", "--spec", "kept.yaml", code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:{unique}/app:1.0") == multi_platform("app").digest


def test_problems_in_stdin_are_reported_with_their_lines(mirrorsync: Mirrorsync) -> None:
    for verb in ("validate", "plan", "apply", "verify", "images"):
        assert "standard input: the file is empty" in mirrorsync(verb, "-", code=2).err.replace("input:1:", "input:")
        wrong = mirrorsync(verb, "-", stdin="version: 1\nmirors: [nginx:1]\n", code=2)
        assert wrong.err.startswith("standard input:2:1: /mirors: unknown key 'mirors'")
