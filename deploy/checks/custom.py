"""What we know of objects whose kinds come from CRDs: those that this repository makes, and the fields of them that it uses.

The schema of the CRD itself is in none of the registries that a build may ask, so this is written by hand after the
operator's API documentation, strictly: a field that is not here is refused, until somebody has looked it up.
"""

import re

DURATION = r"(0|(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)"
SELECTOR = {"matchLabels": dict, "matchExpressions": list}
RELABELING = {
    "action": str, "sourceLabels": list, "targetLabel": str, "replacement": str, "regex": str, "separator": str, "modulus": int,
}
ENDPOINT = {
    "port": str, "path": str, "scheme": str, "interval": str, "scrapeTimeout": str, "honorLabels": bool,
    "relabelings": [RELABELING], "metricRelabelings": [RELABELING],
}
POD_MONITOR = {
    "selector": SELECTOR,
    "namespaceSelector": {"any": bool, "matchNames": list},
    "podMetricsEndpoints": [ENDPOINT],
    "jobLabel": str, "podTargetLabels": list, "sampleLimit": int, "labelLimit": int,
}
KNOWN = {("monitoring.coreos.com/v1", "PodMonitor"): (POD_MONITOR, ("selector", "podMetricsEndpoints"))}
ACTIONS = {"replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"}


def knows(document):
    """Whether this file judges objects of that kind."""
    return (document.get("apiVersion"), document.get("kind")) in KNOWN


def findings(document):
    """What is wrong with an object that this file knows."""
    schema, required = KNOWN[(document["apiVersion"], document["kind"])]
    for field in sorted(set(document) - {"apiVersion", "kind", "metadata", "spec"}):
        yield f"{field}: an unknown field"
    spec = document.get("spec") or {}
    for field in required:
        if field not in spec:
            yield f"spec.{field}: must be set"
    yield from shaped("spec", spec, schema)
    for number, endpoint in enumerate(spec.get("podMetricsEndpoints") or []):
        yield from endpoint_findings(f"spec.podMetricsEndpoints[{number}]", endpoint)


def shaped(path, value, schema):
    """Where a value is not of the types of a schema."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            yield f"{path}: must be an object"
            return
        for field, of in value.items():
            if field not in schema:
                yield f"{path}.{field}: an unknown field"
            else:
                yield from shaped(f"{path}.{field}", of, schema[field])
    elif isinstance(schema, list):
        if not isinstance(value, list):
            yield f"{path}: must be a list"
            return
        for number, of in enumerate(value):
            yield from shaped(f"{path}[{number}]", of, schema[0])
    elif not isinstance(value, schema) or (schema is int and isinstance(value, bool)):
        yield f"{path}: must be of type {schema.__name__}"


def endpoint_findings(path, endpoint):
    for field in ("interval", "scrapeTimeout"):
        if field in endpoint and not (endpoint[field] and re.fullmatch(DURATION, str(endpoint[field]))):
            yield f"{path}.{field}: no duration of Prometheus"
    for kind in ("relabelings", "metricRelabelings"):
        for number, relabeling in enumerate(endpoint.get(kind) or []):
            if relabeling.get("action", "replace").lower() not in ACTIONS:
                yield f"{path}.{kind}[{number}].action: no action of Prometheus"
            try:
                re.compile(relabeling.get("regex", ""))
            except re.error as error:
                yield f"{path}.{kind}[{number}].regex: {error}"
