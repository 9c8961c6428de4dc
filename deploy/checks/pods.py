"""Where the pods are in an object, and the containers in a pod. Knows no rule."""


def template(document):
    """(path, metadata, spec) of the pod that an object makes, or None."""
    kind = document.get("kind")
    spec = document.get("spec") or {}
    if kind == "Pod":
        return "spec", document.get("metadata") or {}, spec
    if kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController"):
        path, made = "spec.template", spec.get("template") or {}
    elif kind == "CronJob":
        path, made = "spec.jobTemplate.spec.template", spec.get("jobTemplate", {}).get("spec", {}).get("template") or {}
    elif kind == "PodTemplate":
        path, made = "template", document.get("template") or {}
    else:
        return None
    return f"{path}.spec", made.get("metadata") or {}, made.get("spec") or {}


def containers(path, spec):
    """(path, container) of every container of a pod, whatever its kind."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            yield f"{path}.{field}[{container.get('name')}]", container


def named(spec, name):
    """The containers of a pod with this name, with the field that they stand in."""
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or []:
            if container.get("name") == name:
                yield field, container
