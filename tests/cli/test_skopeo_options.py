"""Every option and command of the skopeo that is installed is accepted or answered, and templates are as Go's."""

from __future__ import annotations

import re

import click
import pytest

from mirrorsync.cli.main import cli
from tests.cli.test_inspect import labelled
from tests.parts.images import multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run

VERBS = ("copy", "inspect", "list-tags", "delete", "login", "logout", "sync")
_OPTION = re.compile(r"^ +(?:-\w, )?(--[\w.-]+)", re.MULTILINE)


def theirs(*words: str) -> set[str]:
    return set(_OPTION.findall(run("skopeo", *words, "--help"))) - {"--help", "--version"}


def ours(verb: str) -> set[str]:
    _, command, _ = cli.resolve_command(click.Context(cli), [verb, "x"])
    assert command is not None
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_skopeo_is_known(verb: str) -> None:
    assert theirs(verb) - ours(verb) == set()
    assert theirs() - ours(verb) == set()


def test_every_command_of_skopeo_is_a_verb_or_is_answered(mirrorsync: Mirrorsync) -> None:
    listed = re.findall(
        r"^  ([a-z][a-z-]+)  ", run("skopeo", "--help").partition("Available Commands:")[2], re.MULTILINE
    )
    assert "standalone-sign" in listed
    for name in set(listed) - set(cli.list_commands(click.Context(cli))):
        refused = mirrorsync(name, code=2)
        assert re.search(rf"No such command '{name}'\. (?!Did you mean)\w", refused.err)


@pytest.mark.parametrize("option", ["--insecure-policy", "--override-arch=arm64", "--debug", "--override-os"])
def test_options_of_skopeo_are_read_before_the_verb(mirrorsync: Mirrorsync, option: str) -> None:
    write_layout(mirrorsync.directory / "layout", {"app:1": multi_platform("app")})
    words = [option, *(["linux"] if option == "--override-os" else [])]
    asked = mirrorsync(*words, "inspect", "--format", "{{.Architecture}}", "oci:layout:app:1", code=0)
    behind = mirrorsync("inspect", *words, "--format", "{{.Architecture}}", "oci:layout:app:1", code=0)
    assert asked.out == behind.out == ("arm64\n" if "arm64" in option else "amd64\n")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Os}}", "linux\n"),
        ("{{ .Os }}\\t{{.Architecture}}\\n", "linux\tamd64\n"),
        ("{{.Labels}}", "map[org.example.a:1 org.example.b:2]\n"),
        ("{{.Labels.nothing}}", "<no value>\n"),
        ('{{index .Labels "nothing"}}|{{index .Labels "org.example.a"}}', "|1\n"),
        ("{{json .Labels}}", '{"org.example.a":"1","org.example.b":"2"}\n'),
        ("{{.Env}} {{json .Env}}", '[PATH=/bin A=] ["PATH=/bin","A="]\n'),
        ("{{.Created}}", "2024-01-02 03:04:05 +0000 UTC\n"),
        ("{{json .Created}}", '"2024-01-02T03:04:05Z"\n'),
        ("{{.Name}}{{.Tag}}{{.RepoTags}}", "[]\n"),
        ("plain", "plain\n"),
    ],
)
def test_a_template_is_filled_in_as_go_does(mirrorsync: Mirrorsync, template: str, text: str) -> None:
    write_layout(mirrorsync.directory / "layout", {"app:1": labelled()})
    assert mirrorsync("inspect", "--format", template, "oci:layout:app:1", code=0).out == text


@pytest.mark.parametrize(
    "template",
    [
        "{{range .RepoTags}}{{.}}{{end}}", "{{if .Name}}x{{end}}", "{{.Name | upper}}", "{{printf .Name}}", "{{.Digest",
        "{{.digest}}", "{{.Digest.Hex}}", "{{index .Labels}}", "{{json .Labels .Env}}", "{{.LayersData}}", "{{.}}",
        "{{index .Layers 99}}", "table {{.Name}}", "{{- .Name -}}", "{{}}", "{{.Labels.a.b}}", '{{index .Name "a"}}',
    ],
)  # fmt: skip
def test_another_template_is_refused_with_what_to_write(mirrorsync: Mirrorsync, template: str) -> None:
    write_layout(mirrorsync.directory / "layout", {"app:1": labelled()})
    refused = mirrorsync("inspect", "--format", template, "oci:layout:app:1", code=2)
    assert refused.err.startswith("mirrorsync: --format")
    assert len(refused.err.splitlines()) == 2
    assert refused.out == ""


def test_the_digest_of_an_index_needs_no_image_of_this_machine(mirrorsync: Mirrorsync) -> None:
    root = multi_platform("app")
    write_layout(mirrorsync.directory / "layout", {"app:1": root})
    for option in ("--override-arch=s390x", "--platform=linux/s390x"):
        assert "no image for platform linux/s390x" in mirrorsync(
            "inspect", option, "--format", "{{.Os}}", "oci:layout:app:1", code=1
        ).err  # fmt: skip
    assert mirrorsync("inspect", "-f", "{{.Digest}}", "oci:layout:app:1", code=0).out == f"{root.digest}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("copy", "--all", "--multi-arch", "system"), ("copy", "--platform", "host", "--multi-arch", "all"),
        ("copy", "--platform", "host", "--override-arch", "arm64"), ("inspect", "--raw", "--format", "json"),
        ("inspect", "--platform", "host", "--override-os", "linux"), ("inspect", "--json", "--format", "json"),
        ("list-tags", "--json", "--format", "json"), ("list-tags", "--explain", "--format", "json"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(mirrorsync: Mirrorsync, words: tuple[str, ...]) -> None:
    ends = ["oci:layout:app:1", "oci:new"] if words[0] == "copy" else ["oci:layout"]
    assert "contradict each other" in mirrorsync(*words, *ends, code=2).err


def test_paths_and_other_transports_have_words_of_their_own_in_a_spec_too(mirrorsync: Mirrorsync) -> None:
    for source, words in (
        ("./app.tar", "is a path without a transport"),
        ("/srv/images", "is a path without a transport"),
        ("containers-storage:localhost/app:1", "is in podman's storage"),
    ):
        mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "defaults": {"to": ["disk"]}, "mirrors": [source]})
        assert words in mirrorsync("validate", code=2).err
    mirrorsync.spec({"destinations": {"disk": "./disk"}, "mirrors": [{"from": "alpine", "to": "disk"}]})
    assert "is a path without a transport" in mirrorsync("validate", code=2).err
