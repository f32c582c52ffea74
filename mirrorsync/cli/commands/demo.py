"""`mirrorsync demo`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import click

from mirrorsync.app.demo import demo_source
from mirrorsync.app.reading import absolute
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_directory
from mirrorsync.errors import ExitCode, StorageError, UsageError

_MARK: Final = "# Written by `mirrorsync demo`"
_SPEC: Final = """{mark}, which overwrites it each time.
version: 1

registries:
  {host}: {{plain_http: true}} # the demo's own source registry; plain HTTP is never assumed

destinations:
  disk: oci:mirror # an OCI image layout, in the directory of this file

mirrors:
  - from: {host}/demo/web
    tags: {{semver: ">=1.27", newest: 2}} # the two newest releases; 1.28.0-rc1 is not one
  - {host}/demo/worker:latest
"""


@click.command(
    cls=VerbCommand,
    examples=[
        Example("In ./mirrorsync-demo", "mirrorsync demo"),
        Example("In a directory of your choice", "mirrorsync demo try-it"),
    ],
)
@click.argument("directory", default="mirrorsync-demo", metavar="[DIRECTORY]", shell_complete=complete_directory)
def command(directory: str) -> None:
    """Start a registry with a few images on a free loopback port, and mirror them into DIRECTORY.

    Runs validate, plan, apply and plan again, as you would. Needs neither network nor another registry.
    """
    home = absolute(directory)
    spec = home / "mirror.yaml"
    _prepare(home, spec)
    with demo_source(home / "upstream") as port:
        host = f"127.0.0.1:{port}"
        spec.write_text(_SPEC.format(mark=_MARK, host=host), "utf-8")
        shown = os.path.relpath(spec)
        click.echo(f"\nA source registry with two repositories is now running at http://{host}.")
        click.echo(f"{shown} describes what to mirror from it:\n\n{_indented(spec.read_text('utf-8'))}")
        for words, comment in (
            (["validate"], "Is the spec valid? This contacts nothing."),
            (["plan"], "What would change? This changes nothing."),
            (["apply"], "Do it. Layers that images share are read once."),
            (["plan"], "Is anything left to do? This takes one request for each tag."),
        ):
            _run([*words, shown], comment)
    _print_next_steps(shown, home, port)


def _prepare(home: Path, spec: Path) -> None:
    """Create the directory, and reject one with a mirror.yaml that the demo did not write."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        if spec.exists() and not spec.read_bytes().startswith(_MARK.encode()):
            raise UsageError(
                f"{spec} was not written by the demo", remedy="choose another directory: mirrorsync demo DIRECTORY"
            )
        for part in ("upstream", "mirror"):
            # Left by an earlier demo, which wrote everything in it.
            if spec.exists() and (home / part).exists():
                shutil.rmtree(home / part)
    except OSError as error:
        raise StorageError(f"{home} cannot be used: {error.strerror}") from error


def _run(words: list[str], comment: str) -> None:
    """Run a verb as the command line does, after printing its command."""
    from mirrorsync.cli.main import cli

    click.echo(f"{comment}\n")
    click.echo(click.style(f"$ mirrorsync {' '.join(words)}", bold=True))
    code = cli.main(words, prog_name="mirrorsync", standalone_mode=False)
    click.echo()
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        raise SystemExit(code)
    if code:
        raise UsageError(f"the demo's `mirrorsync {words[0]}` ended with exit code {code}")


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def _print_next_steps(spec: str, home: Path, port: int) -> None:
    directory = os.path.relpath(home)
    click.echo(
        f"The images are in {directory}/mirror, a plain OCI layout. Try next:\n\n"
        f"  skopeo inspect --raw oci:{directory}/mirror:demo/worker:latest\n"
        f"  mirrorsync serve oci:{directory}/mirror  # podman pull --tls-verify=false localhost:5000/demo/worker\n\n"
        f"The source registry ended with the demo. To go on with {spec}, start it again in another terminal:\n\n"
        f"  mirrorsync serve oci:{directory}/upstream --listen 127.0.0.1:{port}\n\n"
        f"Then edit the file and run: mirrorsync plan {spec}"
    )
