"""The options of verbs that read what has crossed an air gap: --signers, --threshold, --allow-unsigned."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from mirrorsync.app.signers import required_signers
from mirrorsync.cli.completers import complete_file
from mirrorsync.signing import Required

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SignerOptions:
    """Who has to sign, None = unsigned is right; and whether unsigned is right this time."""

    required: Required | None
    allow_unsigned: bool


def signer_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options to a command, which gets `signers`: SignerOptions."""

    @click.option(
        "--signers",
        "signers_file",
        metavar="FILE",
        shell_complete=complete_file,
        help="Allowed signers, as for git; what they have not signed is refused. Default: MIRRORSYNC_SIGNERS.",
    )
    @click.option(
        "--threshold",
        type=click.IntRange(1, 32),
        metavar="N",
        help="How many different people have to sign. Default: MIRRORSYNC_THRESHOLD, or 1.",
    )
    @click.option("--allow-unsigned", is_flag=True, help="Accept what too few people have signed, this time.")
    @functools.wraps(function)
    def with_signers(
        *args: Any, signers_file: str | None, threshold: int | None, allow_unsigned: bool, **others: Any
    ) -> R:
        required = required_signers(os.environ, signers_file, threshold)
        return function(*args, signers=SignerOptions(required, allow_unsigned), **others)

    return with_signers
