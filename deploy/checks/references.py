"""Names that lead nowhere: what a pod mounts, what it refers to, what selects it. The schema sees none of these."""

import pods


def findings(document, objects, external):
    """What a document refers to and is neither among `objects` nor in `external` (KIND/NAME)."""
    kind = document.get("kind")
    spec = document.get("spec") or {}
    if kind == "Service":
        yield from service_findings(document, objects)
    if kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
        if not wanted or any(labels.get(k) != v for k, v in wanted.items()):
            yield "spec.selector: does not select the pods of its own template"
    if kind == "PodMonitor":
        yield from monitor_findings(document, objects)
    found = pods.template(document)
    if found is None:
        return
    path, _, pod = found
    claims = {c["metadata"]["name"] for c in spec.get("volumeClaimTemplates") or []} if kind == "StatefulSet" else set()
    volumes = {v["name"] for v in pod.get("volumes") or []} | claims
    mounted = set()
    names, ports = set(), set()
    for at, container in pods.containers(path, pod):
        if container.get("name") in names:
            yield f"{at}: its name stands twice"
        names.add(container.get("name"))
        for mount in container.get("volumeMounts") or []:
            mounted.add(mount["name"])
            if mount["name"] not in volumes:
                yield f"{at}: mounts {mount['name']}, which is no volume of the pod"
        own = {p.get("name") for p in container.get("ports") or []}
        for port in container.get("ports") or []:
            number = (port.get("containerPort"), port.get("protocol", "TCP"))
            if number in ports:
                yield f"{at}: the port {number[0]} stands twice in the pod"
            ports.add(number)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = ((container.get(probe) or {}).get("httpGet") or {}).get("port")
            if isinstance(port, str) and port not in own:
                yield f"{at}: {probe} asks the port {port}, which the container does not name"
    for name in sorted(volumes - mounted):
        yield f"{path}: nobody mounts the volume {name}"
    namespace = document.get("metadata", {}).get("namespace")
    for what, name in sorted(set(referred(path, pod))):
        if f"{what}/{name}" in external:
            continue
        there = [o for o in objects if o.get("kind") == what and o["metadata"]["name"] == name]
        if not any(o["metadata"].get("namespace") == namespace for o in there):
            yield f"{path}: refers to {what}/{name}, which is not here; if it is made by hand, say --external {what}/{name}"


def referred(path, pod):
    """(kind, name) of every ConfigMap, Secret, claim and account that a pod needs."""
    for volume in pod.get("volumes") or []:
        sources = [volume] + ((volume.get("projected") or {}).get("sources") or [])
        for source in sources:
            for field, kind, key in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
                of = source.get(field)
                if of and not of.get("optional"):
                    yield kind, of.get(key) or of.get("name")
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for _, container in pods.containers(path, pod):
        for source in container.get("envFrom") or []:
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source and not source[field].get("optional"):
                    yield kind, source[field]["name"]
        for variable in container.get("env") or []:
            source = variable.get("valueFrom") or {}
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if field in source and not source[field].get("optional"):
                    yield kind, source[field]["name"]
    if pod.get("serviceAccountName", "default") != "default":
        yield "ServiceAccount", pod["serviceAccountName"]


def selected(labels, objects):
    """The pods among `objects` that bear these labels."""
    for candidate in objects:
        found = pods.template(candidate)
        if found and all((found[1].get("labels") or {}).get(k) == v for k, v in labels.items()):
            yield found


def port_names(found):
    path, _, pod = found
    for _, container in pods.containers(path, pod):
        for port in container.get("ports") or []:
            yield port.get("name")
            yield port.get("containerPort")


def service_findings(document, objects):
    spec = document["spec"]
    chosen = list(selected(spec.get("selector") or {}, objects)) if spec.get("selector") else []
    if not chosen:
        yield "spec.selector: selects no pod of what is here"
    for port in spec.get("ports") or []:
        wanted = port.get("targetPort", port["port"])
        if chosen and not all(wanted in port_names(found) for found in chosen):
            yield f"spec.ports: no container of the pods that it selects has the port {wanted}"


def monitor_findings(document, objects):
    spec = document["spec"]
    chosen = list(selected((spec.get("selector") or {}).get("matchLabels") or {}, objects))
    for endpoint in spec.get("podMetricsEndpoints") or []:
        if chosen and not any(endpoint.get("port") in port_names(found) for found in chosen):
            yield f"spec.podMetricsEndpoints: no pod that it selects has the port {endpoint.get('port')}"
