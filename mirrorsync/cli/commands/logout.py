"""`mirrorsync logout`."""

from __future__ import annotations

import click

from mirrorsync.app.logins import other_login_file, remove_all_logins, remove_login
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.commands.login import parse_registry
from mirrorsync.cli.completers import complete_file, complete_host
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.skopeo.options import LOGOUT, skopeo_options
from mirrorsync.documents.answers import logout_document
from mirrorsync.errors import NotFound, UsageError


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Remove the login to one host", "mirrorsync logout harbor.corp.example"),
        Example("Remove all logins in a file", "mirrorsync logout --all --authfile site.auth.json"),
    ],
)
@click.argument("registry", metavar="HOST[/NAMESPACE]", required=False, shell_complete=complete_host)
@click.option("--authfile", metavar="FILE", shell_complete=complete_file, help="Remove the login from this file only.")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove all logins.")
@skopeo_options(LOGOUT)
@verb
def command(console: Console, registry: str | None, authfile: str | None, everything: bool) -> None:
    """Remove the login to HOST, or to a namespace of it, from the files of `mirrorsync login` and podman.

    It is also removed from the credential helpers that these files name. Exits with 1 if not logged in.
    """
    if (registry is None) is not everything:
        raise UsageError(
            "HOST and --all contradict each other" if everything else "missing HOST", remedy="pass a host, or --all"
        )
    if registry is None:
        removed = remove_all_logins(authfile=authfile)
        shown = ", ".join(removed) or "no logins to remove"
        _result(console, f"removed: {shown}" if removed else shown, list(removed))
        return
    host, namespace = parse_registry(registry)
    done = remove_login(host, namespace, authfile=authfile)
    elsewhere = None if authfile or namespace else other_login_file(host)
    if not done:
        remedy = f"docker stores a login in {elsewhere}: --authfile {elsewhere} removes it" if elsewhere else ""
        raise NotFound(f"not logged in to {registry}", remedy=remedy)
    _result(console, f"logged out of {registry}", [registry])
    if elsewhere:
        console.notice(f"{elsewhere} still has a login to {host}; --authfile {elsewhere} removes it")


def _result(console: Console, line: str, removed: list[str]) -> None:
    console.result(lambda: logout_document(removed), line if console.level >= 0 else "")
