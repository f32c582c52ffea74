"""Signatures are made and verified by the real ssh-keygen: what counts, what does not, and what is said about it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirrorsync.errors import NotFound
from mirrorsync.signing import (
    BUNDLE,
    INVENTORY,
    MAX_SIGNATURE_BYTES,
    NotTrusted,
    Rejected,
    Required,
    Signer,
    SshKeygenFailed,
    Verdict,
    check,
    sign,
    verify,
)

DATA = b'{"format":"mirrorsync.bundle"}\n'
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ENVIRONMENT = {"PATH": os.environ["PATH"]}


class Keys:
    """Keys of people, and a file of allowed signers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self, name: str, *options: str) -> Path:
        """Make a key, unless it is there; return its path."""
        path = self.directory / name
        if not path.exists():
            ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path), *options)
        return path

    def public(self, name: str) -> str:
        """Return a public key, without its comment."""
        return " ".join((self.directory / f"{name}.pub").read_text().split()[:2])

    def fingerprint(self, name: str) -> str:
        """Return a key as ssh-keygen prints it."""
        return ssh_keygen("-l", "-f", str(self.directory / f"{name}.pub")).split()[1]


def ssh_keygen(*arguments: str, data: bytes = b"") -> str:
    """Run the program without code of the product; return its output."""
    return subprocess.run(["ssh-keygen", *arguments], input=data, capture_output=True, check=True).stdout.decode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys of alice, bob and carol; alice has a second one."""
    keys = Keys(tmp_path_factory.mktemp("keys"))
    for name in ("alice", "alice-2", "bob", "carol"):
        keys.make(name)
    return keys


@pytest.fixture(scope="module")
def signed(keys: Keys) -> Callable[[str], bytes]:
    """Return the signature of a person over DATA; made once."""
    made: dict[str, bytes] = {}

    def by(name: str) -> bytes:
        if name not in made:
            made[name] = sign(DATA, keys.directory / name, BUNDLE, ENVIRONMENT)
        return made[name]

    return by


@pytest.fixture
def allowed(keys: Keys, tmp_path: Path) -> Callable[..., Required]:
    """Write a file of allowed signers, from lines in which {NAME} is a public key; alice and bob by default."""

    def write(*lines: str, threshold: int = 1) -> Required:
        lines = lines or ("alice@corp {alice}", "bob@corp {bob}")
        names = {path.stem: keys.public(path.stem) for path in keys.directory.glob("*.pub")}
        path = tmp_path / "allowed"
        path.write_text("".join(line.format(**names) + "\n" for line in lines))
        return Required(path, threshold)

    return write


Allowed = Callable[..., Required]
Signed = Callable[[str], bytes]


def verdict(required: Required | None, *signatures: bytes, data: bytes = DATA, at: datetime = NOW) -> Verdict:
    """Return what signatures prove."""
    return verify(data, signatures, required, BUNDLE, at, ENVIRONMENT)


@pytest.mark.parametrize(
    ("kind", "options"), [("ed25519", ()), ("ecdsa", ("-t", "ecdsa")), ("rsa", ("-t", "rsa", "-b", "2048"))]
)
def test_a_signature_is_valid_for_us_and_for_ssh_keygen(
    kind: str, options: tuple[str, ...], keys: Keys, allowed: Allowed, tmp_path: Path
) -> None:
    key = keys.make(f"kind-{kind}", *options)
    signature = sign(DATA, key, BUNDLE, ENVIRONMENT)
    required = allowed(f"dave@corp {keys.public(key.name)}")
    assert verdict(required, signature).signers == (Signer(1, keys.fingerprint(key.name), ("dave@corp",)),)
    (tmp_path / "sig").write_bytes(signature)
    ssh_keygen(
        *("-Y", "verify", "-f", str(required.allowed), "-I", "dave@corp", "-n", "mirrorsync-bundle"),
        *("-s", str(tmp_path / "sig")),
        data=DATA,
    )


def test_a_signature_that_ssh_keygen_made_is_valid(keys: Keys, allowed: Allowed, tmp_path: Path) -> None:
    (tmp_path / "document.json").write_bytes(DATA)
    ssh_keygen(*("-Y", "sign", "-n", BUNDLE, "-f", str(keys.directory / "bob"), str(tmp_path / "document.json")))
    found = verdict(allowed(threshold=1), (tmp_path / "document.json.sig").read_bytes())
    assert (found.met, found.signers[0].principals) == (True, ("bob@corp",))


def test_two_people_are_two_and_one_is_not(allowed: Allowed, signed: Signed) -> None:
    required = allowed(threshold=2)
    assert verdict(required, signed("alice"), signed("bob")).met
    one = verdict(required, signed("alice"))
    assert (one.met, one.missing) == (False, 1)


ONE_PERSON = {
    "the same signature twice": (("alice@corp {alice}",), ("alice", "alice")),
    "two keys of one principal": (("alice@corp {alice}", "alice@corp {alice-2}"), ("alice", "alice-2")),
    "two keys, of which one has more principals": (
        ("alice@corp,alice@home {alice}", "alice@home {alice-2}"),
        ("alice", "alice-2"),
    ),
    "a key with two principals": (("alice@corp {alice}", "alice@home {alice}"), ("alice",)),
    "a pattern that covers the other": (("*@corp {alice}", "bob@corp {bob}"), ("alice", "bob")),
    "three keys in a chain": (
        ("a@corp,b@corp {alice}", "c@corp,d@corp {bob}", "b@corp,c@corp {carol}"),
        ("alice", "bob", "carol"),
    ),
    "a case of letters": (("alice@corp {alice}", "Alice@Corp {alice-2}"), ("alice", "alice-2")),
}


@pytest.mark.parametrize(("lines", "names"), ONE_PERSON.values(), ids=ONE_PERSON)
def test_one_person_counts_once(
    lines: tuple[str, ...], names: tuple[str, ...], allowed: Allowed, signed: Signed
) -> None:
    found = verdict(allowed(*lines, threshold=2), *map(signed, names))
    assert (len(found.signers), len(found.people), found.met) == (len(names), 1, False)


NOT_VALID: dict[str, tuple[str, str]] = {
    "another key": ("bob@corp {bob}", r"^SHA256:\S+ is not in \S+allowed$"),
    "expired": ('alice@corp valid-before="20261101" {alice}', r"line 1 of \S+allowed: key has expired"),
    "not yet valid": ('alice@corp valid-after="20270101" {alice}', r"line 1 of \S+allowed: key is not yet valid"),
    "for another purpose": ('alice@corp namespaces="git" {alice}', r"line 1 of \S+: key is not permitted"),
    "a key that signs only certificates": ("alice@corp cert-authority {alice}", r"is not in"),
    "a line that is not one": ("alice@corp nonsense", r"is not in"),
}


@pytest.mark.parametrize(("line", "reason"), NOT_VALID.values(), ids=NOT_VALID)
def test_a_signature_by_a_key_that_is_not_allowed_does_not_count(
    line: str, reason: str, allowed: Allowed, signed: Signed
) -> None:
    found = verdict(allowed(line), signed("alice"))
    (rejected,) = found.rejected
    assert (found.signers, found.met, rejected.broken) == ((), False, False)
    assert re.search(reason, rejected.reason)


def test_the_time_decides_whether_a_key_is_valid(allowed: Allowed, signed: Signed) -> None:
    required = allowed('alice@corp valid-after="20260101",valid-before="20260201" {alice}')
    met = [verdict(required, signed("alice"), at=datetime(2026, month, 15, tzinfo=UTC)).met for month in (1, 2)]
    assert met == [True, False]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda sig: sig[:150], "not an SSH signature"),
    "empty": (lambda sig: b"", "not an SSH signature"),
    "binary": (lambda sig: bytes(range(256)), "not an SSH signature"),
    "too long": (lambda sig: sig + b"\n" * MAX_SIGNATURE_BYTES, "the limit is 65536"),
    "one character": (
        lambda sig: sig[:-60] + (b"A" if sig[-60:-59] != b"A" else b"B") + sig[-59:],
        "not a signature of",
    ),
    "armor around nothing": (
        lambda sig: b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n",
        "damaged",
    ),
}


@pytest.mark.parametrize(("change", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_signature_is_not_valid(
    change: Callable[[bytes], bytes], reason: str, allowed: Allowed, signed: Signed
) -> None:
    found = verdict(allowed(), change(signed("alice")), signed("bob"))
    assert [signer.principals for signer in found.signers] == [("bob@corp",)]
    assert (found.rejected[0].number, found.rejected[0].broken) == (1, True)
    assert reason in found.rejected[0].reason


def test_a_signature_over_other_bytes_or_for_another_purpose_is_not_valid(
    keys: Keys, allowed: Allowed, signed: Signed
) -> None:
    changed = verdict(allowed(), signed("alice"), data=DATA + b" ")
    assert changed.rejected == (
        Rejected(1, "it is not a signature of these bytes: they were changed, or it is of others", broken=True),
    )
    other = sign(DATA, keys.directory / "alice", INVENTORY, ENVIRONMENT)
    assert verdict(allowed(), other).rejected == (Rejected(1, "it was not made for mirrorsync-bundle", broken=True),)


def test_the_key_of_a_certificate_is_vouched_for_by_its_authority(keys: Keys, allowed: Allowed) -> None:
    key, authority = keys.make("erin"), keys.make("authority")
    ssh_keygen("-q", "-s", str(authority), "-I", "erin", "-n", "erin@corp", str(key) + ".pub")
    signature = sign(DATA, keys.directory / "erin-cert.pub", BUNDLE, ENVIRONMENT)
    assert verdict(allowed("*@corp cert-authority {authority}"), signature).signers[0].principals == ("erin@corp",)
    assert not verdict(allowed("*@home cert-authority {authority}"), signature).met


def test_without_signers_the_keys_are_named_and_prove_nothing(keys: Keys, signed: Signed) -> None:
    found = verdict(None, signed("alice"), signed("bob")[:99])
    assert (found.signers, found.threshold) == ((Signer(1, keys.fingerprint("alice")),), 0)
    assert found.rejected[0].broken


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A running ssh-agent: the variables that lead to it."""
    socket = str(tmp_path / "agent")
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it says where it is once it listens
        yield {**ENVIRONMENT, "SSH_AUTH_SOCK": socket}
        process.terminate()


