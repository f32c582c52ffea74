"""References in files: which are found, and that nothing else of the file changes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from mirrorsync.errors import UsageError
from mirrorsync.foreign.relocation import Use, find_images, replaced
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
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


def marked(text: str) -> tuple[str, str]:
    """Return a text with `<before|after>` in it before and after."""
    found = re.compile(r"<([^<|>\n]*)\|([^>\n]*)>")
    return found.sub(r"\1", text), found.sub(r"\2", text)


def rewritten(text: str, *, pin: bool = False) -> str:
    uses = find_images(text.encode(), "app.yaml")
    return replaced(text.encode(), [(use, target(use, pin=pin)) for use in uses if use.reference]).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nginx:1.27", "site:5000/m/library/nginx:1.27"),
        ('"nginx:1.27"', '"site:5000/m/library/nginx:1.27"'),
        ("'quay.io/a/b'", "'site:5000/m/a/b'"),
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
        (
            "image: quay.io/a/b\nimageTag: v1\n",
            "image: site:5000/m/a/b\nimageTag: v1\n",
            f"image: site:5000/m/a/b\nimageTag: v1@{DIGEST}\n",
        ),
        (
            "registry: quay.io\nimage: a/b:v1\ntag: other\n",
            "registry: site:5000\nimage: m/a/b:v1\ntag: other\n",
            f"registry: site:5000\nimage: m/a/b:v1@{DIGEST}\ntag: other\n",
        ),
        (
            "image: quay.io/a/b:v1\nregistry: own\n",
            "image: site:5000/m/a/b:v1\nregistry: own\n",
            f"image: site:5000/m/a/b:v1@{DIGEST}\nregistry: own\n",
        ),
        (
            "image: quay.io/a/b\nregistry: own\ntag: v1\n",
            "image: site:5000/m/a/b\nregistry: own\ntag: v1\n",
            f"image: site:5000/m/a/b\nregistry: own\ntag: v1@{DIGEST}\n",
        ),
        (
            "image: quay.io/a/b:v1\ntag: x\n",
            "image: site:5000/m/a/b:v1\ntag: x\n",
            f"image: site:5000/m/a/b:v1@{DIGEST}\ntag: x\n",
        ),
    ],
)
def test_an_image_in_parts_is_rewritten_in_parts(before: str, after: str, pinned: str) -> None:
    assert rewritten(before) == after
    assert rewritten(before, pin=True) == pinned


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('repository: quay.io/a/b\ntag: ""\n', 'repository: site:5000/m/a/b\ntag: ""\n'),
        ("repository: quay.io/a/b\npullPolicy: Always\n", "repository: site:5000/m/a/b\npullPolicy: Always\n"),
        ("registry: quay.io\nrepository: a/b\ntag:\n", "registry: site:5000\nrepository: m/a/b\ntag:\n"),
        ("image: nginx\ntag:\n", "image: site:5000/m/library/nginx\ntag:\n"),
    ],
)
def test_an_image_whose_tag_the_chart_fills_in_gets_its_new_name_and_no_tag(before: str, after: str) -> None:
    (use,) = find_images(before.encode(), "values.yaml")
    assert use.reference is not None
    assert not use.reference.names_one
    assert rewritten(before) == after


def test_a_repository_that_is_not_of_an_image_stays() -> None:
    for text in ("repository: quay.io/a/b\nbranch: x\n", "repository: https://git.example/a\ntag: x\n"):
        assert not find_images(text.encode(), "values.yaml")


COMPOSE = """x-base: &base
  image: <|site:5000/m/library/>nginx:1 # web
