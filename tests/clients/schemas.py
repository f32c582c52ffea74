"""The form of the files, as the projects publish it; only the fields that are written, each with its source.

IDMS and ITMS: openshift/api, config/v1/zz_generated.crd-manifests/0000_10_config-operator_01_image*mirrorsets.crd.yaml.
ClusterPolicy: kyverno/kyverno, config/crds/kyverno/kyverno.io_clusterpolicies.yaml.
MutatingPolicy: the same, config/crds/policies.kyverno.io/policies.kyverno.io_mutatingpolicies.yaml.
Talos: siderolabs/talos, pkg/machinery/config/types/cri/registry_mirror.go and registry_tls.go; RegistriesConfig in
types/v1alpha1/v1alpha1_types.go.
registries.yaml: rancher/wharfie, pkg/registries/types.go, and docs.k3s.io/installation/private-registry.
hosts.toml: containerd/containerd, docs/hosts.md. registries.conf: containers-registries.conf(5).
daemon.json: docs.docker.com/reference/cli/dockerd; the mirrors as ValidateMirror of moby's registry/config.go.
"""

from __future__ import annotations

from typing import Any, Final

# The pattern of openshift's ImageMirror, and of a source without a wildcard.
_LOCATION: Final = (
    r"^((?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*"
    r"[a-zA-Z0-9]))+)?(?::[0-9]+)?)(?:(?:/[a-z0-9]+(?:(?:(?:[._]|__|[-]*)[a-z0-9]+)+)?)+)?$"
)
_TEXT: Final = {"type": "string", "minLength": 1}
_BOOLEAN: Final = {"type": "boolean"}
_URL: Final = {"type": "string", "pattern": "^https?://[^/]+"}


