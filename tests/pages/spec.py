"""docs/spec.md: every key of a spec with its description and an example, from the schema.

What is above the marker of the page is written by hand.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from mirrorsync.schema_files import load_schema
from tests.pages.markdown import read

PAGE: Final = "docs/spec.md"
MARKER: Final = "<!-- The rest of this page is generated: python -m tests.pages -->\n"
_HOST: Final = "harbor.corp.example"
_SOURCE: Final = "docker.io/library/nginx"
# Keys that mean something only with others: these are in the example, too.
_WITH: Final[Mapping[str, Mapping[str, Any]]] = {
    "registries.HOST.username": {"password": "${HUB_TOKEN}"},
    "registries.HOST.password": {"username": "${HUB_USER}"},
    "registries.HOST.password_file": {"username": "${HUB_USER}"},
    "registries.HOST.endpoints[].tags": {"location": "mirror.corp.example/hub"},
    "registries.HOST.client_key": {"client_cert": "/etc/ssl/mirror.pem"},
    "defaults.keep_backups": {"backup": "{tag}-{date}"},
    "mirrors[].keep_backups": {"backup": "{tag}-{date}"},
    "mirrors[].from": {"tags": ["1.27"]},
    "mirrors[].tag": {"from": "docker-daemon:app:dev"},
    "mirrors[].exclude_repositories": {"from": "quay.io/prometheus/*", "tags": {"glob": ["v1.*"]}},
    "mirrors[].min_tags": {"tags": {"glob": ["1.*"]}},
    "mirrors[].allow_empty": {"tags": {"glob": ["1.*"]}},
    **{f"mirrors[].tags.{key}": {"all": True} for key in ("exclude", "exclude_regex", "keep", "max_age", "newest")},
    "mirrors[].platforms.index": {"only": ["linux/amd64", "linux/arm64"]},
    "signers.threshold": {"allowed": "allowed_signers"},
    "mirrors[].tags.per": {"all": True, "newest": 2},
}
_NESTED: Final = tuple(f"mirrors[].{key}." for key in ("on_change", "platforms", "referrers", "verify"))
_VERIFY: Final[Mapping[str, Any]] = {"cosign": {"key": "keys/site.pub"}}
_KEYLESS: Final[Mapping[str, Any]] = {
    "identity": "https://github.com/org/app/.github/workflows/release.yml@refs/tags/*",
    "issuer": "https://token.actions.githubusercontent.com",
    "trusted_root": "keys/trusted_root.json",
}
_EXCEPTION: Final[Mapping[str, Any]] = {"image": f"{_SOURCE}:1.*", "reason": "no key yet", "until": "2027-03-31"}
_TYPES: Final = {"string": "Text", "boolean": "`true` or `false`", "integer": "Number", "object": "Mapping"}


@dataclass(frozen=True)
class Key:
    """A key of the spec. path: `mirrors[].tags.glob`; schema: of its value, with its description and example."""

    path: str
    schema: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def example(self) -> Any:
        """The part of a spec that shows the key."""
        value: Any = {**_WITH.get(self.path, {}), self.name: self.schema["examples"][0]}
        if "username" in value:
            value = {"username": value.pop("username"), **value}
        if self.path.startswith("mirrors[].tags.newest."):
            value = {"all": True, "newest": {"count": 3, **value}}
        if self.path.startswith("mirrors[].tags."):
            return {"mirrors": [{"from": _SOURCE, "tags": value}]}
        if self.path.startswith(_NESTED):
            key = self.path.split(".")[1]
            value = self._in_verify(value) if key == "verify" else value
            return {"mirrors": [{"from": _SOURCE, "tags": ["1.27"], key: value}]}
        if self.path.startswith("mirrors[]."):
            if self.name == "images_file":
                return {"mirrors": [value]}
            rest = {} if self.name == "tags" or "tags" in value or "from" in value else {"tags": ["1.27"]}
            return {"mirrors": [{"from": value.pop("from", _SOURCE), **rest, **value}]}
        if self.path.startswith("registries.HOST.pulls."):
            value = {"pulls": value}
        if ".endpoints[]." in self.path:
            value = {"endpoints": [value]}
        if self.path.startswith("registries."):
            return {"registries": {"ghcr.io" if "endpoints" in value else _HOST: value}}  # not for a destination
        section, dot, _ = self.path.partition(".")
        return {section: value} if dot else value

    def _in_verify(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if ".cosign." in self.path:
            value = {"cosign": value if self.name == "key" else {**_KEYLESS, **value}}
        elif ".except[]." in self.path:
            value = {"except": [{**_EXCEPTION, **value}]}
        return {**_VERIFY, **value}


def keys() -> Iterator[Key]:
    """Yield every key, in the order of the schema; a mirror's before those of its tags."""
    schema = load_schema("mirror")
    definitions = schema["$defs"]
    below = {
        "registries": ("registries.HOST", definitions["registry"]),
        "defaults": ("defaults", schema["properties"]["defaults"]),
        "prune": ("prune", schema["properties"]["prune"]),
        "budget": ("budget", schema["properties"]["budget"]),
        "signers": ("signers", schema["properties"]["signers"]),
        "mirrors": ("mirrors[]", definitions["mirror"]),
    }
    for name, value in schema["properties"].items():
        yield Key(name, value)
        if name in below:
            yield from _of(*below[name], definitions)
    endpoints = definitions["registry"]["properties"]["endpoints"]["items"]
    yield from _below("registries.HOST.endpoints[]", endpoints)
    yield from _of("mirrors[].tags", definitions["tags"], definitions)
    yield from _below("mirrors[].tags.newest", definitions["tags"]["properties"]["newest"])
    for name in ("on_change", "platforms", "referrers", "verify"):
        yield from _below(f"mirrors[].{name}", definitions[name])
    yield from _below("registries.HOST.pulls", definitions["registry"]["properties"]["pulls"])