def test_ssh_agent_signs_for_a_public_key(agent: dict[str, str], keys: Keys, allowed: Allowed, tmp_path: Path) -> None:
    public = tmp_path / "alone.pub"
    public.write_text((keys.directory / "alice.pub").read_text())
    with pytest.raises(SshKeygenFailed, match=r"no private key for .*ssh-agent"):
        sign(DATA, public, BUNDLE, agent)
    subprocess.run(["ssh-add", "-q", keys.directory / "alice"], env=agent, check=True)
    assert verdict(allowed(), sign(DATA, public, BUNDLE, agent)).met


SIGN = """
import os, sys
from pathlib import Path
from mirrorsync.errors import MirrorsyncError
from mirrorsync.signing import BUNDLE, sign
try:
    Path(sys.argv[2]).write_bytes(sign(b"data", Path(sys.argv[1]), BUNDLE, dict(os.environ)))
except MirrorsyncError as error:
    sys.exit(f"{error}; {error.remedy}")
"""


def test_a_passphrase_without_a_terminal_is_an_error_that_names_ssh_agent(keys: Keys, tmp_path: Path) -> None:
    key = keys.make("locked", "-N", "secret")
    arguments = [sys.executable, "-c", SIGN, str(key), str(tmp_path / "sig")]
    done = subprocess.run(arguments, env=ENVIRONMENT, start_new_session=True, capture_output=True, text=True)
    assert done.stderr == (
        f"{key} has a passphrase, and there is no terminal to ask for it; load it into ssh-agent (ssh-add {key})\n"
    )


