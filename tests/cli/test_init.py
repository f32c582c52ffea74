"""`mirrorsync init`: a spec to begin with, which validates at once, or one made from files that are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from mirrorsync.foreign.formats import NAMES
from tests.foreign.samples import PASSWORD, SAMPLES
from tests.parts.mirrorsync import Mirrorsync, program


def test_the_first_spec_is_commented_and_valid_and_says_what_to_do_next(mirrorsync: Mirrorsync) -> None:
    done = mirrorsync("init", code=0)
    assert done.out.splitlines() == [
        "wrote mirror.yaml: 3 mirrors",
        "set its destination, which is registry.example.com/mirror",
        "then: mirrorsync validate && mirrorsync plan",
    ]
    text = (mirrorsync.directory / "mirror.yaml").read_text()
    assert len(text.splitlines()) < 30
    assert "EDIT THIS" in text
    assert mirrorsync("validate", code=0).out.startswith("mirror.yaml is valid: 3 mirrors")


def test_the_destination_can_be_given(mirrorsync: Mirrorsync) -> None:
    done = mirrorsync("init", "other.yaml", "--to", "oci:disk", code=0)
    assert "then: mirrorsync validate other.yaml && mirrorsync plan other.yaml" in done.out
    assert "set its destination" not in done.out
    assert yaml.safe_load((mirrorsync.directory / "other.yaml").read_text())["destinations"] == {"mirror": "oci:disk"}
    mirrorsync("validate", "other.yaml", code=0)


@pytest.mark.parametrize("to", ["s3://bucket", "mirror", "a: b", "oci:", 'x"\n  evil: y'])
def test_an_invalid_destination_is_refused_and_nothing_is_written(mirrorsync: Mirrorsync, to: str) -> None:
    for more in ([], ["--from", "-"]):
        refused = mirrorsync("init", "--to", to, *more, stdin="nginx:1\n", code=2)
        assert refused.err.count("\n") == 2
        assert not (mirrorsync.directory / "mirror.yaml").exists()


def test_a_file_is_not_replaced_unless_that_is_asked_for(mirrorsync: Mirrorsync) -> None:
    spec = mirrorsync.directory / "mirror.yaml"
    spec.write_text("mine")
    refused = mirrorsync("init", code=2)
    assert refused.err == "mirrorsync: mirror.yaml exists\n  pass another name, or --force to replace it\n"
    assert spec.read_text() == "mine"
    mirrorsync("init", "--force", code=0)
    mirrorsync("validate", code=0)


def test_stdout_gets_the_spec_and_nothing_else(mirrorsync: Mirrorsync) -> None:
    for words in (["init", "-"], ["init", "/dev/stdout"]):
        text = mirrorsync(*words, code=0)
        assert mirrorsync("validate", "-", stdin=text.out, code=0)
        assert text.err == ""
    assert "--json and the spec cannot both" in mirrorsync("init", "-", "--json", code=2).err
    assert list(mirrorsync.directory.glob("*.yaml")) == []


def test_quiet_says_nothing_and_json_is_one_document(mirrorsync: Mirrorsync) -> None:
    assert mirrorsync("init", "--quiet", code=0).out == ""
    assert mirrorsync("init", "--json", "--force", code=0).json() == {
        "kind": "mirrorsync.started",
        "version": 1,
        "spec": "mirror.yaml",
        "mirrors": 3,
        "variables": [],
    }


def test_files_of_several_formats_become_one_spec(mirrorsync: Mirrorsync) -> None:
    for name in ("list", "skopeo", "kubernetes"):
        (mirrorsync.directory / f"{name}.src").write_text(SAMPLES[name])
    files = [word for name in ("list", "skopeo", "kubernetes") for word in ("--from", f"{name}.src")]
    done = mirrorsync("init", *files, "--to", "oci:disk", code=0)
    assert "read its comments" in done.out
    assert "set REGISTRY_EXAMPLE_COM_PASSWORD in the environment" in done.out
    text = (mirrorsync.directory / "mirror.yaml").read_text()
    assert "list.src (image list)" in text
    assert "skopeo.src (skopeo sync spec)" in text
    assert PASSWORD not in text
    nginx = [entry for entry in yaml.safe_load(text)["mirrors"] if entry["from"] == "docker.io/library/nginx"]
    assert [entry["tags"] for entry in nginx] == [["1.27", "1.26"]]
    mirrorsync("validate", env={"REGISTRY_EXAMPLE_COM_PASSWORD": "x"})


def test_a_directory_is_read_whole_and_other_files_are_named(mirrorsync: Mirrorsync) -> None:
    chart = mirrorsync.directory / "deploy"
    (chart / "sub").mkdir(parents=True)
    (chart / ".git").mkdir()
    (chart / "a.yaml").write_text(SAMPLES["kubernetes"])
    (chart / "sub/values.yml").write_text(SAMPLES["values"])
    (chart / "notes.txt").write_text("Read this first.\nThen that.\n")
    (chart / "logo.png").write_bytes(b"\x89PNG")
    (chart / ".git/x.yaml").write_text("image: hidden:1\n")
    os.mkfifo(chart / "pipe.yaml")
    mirrorsync("init", "--from", "deploy", code=0)
    text = (mirrorsync.directory / "mirror.yaml").read_text()
    assert "registry.k8s.io/ingress" in text
    assert "quay.io/a/db" in text
    assert "hidden" not in text
    assert "skipped: deploy/notes.txt" in text
    mirrorsync("validate", code=0)
    (mirrorsync.directory / "empty").mkdir()
    assert "no file with images in empty" in mirrorsync("init", "x.yaml", "--from", "empty", code=2).err


def test_stdin_is_read_as_helm_template_writes_it(mirrorsync: Mirrorsync) -> None:
    text = mirrorsync("init", "-", "--from", "-", stdin=SAMPLES["kubernetes"], code=0).out
    assert "standard input (Kubernetes manifest)" in text
    assert mirrorsync("validate", "-", stdin=text, code=0)


def test_wrong_files_are_refused_in_two_lines(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: b\n")
    for words, message in (
        (["--from", "none.yaml"], "file none.yaml does not exist"),
        (["--from", "x.yaml"], "x.yaml is in none of the formats that are read"),
        (["--from", "x.yaml", "--format", "regsync"], "x.yaml is not a regsync spec"),
        (["--format", "regsync"], "--format is the format of a file"),
    ):
        refused = mirrorsync("init", "new.yaml", *words, code=2)
        assert message in refused.err.replace(f"{tmp_path}/", "")
        assert refused.err.count("\n") == 2
    assert not (tmp_path / "new.yaml").exists()


PAGE = (Path(__file__).parents[2] / "docs/init.md").read_text()


def test_the_page_has_a_row_for_every_format() -> None:
    assert set(re.findall(r"^\| `(\w[\w-]*)` \|", PAGE, re.MULTILINE)) == set(NAMES)


@pytest.mark.parametrize("line", PAGE.partition("```sh\n")[2].partition("```")[0].splitlines())
def test_the_commands_of_the_page_run(mirrorsync: Mirrorsync, line: str) -> None:
    directory = mirrorsync.directory
    (directory / "deploy").mkdir()
    for file, name in (
        ("images.txt", "list"),
        ("extra-images.txt", "list"),
        ("regsync.yml", "regsync"),
        ("deploy/a.yaml", "kubernetes"),
    ):
        (directory / file).write_text(SAMPLES[name])
    script = (
        f'set -eo pipefail; mirrorsync() {{ {shlex.quote(program())} "$@"; }}; helm() {{ cat deploy/a.yaml; }}; {line}'
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=directory, env=mirrorsync.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "valid" in done.stdout
