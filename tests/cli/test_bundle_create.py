"""`bundle create` as an operator runs it: from registries, in parts, as a stream, on a disk that is full."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from typing import Any

from tests.app.test_bundling import all_content, content, made, noise
from tests.cli.test_terminal import Terminal
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import COMMAND, Mirrorsync, plain
from tests.parts.wire import Registry


def spec(mirrorsync: Mirrorsync, host: str, *mirrors: str) -> None:
    """Write a spec with a destination that cannot be reached."""
    mirrorsync.spec(
        {
            "registries": plain(host),
            "destinations": {"corp": "corp.invalid/mirror"},
            "defaults": {"to": ["corp"]},
            "mirrors": [{"from": f"{host}/{name}", "tags": {"all": True}, "referrers": True} for name in mirrors],
        }
    )


def test_a_bundle_from_a_registry_has_images_indexes_and_referrers(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    source, both = Registry(registry.host), multi_platform("app")
    signature = image([layer({"sig": b"signed"})], subject=both.descriptor)
    source.push(f"{unique}/app", both, "1")
    source.push(f"{unique}/app", signature, f"{both.digest.replace(':', '-')}.sig")
    source.push(f"{unique}/db", made("db", 2_000_000), "1")
    spec(mirrorsync, registry.host, f"{unique}/app", f"{unique}/db")
    planned = mirrorsync("plan", "--to", "bundle", "--part-size", "1MiB", code=0).out
    assert planned.endswith("in 5 parts\n")
    done = mirrorsync("bundle", "create", "--output", "usb", "--part-size", "1MiB", "--json", code=0)
    document = json.loads(done.out)
    valid(document, "bundle-creation")
    assert len(document["bundle"]["parts"]) == 5
    assert content(mirrorsync.directory / "usb") == all_content(both, signature, made("db", 2_000_000))
    quiet = mirrorsync("bundle", "create", "--output", "none", "--have", "usb", "--quiet", code=0)
    assert (quiet.out, quiet.err) == ("", "")
    assert "nothing to carry" in mirrorsync("bundle", "create", "--output", "none", "--have", "sent", code=0).out
    assert not (mirrorsync.directory / "none").exists()


def test_a_signature_is_in_every_part_and_ssh_keygen_verifies_it(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": made("1", 100_000)})
    mirrorsync.spec(
        {
            "destinations": {"corp": "corp.invalid/m"},
            "mirrors": [{"from": "oci:source:app", "tags": {"all": True}, "to": ["corp"]}],
        }
    )
    run: dict[str, Any] = {"cwd": mirrorsync.directory, "check": True, "capture_output": True}
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], **run)
    words = ("bundle", "create", "--part-size", "60KiB", "--sign", "key")
    mirrorsync(*words, "--output", "usb", code=0)
    usb = mirrorsync.directory / "usb"
    signature = (usb / "mirror-000001.json.sig").read_bytes()
    public = (mirrorsync.directory / "key.pub").read_text()
    (mirrorsync.directory / "allowed").write_text(f"us@example {public}")
    check = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "us@example", "-n", "mirrorsync-bundle", "-s"]
    subprocess.run(
        [*check, str(usb / "mirror-000001.json.sig")], input=(usb / "mirror-000001.json").read_bytes(), **run
    )
    parts = sorted(usb.glob("*.tar"))
    assert len(parts) > 1
    for part in parts:
        assert part.stat().st_size <= 60 * 1024
        with tarfile.open(part) as archive:
            file = archive.extractfile("mirrorsync-bundle.json.sig")
            assert file is not None
            assert file.read() == signature
    mirrorsync("bundle", "create", "--output", "again", "--only-parts", "2", "--of", "usb", code=0)
    assert (mirrorsync.directory / "again" / parts[1].name).read_bytes() == parts[1].read_bytes()


def test_one_part_goes_to_standard_output_and_nothing_else(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    one = image([layer({"x": noise("x", 1_500_000)})])
    Registry(registry.host).push(f"{unique}/app", one, "1")
    spec(mirrorsync, registry.host, f"{unique}/app")
    script = [*COMMAND, "bundle", "create", "--output", "-"]
    sent = subprocess.run(
        script, cwd=mirrorsync.directory, env=mirrorsync.environment(), capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(sent.stdout)) as archive:
        names = archive.getnames()
    assert names[:3] == ["oci-layout", "mirrorsync-bundle.json", "index.json"]
    assert names[3:7] == [
        f"site/{name}" for name in ("first-seen.json", "generation.json", "mirror.lock", "trust.json")
    ]
    assert {name.rpartition("/")[2] for name in names[7:]} == {key.partition(":")[2] for key in all_content(one)}
    assert (
        "standard output takes one part"
        in mirrorsync("bundle", "create", "--output", "-", "--part-size", "1MiB", code=2).err
    )


def test_a_disk_that_is_full_publishes_nothing_and_names_the_part(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", made("large", 2_000_000), "1")
    spec(mirrorsync, registry.host, f"{unique}/app")
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000)); "
    run = "from mirrorsync.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"{limited}sys.argv[0] = 'mirrorsync'; {run}", "bundle", "create", "--output", "usb"],
        cwd=mirrorsync.directory, env=mirrorsync.environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "writing mirror-000001.001of001.tar of " in done.stderr
    assert "make smaller parts (FAT32: --part-size 3GiB), or write to another directory; nothing was" in done.stderr
    assert not (mirrorsync.directory / "usb").exists()


def test_wrong_options_are_answered_with_what_to_do(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(
        {
            "destinations": {"a": "a.invalid/m", "b": "b.invalid/m"},
            "mirrors": [{"from": "quay.io/x/y", "tags": {"all": True}, "to": ["a", "b"]}],
        }
    )
    for words, told in (
        (("bundle", "create"), "Missing option"),
        (("bundle", "create", "--output", "x"), "choose one: --destination NAME"),
        (("bundle", "create", "--output", "x", "--part-size", "3"), "is not a size"),
        (("bundle", "create", "--output", "x", "--only-parts", "2"), "--only-parts and --of go together"),
        (("bundle", "create", "--output", "x", "--only-parts", "x", "--of", "y"), "is not a list of numbers"),
        (("bundle", "create", "--output", "x", "--destination", "a", "--have", "no.json"), "no.json does not exist"),
        (("bundle", "create", "--output", "x", "--destination", "a", "--have", "sent"), "no bundle of this spec"),
        (("bundle", "create", "--output", "", "--destination", "a"), "the path is empty"),
        (("plan", "--to", "bundle", "--destination", "a", "--have", "generation:1"), "no run of "),
        (("plan", "--have", "sent"), "add --to bundle"),
        (("plan", "--to", "bundle", "--deep"), "--to bundle takes only"),
    ):  # fmt: skip
        assert told in mirrorsync(*words, code=2).err, words


def test_a_part_is_not_written_to_a_terminal(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": made("1")})
    mirrorsync.spec({"destinations": {"corp": "corp.invalid/m"}, "mirrors": [{"from": "oci:source:app:1"}]})
    terminal = Terminal(mirrorsync, "bundle", "create", "--output", "-")
    assert terminal.end() == 2
    assert "a part is not written to a terminal" in terminal.shown
    assert "redirect it, or name a directory: --output DIR" in " ".join(terminal.shown.split())
    assert "oci-layout" not in terminal.shown


_KILLED = """
import os, signal, sys
left = [int(sys.argv.pop())]
def watch(event, words):
    if event in ("open", "os.rename") and str(words[0]).endswith(".partial"):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