x-other: {image: 'other:1'}
services:
  a: {<<: *base}
  b: {image: own:1, build: {cache_from: [quay.io/a/cache:1]}}
  c:
    image: <|site:5000/m/library/>redis:7
    volumes:
      - {type: image, source: <quay.io|site:5000/m>/a/data:1, target: /data}
      - {type: volume, source: quay.io/a/b:1, target: /v}
      - quay.io/a/b:1:/x
  d: {build: {context: ., additional_contexts: {base: 'docker-image://<quay.io|site:5000/m>/a/base:1'}}}
  e: {build: {context: ., additional_contexts: [base=docker-image://<|site:5000/m/library/>alpine, x=../x]}}
models:
  llm: {model: <|site:5000/m/>ai/smollm2}
"""


def test_what_a_compose_file_pulls_is_rewritten_and_not_what_it_builds() -> None:
    before, after = marked(COMPOSE)
    assert rewritten(before) == after
    (use,) = find_images(b"services: {c: {image: 'redis:${TAG}'}}\n", "compose.yaml")
    assert use.reference is None
    assert "template" in use.trouble


POD_SPEC = """
initContainers: [{name: a, image: "init:1"}]
containers:
  - image: main:1
    command: [run, quay.io/a/cmd:1]
    env: [{name: RELATED, value: quay.io/a/env:1}]
ephemeralContainers: [{image: debug:1}]
volumes:
  - name: model
    image: {reference: model:1, pullPolicy: IfNotPresent}
  - configMap: {name: image}
"""
PULLED = ["init:1", "main:1", "quay.io/a/cmd:1", "quay.io/a/env:1", "debug:1", "model:1"]


def pods(indent: int) -> str:
    return POD_SPEC.replace("\n", "\n" + " " * indent).rstrip(" ")


FREE = "metadata: {annotations: {image: 'nginx:1', note: 'quay.io/a/b:1'}}\n"
CONFIG = """apiVersion: v1
kind: ConfigMap
data: {image: 'nginx:1', other: 'quay.io/a/b:1', registry: quay.io, repository: a/b, tag: '1'}
"""
DEFINITION = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec: {versions: [{schema: {default: {image: 'nginx:1'}}}]}
"""
LIST = f"""apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: ConfigMap, data: {{image: 'nginx:1'}}}}
- apiVersion: v1
  kind: Pod
  spec:{pods(4)}
- {{apiVersion: x.io/v1, kind: Y, spec: {{image: 'y:1'}}}}
"""
STATUS = "status: {containerStatuses: [{image: x:1}]}\n"
OBJECTS: dict[str, tuple[str, list[str]]] = {
    "a pod": (f"apiVersion: v1\nkind: Pod\n{FREE}spec:{pods(2)}\n{STATUS}", PULLED),
    "a deployment": (f"apiVersion: apps/v1\nkind: Deployment\n{FREE}spec:\n  template:\n    spec:{pods(6)}", PULLED),
    "a cron job": (
        f"apiVersion: batch/v1\nkind: CronJob\nspec:\n jobTemplate:\n  spec:\n   template:\n    spec:{pods(5)}",
        PULLED,
    ),
    "a config map": (CONFIG, []),
    "a secret": ("apiVersion: v1\nkind: Secret\nstringData: {image: 'nginx:1'}\n", []),
    "a definition": (DEFINITION, []),
    "a list": (LIST, [*PULLED, "y:1"]),
    "a list of pods": (f"apiVersion: v1\nkind: PodList\nitems:\n- spec:{pods(4)}", PULLED),
    "a job of another group": ("apiVersion: batch.acme.io/v1\nkind: Job\nspec: {tasks: [{image: 'x:1'}]}\n", ["x:1"]),
    "a custom resource": (
        f"apiVersion: acme.io/v1\nkind: Shop\n{FREE}spec: {{image: 'x:1', repository: quay.io/a/c, tag: v2}}\n",
        ["nginx:1", "quay.io/a/b:1", "x:1", "quay.io/a/c:v2"],
    ),
    "nothing of a kind": ("kind: [x]\nspec: 1\n", []),
    "no pods": ("apiVersion: v1\nkind: Pod\nspec: [image]\n---\napiVersion: v1\nkind: Pod\n", []),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_objects_of_kubernetes_name_images_where_a_cluster_pulls_them(case: str) -> None:
    written, images = OBJECTS[case]
    uses = find_images(written.encode(), "app.yaml")
    assert sorted(use.image for use in uses) == sorted(images)
    changed = rewritten(written)
    assert changed.count("site:5000/m") == len(images)
    assert len(changed.splitlines()) == len(written.splitlines())


KUSTOMIZATION = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages:\n"
ENTRIES: dict[str, tuple[str, str, str]] = {  # before, after, after with --pin
    "a tag": (
        "- name: nginx  # web\n  newTag: '1.27'   # bump\n",
        "- name: nginx  # web\n  newName: site:5000/m/library/nginx\n  newTag: '1.27'   # bump\n",
        f"- name: nginx  # web\n  newName: site:5000/m/library/nginx\n  newTag: '1.27'   # bump\n  digest: {DIGEST}\n",
    ),
    "a name": (
        '  - newName: "quay.io/a/b" # why\n    newTag: v1\n    name: own',
        '  - newName: "site:5000/m/a/b" # why\n    newTag: v1\n    name: own',
        f'  - newName: "site:5000/m/a/b" # why\n    newTag: v1\n    digest: {DIGEST}\n    name: own',
    ),
    "a digest": (
        f"-   name: quay.io/a/b\n    digest: {DIGEST}\n",
        f"-   name: quay.io/a/b\n    newName: site:5000/m/a/b\n    digest: {DIGEST}\n",
        f"-   name: quay.io/a/b\n    newName: site:5000/m/a/b\n    digest: {DIGEST}\n",
    ),
    "in braces": (
        "- {name: quay.io/a/b, newTag: v1} # one\n",
        "- {name: quay.io/a/b, newName: site:5000/m/a/b, newTag: v1} # one\n",
        f"- {{name: quay.io/a/b, newName: site:5000/m/a/b, newTag: v1, digest: {DIGEST}}} # one\n",
    ),
    "as JSON": (
        '  [{"name": "nginx", "newTag": "1"}]\n',
        '  [{"name": "nginx", "newName": "site:5000/m/library/nginx", "newTag": "1"}]\n',
        f'  [{{"name": "nginx", "newName": "site:5000/m/library/nginx", "newTag": "1", "digest": "{DIGEST}"}}]\n',
    ),
    "in braces of several lines": (
        "- {\n  name: quay.io/a/b, # one\n  newTag: v1 # two\n  }\n",
        "- {\n  name: quay.io/a/b, newName: site:5000/m/a/b, # one\n  newTag: v1 # two\n  }\n",
        f"- {{\n  name: quay.io/a/b, newName: site:5000/m/a/b, # one\n  newTag: v1, digest: {DIGEST} # two\n  }}\n",
    ),
    "an alias": (
        "-\n  newTag: &tag v1\n  name: a\n  newName: quay.io/a\n- newTag: *tag\n  name: quay.io/b\n",
        (
            "-\n  newTag: &tag v1\n  name: a\n  newName: site:5000/m/a\n"
            "- newTag: *tag\n  name: quay.io/b\n  newName: site:5000/m/b\n"
        ),
        (
            f"-\n  newTag: &tag v1\n  digest: {DIGEST}\n  name: a\n  newName: site:5000/m/a\n"
            f"- newTag: *tag\n  name: quay.io/b\n  digest: {DIGEST}\n  newName: site:5000/m/b\n"
        ),
    ),
    "a merge": (
        "-   &a\n    name: quay.io/a\n    newTag: v1\n- <<: *a\n  name: quay.io/b\n",
        (
            "-   &a\n    name: quay.io/a\n    newName: site:5000/m/a\n    newTag: v1\n"
            "- <<: *a\n  name: quay.io/b\n  newName: site:5000/m/b\n"
        ),
        (
            f"-   &a\n    name: quay.io/a\n    newName: site:5000/m/a\n    newTag: v1\n    digest: {DIGEST}\n"
            f"- <<: *a\n  name: quay.io/b\n  digest: {DIGEST}\n  newName: site:5000/m/b\n"
        ),
    ),
    "an empty text": (
        '- name: nginx\n  newName: ""\n  newTag: "1"\n',
        '- name: nginx\n  newName: "site:5000/m/library/nginx"\n  newTag: "1"\n',
        f'- name: nginx\n  newName: "site:5000/m/library/nginx"\n  newTag: "1"\n  digest: {DIGEST}\n',
    ),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("case", ENTRIES)
def test_the_images_of_a_kustomization_get_a_new_name_and_keep_the_one_that_they_replace(case: str, end: str) -> None:
    for pin in (False, True):
        before, after = (KUSTOMIZATION + ENTRIES[case][number] for number in (0, 2 if pin else 1))
        assert rewritten(before.replace("\n", end), pin=pin) == after.replace("\n", end)
        if not pin:
            assert rewritten(after) == after.replace("/m/", "/m/m/"), "as valid YAML, with the same name again"
    flux = KUSTOMIZATION.replace("kustomize.config.k8s.io", "kustomize.toolkit.fluxcd.io").replace(
        "images:", "spec:\n images:"
    )
    nested = "".join(f"  {line}" for line in ENTRIES[case][0].splitlines(keepends=True))
    assert "site:5000/m/" in rewritten(flux + nested)


def test_a_helm_release_of_flux_has_values_and_replaces_images_of_what_its_chart_renders() -> None:
    before, after = marked("""apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
spec:
  values: {image: {repository: <quay.io|site:5000/m>/a/b, tag: ''}}
  postRenderers:
    - kustomize:
        images:
          - name: nginx
            newName: <quay.io|site:5000/m>/a/nginx
            newTag: '1'
""")
    assert rewritten(before) == after


def test_a_kustomization_is_known_by_its_kind_or_by_the_name_of_its_file() -> None:
    text = "images: [{name: nginx, newTag: '1'}, {newTag: x}, {name: [x]}, text]\n"
    component = f"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n{text}"
    for written, name, found in (
        (text, "base/kustomization.yaml", 1),
        (text, "Kustomization", 1),
        (text, "values.yaml", 0),
        (component, "-", 1),
        (f"kind: Kustomization\n{text}", "-", 1),
        (f"apiVersion: acme.io/v1\nkind: Kustomization\n{text}", "kustomization.yaml", 0),
    ):
        assert len(find_images(written.encode(), name)) == found, (written, name)


def test_an_entry_without_a_tag_has_that_of_the_resources_and_an_empty_key_cannot_be_written_again() -> None:
    more = "- name: redis\n  newName:\n  newTag: '7'\n- name: busybox\n  newName: |\n   quay.io/b\n"
    untagged, empty, block = find_images(f"{KUSTOMIZATION}- name: nginx\n{more}".encode(), "x")
    assert untagged.reference is not None
    assert (untagged.reference.names_one, untagged.trouble, untagged.replaces) == (False, "", "nginx")
    assert "its newName: is empty" in empty.trouble
    aliases = "- &a {name: &n quay.io/a, newName: *n, newTag: v1}\n- {<<: *a, newTag: v2}\n"
    found = find_images(f"{KUSTOMIZATION}{aliases}".encode(), "x")
    assert [use.trouble for use in found] == [f"its {key}: is an alias; write it out" for key in ("newName", "name")]
    assert block.trouble
    comments = f"{KUSTOMIZATION}- name: nginx\n  newTag: '1'\n{'# ' * 5000}\n"
    assert f"newName: site:5000/m/library/nginx\n  newTag: '1'\n{'# ' * 5000}\n" in rewritten(comments)


APPLICATION = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n source:\n"
# <@> is the digest that --pin adds.
DEPLOYERS = {
    "kustomize": """  kustomize:
   images:
   - <|nginx=site:5000/m/library/>nginx:1.27<@> # web
   - 'own=<quay.io|site:5000/m>/own:v1<@>'
""",
    "parameters": """  helm:
   parameters:
   - {name: web.image.registry, value: <quay.io|site:5000>}
   - {name: web.image.repository, value: <|m/>a/b}
   - {name: web.image.tag, value: 'v1<@>'}
   - {name: git.repository, value: acme/shop}
   - {name: side, value: <quay.io|site:5000/m>/a/c:1<@>}
""",
    "values": """  helm:
   valuesObject: {image: '<quay.io|site:5000/m>/a:1<@>'}
   values: |-  # é
     # one
     a:
      image: <|site:5000/m/library/>nginx:1<@>

  x: 1
""",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("case", DEPLOYERS)
def test_an_application_of_argo_gives_other_images_to_kustomize_and_to_charts(case: str, end: str) -> None:
    text = f"{APPLICATION}{DEPLOYERS[case]}".replace("\n", end)
    before, after = marked(text)
    assert rewritten(before.replace("<@>", "")) == after.replace("<@>", "")
    assert rewritten(before.replace("<@>", ""), pin=True) == after.replace("<@>", f"@{DIGEST}")


def test_images_in_the_values_of_a_chart_are_named_by_their_line_also_if_they_cannot_be_read() -> None:
    chart = "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nspec:\n  valuesContent: |\n    image: nginx:1\n"
    (use,) = find_images(chart.encode(), "x")
    assert (use.image, use.line) == ("nginx:1", 5)
    for values, images in (
        ("|\n    image: {{ .x }}:1\n", ["values"]),
        ('"image: nginx:1"\n', ["values"]),
        ("''\n", []),
    ):
        found = find_images(f"{APPLICATION}  helm:\n   values: {values}".encode(), "x")
        assert [use.image for use in found if "was not searched" in use.trouble] == images


def test_text_that_is_not_yaml_is_refused_with_the_remedy_for_templates() -> None:
    with pytest.raises(UsageError, match="not YAML") as caught:
        find_images(b"image: {{ .Values.image }}\n  x: [", "chart.yaml")
    assert "helm template" in caught.value.remedy


def test_an_anchor_of_the_same_name_stays() -> None:
    assert rewritten("image: &nginx nginx\n") == "image: &nginx site:5000/m/library/nginx\n"
    text = "{repository: &redis redis, tag: &tag '7'}\n"
    assert rewritten(text) == "{repository: &redis site:5000/m/library/redis, tag: &tag '7'}\n"


@pytest.mark.parametrize(
    ("image", "trouble"),
    [
        ('"ngin\\x78:1"', "it is written with escapes, or over several lines"),
        ('"ngin\\\n  x:1"', "it is written with escapes, or over several lines"),
        ("|-\n  nginx:1", "it is a block of text"),
        ("oci:disk:nginx:1", "it is not an image of a registry"),
    ],
)
def test_an_image_that_is_not_written_plainly_is_named_and_the_others_are_rewritten(image: str, trouble: str) -> None:
    text = f"image: {image}\nb: {{image: 'redis:7'}}\n"
    first, second = find_images(text.encode(), "x")
    assert (first.image.endswith("nginx:1"), trouble in first.trouble, second.trouble) == (True, True, "")
    changed = replaced(text.encode(), [(second, target(second))]).decode()
    assert changed == text.replace("redis", "site:5000/m/library/redis")


def test_a_text_that_two_images_share_is_not_replaced_by_both() -> None:
    text = "a: {image: {repository: quay.io/a, tag: &tag v1}}\nb: {image: {repository: quay.io/b, tag: *tag}}\n"
    assert rewritten(text) == text.replace("quay.io", "site:5000/m")
    uses = find_images(text.encode(), "x")
    digests = [Digest(f"sha256:{digit * 64}") for digit in "01"]
    pinned = [(use, replace(target(use), digest=digest)) for use, digest in zip(uses, digests, strict=True)]
    with pytest.raises(UsageError, match=r"line 1: quay\.io/b:v1 shares a text with another image"):
        replaced(text.encode(), pinned)
    renamed = [(uses[0], target(uses[0])), (uses[1], replace(target(uses[1]), tag=Tag("v2")))]
    with pytest.raises(UsageError, match=r"line 1: quay\.io/a:v1 shares a text with another image"):
        replaced(text.encode(), renamed)
