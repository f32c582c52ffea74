"""`mirrorsync logout`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from mirrorsync.cli.commands.login import parse_registry
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.credentials import AuthFile, CredentialFinder, files_read, files_written
from mirrorsync.documents.answers import logout_document
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, NotFound, UsageError
from mirrorsync.hosts import Access
from mirrorsync.library import absolute


@click.command()
@click.argument("registry", metavar="HOST[/NAMESPACE]", required=False)
@click.option("--authfile", metavar="FILE", help="The only file to look into.")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove all logins.")
@verb
def command(console: Console, registry: str | None, authfile: str | None, everything: bool) -> None:
    """Remove the login to HOST, or to a part of it, from where `mirrorsync login` and podman keep it.

    Credential helpers that the files name forget it too. Exits with 1 when there was none.
    """
    if (registry is None) is not everything:
        raise UsageError("name a host, or --all, and not both" if everything else "which host?", remedy="HOST or --all")
    paths = (absolute(authfile),) if authfile else tuple(files_written(os.environ))
    if registry is None:
        removed: tuple[str, ...] = ()
        for path in paths:
            removed += AuthFile(path, os.environ).remove_all()
        shown = ", ".join(removed) or "nobody was logged in"
        _result(console, f"removed: {shown}" if removed else shown, list(dict.fromkeys(removed)))
        return
    host, namespace = parse_registry(registry)
    # A list, since every file is to be gone through.
    done = [path for path in paths if AuthFile(path, os.environ).remove(host, namespace)]
    elsewhere = None if authfile or namespace else _elsewhere(host, paths)
    if not done:
        remedy = f"docker keeps a login in {elsewhere}: --authfile {elsewhere} removes it" if elsewhere else ""
        raise NotFound(f"not logged in to {registry}", remedy=remedy)
    _result(console, f"logged out of {registry}", [registry])
    if elsewhere:
        console.say(f"{elsewhere} still has a login to {host}; --authfile {elsewhere} removes it")


def _result(console: Console, line: str, removed: list[str]) -> None:
    console.result(lambda: logout_document(removed), line if console.level >= 0 else "")


def _elsewhere(host: str, paths: tuple[Path, ...]) -> Path | None:
    """Return the file of another tool that still has a login, None when there is none that can be read."""
    for path in files_read(os.environ):
        with suppress(MirrorsyncError):
            only = Environment(variables=os.environ, access={host: Access(auth_file=path)})
            if path not in paths and CredentialFinder(only)(host) is not None:
                return path
    return None