from mirrorsync.cli.main import main
sys.argv[0] = "mirrorsync"
main()
"""


def test_a_killed_run_leaves_nothing_that_is_taken_for_a_bundle_and_the_next_one_works(mirrorsync: Mirrorsync) -> None:
    """It is killed when it begins its second part, when that would get its name, and when the document would."""
    write_layout(mirrorsync.directory / "source", {"app:1": made("1", 30_000), "app:2": made("2", 30_000)})
    mirrorsync.spec(
        {
            "destinations": {"corp": "corp.invalid/m"},
            "mirrors": [{"from": "oci:source:app", "tags": {"all": True}, "to": ["corp"]}],
        }
    )
    usb, words = mirrorsync.directory / "usb", ("bundle", "create", "--output", "usb", "--part-size", "50KiB")
    for number, parts in ((2, 0), (6, 1), (7, 2)):
        child = subprocess.run(
            [sys.executable, "-P", "-c", _KILLED, *words, str(number)],
            cwd=mirrorsync.directory, env=mirrorsync.environment(), capture_output=True, timeout=120,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL, child.stderr
        assert not list(usb.glob("*.json"))  # a bundle is finished if its document is there
        assert len(list(usb.glob("*.tar"))) == parts
        told = mirrorsync("bundle", "verify", "usb", code=None)
        assert (told.code, "there is no bundle in" in told.err) == {0: (1, True), 1: (3, False), 2: (0, False)}[parts]
        for path in usb.glob("*.tar"):
            path.unlink()
    assert list(usb.glob("*.partial"))
    mirrorsync(*words, code=0)
    assert not list(usb.glob("*.partial"))
    mirrorsync("bundle", "verify", "usb", code=0)
