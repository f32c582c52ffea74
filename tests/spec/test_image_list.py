"""Image lists: every line is an image, or is reported with its number."""

from __future__ import annotations

import pytest

from mirrorsync.problems import SpecError
from mirrorsync.spec.image_list import read_image_list

DIGEST = f"sha256:{'a' * 64}"


def listed(text: str) -> list[str]:
    return [str(image.reference) for image in read_image_list(text.encode(), source="images.txt")]


def test_each_line_is_an_image_and_comments_are_skipped() -> None:
    text = f"""\ufeff# from the release page
// and in the other style
nginx:1.27
rancher/pause:3.6   # with a reason
quay.io/x/y@{DIGEST} // pinned

localhost:5000/a/b:c@{DIGEST}
registry.k8s.io/pause
docker://ghcr.io/a/b:1\r
"""
    assert listed(text) == [
        "docker.io/library/nginx:1.27",
        "docker.io/rancher/pause:3.6",
        f"quay.io/x/y@{DIGEST}",
        f"localhost:5000/a/b:c@{DIGEST}",
        "registry.k8s.io/pause",
        "ghcr.io/a/b:1",
    ]


def test_three_words_are_source_target_and_tag() -> None:
    (image,) = read_image_list(b"quay.io/coreos/etcd rancher/mirrored-coreos-etcd v3.5.9\n", source="images.txt")
    assert (str(image.reference), image.target) == ("quay.io/coreos/etcd:v3.5.9", "rancher/mirrored-coreos-etcd")


def test_a_file_that_is_not_text_is_reported_once() -> None:
    with pytest.raises(SpecError) as refused:
        read_image_list(b"nginx:1\n\xff\xfe\n\xff\n", source="images.txt")
    assert refused.value.lines() == [
        "images.txt:2: this is not a list of images: it is not UTF-8 text; write one image a line, or SOURCE TARGET TAG"
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("these are words", "'these are words' is not an image"),
        ("Nginx one", "'Nginx one' is not an image"),
        ("nginx:1:2", "is not a repository name"),
        ("https://quay.io/x", "this is a URL"),
        ("nginx:1 mirror/nginx 2", "'2' is another"),
        ("nginx mirror/nginx -x", "'-x' is not a tag"),
    ],
)
def test_a_line_that_is_not_an_image_is_reported_with_its_number(line: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_image_list(f"busybox:1\n  {line}\n".encode(), source="images.txt")
    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (2, 3)
    assert message in problem.message
    assert problem.remedy
