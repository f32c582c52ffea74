"""The rules and logins of image-syncer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from mirrorsync.errors import GrammarError
from mirrorsync.foreign.draft import (
    ALL_TAGS,
    Draft,
    Entry,
    escaped,
    reference,
    shown,
    split_target,
    whole_tag,
)
from mirrorsync.foreign.yaml_documents import mapping, text, texts, true


# image-syncer (README.md): a mapping of sources to targets, and another file of logins.
def is_image_syncer(value: Any) -> bool:
    """Return whether a document is a list of rules of image-syncer, or its older config.json."""
    rules = mapping(value)
    if "images" in rules and rules.keys() <= {"auth", "images", "defaultRegistry", "defaultNamespace"}:
        return is_image_syncer(rules["images"])
    return bool(rules) and all(
        "/" in source and bool(texts(targets)) and all("/" in target for target in texts(targets))
        for source, targets in rules.items()
    )


def is_image_syncer_auth(value: Any) -> bool:
    """Return whether a document is the file of logins of image-syncer."""
    hosts = mapping(value)
    return bool(hosts) and all(
        isinstance(login, dict) and "username" in login and login.keys() <= {"username", "password", "insecure"}
        for login in hosts.values()
    )


def read_image_syncer(value: Any) -> Draft:
    """Read the rules of image-syncer."""
    draft = Draft()
    if "images" in value:
        draft.add(read_image_syncer_auth(mapping(value.get("auth"))))
        value = value["images"]
    for source, targets in value.items():
        for target in texts(targets):
            _image_syncer_rule(source, target, draft)
    return draft


def read_image_syncer_auth(value: Any) -> Draft:
    """Read the logins of image-syncer. Those of a namespace have no equal: the first of a host is taken."""
    draft = Draft()
    for place, login in value.items():
        host, slash, namespace = place.partition("/")
        settings = {"plain_http": True} if true(login.get("insecure")) else {}
        user = re.sub(r"^\$\{?(\w+)\}?$", r"${\1}", text(login.get("username")))
        if slash:
            draft.note(f"the login of {shown(host)} for {shown(namespace)} alone: mirrorsync login {shown(place)}")
        if slash and host in value:
            continue
        draft.login(host, user if user.startswith("${") else escaped(user), settings)
    return draft


def _image_syncer_rule(source: str, target: str, draft: Draft) -> None:
    repository, tags, expression = source, "", ""
    if ":/" in source and source.endswith("/"):
        repository, _, expression = source[:-1].partition(":/")
    elif "@" not in source and ":" in source.rpartition("/")[2]:
        repository, _, tags = source.rpartition(":")
    host, path, renamed = split_target(target)
    known = Entry("", name=path, to=draft.destination(host) if host else "")
    if "@" in source:
        draft.image(source, replace(known, tag=renamed))
        return
    try:
        known = replace(known, source=str(reference(repository).location))
    except GrammarError as error:
        draft.note(f"not a repository: {shown(repository)}: {error.message}")
        return
    new = renamed.split(",") if renamed else []
    old = tags.split(",") if tags else []
    if expression:
        draft.entries.append(replace(known, filters={"regex": whole_tag(expression)}))
    elif not old:
        draft.entries.append(replace(known, filters=ALL_TAGS))
    elif not new or new == old:
        draft.entries.append(replace(known, tags=tuple(old)))
    elif len(new) != len(old):
        draft.note(f"{shown(source)} has {len(old)} tags and its target {len(new)}: {shown(target)}")
    else:
        for one, other in zip(old, new, strict=True):
            draft.image(f"{repository}:{one}", replace(known, tag=other))
