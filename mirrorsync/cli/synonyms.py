"""Verbs that do not exist, and those that are meant: words of other tools, and words that are misspelt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

# Words of docker, podman, git, terraform, kubectl, rsync, crane, regctl, oras and regsync.
SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "mirror": ("apply", "copy"),
    "run": ("apply",),
    "once": ("apply",),
    "update": ("apply",),
    "repair": ("apply",),
    "freeze": ("lock",),
    "pin": ("lock",),
    "show": ("plan", "inspect"),
    "dry-run": ("plan",),
    "status": ("plan", "verify"),
    "check": ("verify", "plan"),
    "audit": ("verify",),
    "fsck": ("verify",),
    "lint": ("validate",),
    "config": ("validate",),
    "cp": ("copy",),
    "push": ("copy",),
    "pull": ("copy",),
    "save": ("copy",),
    "load": ("copy",),
    "manifest": ("inspect",),
    "digest": ("inspect",),
    "info": ("inspect",),
    "ls": ("list-tags", "images"),
    "list": ("list-tags", "images"),
    "tag": ("list-tags", "tags", "copy"),
    "explain": ("tags", "plan"),
    "why": ("tags", "plan"),
    "airgap": ("bundle",),
    "rewrite": ("relocate",),
    "rm": ("delete",),
    "remove": ("delete",),
    "rmi": ("delete",),
    "registry": ("serve",),
    "server": ("serve",),
    "completions": ("completion",),
}


def meant(word: str, verbs: Iterable[str]) -> tuple[str, ...]:
    """Return the verbs that may be meant by a word, the likeliest first; () if there is none."""
    return SYNONYMS.get(word) or tuple(get_close_matches(word, list(verbs), cutoff=0.7))
