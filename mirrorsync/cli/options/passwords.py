"""Read passwords: from a terminal without echo, the environment, or stdin; not from the command line.

`ps` shows command lines to every user of the machine, and the shell keeps them in its history.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from mirrorsync.errors import UsageError
from mirrorsync.secret import Secret

F = TypeVar("F", bound=Callable[..., Any])

_MAX_BYTES: Final = 1024 * 1024


def password_of(username: str, host: str, variable: str, environment: Mapping[str, str]) -> Secret:
    """Return the password of a user: from the environment variable `variable`, else from a prompt on the terminal.

    Raises: UsageError if it can be read from neither.
    """
    if given := environment.get(variable):
        return Secret(given)
    if not sys.stdin.isatty():
        raise UsageError(
            f"missing password for {username} at {host}",
            remedy=f"set {variable}, or use `mirrorsync login --password-stdin {host}` once",
        )
    # getpass uses the terminal itself, also if stdout and stderr are redirected.
    from getpass import getpass

    try:
        password = getpass(f"Password of {username} at {host}: ")
    except EOFError:
        raise UsageError("no password was entered") from None
    if not password:
        raise UsageError("no password was entered")
    return Secret(password)


def password_from_stdin() -> Secret:
    """Return the password on stdin, without line breaks at its end. Raises: UsageError."""
    data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    try:
        password = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("the password on stdin is not text") from None
    if not password or len(data) > _MAX_BYTES:
        raise UsageError("no password on stdin" if not password else "the password on stdin is too long")
    return Secret(password)


def no_password_option(prefix: str = "", *short: str) -> Callable[[F], F]:
    """Reject the password option of other tools, and report what to use instead, without repeating the password."""
    name = f"--{prefix}password"

    def refuse(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001 - click's
        if value is not None:
            ways = "--password-stdin, or the prompt" if not prefix and short else "the prompt, or the environment"
            raise click.UsageError(
                f"{name} is not supported: every user of this machine could read it; use {ways} (docs/registries.md)"
            )

    return click.option(
        *short, name, f"{prefix.replace('-', '_')}password_given", hidden=True, expose_value=False, is_eager=True,
        is_flag=False, flag_value="", callback=refuse,
    )  # fmt: skip
