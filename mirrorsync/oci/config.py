"""Image configs: the JSON blob that says how an image runs, and which layers it unpacks to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mirrorsync.errors import GrammarError, Malformed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.json_weight import MAX_WEIGHT, json_weight
from mirrorsync.oci.platform import Platform
from mirrorsync.text import printable

# Configs are small; the largest that are known have a few hundred KiB of history.
MAX_CONFIG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image's config (OCI image spec, config.md; Docker's has the same members).

    platform: what it runs on, None if it does not say. created: an RFC 3339 time, as it is written; "" if not set.
    diff_ids: the digests of the uncompressed layers, lowest first. env: `NAME=value`. entrypoint and cmd: the command
    to run, cmd after entrypoint. docker_version: of the docker that built it; "" if it was not docker.
    """

    platform: Platform | None = None
    created: str = ""
    author: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    diff_ids: tuple[Digest, ...] = ()
    docker_version: str = ""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a config whose digest is verified already. Raises: Malformed if it is not a valid config.

        A member that is null counts as missing: Docker writes missing members so.
        """
        if len(raw) > MAX_CONFIG_BYTES:
            raise Malformed(f"the image's config is larger than {MAX_CONFIG_BYTES} bytes")
        try:
            # As UTF-8, for the same reason as in manifest.py.
            if json_weight(raw) > MAX_WEIGHT:
                raise Malformed("the image's config has too many members: it would take too much memory")
            return cls._read(json.loads(raw.decode("utf-8")))
        except GrammarError as error:
            raise Malformed(f"the image's config is malformed: {error.message}") from error
        except RecursionError as error:
            raise Malformed("the image's config is nested too deep") from error
        except ValueError as error:
            raise Malformed(f"the image's config is not JSON: {printable(str(error), 200)}") from error

    @classmethod
    def _read(cls, document: object) -> Self:
        config = _object(document, "it")
        run = _object(config.get("config") or {}, "config")
        rootfs = _object(config.get("rootfs") or {}, "rootfs")
        platform = Platform.from_json({key: config[key] for key in _PLATFORM if config.get(key) is not None})
        return cls(
            platform=platform if platform.os or platform.architecture else None,
            created=_text(config, "created"),
            author=_text(config, "author"),
            labels=_labels(run.get("Labels")),
            env=_texts(run, "Env"),
            entrypoint=_texts(run, "Entrypoint"),
            cmd=_texts(run, "Cmd"),
            user=_text(run, "User"),
            diff_ids=tuple(Digest(text) for text in _texts(rootfs, "diff_ids")),
            docker_version=_text(config, "docker_version"),
        )


_PLATFORM = ("os", "architecture", "variant", "os.version")


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise GrammarError(f"{what} is not an object")
    return value


def _text(members: Mapping[str, Any], key: str) -> str:
    value = members.get(key)
    if value is not None and not isinstance(value, str):
        raise GrammarError(f"{key} is not a string")
    return value or ""


def _texts(members: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = members.get(key)
    if isinstance(value, str):
        return (value,)  # Docker before 1.0 wrote a command as one string, and such images are still pulled
    if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        raise GrammarError(f"{key} is not a list of strings")
    return tuple(value or ())


def _labels(value: object) -> dict[str, str]:
    labels = _object(value or {}, "Labels")
    if not all(isinstance(text, str) for text in labels.values()):
        raise GrammarError("Labels is not an object of strings")
    return dict(labels)
