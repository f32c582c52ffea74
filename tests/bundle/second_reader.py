"""Read a bundle of mirrorsync with nothing but Python 3: a site's last resort. The format: docs/bundle-format.md.

second_reader.py verify BUNDLE, list BUNDLE, extract BUNDLE DIRECTORY [IMAGE ...], signed BUNDLE ALLOWED_SIGNERS WHO.
BUNDLE is a directory (its newest bundle), a .json file, or a part. Ends with 1 if something is damaged or missing.
"""
# mypy: ignore-errors

import hashlib
import itertools
import json
import pathlib
import subprocess
import sys

BLOCK, MIB, LAYOUT = 512, 1 << 20, b'{"imageLayoutVersion":"1.0.0"}\n'


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def sha256(chunks):
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return "sha256:" + found.hexdigest()


def read(file, offset, size):
    file.seek(offset)
    while size and (chunk := file.read(min(MIB, size))):
        size -= len(chunk)
        yield chunk


def header(name, size):
    """Return the one header that a member of this name and size has; names are short enough for sha256."""
    octal = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    fields = [name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0" * 2, octal, b"0" * 11 + b"\0"]
    block = b"".join([*fields, b" " * 8, b"0", bytes(100), b"ustar  \0"]).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def heads(file):
    """Yield the name, the offset of the header, and the size of each member."""
    offset = 0
    while (block := b"".join(read(file, offset, BLOCK))).strip(b"\0"):
        size = int.from_bytes(block[125:136], "big") if block[124] & 128 else int(block[124:136].rstrip(b"\0 "), 8)
        yield block[:100].rstrip(b"\0").decode(), offset, size
        offset += BLOCK + size + -size % BLOCK


class Bundle:
    def __init__(self, place):
        place = pathlib.Path(place)
        if place.is_dir():
            found = [one for one in place.glob("*-*[0-9].json") if b'"format":"mirrorsync.bundle"' in one.read_bytes()]
            place = max(found, key=lambda one: int(one.stem.rpartition("-")[2]))
        self.raw = place.read_bytes() if place.suffix == ".json" else self.embedded(place)
        self.path, self.document = place, json.loads(self.raw)
        if canonical(self.document) != self.raw or self.document["format"] != "mirrorsync.bundle":
            raise SystemExit("this is not the document of a bundle, or it is damaged")
        self.objects = {one["digest"]: one for one in self.document["objects"]}
        self.here, self.damage = {}, []  # name of a member: the file, offset and size; what is wrong
        for part in self.document["parts"]:
            try:
                self.check(place.with_name(part["name"]), part)
            except (OSError, ValueError, KeyError) as error:
                self.damage.append(f"{part['name']}: {error}")

    def embedded(self, path):
        with path.open("rb") as file:
            _, (_, offset, size), *_ = itertools.islice(heads(file), 2)
            return b"".join(read(file, offset + BLOCK, size))

    def check(self, path, part):
        """Read a part, and note its good members and what is wrong with the others."""
        if sha256([canonical(part["members"])]) != part["digest"]:
            raise ValueError("the document contradicts itself")
        if self.embedded(path) != self.raw:
            raise ValueError("it is of another bundle, or its document is damaged")
        with path.open("rb") as file:
            signatures = itertools.takewhile(lambda one: one[0] != "index.json", itertools.islice(heads(file), 2, None))
            known = [("oci-layout", len(LAYOUT), sha256([LAYOUT])), ("mirrorsync-bundle.json", len(self.raw), "")]
            known += [(name, size, "") for name, _, size in signatures]
            index = self.index(lambda digest: self.inside(part, digest))
            known.append(("index.json", len(index), sha256([index])))
            known += [(member["name"], member["size"], member["digest"]) for member in part["members"]]
            offset = 0
            for name, size, digest in known:
                good = not digest or sha256(read(file, offset + BLOCK, size)) == digest
                around = b"".join([*read(file, offset, BLOCK), *read(file, offset + BLOCK + size, -size % BLOCK)])
                if good and around == header(name, size) + bytes(-size % BLOCK):
                    self.here[name] = path, offset + BLOCK, size
                else:
                    self.damage.append(f"{path.name}: {name} is damaged")
                offset += BLOCK + size + -size % BLOCK
            if b"".join(read(file, offset, 3 * BLOCK)) != bytes(2 * BLOCK):
                self.damage.append(f"{path.name}: it does not end where it should")

    def inside(self, part, digest):
        one, number = self.objects.get(digest, {}), self.document["parts"].index(part) + 1
        return number in one.get("parts", ()) and all(self.inside(part, need) for need in one.get("needs", ()))

    def index(self, has):
        """Return the index.json of the images whose root is chosen by `has`."""
        chosen = [(name, one) for name, one in self.images() if has(one["digest"])]
        names = [{"annotations": {"org.opencontainers.image.ref.name": name}} for name, _ in chosen]
        entries = [{key: one[key] for key in ("mediaType", "digest", "size")} for _, one in chosen]
        entries = [entry | name for entry, name in zip(entries, names, strict=True)]
        kind = "application/vnd.oci.image.index.v1+json"
        return canonical({"schemaVersion": 2, "mediaType": kind, "manifests": entries})

    def members(self, digest):
        encoded, pieces = digest.partition(":")[2], len(self.objects[digest].get("pieces", ()))
        return [f"pieces/sha256/{encoded}.{at:06}" for at in range(1, pieces + 1)] or [f"blobs/sha256/{encoded}"]

    def lacks(self, digest):
        """Return what is missing of some content and all that it needs, as words; "" if it is whole here."""
        one = self.objects.get(digest)
        if one is None:
            return f"{digest} is not in the bundle: the destination had it"
        if "delta" in one:
            return f"{digest} is a delta against {one['delta']['base']}, which mirrorsync rebuilds"
        missing = [f"{name} is missing or damaged" for name in self.members(digest) if name not in self.here]
        return next(filter(None, [*missing[:1], *map(self.lacks, one.get("needs", ()))]), "")

    def images(self):
        for one in self.document["images"]:
            yield one["repository"] + (f":{one['tag']}" if "tag" in one else f"@{one['digest']}"), one

    def extract(self, directory, wanted):
        (directory / "blobs/sha256").mkdir(parents=True)
        whole = {one["digest"] for name, one in self.images() if (not wanted or name in wanted)}
        whole = {digest for digest in whole if not self.lacks(digest)}
        for digest in whole:
            self.write(directory / "blobs/sha256", digest)
        (directory / "oci-layout").write_bytes(LAYOUT)
        (directory / "index.json").write_bytes(self.index(whole.__contains__))

    def write(self, directory, digest):
        path = directory / digest.partition(":")[2]
        if not path.exists():
            with path.open("wb+") as joined:
                for file, offset, size in map(self.here.get, self.members(digest)):
                    with file.open("rb") as part:
                        joined.writelines(read(part, offset, size))
                if sha256(read(joined, 0, 1 << 62)) != digest:
                    raise SystemExit(f"{digest} does not have its digest")
        for need in self.objects[digest].get("needs", ()):
            self.write(directory, need)


if __name__ == "__main__":
    verb, bundle, rest = sys.argv[1], Bundle(sys.argv[2]), sys.argv[3:]
    if verb == "list":
        print(*(f"{name}  {bundle.lacks(one['digest']) or 'is whole'}" for name, one in bundle.images()), sep="\n")
    elif verb == "extract":
        bundle.extract(pathlib.Path(rest[0]), rest[1:])
    elif verb == "signed":
        words = ["ssh-keygen", "-Y", "verify", "-n", "mirrorsync-bundle", "-f", rest[0], "-I", rest[1], "-s"]
        sys.exit(subprocess.run([*words, f"{bundle.path}.sig"], input=bundle.raw).returncode)
    print(*bundle.damage or ["every byte is as the document says"], sep="\n", file=sys.stderr)
    sys.exit(1 if bundle.damage else 0)
