"""Remedies name only options that the verb has."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import mirrorsync as package
from mirrorsync.cli.main import cli
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain

ROOT = Path(package.__file__).parent
VERBS = cli.list_commands(click.Context(cli))
# The verbs that errors of a module outside `cli/commands/` reach, if they name options.
REACHED = {
    "credentials/logins": {"login", "logout"},
    "stores/registry/login_check": {"login"},
    "plan/deletion": {"delete"},
    "app/images": {"inspect"},
    "app/copying": {"copy"},
    "app/importing": {"init"},
    "foreign/formats": {"init"},
    "cli/options/platforms": {"copy"},
    "cli/skopeo/inspection": {"inspect"},
    "cli/skopeo/template": {"inspect"},
    "app/specs": {"apply"},  # of a plan whose spec came from standard input
    "app/serving": {"serve"},
    "app/clients": {"client-config"},
    "serve/listening": {"serve"},
    "errors": {"apply", "copy"},  # of a deadline, which only these have
    "cli/options/selection": {"plan", "apply", "copy"},
    "app/locking": {"plan", "apply"},
    "app/verifying": {"verify"},
    "app/bundle/far_side": {"bundle create", "inventory"},
    "app/bundle/sending": {"bundle create"},
    "cli/options/bundle": {"plan"},
    "sync/bundle/publish": {"bundle create"},
    "sync/bundle/writing": {"bundle create"},
    "spec/placement": {"relocate"},
    "stores/bundle/rebuilt": {"bundle create"},
    "app/bundle/signers": {"bundle verify", "bundle apply"},
    "app/bundle/applying": {"bundle apply"},
    "app/bundle/past": {"bundle apply"},
    "cli/output/bundles": {"bundle create"},
    "app/bundle/parity": {"bundle create", "bundle repair"},
    "signing/signatures": {"bundle verify", "bundle apply", "bundle create"},
    "app/bundle/creating": {"bundle create"},
    "app/bundle/signatures": {"bundle create"},
}
# Commands of other programs.
FOREIGN = re.compile(r"aws ecr [^:;,]*|`(?:podman|docker) [^`]*`")


def options_of(verb: str) -> set[str]:
    command = importlib.import_module(f"mirrorsync.cli.commands.{verb.replace('-', '_').replace(' ', '.')}").command
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def texts(node: ast.AST) -> str:
    """Return all text in an expression."""
    return " ".join(one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def remedies() -> Iterator[tuple[str, str]]:
    """Yield the texts of all remedies, each with its module; those by verb have their own test."""
    for path in ROOT.rglob("*.py"):
        module = str(path.relative_to(ROOT).with_suffix(""))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            value: ast.AST | None = None
            if (isinstance(node, ast.keyword) and node.arg == "remedy") or (
                isinstance(node, ast.Assign | ast.AnnAssign) and "remedy" in ast.unparse(node).partition("=")[0].lower()
            ):
                value = node.value
            if value is not None and "ByVerb(" not in ast.unparse(value):
                yield module, FOREIGN.sub("", texts(value))


def forms() -> Iterator[str]:
    """Yield the second form, that for verbs without a spec, of every remedy that has two."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ByVerb":
                spec, options = map(texts, node.args)
                assert "--" not in spec
                yield options


def test_every_option_in_a_remedy_exists_where_it_is_read() -> None:
    found = 0
    for module, text in remedies():
        for match in re.finditer(r"(?:mirrorsync (bundle [a-z]+|[a-z-]+) [^`]*?)?(--[a-z][a-z-]*)", text):
            verb, option = match[1], match[2]
            own = (
                {module.removeprefix("cli/commands/").replace("_", "-").replace("/", " ")}
                if module.startswith("cli/commands/")
                else None
            )
            verbs = {verb} if verb and verb.split()[0] in VERBS else own or REACHED.get(module)
            assert verbs, f"{module}: {option} in {text!r}: is it an option of every verb that this error reaches?"
            for one in verbs:
                assert option in options_of(one), f"{module}: {one} has no {option}: {text!r}"
            found += 1
    assert found > 10


def test_a_remedy_by_verb_names_options_of_the_verbs_on_references() -> None:
    named = {option for text in forms() for option in re.findall(r"--[a-z][a-z-]*", text)}
    assert named == {"--tls-verify", "--cert-dir", "--platform", "--daemon-host"}
    for option in named - {"--platform"}:
        assert option in options_of("inspect")
    assert "--platform" in options_of("copy")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_remedy_is_a_key_for_a_spec_and_an_option_of_the_right_side_for_a_copy(
    mirrorsync: Mirrorsync, registry: DockerRegistry, as_json: bool
) -> None:
    words = ("--json",) if as_json else ()
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [f"{registry.host}/app:1"]})
    done = mirrorsync("apply", *words, code=1)
    assert "set plain_http: true for it in the spec" in done.out + done.err
    assert "--tls-verify" not in done.out + done.err
    reading = mirrorsync("copy", f"docker://{registry.host}/app:1", "oci:disk", *words, code=1)
    assert "pass --src-tls-verify=false" in reading.out + reading.err
    write_layout(mirrorsync.directory / "source", {"app:1": image([b"1"])})
    writing = mirrorsync("copy", "oci:source:app:1", f"docker://{registry.host}/app:1", *words, code=1)
    assert "pass --dest-tls-verify=false" in writing.out + writing.err
    one = mirrorsync("inspect", f"docker://{registry.host}/app:1", *words, code=1)
    assert "pass --tls-verify=false" in one.out + one.err
    assert "pass --tls-verify=false" in mirrorsync("inventory", f"{registry.host}/app", *words, code=1).err


def test_an_archive_of_one_platform_is_chosen_by_a_key_of_the_spec(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"app:1": multi_platform("app")})
    mirrorsync.spec(
        {"registries": plain(), "destinations": {"file": "docker-archive:a.tar"}, "mirrors": ["oci:source:app:1"]}
    )
    done = mirrorsync("apply", code=1)
    assert "name one with platforms: in the spec" in done.err
    assert "--platform" not in done.err
    assert "name one: --platform OS/ARCH" in mirrorsync("copy", "oci:source:app:1", "docker-archive:a.tar", code=1).err