@pytest.mark.parametrize(("answer", "code"), [(b"secret\n", 0), (b"wrong\n", 1)])
def test_a_passphrase_is_asked_for_on_the_terminal_and_not_on_stdin(
    answer: bytes, code: int, keys: Keys, tmp_path: Path
) -> None:
    key = keys.make("locked", "-N", "secret")
    child, terminal = pty.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.execve(sys.executable, [sys.executable, "-c", SIGN, str(key), str(tmp_path / "sig")], ENVIRONMENT)
    shown = b""
    while b"passphrase" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, answer)
    while True:
        try:
            shown += os.read(terminal, 1024)
        except OSError:  # the last process has closed the terminal
            break
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    os.close(terminal)
    assert (tmp_path / "sig").exists() == (code == 0)
    assert (b"wrong passphrase of" in shown) == (code == 1)


def test_a_key_that_others_can_read_or_that_is_missing_is_an_error(keys: Keys, tmp_path: Path) -> None:
    key = tmp_path / "open"
    key.write_bytes((keys.directory / "alice").read_bytes())
    key.chmod(0o644)
    with pytest.raises(SshKeygenFailed, match="other users can read") as caught:
        sign(DATA, key, BUNDLE, ENVIRONMENT)
    assert caught.value.remedy == f"chmod 600 {key}"
    with pytest.raises(NotFound, match="no key in"):
        sign(DATA, tmp_path / "missing", BUNDLE, ENVIRONMENT)
    (tmp_path / "text").write_text("this is no key")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(SshKeygenFailed, match="did not sign with"):
        sign(DATA, tmp_path / "text", BUNDLE, ENVIRONMENT)


