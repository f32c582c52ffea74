"""Small files of every format, written for these tests after the shapes that the tools read."""

from __future__ import annotations

from typing import Final

PASSWORD: Final = "hunter2-hunter2"
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"

SAMPLES: Final[dict[str, str]] = {
    "list": f"""
# from the release page
nginx:1.27
nginx:1.26
// pinned
quay.io/x/y:2@{A}
quay.io/coreos/etcd rancher/mirrored-etcd v3.5.9
docker.io/library/nginx:1.27
not an image
https://robot:{PASSWORD}@h.example/x:1
""",
    "skopeo": f"""
registry.example.com:
  images:
    busybox: []
    redis: ["1.0", 2.0, "{A}"]
  images-by-tag-regex:
    nginx: ^1\\.13\\.[12]-alpine$
    app: -alpine
    busybox: ^1
  images-by-semver:
    alpine: ">= 3.12.0"
  credentials: {{username: john, password: {PASSWORD}}}
  tls-verify: false
  cert-dir: /etc/certs
quay.io:
  images:
    coreos/etcd: [latest]
""",
    "regsync": f"""
version: 1
creds:
  - registry: registry:5000
    tls: disabled
    reqConcurrent: 1
  - registry: docker.io
    user: '{{{{env "HUB_USER"}}}}'
    pass: {PASSWORD}
    regcert: "-----BEGIN"
defaults:
  schedule: "15 3 * * *"
  referrers: true
sync:
  - source: busybox:latest
    target: registry:5000/library/busybox:stable
    type: image
  - source: alpine
    target: registry:5000/library/alpine
    type: repository
    tags:
      allow: ["3", "3\\\\.\\\\d+"]
      deny: ["3\\\\.1"]
    platforms: [linux/amd64, linux/arm64]
    backup: "old-{{{{.Ref.Tag}}}}"
  - source: debian
    target: registry:5000/library/debian
    type: repository
    referrers: false
    tags:
      semverRange: [">=12 <13", ">=14"]
      allow: [".*-slim"]
  - source: quay.io
    target: registry:5000/quay
    type: registry
""",
    "dregsy": """
relay: skopeo
tasks:
  - name: one
    interval: 60
    verbose: true
    source: &source
      registry: source.example.com
      auth: eyJ1c2VybmFtZSI6ICJhbGV4IiwgInBhc3N3b3JkIjogImh1bnRlcjItaHVudGVyMiJ9
    target:
      registry: dest.example.com
      auth: ${TARGET_AUTH}
      skip-tls-verify: true
    mappings:
      - from: test/image
        to: archive/image
        tags:
          - 'latest'
          - 'semver: >=1.31.0 <2'
          - 'regex: 1\\.26\\.[0-9]'
          - 'regex: 1\\.27'
          - 'keep: .+-alpine'
          - 'keep: !.*rc.*'
          - 'keep: latest 5'
      - from: test/other
        platform: linux/arm64
      - from: regex:test/.*
  - name: two
    source: *source
    target: {registry: other.example.com}
    mappings:
      - {from: test/third, tags: ['1.0@SHA'], platform: all}
""".replace("SHA", A),
    "image-syncer": f"""
quay.io/a/proxy: registry.example.com/b/proxy
quay.io/a/app:v1.0,v2.0: [registry.example.com/b/app, other.example.com/app]
quay.io/a/two:v1,v2: registry.example.com/b/two:one,two
quay.io/a/pinned@{A}: registry.example.com/b/pinned
quay.io/a/web:/^v1\\.[0-9]+$/: registry.example.com/b/web
quay.io/a/bad:v1,v2: registry.example.com/b/bad:one
""",
    "image-syncer-auth": f"""
quay.io: {{username: robot, password: {PASSWORD}}}
registry.example.com: {{username: "$USER_NAME", password: "$SECRET", insecure: true}}
quay.io/coreos: {{username: x, password: {PASSWORD}}}
""",
    "hauler": f"""
apiVersion: content.hauler.cattle.io/v1
kind: Images
metadata:
  name: images
  annotations: {{hauler.dev/registry: registry.example.com, hauler.dev/platform: linux/amd64}}
spec:
  images:
    - name: team/busybox:stable
    - {{name: "ghcr.io/a/b@{A}", platform: linux/arm64, exclude-extras: true}}
    - {{name: "ghcr.io/a/c:1", rewrite: mirror/c:one, key: cosign.pub}}
    - {{name: "app:dev", local: true}}
---
apiVersion: content.hauler.cattle.io/v1
kind: Charts
spec:
  charts: [{{name: rancher, repoURL: "https://charts.example.com", version: 2.8.5}}]
""",
    "zarf": """
kind: ZarfPackageConfig
metadata: {name: package}
components:
  - name: first
    only: {cluster: {architecture: amd64}}
    images: ["ghcr.io/a/b:1", "nginx:###ZARF_PKG_TMPL_TAG###"]
    charts: [{name: x}]
  - name: second
    images: [{name: "app:dev", source: daemon}, {name: "ghcr.io/a/c:2"}]
    imageArchives: [{path: images.tar, images: ["x/y:1"]}]
""",
    "oc-mirror": """
apiVersion: mirror.openshift.io/v2alpha1
kind: ImageSetConfiguration
archiveSize: 4
mirror:
  platform: {channels: [{name: stable-4.16}]}
  operators: [{catalog: "registry.example.com/index:v4.16"}]
  additionalImages:
    - name: registry.redhat.io/ubi9/ubi:latest
    - {name: "quay.io/a/b:1", targetRepo: mine/b, targetTag: one, platforms: [{os: linux, architecture: arm64}]}
    - name: quay.io/a/blocked:1
    - name: oci:///home/images/x
  blockedImages: [{name: "quay.io/a/blocked:1"}, {name: ".*alpine.*"}]
""",
    "imgpkg": f"""
apiVersion: imgpkg.carvel.dev/v1alpha1
kind: ImagesLock
images:
  - image: index.docker.io/library/nginx@{A}
    annotations: {{kbld.carvel.dev/id: "nginx:1.27"}}
  - image: quay.io/x/y@{B}
---
apiVersion: imgpkg.carvel.dev/v1alpha1
kind: BundleLock
bundle: {{image: "ghcr.io/a/bundle@{A}", tag: v1}}
""",
    "kpromo": f"""
- name: cosign
  dmap:
    "{A}": ["v2.0.2", "v2"]
    "{B}": []
""",
    "kubernetes": f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  template:
    spec:
      initContainers: [{{name: i, image: "busybox:1.36"}}]
      containers:
        - name: web
          image: nginx:1.27
          args: ["--reloader=quay.io/x/reloader:v1", "--listen=0.0.0.0:8080", "--url=https://example.com/x:1"]
          env:
            - {{name: SIDECAR_IMAGE, value: "ghcr.io/a/sidecar@{A}"}}
            - {{name: UPSTREAM, value: "api.default.svc/v1:80"}}
            - {{name: TOOL, value: "bash:5"}}
      ephemeralContainers: [{{image: "alpine"}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: job}}
spec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{image: "nginx:1.27"}}]}}}}}}}}}}
---
apiVersion: v1
kind: List
items:
  - apiVersion: example.com/v1
    kind: Database
    metadata: {{name: db}}
    spec:
      image: {{registry: quay.io, repository: a/db, tag: 9.20}}
      base: &base {{image: "quay.io/a/base:1"}}
      other: {{<<: *base}}
""",
    "values": """
controller:
  image: {repository: registry.k8s.io/ingress, tag: 1.20, pullPolicy: Always}
  admission: {image: {registry: quay.io, repository: a/b, digest: "SHA"}}
main: {image: {repository: ghcr.io/a/main, tag: ""}}
helperImage: docker.io/a/helper:2
replicas: 2
""".replace("SHA", A),
    "compose": """
name: shop
services:
  db: {image: "postgres:${PG:-16}", platform: linux/arm64}
  web: {build: ., image: shop/web:dev}
  cache: {image: "redis:${REDIS_TAG}"}
  proxy: {image: traefik}
""",
}
