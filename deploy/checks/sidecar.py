"""What a pod with our sidecar owes it: that it starts first, is probed, is kept small, keeps its secret to itself and is given
the time to finish. And that its configuration says what the pod around it says.
"""

import re

import yaml

import pods

NAME = "ingo-signing-proxy"
PORT = "ingo-health"
MONEY = ("process", "debit")


def findings(document):
    """What is wrong with the sidecar in the pod of an object; nothing where there is none."""
    found = pods.template(document)
    if found is None:
        return
    path, _, spec = found
    ours = list(pods.named(spec, NAME))
    if not ours:
        return
    field, container = ours[0]
    at = f"{path}.{field}[{NAME}]"
    if field == "initContainers":
        if container.get("restartPolicy") != "Always":
            yield f"{at}: restartPolicy must be Always: a native sidecar runs beside the others"
        before = spec["initContainers"][: spec["initContainers"].index(container)]
        for other in before:
            if other.get("restartPolicy") != "Always":
                yield f"{at}: stands after {other['name']}, which could not use it"
    elif container.get("restartPolicy") is not None:
        yield f"{at}: restartPolicy belongs to native sidecars, among the initContainers"
    image = container.get("image", "")
    if "@sha256:" not in image and not re.search(r":[^/:]+$", image) or image.endswith(":latest"):
        yield f"{at}: image must name a version, not what is newest"
    if PORT not in [p.get("name") for p in container.get("ports") or []]:
        yield f"{at}: must name its health port {PORT}"
    for probe, asked in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        get = (container.get(probe) or {}).get("httpGet") or {}
        if (get.get("path"), get.get("port")) != (asked, PORT):
            yield f"{at}: {probe} must ask {asked} at {PORT}"
    if not (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
        yield f"{at}: readOnlyRootFilesystem must be true"
    resources = container.get("resources") or {}
    for needed in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if needed[1] not in (resources.get(needed[0]) or {}):
            yield f"{at}: resources.{needed[0]}.{needed[1]} must be set"
    for mount in container.get("volumeMounts") or []:
        if mount.get("subPath") or mount.get("subPathExpr"):
            yield f"{at}: {mount['name']} must not be mounted by subPath: the kubelet never updates such a mount"
    volumes = {v["name"]: v for v in spec.get("volumes") or []}
    for mount in container.get("volumeMounts") or []:
        volume = volumes.get(mount["name"], {})
        if ("secret" in volume or "configMap" in volume) and not mount.get("readOnly"):
            yield f"{at}: {mount['name']} must be mounted read-only"
        if "secret" in volume:
            for other_at, other in pods.containers(path, spec):
                theirs = [m["name"] for m in other.get("volumeMounts") or []]
                if mount["name"] in theirs and other.get("image") != image:
                    yield f"{other_at}: mounts {mount['name']}: the secret is the sidecar's alone"


def configuration_findings(document, objects):
    """Where the sidecar's configuration and the pod around it say different things."""
    found = pods.template(document)
    ours = list(pods.named(found[2], NAME)) if found else []
    if not ours:
        return
    path, _, spec = found
    field, container = ours[0]
    at = f"{path}.{field}[{NAME}]"
    mounts = {m["mountPath"].rstrip("/"): m["name"] for m in container.get("volumeMounts") or []}
    volumes = {v["name"]: v for v in spec.get("volumes") or []}
    claimed = {c["metadata"]["name"] for c in (document.get("spec") or {}).get("volumeClaimTemplates") or []}

    def volume_of(file):
        folder = str(file).rpartition("/")[0]
        return volumes.get(mounts.get(folder), {})

    args = container.get("args") or []
    file = args[args.index("--config") + 1] if "--config" in args[:-1] else None
    volume = volume_of(file)
    if "configMap" not in volume:
        yield f"{at}: args must have --config and a file in a mounted ConfigMap"
        return
    wanted, key = volume["configMap"]["name"], str(file).rpartition("/")[2]
    maps = [o for o in objects if o.get("kind") == "ConfigMap" and o["metadata"]["name"] == wanted]
    if not maps or key not in (maps[0].get("data") or {}):
        yield f"{at}: {file} is no key of ConfigMap/{wanted}"
        return
    config = yaml.safe_load(maps[0]["data"][key]) or {}

    def get(name, default=None):
        value = config
        for part in name.split("."):
            value = (value or {}).get(part) if isinstance(value, dict) else None
        return default if value is None else value

    ports = [p["containerPort"] for p in container.get("ports") or [] if p.get("name") == PORT]
    health = str(get("listeners.health.address", "127.0.0.1:9646"))
    if health not in [f"{any_address}:{port}" for any_address in ("0.0.0.0", "[::]") for port in ports]:
        yield f"{at}: listeners.health.address must be all addresses and the port {PORT}, or the kubelet cannot ask"
    proxy = str(get("listeners.proxy.address", "127.0.0.1:8646"))
    if not proxy.startswith(("127.0.0.1:", "[::1]:", "unix:")):
        yield f"{at}: listeners.proxy.address must be loopback: who reaches it can have payments signed"
    if "secret" not in volume_of(get("credentials.secret_file", "")):
        yield f"{at}: credentials.secret_file must be in a mounted Secret"
    if not get("environment") and not get("upstream.url"):
        yield f"{at}: neither environment nor upstream.url is set: the proxy would not start"
    if not get("credentials.username"):
        yield f"{at}: credentials.username is not set: the proxy would not start"
    if get("threads") is None:
        yield f"{at}: threads must be set: by default there are as many as the node has cores"
    limit = bytes_of(((container.get("resources") or {}).get("limits") or {}).get("memory", "0"))
    needed = memory(get("limits.inbound_connections", 10_000), get("limits.buffered_bytes", "64MiB"))
    if limit and limit < needed * 3 / 2:
        yield (f"{at}: resources.limits.memory is {limit >> 20} MiB, and limits.inbound_connections and limits.buffered_bytes let the proxy "
               f"take {needed >> 20} MiB: lower them, or allow {(needed * 3 // 2 >> 20) + 1} MiB")
    enabled = [name for name in MONEY if get(f"routes.{name}.enabled") is True]
    drain = seconds(get("shutdown_limit", longest_deadline(get("routes", {})) + 5)) + seconds(get("shutdown_delay", "0s"))
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if grace <= drain:
        yield f"{path}: terminationGracePeriodSeconds is {grace}, and the proxy alone may take {drain:g} s to finish"
    journal = get("journal.file")
    if enabled and not journal:
        yield f"{at}: {' and '.join(enabled)} move money and there is no journal.file"
    if journal:
        folder = str(journal).rpartition("/")[0]
        name = mounts.get(folder)
        lasting = name in claimed or {"persistentVolumeClaim", "csi"} & set(volumes.get(name, {}))
        if not lasting:
            yield f"{at}: journal.file must be on a volume that survives the pod: docs/journal.md"
    if field == "containers" and document.get("kind") in ("Job", "CronJob") and get("listeners.admin.address", "off") == "off":
        yield f"{at}: would never end, and the Job with it: a native sidecar does, or quitquitquit at listeners.admin.address"


def memory(connections, bodies):
    """What the proxy takes at worst, in bytes, as base/sidecar.yaml reckons it: what it takes after load, each connection with a head of
    32 KiB that is not finished, and all bodies. A test holds the manifests' own limits to the same."""
    return (14 << 20) + int(connections) * (24 + 45) * 1024 + bytes_of(bodies)


def bytes_of(quantity):
    """A number of bytes, as Kubernetes or the configuration writes it; 0 where it is written as hardly anybody does (1e9)."""
    found = re.fullmatch(r"([0-9.]+)([KMGT]iB?|[kMGT]|)", str(quantity))
    if not found:
        return 0
    number, unit = found.groups()
    powers = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "": 1}
    return int(float(number) * powers[unit.removesuffix("B")])


def longest_deadline(routes):
    """The longest deadline of an enabled route, in seconds: 30, or 90 where money moves, if nothing else is said."""
    routes = {"create_session": {}} | {name: of or {} for name, of in routes.items()}
    enabled = {n: of for n, of in routes.items() if of.get("enabled", n == "create_session")}
    return max((seconds(of.get("deadline", 90 if n in MONEY else 30)) for n, of in enabled.items()), default=30)


def seconds(duration):
    """A duration of the configuration, in seconds."""
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s|m|)", str(duration)).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "": 1}[unit]
