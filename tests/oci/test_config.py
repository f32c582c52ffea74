"""Image configs, as docker, podman and buildkit write them, and as an attacker could."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.errors import Malformed
from mirrorsync.oci.config import MAX_CONFIG_BYTES, ImageConfig
from mirrorsync.oci.platform import Platform

DIGEST = "sha256:" + "a" * 64


def parsed(document: Any) -> ImageConfig:
    return ImageConfig.parse(json.dumps(document).encode())


def test_all_members_of_a_config_are_read() -> None:
    config = parsed(
        {
            "created": "2024-01-02T03:04:05.678Z",
            "author": "an author",
            "os": "linux",
            "architecture": "arm",
            "variant": "v7",
            "config": {
                "Labels": {"org.example": "yes"},
                "Env": ["PATH=/bin", "EMPTY="],
                "Entrypoint": ["/init"],
                "Cmd": ["run", "it"],
                "User": "1000",
                "Unknown": 1,
            },
            "rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]},
            "history": [{"created_by": "x"}],
        }
    )
    assert config.platform == Platform("linux", "arm", "v7")
    assert (config.created, config.author) == ("2024-01-02T03:04:05.678Z", "an author")
    assert config.labels == {"org.example": "yes"}
    assert config.env == ("PATH=/bin", "EMPTY=")
    assert (config.entrypoint, config.cmd) == (("/init",), ("run", "it"))
    assert config.user == "1000"
    assert [str(digest) for digest in config.diff_ids] == [DIGEST, DIGEST]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"config": None, "rootfs": None, "created": None, "os": None},
        {"config": {"Labels": None, "Env": None, "Cmd": None, "Entrypoint": None}, "rootfs": {"diff_ids": None}},
        {"os": "", "architecture": ""},
    ],
)
def test_null_and_missing_members_are_the_same(document: Any) -> None:
    assert parsed(document) == ImageConfig()


def test_a_command_that_is_one_string_is_accepted_from_old_images() -> None:
    assert parsed({"config": {"Cmd": "run it"}}).cmd == ("run it",)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b"[]", "it is not an object"),
        (b"[" * 100_000, "nested too deep"),
        (b"1" * 5000, "not JSON"),
        (b'{"config": []}x', "not JSON"),
        (b'{"config": [1]}', "config is not an object"),
        (b'{"config": {"Labels": {"a": 1}}}', "Labels is not an object of strings"),
        (b'{"config": {"Labels": ["a"]}}', "Labels is not an object"),
        (b'{"config": {"Env": {"A": "b"}}}', "Env is not a list of strings"),
        (b'{"config": {"Cmd": [["a"]]}}', "Cmd is not a list of strings"),
        (b'{"created": 5}', "created is not a string"),
        (b'{"os": 5}', "os is not a string"),
        (b'{"rootfs": {"diff_ids": ["sha256:short"]}}', "digest"),
        (b" " * (MAX_CONFIG_BYTES + 1), "larger than"),
    ],
)
def test_an_invalid_config_is_rejected_with_the_reason(raw: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        ImageConfig.parse(raw)
