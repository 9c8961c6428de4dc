"""The `restricted` Pod Security Standard, with all of `baseline`, as Kubernetes publishes it
(https://kubernetes.io/docs/concepts/security/pod-security-standards/).

Where versions differ, the strictest from 1.29 to now holds: what passes here is admitted by each of them. Windows pods, for
which the standard makes exceptions, are not what we run: they are judged like all others. Each rule is one function that
yields findings; test_restricted.py has a manifest that breaks it for each way of breaking it.
"""

import pods

SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    # Safe since 1.27 and 1.29. tcp_rmem and tcp_wmem are since 1.32 only, so not here.
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
# container_engine_t is since 1.31 only.
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t"}
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def findings(document):
    """What keeps the pod of an object from being admitted; nothing where it makes none."""
    found = pods.template(document)
    if found is None:
        return
    path, metadata, spec = found
    for rule in RULES:
        yield from rule(path, metadata, spec)


def contexts(path, spec):
    """(path, securityContext) of the pod and of each container."""
    yield path, spec.get("securityContext") or {}
    for at, container in pods.containers(path, spec):
        yield at, container.get("securityContext") or {}


def host_process(path, _metadata, spec):
    for at, context in contexts(path, spec):
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            yield f"{at}: hostProcess must not be true"


def host_namespaces(path, _metadata, spec):
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{path}.{field}: must not be true"


def privileged(path, _metadata, spec):
    for at, context in contexts(path, spec):
        if context.get("privileged"):
            yield f"{at}: privileged must not be true"


def capabilities(path, _metadata, spec):
    for at, container in pods.containers(path, spec):
        of = (container.get("securityContext") or {}).get("capabilities") or {}
        if "ALL" not in (of.get("drop") or []):
            yield f"{at}: capabilities.drop must have ALL"
        for added in of.get("add") or []:
            if added != "NET_BIND_SERVICE":
                yield f"{at}: capabilities.add must not have {added}"


def volume_types(path, _metadata, spec):
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        # Without a kind a volume is an emptyDir.
        for kind in sorted(kinds - VOLUMES):
            yield f"{path}.volumes[{volume.get('name')}]: {kind} is no kind of volume that is allowed"


def host_ports(path, _metadata, spec):
    for at, container in pods.containers(path, spec):
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                yield f"{at}: hostPort must not be set"


def host_probes(path, _metadata, spec):
    for at, container in pods.containers(path, spec):
        lifecycle = container.get("lifecycle") or {}
        handlers = {
            "startupProbe": container.get("startupProbe"),
            "readinessProbe": container.get("readinessProbe"),
            "livenessProbe": container.get("livenessProbe"),
            "lifecycle.postStart": lifecycle.get("postStart"),
            "lifecycle.preStop": lifecycle.get("preStop"),
        }
        for name, handler in handlers.items():
            for kind in ("httpGet", "tcpSocket"):
                if ((handler or {}).get(kind) or {}).get("host"):
                    yield f"{at}: {name}.{kind}.host must not be set"


def apparmor(path, metadata, spec):
    for key, value in (metadata.get("annotations") or {}).items():
        fine = value in ("", "runtime/default") or str(value).startswith("localhost/")
        if key.startswith(APPARMOR) and not fine:
            yield f"{path}: the annotation {key} must be runtime/default or localhost/…"
    for at, context in contexts(path, spec):
        kind = (context.get("appArmorProfile") or {}).get("type")
        if kind not in (None, "RuntimeDefault", "Localhost"):
            yield f"{at}: appArmorProfile.type must be RuntimeDefault or Localhost"


def selinux(path, _metadata, spec):
    for at, context in contexts(path, spec):
        options = context.get("seLinuxOptions") or {}
        if options.get("type") not in SELINUX_TYPES:
            yield f"{at}: seLinuxOptions.type must not be {options['type']}"
        for field in ("user", "role"):
            if options.get(field):
                yield f"{at}: seLinuxOptions.{field} must not be set"


def proc_mount(path, _metadata, spec):
    for at, context in contexts(path, spec):
        if context.get("procMount") not in (None, "Default"):
            yield f"{at}: procMount must be Default"


def sysctls(path, _metadata, spec):
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or []:
        if sysctl.get("name") not in SYSCTLS:
            yield f"{path}.securityContext.sysctls: {sysctl.get('name')} is not allowed"


def privilege_escalation(path, _metadata, spec):
    for at, container in pods.containers(path, spec):
        if (container.get("securityContext") or {}).get("allowPrivilegeEscalation") is not False:
            yield f"{at}: allowPrivilegeEscalation must be false"


def non_root(path, _metadata, spec):
    pod = (spec.get("securityContext") or {}).get("runAsNonRoot")
    if pod is False:
        yield f"{path}.securityContext.runAsNonRoot: must not be false"
    for at, container in pods.containers(path, spec):
        own = (container.get("securityContext") or {}).get("runAsNonRoot")
        if own is False or (own is None and pod is not True):
            yield f"{at}: runAsNonRoot must be true, of the container or of its pod"


def non_root_user(path, _metadata, spec):
    for at, context in contexts(path, spec):
        if context.get("runAsUser") == 0:
            yield f"{at}: runAsUser must not be 0"


def seccomp(path, _metadata, spec):
    allowed = ("RuntimeDefault", "Localhost")
    pod = ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
    if pod is not None and pod not in allowed:
        yield f"{path}.securityContext.seccompProfile.type: must be RuntimeDefault or Localhost"
    for at, container in pods.containers(path, spec):
        own = ((container.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
        if own not in allowed and not (own is None and pod in allowed):
            yield f"{at}: seccompProfile.type must be RuntimeDefault or Localhost, of the container or of its pod"


RULES = (
    host_process,
    host_namespaces,
    privileged,
    capabilities,
    volume_types,
    host_ports,
    host_probes,
    apparmor,
    selinux,
    proc_mount,
    sysctls,
    privilege_escalation,
    non_root,
    non_root_user,
    seccomp,
)
