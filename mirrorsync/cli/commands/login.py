"""`mirrorsync login`."""

from __future__ import annotations

import os
import sys
from functools import partial

import click

from mirrorsync.app.logins import Kept, check_login, find_login, keep_login, will_be_lost
from mirrorsync.app.process import process_environment
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_host
from mirrorsync.cli.options.access import (
    AccessOptions,
    check_username,
    retry_option,
    settings_of,
    tls_options,
)
from mirrorsync.cli.options.passwords import no_password_option, password_from_stdin, password_of
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo.options import LOGIN, skopeo_options
from mirrorsync.documents.answers import login_document
from mirrorsync.errors import NotFound, UsageError
from mirrorsync.hosts import Credentials
from mirrorsync.oci.names import check_host, check_repository

PASSWORD_VARIABLE = "MIRRORSYNC_PASSWORD"  # noqa: S105 - a variable's name


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Ask for username and password", "mirrorsync login harbor.corp.example"),
        Example(
            "Take the password from a program or a file",
            "cat password | mirrorsync login -u ci --password-stdin harbor.corp.example",
        ),
        Example(
            "For cron or systemd: a file of your own, which is not deleted at reboot",
            "mirrorsync login --authfile site.auth.json -u ci harbor.corp.example",
        ),
        Example("Print the username of a login", "mirrorsync login --get-login harbor.corp.example"),
    ],
)
@click.argument("registry", metavar="HOST[/NAMESPACE]", shell_complete=complete_host)
@click.option("-u", "--username", metavar="USER", help="Username; asked for on a terminal.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--authfile", metavar="FILE", shell_complete=complete_file, help="File to store the login in.")
@click.option("--get", "--get-login", "get", is_flag=True, help="Print the username and exit; with 1 if not logged in.")
@no_password_option("", "-p")
@tls_options()
@retry_option
@skopeo_options(LOGIN)
@verb
def command(
    console: Console,
    registry: str,
    username: str | None,
    password_stdin: bool,
    authfile: str | None,
    get: bool,
    access: AccessOptions,
    retry_times: int | None,
) -> None:
    """Log in to HOST, or to a namespace of it, and store the login where podman and skopeo read it too.

    The password comes from stdin (--password-stdin), from MIRRORSYNC_PASSWORD, or from the terminal. It is checked with
    the registry, then stored in --authfile, REGISTRY_AUTH_FILE, or podman's own file, or in the credential helper that
    this file names.
    """
    host, namespace = parse_registry(registry)
    if get:
        print_login(console, host, namespace, authfile)
        return
    credentials = _ask_credentials(registry, username, password_stdin, authfile)
    environment = process_environment(hosts={host: settings_of(access)}, retries=retry_times)
    checked = run(console, partial(check_login, host, credentials), environment)
    kept = keep_login(host, namespace, credentials, authfile=authfile)
    document = login_document(host, namespace, credentials.username, kept, checked=checked)
    stored_in = kept.helper or kept.path
    line = f"logged in to {registry} as {credentials.username}; stored in {stored_in}"
    console.result(lambda: document, line if console.level >= 0 else "")
    if not checked:
        console.notice(f"{host} does not ask for a login, so this one was not checked")
    _notice_storage(console, kept)


def parse_registry(text: str) -> tuple[str, str]:
    """Read HOST[/NAMESPACE]. Raises: GrammarError."""
    host, slash, namespace = text.partition("/")
    if "://" in text:
        host = text  # check_host rejects it, with the reason
    return check_host(host), check_repository(namespace) if slash else ""


def print_login(console: Console, host: str, namespace: str, authfile: str | None) -> None:
    """Print the username of a login. Raises: NotFound."""
    found = find_login(host, namespace, authfile=authfile)
    if found is None:
        where = f"{host}/{namespace}" if namespace else host
        raise NotFound(f"not logged in to {where}", remedy=f"log in: mirrorsync login {where}")
    name = found.username or "<token>"
    console.result(lambda: login_document(host, namespace, name), name)


def _ask_credentials(registry: str, username: str | None, password_stdin: bool, authfile: str | None) -> Credentials:
    """Return the credentials to log in with; prompt for what the options lack."""
    host, namespace = parse_registry(registry)
    if username is None:
        if password_stdin or not sys.stdin.isatty():
            raise UsageError("missing username", remedy="pass --username USER")
        present = find_login(host, namespace, authfile=authfile)
        username = click.prompt(f"Username at {host}", default=present.username if present else None, err=True)
    check_username(username)
    if password_stdin:
        return Credentials(username, password_from_stdin())
    return Credentials(username, password_of(username, host, PASSWORD_VARIABLE, os.environ))


def _notice_storage(console: Console, kept: Kept) -> None:
    if kept.tightened:
        console.notice(f"{kept.path} was readable by other users; it is now readable only by its owner")
    if will_be_lost(kept):
        console.notice(
            f"{kept.path} is deleted at reboot, and cron may not find it; to keep the login, use --authfile FILE, and "
            "set REGISTRY_AUTH_FILE=FILE for the runs of mirrorsync"
        )