def fields(needed: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of an object with needed fields and others, and no field beyond these."""
    properties = {**needed, **more}
    return {"type": "object", "additionalProperties": False, "required": list(needed), "properties": properties}


def several(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": item}


def each(item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object whose names are chosen by its writer."""
    return {"type": "object", "minProperties": 1, "additionalProperties": item}


def _mirror_set(kind: str, key: str) -> dict[str, Any]:
    policy = {"enum": ["NeverContactSource", "AllowContactingSource"]}
    location = {"type": "string", "pattern": _LOCATION}
    mirrors = {"type": "array", "uniqueItems": True, "items": location}
    entry = fields({"source": location}, mirrors=mirrors, mirrorSourcePolicy=policy)
    return fields(
        {
            "apiVersion": {"const": "config.openshift.io/v1"},
            "kind": {"const": kind},
            "metadata": fields({"name": _NAME}),
            "spec": fields({key: several(entry)}),
        }
    )


_NAME: Final = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_TLS: Final = fields({}, ca=_TEXT, insecureSkipVerify=_BOOLEAN)
_MIRROR: Final = fields({"endpoints": several(_URL)}, overridePath=_BOOLEAN, skipFallback=_BOOLEAN)
_HOST: Final[dict[str, Any]] = {
    "capabilities": {"type": "array", "items": {"enum": ["pull", "resolve", "push"]}},
    "override_path": _BOOLEAN,
    "ca": _TEXT,
    "skip_verify": _BOOLEAN,
}
_OPERATION: Final = {"enum": ["CREATE", "CONNECT", "UPDATE", "DELETE"]}
_CONDITION: Final = fields({"key": _TEXT, "operator": {"enum": ["Equals"]}, "value": _BOOLEAN})
_RESOURCES: Final = fields({"resources": fields({"kinds": several(_TEXT), "operations": several(_OPERATION)})})
_FOREACH: Final = fields(
    {"list": _TEXT, "preconditions": fields({"all": several(_CONDITION)}), "patchesJson6902": _TEXT}
)
_RESOURCE_RULE: Final = fields(
    {
        "apiGroups": {"type": "array", "items": {"type": "string"}},
        "apiVersions": several(_TEXT),
        "operations": several(_OPERATION),
        "resources": several(_TEXT),
    }
)
_RULE: Final = fields(
    {
        "name": {"type": "string", "maxLength": 63},
        "match": fields({"any": several(_RESOURCES)}),
        "mutate": fields({"foreach": several(_FOREACH)}),
    }
)

# By a part of the path of a file.
SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "registries.conf.d/": fields(
        {
            "registry": several(
                fields(
                    {"prefix": _TEXT, "location": _TEXT},
                    blocked=_BOOLEAN,
                    insecure=_BOOLEAN,
                    mirror=several(fields({"location": _TEXT}, insecure=_BOOLEAN)),
                )
            )
        }
    ),
    "hosts.toml": fields({"server": _URL}, host=each(fields({}, **_HOST)), **_HOST),
    "daemon.json": fields(
        {"registry-mirrors": several({"type": "string", "pattern": "^https?://[^/]+/?$"})},
        **{"insecure-registries": several(_TEXT)},
    ),
    "registries.yaml": fields(
        {"mirrors": each(fields({"endpoint": several(_URL)}, rewrite=each(_TEXT)))},
        configs=each(fields({}, tls=fields({}, ca_file=_TEXT, insecure_skip_verify=_BOOLEAN))),
    ),
    "config.yaml.d/": fields({"disable-default-registry-endpoint": _BOOLEAN}),
    "before-1.12.yaml": fields(
        {"machine": fields({"registries": fields({"mirrors": each(_MIRROR)}, config=each(fields({}, tls=_TLS)))})}
    ),
    "imagedigestmirrorset.yaml": _mirror_set("ImageDigestMirrorSet", "imageDigestMirrors"),
    "imagetagmirrorset.yaml": _mirror_set("ImageTagMirrorSet", "imageTagMirrors"),
    "-ca.yaml": fields(
        {
            "apiVersion": {"const": "v1"},
            "kind": {"const": "ConfigMap"},
            "metadata": fields({"name": _NAME, "namespace": {"const": "openshift-config"}}),
            "data": {"type": "object", "propertyNames": {"pattern": "^[-._a-zA-Z0-9]+$"}},
        }
    ),
    "RegistryMirrorConfig": fields(
        {
            "apiVersion": {"const": "v1alpha1"},
            "kind": {"const": "RegistryMirrorConfig"},
            "name": _TEXT,
            "endpoints": several(fields({"url": _URL}, overridePath=_BOOLEAN)),
        },
        skipFallback=_BOOLEAN,
    ),
    "RegistryTLSConfig": fields(
        {"apiVersion": {"const": "v1alpha1"}, "kind": {"const": "RegistryTLSConfig"}, "name": _TEXT},
        ca=_TEXT,
        insecureSkipVerify=_BOOLEAN,
    ),
    "MutatingPolicy": fields(
        {
            "apiVersion": {"const": "policies.kyverno.io/v1"},
            "kind": {"const": "MutatingPolicy"},
            "metadata": fields({"name": _NAME}),
            "spec": fields(
                {
                    "autogen": fields({"podControllers": fields({"controllers": {"const": []}})}),
                    "matchConstraints": fields({"resourceRules": several(_RESOURCE_RULE)}),
                    "variables": several(fields({"name": _TEXT, "expression": _TEXT})),
                    "mutations": several(
                        fields(
                            {
                                "patchType": {"const": "ApplyConfiguration"},
                                "applyConfiguration": fields({"expression": _TEXT}),
                            }
                        )
                    ),
                }
            ),
        }
    ),
    "ClusterPolicy": fields(
        {
            "apiVersion": {"const": "kyverno.io/v1"},
            "kind": {"const": "ClusterPolicy"},
            "metadata": fields({"name": _NAME, "annotations": each({"type": "string"})}),
            "spec": fields({"background": _BOOLEAN, "rules": several(_RULE)}),
        }
    ),
}