# What ssh-keygen of OpenSSH 7.4, 8.0 and 8.4 says.
OLD = {
    "-Y": "unknown option -- Y",
    "find-principals": 'Unsupported operation for -Y: \\"find-principals\\"',
    "verify-time": "Too many arguments.",
}


@pytest.mark.parametrize("said", OLD.values(), ids=OLD)
def test_an_old_ssh_keygen_is_an_error_that_says_so(
    said: str, keys: Keys, allowed: Allowed, signed: Signed, tmp_path: Path
) -> None:
    program = tmp_path / "ssh-keygen"
    program.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    program.chmod(0o755)
    for act in (
        lambda: sign(DATA, keys.directory / "alice", BUNDLE, {"PATH": str(tmp_path)}),
        lambda: verify(DATA, [signed("alice")], allowed(), BUNDLE, NOW, {"PATH": str(tmp_path)}),
    ):
        with pytest.raises(SshKeygenFailed, match="too old") as caught:
            act()
        assert "OpenSSH 8.9" in caught.value.remedy


def test_a_missing_ssh_keygen_is_an_error_with_the_package(
    keys: Keys, allowed: Allowed, signed: Signed, tmp_path: Path
) -> None:
    for act in (
        lambda: sign(DATA, keys.directory / "alice", BUNDLE, {"PATH": str(tmp_path)}),
        lambda: verify(DATA, [signed("alice")], allowed(), BUNDLE, NOW, {"PATH": str(tmp_path)}),
    ):
        with pytest.raises(SshKeygenFailed, match="not installed") as caught:
            act()
        assert "openssh-client" in caught.value.remedy


def test_a_policy_refuses_what_too_few_have_signed(allowed: Allowed, signed: Signed) -> None:
    required = allowed(threshold=2)

    def checked(*signatures: bytes, allow_unsigned: bool = False, required: Required | None = required) -> Verdict:
        return check(DATA, signatures, required, BUNDLE, NOW, ENVIRONMENT, allow_unsigned=allow_unsigned)

    damaged = signed("bob")[:120]
    with pytest.raises(NotTrusted, match=r"^not signed, and has to be by 2 people of .*/allowed$") as unsigned:
        checked()
    assert "--allow-unsigned" in unsigned.value.remedy
    with pytest.raises(NotTrusted, match=r"signed by 1 of 2 people.*\(signature 2: SHA256:\S+ is not in"):
        checked(signed("alice"), signed("carol"))
    assert checked(signed("alice"), signed("bob")).met
    assert not checked(allow_unsigned=True).met
    assert not checked(signed("alice"), signed("carol"), allow_unsigned=True).met
    # A signature that does not match is a sign of damage, or worse, and not the absence of a signature.
    with pytest.raises(NotTrusted, match="signature 2: it is not an SSH signature") as broken:
        checked(signed("alice"), damaged, allow_unsigned=True)
    assert "--allow-unsigned" not in broken.value.remedy
    assert checked(signed("alice"), damaged, signed("bob")).met
    assert checked(required=None).met


def test_a_policy_without_its_file_is_an_error(signed: Signed, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file of allowed signers"):
        verdict(Required(tmp_path / "missing"), signed("alice"))


def test_nothing_is_left_in_the_temporary_directory(
    keys: Keys, allowed: Allowed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    signature = sign(DATA, keys.directory / "alice", BUNDLE, ENVIRONMENT)
    assert verdict(allowed(), signature, b"damaged").met
    assert not list((tmp_path / "tmp").iterdir())
