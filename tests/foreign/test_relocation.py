"""References in files: which are found, and that nothing else of the file changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirrorsync.errors import UsageError
from mirrorsync.foreign.relocation import Use, find_images, replaced
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Reference, parse_image

DIGEST = Digest.of(b"image")
POD = """# kept: é
apiVersion: v1
kind: Pod
metadata: {{name: shop}}
spec:
  containers:
    - image: {}   # the web
      name: web
"""


def target(use: Use, *, pin: bool = False) -> Reference:
    assert use.reference is not None
    found = parse_image(f"site:5000/m/{use.reference.location.repository}")
    return Reference(found.location, use.reference.tag, DIGEST if pin else use.reference.digest)


def rewritten(text: str, *, pin: bool = False) -> str:
    uses = find_images(text.encode(), "app.yaml")
    return replaced(text.encode(), [(use, target(use, pin=pin)) for use in uses if use.reference]).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nginx:1.27", "site:5000/m/library/nginx:1.27"),
        ('"nginx:1.27"', '"site:5000/m/library/nginx:1.27"'),
        ("'quay.io/a/b'", "'site:5000/m/a/b:latest'"),
        (f"quay.io/a/b:1@{DIGEST}", f"site:5000/m/a/b:1@{DIGEST}"),
        (f"quay.io/a/b@{DIGEST}", f"site:5000/m/a/b@{DIGEST}"),
    ],
)
def test_only_the_reference_changes(before: str, after: str) -> None:
    assert rewritten(POD.format(before)) == POD.format(after)
    marked = "\ufeff" + POD.format(before).replace("\n", "\r\n")
    assert rewritten(marked) == "\ufeff" + POD.format(after).replace("\n", "\r\n")


def test_environment_variables_and_arguments_are_rewritten_too() -> None:
    text = (
        POD.format("nginx:1")
        + "      env: [{name: RELATED_IMAGE, value: quay.io/a/b:1}]\n      args: [--x=quay.io/a/c:2]\n"
    )
    found = rewritten(text)
    assert "value: site:5000/m/a/b:1}" in found
    assert "[--x=site:5000/m/a/c:2]" in found


def test_an_image_of_an_anchor_is_rewritten_once() -> None:
    text = POD.format("&web nginx:1") + "    - image: *web\n---\n" + POD.format("redis:7")
    assert [use.line for use in find_images(text.encode(), "x")] == [7, 17]
    assert rewritten(text).count("site:5000") == 2
    assert "&web site:5000/m/library/nginx:1" in rewritten(text)


@pytest.mark.parametrize(
    ("before", "after", "pinned"),
    [
        (
            "registry: quay.io\nrepository: a/b\ntag: 1.20\n",
            "registry: site:5000\nrepository: m/a/b\ntag: 1.20\n",
            f"registry: site:5000\nrepository: m/a/b\ntag: 1.20@{DIGEST}\n",
        ),
        (
            'repository: quay.io/a/b\ntag: "1"\ndigest: ""\n',
            'repository: site:5000/m/a/b\ntag: "1"\ndigest: ""\n',
            f'repository: site:5000/m/a/b\ntag: "1"\ndigest: "{DIGEST}"\n',
        ),
        (
            "repository: quay.io/a/b\ntag: 1\ndigest:\n",
            "repository: site:5000/m/a/b\ntag: 1\ndigest:\n",
            f"repository: site:5000/m/a/b\ntag: 1@{DIGEST}\ndigest:\n",
        ),
    ],
)
def test_an_image_in_parts_is_rewritten_in_parts(before: str, after: str, pinned: str) -> None:
    assert rewritten(before) == after
    assert rewritten(before, pin=True) == pinned


def test_the_services_of_a_compose_file_that_are_pulled() -> None:
    text = "services:\n  a: {image: nginx:1}\n  b: {image: own:1, build: .}\n  c: {image: 'redis:${TAG}'}\n"
    found = find_images(text.encode(), "compose.yaml")
    assert [(use.image, use.reference is None) for use in found] == [("nginx:1", False), ("redis:${TAG}", True)]
    assert "template" in found[1].trouble
    assert rewritten(text) == text.replace("nginx:1", "site:5000/m/library/nginx:1")


def test_text_that_is_not_yaml_is_refused_with_the_remedy_for_templates() -> None:
    with pytest.raises(UsageError, match="not YAML") as caught:
        find_images(b"image: {{ .Values.image }}\n  x: [", "chart.yaml")
    assert "helm template" in caught.value.remedy


def test_a_reference_with_escapes_is_refused() -> None:
    text = 'image: "ngin\\x78:1"\n'
    with pytest.raises(UsageError, match="line 1: nginx:1 is written with escapes"):
        rewritten(text)


def test_a_text_that_two_images_share_is_not_replaced_by_both() -> None:
    text = "a: {image: {repository: quay.io/a, tag: &tag v1}}\nb: {image: {repository: quay.io/b, tag: *tag}}\n"
    assert rewritten(text) == text.replace("quay.io", "site:5000/m")
    uses = find_images(text.encode(), "x")
    digests = [Digest(f"sha256:{digit * 64}") for digit in "01"]
    pinned = [(use, replace(target(use), digest=digest)) for use, digest in zip(uses, digests, strict=True)]
    with pytest.raises(UsageError, match=r"line 1: quay\.io/b:v1 shares a text with another image"):
        replaced(text.encode(), pinned)
