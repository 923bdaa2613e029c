"""What a RayJob may hold, as a JSON schema: no package carries the definitions of KubeRay.

The fields and their types are those that the API reference of KubeRay 1.6 names for ``ray.io/v1``.
A template of pods is left to the schema of Kubernetes.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 0}
OBJECT: Schema = {"type": "object"}
ARRAY: Schema = {"type": "array"}
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}


def _choice(*values: str) -> Schema:
    return {"enum": list(values)}


def _exactly(required: list[str], properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


AUTH = _exactly(
    [], {"mode": _choice("disabled", "token"), "secretName": STRING, "enableK8sTokenAuth": BOOLEAN}
)

AUTOSCALER = _exactly(
    [],
    {
        "resources": OBJECT,
        "image": STRING,
        "imagePullPolicy": STRING,
        "securityContext": OBJECT,
        "idleTimeoutSeconds": COUNT,
        "upscalingMode": _choice("Default", "Aggressive", "Conservative"),
        "version": _choice("v1", "v2"),
        "env": ARRAY,
        "envFrom": ARRAY,
        "volumeMounts": ARRAY,
        "command": ARRAY,
        "args": ARRAY,
    },
)

HEAD_GROUP = _exactly(
    ["template"],
    {
        "template": OBJECT,
        "headService": OBJECT,
        "enableIngress": BOOLEAN,
        "resources": STRINGS,
        "labels": STRINGS,
        "rayStartParams": STRINGS,
        "serviceType": _choice("ClusterIP", "NodePort", "LoadBalancer"),
    },
)

WORKER_GROUP = _exactly(
    ["groupName", "minReplicas", "maxReplicas", "template"],
    {
        "groupName": STRING,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "numOfHosts": COUNT,
        "idleTimeoutSeconds": COUNT,
        "suspend": BOOLEAN,
        "resources": STRINGS,
        "labels": STRINGS,
        "rayStartParams": STRINGS,
        "template": OBJECT,
        "scaleStrategy": OBJECT,
    },
)

RAY_CLUSTER = _exactly(
    ["headGroupSpec"],
    {
        "authOptions": AUTH,
        "autoscalerOptions": AUTOSCALER,
        "enableInTreeAutoscaling": BOOLEAN,
        "gcsFaultToleranceOptions": OBJECT,
        "headGroupSpec": HEAD_GROUP,
        "headServiceAnnotations": STRINGS,
        "managedBy": STRING,
        "rayVersion": STRING,
        "suspend": BOOLEAN,
        "upgradeStrategy": OBJECT,
        "workerGroupSpecs": {"type": "array", "items": WORKER_GROUP},
    },
)

RAY_JOB = _exactly(
    ["apiVersion", "kind", "metadata", "spec"],
    {
        "apiVersion": _choice("ray.io/v1"),
        "kind": _choice("RayJob"),
        "metadata": OBJECT,
        "spec": _exactly(
            [],
            {
                "activeDeadlineSeconds": COUNT,
                "backoffLimit": COUNT,
                "clusterSelector": STRINGS,
                "deletionStrategy": OBJECT,
                "entrypoint": STRING,
                "entrypointNumCpus": NUMBER,
                "entrypointNumGpus": NUMBER,
                "entrypointResources": STRING,
                "jobId": STRING,
                "managedBy": STRING,
                "metadata": STRINGS,
                "rayClusterSpec": RAY_CLUSTER,
                "runtimeEnvYAML": STRING,
                "shutdownAfterJobFinishes": BOOLEAN,
                "submissionMode": _choice(
                    "K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"
                ),
                "submitterConfig": OBJECT,
                "submitterPodTemplate": OBJECT,
                "suspend": BOOLEAN,
                "ttlSecondsAfterFinished": COUNT,
            },
        ),
    },
)
