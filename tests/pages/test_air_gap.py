"""The walk of docs/air-gap.md, from the spec to the cluster: all blocks in order, on one stage."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bundle.test_second_reader import READER
from tests.cli.site import Site
from tests.conftest import Locked
from tests.pages.markdown import blocks
from tests.pages.stage import Stage
from tests.parts.mirrorsync import Mirrorsync

PAGE = "docs/air-gap.md"
POD = """apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - name: app
      image: quay.io/team/app:1
"""


def test_the_walk_ends_with_a_cluster_that_uses_the_mirror(tmp_path: Path, tls_registry: Locked) -> None:
    stage = Stage(Site(Mirrorsync(tmp_path), tls_registry, "walk"))
    (spec,) = (block.text for block in blocks(PAGE) if block.language == "yaml")
    (tmp_path / "mirror.yaml").write_text(stage.text(spec))
    (tmp_path / "second_reader.py").write_bytes(Path(READER).read_bytes())
    (tmp_path / "app.yaml").write_text(stage.text(POD))
    running = {"image": stage.text("quay.io/team/app:1"), "imageID": ""}
    # As kubectl prints the pods of a cluster.
    pod = {"metadata": {"name": "app"}, "spec": {"containers": [running]}, "status": {"containerStatuses": []}}
    (tmp_path / "node.json").write_text(json.dumps({"kind": "List", "items": [{"kind": "Pod", **pod}]}))
    said = {}
    for block in blocks(PAGE):
        if block.language == "sh":
            # Docker Hub is a folder of the stage's registry, and so it is in the names inside a bundle.
            said[block.text] = stage(block.text.replace(".tar:library/", ".tar:walk/hub/library/"))

    def after(begin: str) -> str:
        (found,) = (text for block, text in said.items() if block.startswith(begin))
        return found

    verified, imported, again = after("mirrorsync bundle verify").splitlines()
    assert "mirror-000001 is complete" in verified
    assert "2 done" in imported
    assert "nothing to do" in again
    assert len(after("mirrorsync bundle export").split(".tar")) == 3
    assert "/site/offline/walk/quay/team/app:1@sha256:" in after("mirrorsync relocate")
    assert "1 present, 1 unused" in after("mirrorsync compare")
    assert after("sed -i").count("for 1 image, ") == 2
    assert "1 done, 2 unchanged" in after("mirrorsync bundle apply /media/usb --to harbor")
    assert "as before" in after("mirrorsync bundle create mirror.yaml --only-parts")
    part = "mirror-000001.001of001.tar"
    assert (tmp_path / "again" / part).read_bytes() == (tmp_path / "media/usb" / part).read_bytes()
    assert (tmp_path / "rescued/index.json").exists()
