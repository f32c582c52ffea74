"""Rules as regular expressions of RE2 and their replacements, for clients that rename with these (k3s, Kyverno)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.clients.model import BASENAME, REPOSITORY, Lost, Rule, is_pattern

_FIELD: Final = re.compile(r"\{(repository|basename)\}")
_WORD: Final = re.compile(r"\w")
_GROUP: Final = re.compile(r"\[!?[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One expression for the names of repositories, without anchors, and what replaces what it matches.

    groups: how many groups it captures. rules: those that it is from. target: the same as `replacement`, with
    {repository} and {basename} to fill in.
    """

    host: str
    expression: str
    replacement: str
    groups: int
    rules: tuple[Rule, ...]
    target: str

    @property
    def changes(self) -> bool:
        """Whether the names at the destination differ from those at the source."""
        return any(rule.base != "" for rule in self.rules)


def rewrites(rules: Sequence[Rule], *, ordered: bool) -> tuple[list[Rewrite], list[Lost]]:
    """Return the expressions for rules, those for single repositories first, and the rules that have none.

    ordered: whether a client tries them in their order and takes the first that matches. Without, no name may match two
    that differ: k3s sorts them by their text (rancher/rke2#3227).
    """
    lost: list[Lost] = []
    single: dict[tuple[str, str], Rule] = {}
    several = _namespaces(rules, lost, ordered=ordered)
    for rule in rules:
        if rule.namespace is not None:
            continue
        first = single.setdefault((rule.host, rule.name), rule)
        if first is not rule:
            lost.append(
                Lost(rule, f"the repository is also {first.target} at the destination, and only one name is asked")
            )
            continue
        over = None if ordered else next((one for one in several if one.host == rule.host and one.has(rule.name)), None)
        if over is not None:
            del single[rule.host, rule.name]
            if over.at_destination(rule.name) != rule.target:
                lost.append(Lost(rule, f"{over.source} has another name for it, and the rules have no order"))
    found = [*_grouped(list(single.values())), *(_of_namespace(one) for one in several)]
    return found, lost


def _namespaces(rules: Sequence[Rule], lost: list[Lost], *, ordered: bool) -> list[Rule]:
    """Return the rules of namespaces that have an expression; the others are added to `lost`."""
    kept: list[Rule] = []
    for rule in rules:
        if rule.namespace is None:
            continue
        other = next((one for one in kept if one.host == rule.host and one.target != rule.target), None)
        if BASENAME in rule.target and _last_part(rule.name) is None:
            lost.append(Lost(rule, "the last part of such a name cannot be cut off with an expression"))
        elif not ordered and other is not None and _may_overlap(other.name, rule.name):
            lost.append(Lost(rule, f"{other.source} may match the same repositories, and the rules have no order"))
        else:
            kept.append(rule)
    return kept


def _may_overlap(one: str, other: str) -> bool:
    """Return whether two patterns could match the same name, as far as their beginnings say."""
    heads = [re.split(r"[*?[]", pattern)[0] for pattern in (one, other)]
    return heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])


def _grouped(rules: list[Rule]) -> list[Rewrite]:
    """Return expressions for single repositories: one for all that are in one folder, before and after."""
    groups: dict[tuple[str, str, str | None], list[Rule]] = {}
    for rule in rules:
        name = posixpath.basename(rule.name)
        head = rule.target.removesuffix(name)
        # A target without the last part of the name is written as it is, in a group of its own.
        key = head if head != rule.target and (not head or head.endswith("/")) else None
        alone = rule.name if key is None else posixpath.dirname(rule.name)
        groups.setdefault((rule.host, alone, key), []).append(rule)
    return [_of_group(host, head, found) for (host, _, head), found in groups.items()]


def _of_group(host: str, head: str | None, rules: list[Rule]) -> Rewrite:
    if len(rules) == 1:
        target = rules[0].target
        return Rewrite(host, literal(rules[0].name), target, 0, tuple(rules), target)
    folder = posixpath.dirname(rules[0].name)
    names = "|".join(literal(posixpath.basename(rule.name)) for rule in rules)
    expression = f"{literal(folder + '/') if folder else ''}({names})"
    return Rewrite(host, expression, f"{head or ''}$1", 1, tuple(rules), f"{head or ''}{BASENAME}")


def _of_namespace(rule: Rule) -> Rewrite:
    """Return the expression of a namespace; a `*` of its pattern matches `/`, too."""
    with_basename, with_repository = BASENAME in rule.target, REPOSITORY in rule.target
    if with_basename:
        folder, last = posixpath.dirname(rule.name), _last_part(rule.name) or ""
        expression = f"{_translated(folder + '/') if folder else ''}{last}"
    else:
        expression = _translated(rule.name)
    if with_repository:
        expression = f"({expression})"
    numbers = {"repository": 1, "basename": 1 + with_repository}
    made, end = "", 0
    for field in _FIELD.finditer(rule.target):
        after = rule.target[field.end() : field.end() + 1]
        number = numbers[field[1]]
        # Go reads $1a as the group that is called "1a".
        made += rule.target[end : field.start()] + (f"${{{number}}}" if _WORD.match(after) else f"${number}")
        end = field.end()
    groups = with_basename + with_repository
    return Rewrite(rule.host, expression, made + rule.target[end:], groups, (rule,), rule.target)


def _last_part(pattern: str) -> str | None:
    """Return an expression for the last part of the names of a pattern, captured, and for folders before it.

    None if a `*` behind other text may match a slash, so that the part does not begin at one place.
    """
    last = posixpath.basename(pattern)
    if not is_pattern(last):
        return f"({literal(last)})"
    if "*" not in last:
        return f"({_translated(last)})"
    rest = last.lstrip("*")
    if "*" in rest or not last.startswith("*"):
        return None
    return f"(?:.*/)?([^/]*{_translated(rest)})"


def without(pattern: str) -> str:
    """Return the expression for the names that `exclude_repositories:` leaves out: whole names, or last parts."""
    return f"(?:{_translated(pattern)}|(?:.*/)?{_translated(pattern, star='[^/]*')})"


def _translated(pattern: str, star: str = ".*") -> str:
    """Return a shell pattern as an expression. star: what becomes of a `*`."""
    made, at = "", 0
    while at < len(pattern):
        group = _GROUP.match(pattern, at)
        if group is not None:
            made += f"[^{group[0][2:]}" if group[0].startswith("[!") else group[0]
            at = group.end()
            continue
        char = pattern[at]
        made += {"*": star, "?": "."}.get(char) or literal(char)
        at += 1
    return made


def literal(text: str) -> str:
    """Return the expression for a text of a name or a host: of their characters, three have a meaning there."""
    return re.sub(r"[.\[\]]", lambda found: f"[{found[0]}]", text)
