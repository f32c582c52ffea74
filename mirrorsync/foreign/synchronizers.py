"""The specs of tools that copy between registries: skopeo sync, regsync, dregsy, image-syncer."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from mirrorsync.errors import GrammarError
from mirrorsync.foreign.draft import (
    UNKNOWN_USER,
    Draft,
    Entry,
    any_of,
    escaped,
    reference,
    shown,
    split_target,
    whole_tag,
    without_equal,
)
from mirrorsync.foreign.yaml_documents import mapping, mappings, text, texts, true

_ALL: Final[Mapping[str, Any]] = {"all": True}

# skopeo sync: hosts as keys (cmd/skopeo/sync.go, registrySyncConfig).
_SKOPEO_IMAGES: Final = ("images", "images-by-tag-regex", "images-by-semver")
_SKOPEO_KEYS: Final = frozenset({*_SKOPEO_IMAGES, "credentials", "tls-verify", "cert-dir"})


def is_skopeo(value: Any) -> bool:
    """Return whether a document is a spec of skopeo sync."""
    hosts = list(mapping(value).values())
    known = all(isinstance(host, dict) and host.keys() <= _SKOPEO_KEYS for host in hosts)
    return known and any(key in host for host in hosts for key in _SKOPEO_IMAGES)


def read_skopeo(value: Any) -> Draft:
    """Read a spec of skopeo sync. A repository can be under all three keys; then their tags are united."""
    draft = Draft()
    for host, members in value.items():
        for repository, wanted in mapping(members.get("images")).items():
            tags = tuple(texts(wanted))
            source = f"{host}/{repository}"
            draft.entries.append(_repository(source, tags) if tags else _repository(source, filters=_ALL))
        for repository, expression in mapping(members.get("images-by-tag-regex")).items():
            draft.entries.append(_repository(f"{host}/{repository}", filters={"regex": whole_tag(text(expression))}))
        for repository, versions in mapping(members.get("images-by-semver")).items():
            draft.entries.append(_repository(f"{host}/{repository}", filters={"semver": text(versions)}))
        _skopeo_host(host, members, draft)
    draft.note(
        "skopeo sync writes to DESTINATION/basename without --scoped: name: {basename}; with it, {host}/{repository}"
    )
    return draft


def _skopeo_host(host: str, members: Mapping[str, Any], draft: Draft) -> None:
    settings: dict[str, Any] = {}
    notes = []
    if text(members.get("cert-dir")):
        settings["cert_dir"] = escaped(members["cert-dir"])
    if "tls-verify" in members and not true(members["tls-verify"]):
        settings["insecure_skip_verify"] = True
        notes.append(
            "tls-verify: false of skopeo also allows http: write plain_http: true instead if this host has no TLS"
        )
    username = text(mapping(members.get("credentials")).get("username"))
    if username or settings:
        draft.login(host, escaped(username), settings, notes)


def _repository(source: str, tags: tuple[str, ...] = (), filters: Mapping[str, Any] | None = None) -> Entry:
    return Entry(escaped(source), tags, filters or {})


# regsync (cmd/regsync/config.go, config/host.go of regclient).
_ENV: Final = re.compile(r"""\{\{-?\s*env\s+["'`](?P<name>\w+)["'`]\s*-?\}\}""")
_REGSYNC_KEYS: Final = (
    "source", "target", "type", "tags", "tagSets", "platform", "platforms", "referrers", "digestTags",
)  # fmt: skip
_CREDS_KEYS: Final = ("registry", "user", "pass", "tls", "reqConcurrent")


def is_regsync(value: Any) -> bool:
    """Return whether a document is a spec of regsync."""
    entries = mappings(mapping(value).get("sync"))
    return any("source" in entry and "target" in entry for entry in entries)


def read_regsync(value: Any) -> Draft:
    """Read a spec of regsync."""
    draft = Draft()
    defaults = mapping(value.get("defaults"))
    for note in without_equal("regsync", defaults, ("referrers", "digestTags")):
        draft.note(f"defaults: {note}")
    for host in mappings(value.get("creds")):
        _regsync_host(host, draft)
    for members in mappings(value.get("sync")):
        inherited: dict[str, Any] = {key: defaults[key] for key in ("referrers", "digestTags") if key in defaults}
        draft.entries += _regsync_entries({**inherited, **members}, draft)
    return draft


def _variables(written: str) -> str:
    """Return a text of regsync with its environment templates as our variables."""
    return _ENV.sub(lambda found: f"${{{found['name']}}}", escaped(written))


def _regsync_host(host: Mapping[str, Any], draft: Draft) -> None:
    settings: dict[str, Any] = {}
    if host.get("tls") == "disabled":
        settings["plain_http"] = True
    elif host.get("tls") == "insecure":
        settings["insecure_skip_verify"] = True
    concurrent = text(host.get("reqConcurrent"))
    if concurrent.isdigit():
        settings["max_connections"] = max(3, int(concurrent))
    user = text(host.get("user"))
    # Values are not shown: a key may be in clear text among them.
    notes = [f"regsync's {shown(key, 40)} has no equal here" for key in sorted(host.keys() - set(_CREDS_KEYS))]
    username = _variables(user)
    draft.login(text(host.get("registry")), UNKNOWN_USER if "{{" in username else username, settings, notes)


def _regsync_entries(members: Mapping[str, Any], draft: Draft) -> Iterator[Entry]:
    source, target, kind = text(members.get("source")), text(members.get("target")), text(members.get("type"))
    if kind == "registry":
        draft.note(f"type: registry copies all repositories of {shown(source)}: list the ones you want under mirrors:")
        return
    notes = without_equal("regsync", members, _REGSYNC_KEYS)
    options: dict[str, Any] = {}
    platforms = [*texts(members.get("platform")), *texts(members.get("platforms"))]
    if platforms:
        options["platforms"] = platforms
    if true(members.get("referrers")) or true(members.get("digestTags")):
        options["referrers"] = True
    image, place = _variables(source), _variables(target)
    host, path, tag = split_target(place.replace("${", "").replace("}", "")) if "${" in place else split_target(place)
    host = place.partition("/")[0] if "${" in place else host
    known = Entry(
        "", tag=tag, name=path, to=draft.destination(host) if host else "", options=options, notes=tuple(notes)
    )
    if kind == "image":
        found = Draft()
        found.image(source, known)
        for note in found.notes:
            draft.note(note)
        yield from found.entries
        return
    try:
        repository = str(reference(source).location)
    except GrammarError as error:
        draft.note(f"not a repository: {shown(image)}: {error.message}")
        return
    sets = mappings(members.get("tagSets")) or [mapping(members.get("tags"))]
    for one in sets:
        yield replace(known, source=repository, tag="", filters=_regsync_filters(one))


def _regsync_filters(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters; regsync's expressions match whole tags, and allow narrows what semverRange includes."""
    allow, deny, ranges = texts(tags.get("allow")), texts(tags.get("deny")), texts(tags.get("semverRange"))
    filters: dict[str, Any] = {}
    if ranges:
        filters["semver"] = " || ".join(ranges)
        filters |= {"keep": [any_of(allow)]} if allow else {}
    elif allow:
        filters["regex"] = any_of(allow)
    else:
        filters |= _ALL
    return filters | ({"exclude_regex": deny} if deny else {})


# dregsy (README.md); its expressions match whole tags.
_DREGSY_MAPPING: Final = ("from", "to", "tags", "platform")


def is_dregsy(value: Any) -> bool:
    """Return whether a document is a spec of dregsy."""
    return any("source" in task and "target" in task for task in mappings(mapping(value).get("tasks")))


def read_dregsy(value: Any) -> Draft:
    """Read a spec of dregsy."""
    draft = Draft()
    for note in without_equal("dregsy", value, ("tasks",)):
        draft.note(note)
    for task in mappings(value.get("tasks")):
        name = shown(text(task.get("name")) or "without a name", 60)
        for note in without_equal("dregsy", task, ("name", "source", "target", "mappings")):
            draft.note(f"task {name}: {note}")
        source, target = mapping(task.get("source")), mapping(task.get("target"))
        for side in (source, target):
            _dregsy_host(side, draft)
        to = draft.destination(text(target.get("registry"))) if text(target.get("registry")) else ""
        for members in mappings(task.get("mappings")):
            draft.entries += _dregsy_entries(members, text(source.get("registry")), to, draft)
    return draft


def _dregsy_host(side: Mapping[str, Any], draft: Draft) -> None:
    host = text(side.get("registry"))
    if not host:
        return
    settings = {"insecure_skip_verify": True} if true(side.get("skip-tls-verify")) else {}
    username = _dregsy_user(text(side.get("auth")))
    notes = [
        f"dregsy's {shown(key, 40)} has no equal here"
        for key in sorted(side.keys() - {"registry", "auth", "skip-tls-verify"})
    ]
    if username or settings or notes:
        draft.login(host, username, settings, notes)


def _dregsy_user(auth: str) -> str:
    """Return the user name in an `auth:`, which is JSON in base64; UNKNOWN_USER if it is not readable; "" for none."""
    if not auth or auth == "none":
        return ""
    try:
        found = json.loads(base64.b64decode(auth))
    except (ValueError, RecursionError):
        return UNKNOWN_USER
    return escaped(text(mapping(found).get("username"))) or UNKNOWN_USER


def _dregsy_entries(members: Mapping[str, Any], host: str, to: str, draft: Draft) -> Iterator[Entry]:
    source, target = text(members.get("from")).strip("/"), text(members.get("to")).strip("/")
    if source.startswith("regex:"):
        draft.note(f"from: {shown(source)} chooses among all repositories of {shown(host)}: list those you want")
        return
    notes = without_equal("dregsy", members, _DREGSY_MAPPING)
    if target.startswith("regex:"):
        notes.append(f"to: {shown(target)} has no equal: set name:")
        target = ""
    platform = text(members.get("platform"))
    options = {"platforms": [platform]} if platform and platform != "all" else {}
    if not platform:
        draft.note(
            "a mapping of dregsy without a platform copies that of its machine; here all are copied: see platforms:"
        )
    known = Entry(escaped(f"{host}/{source}"), name=target or source, to=to, options=options)
    verbatim, filters, more = _dregsy_tags(texts(members.get("tags")))
    if verbatim:
        yield replace(known, tags=verbatim, notes=tuple(notes))
    if filters or not verbatim:
        yield replace(known, filters=filters or _ALL, notes=(*notes, *more))


def _dregsy_tags(tags: list[str]) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """Return exact tags, filters and notes. Exact tags are an entry of their own: keep does not apply to them."""
    words: dict[str, list[str]] = {"semver": [], "regex": [], "keep": [], "": []}
    for tag in tags:
        word, colon, rest = tag.partition(":")
        kind = word if colon and word in words else ""
        words[kind].append(rest.strip() if kind else tag)
    notes = []
    filters: dict[str, Any] = {}
    wanted = [expression for expression in words["regex"] if not expression.startswith("!")]
    unwanted = [expression[1:].strip() for expression in words["regex"] if expression.startswith("!")]
    if words["semver"]:
        filters["semver"] = " || ".join(words["semver"])
    if wanted:
        filters["regex"] = any_of(wanted)
    if unwanted and not filters:
        filters |= {**_ALL, "exclude_regex": unwanted}
    elif unwanted:
        notes += [
            f"regex: !{expression} adds what it does not match, which has no equal next to others"
            for expression in unwanted
        ]
    if not filters and words["keep"] and not words[""]:
        filters |= _ALL
    for expression in words["keep"] if filters else ():
        notes += _keep(expression, filters)
    return tuple(words[""]), filters, notes


def _keep(expression: str, filters: dict[str, Any]) -> list[str]:
    latest = re.fullmatch(r"latest\s+([1-9]\d{0,8})", expression)
    if latest:
        filters["newest"] = int(latest[1])
        return ["dregsy's keep: latest also keeps tags that are no versions; newest leaves them out"]
    key, rest = ("exclude_regex", expression[1:].strip()) if expression.startswith("!") else ("keep", expression)
    filters.setdefault(key, []).append(rest)
    return []


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
        draft.entries.append(replace(known, filters=_ALL))
    elif not new or new == old:
        draft.entries.append(replace(known, tags=tuple(old)))
    elif len(new) != len(old):
        draft.note(f"{shown(source)} has {len(old)} tags and its target {len(new)}: {shown(target)}")
    else:
        for one, other in zip(old, new, strict=True):
            draft.image(f"{repository}:{one}", replace(known, tag=other))