def _of(path: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Key]:
    for name, value in schema["properties"].items():
        definition = definitions[value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
        yield Key(f"{path}.{name}", {**definition, **value})


def _below(path: str, schema: Mapping[str, Any]) -> Iterator[Key]:
    """Yield the keys of a mapping, and of the mappings in it and in its lists."""
    for name, value in schema.get("properties", {}).items():
        yield Key(f"{path}.{name}", value)
        yield from _below(f"{path}.{name}", value)
        yield from _below(f"{path}.{name}[]", value.get("items", {}))


def spec_page() -> str:
    """Return the page: what it says above the marker, and a section for each key."""
    above, marker, _ = read(PAGE).partition(MARKER)
    assert marker, f"{PAGE} has no marker {MARKER!r}"
    required = {"version", "mirrors", "mirrors[].from"}
    sections = []
    for key in keys():
        example = yaml.dump(key.example, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=110)
        needed = " Required." if key.path in required else ""
        level = "##" if key.name == key.path else "###"
        text = f"{_type(key.schema)}.{needed} {_escaped(key.schema['description'])}"
        wrapped = textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
        sections.append(f"{level} `{key.path}`\n\n{wrapped}\n\n```yaml\n{example}```\n")
    return "\n".join([f"{above}{marker}", *sections])


class _Dumper(yaml.SafeDumper):
    """Writes as people do: `tags: {semver: "^3", newest: 2}` and lists of texts on one line, the rest in blocks."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        for key, value in node.value:
            if key.value == "tags" and isinstance(value, yaml.MappingNode):
                value.flow_style = True
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        short = all(isinstance(one, str) for one in sequence)
        return super().represent_sequence(tag, sequence, flow_style or short)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        quoted = any(character in text for character in "*^\\>{") and not text.startswith("$")
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(str, _Dumper.represent_text)


def _type(schema: Mapping[str, Any]) -> str:
    """Return what kind of value a key has, in words."""
    if "const" in schema:
        return f"`{str(schema['const']).lower()}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = [_words(kind, schema) for kind in kinds]
    return words[0] + "".join(f" or {word[0].lower()}{word[1:]}" for word in words[1:])


def _words(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array":
        if "$ref" in schema["items"]:
            return "List of mirrors"
        items = schema["items"]["type"]
        kinds = items if isinstance(items, list) else [items]
        return f"List of {' or '.join(f'{_TYPES[one].lower()}s' for one in kinds)}"
    least = f", at least {schema['minimum']}" if "minimum" in schema else ""
    return f"{_TYPES[kind]}{least}"


def _escaped(text: str) -> str:
    """Return a description as Markdown: what would be markup there is a pattern or a range here."""
    for character in "\\*~<":
        text = text.replace(character, f"\\{character}")
    return text
