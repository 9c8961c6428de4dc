"""Tests of the rules themselves: one good pod, and for each way to break a rule a mutated one, which must be refused by it.

Run by deploy/check: python -m unittest in this folder, with the tools' virtual environment.
"""

import copy
import pathlib
import subprocess
import sys
import unittest

import yaml

import compose_file
import restricted
import validate

GOOD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 75
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      initContainers:
        - name: ingo-signing-proxy
          image: ingo-signing-proxy:0.1.0
          restartPolicy: Always
          args: [serve, --config, /etc/ingo-signing-proxy/proxy.yaml]
          ports: [{name: ingo-health, containerPort: 9646}]
          startupProbe: {httpGet: {path: /readyz, port: ingo-health}}
          readinessProbe: {httpGet: {path: /readyz, port: ingo-health}}
          livenessProbe: {httpGet: {path: /livez, port: ingo-health}}
          resources: {requests: {cpu: 10m, memory: 24Mi}, limits: {memory: 128Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          volumeMounts:
            - {name: config, mountPath: /etc/ingo-signing-proxy, readOnly: true}
            - {name: secret, mountPath: /run/secrets/ingo, readOnly: true}
        - name: later
          image: migrate:1
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      containers:
        - name: app
          image: app:1
          ports: [{name: http, containerPort: 8080}]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumes:
        - {name: config, configMap: {name: ingo-signing-proxy}}
        - {name: secret, secret: {secretName: ingo-credentials}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ingo-signing-proxy}
data:
  proxy.yaml: |
    environment: sandbox
    credentials: {username: acme, secret_file: /run/secrets/ingo/secret}
    threads: 2
    listeners: {proxy: {address: "127.0.0.1:8646"}, health: {address: "0.0.0.0:9646"}}
    limits: {inbound_connections: 512, buffered_bytes: 16MiB}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: ingo-signing-proxy}
spec:
  selector: {matchLabels: {app: app}}
  podMetricsEndpoints:
    - {port: ingo-health, interval: 15s, relabelings: [{targetLabel: job, replacement: ingo-signing-proxy}]}
"""
EXTERNAL = {"Secret/ingo-credentials"}
POD = ("spec", "template", "spec")
SIDECAR, LATER, APP = (*POD, "initContainers", 0), (*POD, "initContainers", 1), (*POD, "containers", 0)
DELETED = object()


def good():
    return list(yaml.safe_load_all(GOOD))


def put(document, path, value):
    """Sets or deletes what is at a path, and makes what is missing on the way."""
    for key, after in zip(path[:-1], path[1:]):
        if isinstance(document, list) and key == len(document):
            document.append({})
        elif isinstance(document, dict) and key not in document:
            document[key] = [] if isinstance(after, int) else {}
        document = document[key]
    if value is DELETED:
        del document[path[-1]]
    elif isinstance(document, list) and path[-1] == len(document):
        document.append(value)
    else:
        document[path[-1]] = value


def mutated(index, *changes):
    documents = good()
    for path, value in changes:
        put(documents[index], path, value)
    return documents


# Every way to break a rule of the standard, and the rule that must say so. Paths are from the pod's spec; ANY stands for each
# kind of container in turn.
ANY = "ANY"
POD_LEVEL = [
    (restricted.host_process, [(("securityContext", "windowsOptions"), {"hostProcess": True})]),
    (restricted.host_namespaces, [(("hostNetwork",), True)]),
    (restricted.host_namespaces, [(("hostPID",), True)]),
    (restricted.host_namespaces, [(("hostIPC",), True)]),
    (restricted.volume_types, [(("volumes", 0), {"name": "config", "hostPath": {"path": "/"}})]),
    (restricted.volume_types, [(("volumes", 0), {"name": "config", "nfs": {"server": "s", "path": "/"}})]),
    (restricted.volume_types, [(("volumes", 0), {"name": "config", "gitRepo": {"repository": "r"}})]),
    (restricted.apparmor, [(("securityContext", "appArmorProfile"), {"type": "Unconfined"})]),
    (restricted.selinux, [(("securityContext", "seLinuxOptions"), {"type": "spc_t"})]),
    (restricted.selinux, [(("securityContext", "seLinuxOptions"), {"user": "system_u"})]),
    (restricted.selinux, [(("securityContext", "seLinuxOptions"), {"role": "sysadm_r"})]),
    (restricted.sysctls, [(("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}])]),
    (restricted.sysctls, [(("securityContext", "sysctls"), [{"name": "net.ipv4.tcp_rmem", "value": "1"}])]),
    (restricted.non_root, [(("securityContext", "runAsNonRoot"), False)]),
    (restricted.non_root, [(("securityContext", "runAsNonRoot"), DELETED)]),
    (restricted.non_root_user, [(("securityContext", "runAsUser"), 0)]),
    (restricted.seccomp, [(("securityContext", "seccompProfile"), {"type": "Unconfined"})]),
    (restricted.seccomp, [(("securityContext", "seccompProfile"), DELETED)]),
]
CONTAINER_LEVEL = [
    (restricted.host_process, [(("securityContext", "windowsOptions"), {"hostProcess": True})]),
    (restricted.privileged, [(("securityContext", "privileged"), True)]),
    (restricted.capabilities, [(("securityContext", "capabilities"), DELETED)]),
    (restricted.capabilities, [(("securityContext", "capabilities"), {"drop": ["NET_RAW"]})]),
    (restricted.capabilities, [(("securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_PTRACE"]})]),
    (restricted.host_ports, [(("ports",), [{"containerPort": 1, "hostPort": 1}])]),
    (restricted.host_probes, [(("livenessProbe",), {"httpGet": {"port": 1, "host": "169.254.169.254"}})]),
    (restricted.host_probes, [(("startupProbe",), {"tcpSocket": {"port": 1, "host": "169.254.169.254"}})]),
    (restricted.host_probes, [(("lifecycle",), {"preStop": {"httpGet": {"port": 1, "host": "169.254.169.254"}}})]),
    (restricted.apparmor, [(("securityContext", "appArmorProfile"), {"type": "Unconfined"})]),
    (restricted.selinux, [(("securityContext", "seLinuxOptions"), {"type": "container_engine_t"})]),
    (restricted.proc_mount, [(("securityContext", "procMount"), "Unmasked")]),
    (restricted.privilege_escalation, [(("securityContext", "allowPrivilegeEscalation"), True)]),
    (restricted.privilege_escalation, [(("securityContext", "allowPrivilegeEscalation"), DELETED)]),
    (restricted.non_root, [(("securityContext", "runAsNonRoot"), False)]),
    (restricted.non_root_user, [(("securityContext", "runAsUser"), 0)]),
    (restricted.seccomp, [(("securityContext", "seccompProfile"), {"type": "Unconfined"})]),
]
# What our own rules must refuse: which document, the change, and words of the finding.
OURS = [
    (0, [((*SIDECAR, "restartPolicy"), DELETED)], "restartPolicy must be Always"),
    (0, [((*SIDECAR, "restartPolicy"), "OnFailure")], "restartPolicy must be Always"),
    (0, [((*SIDECAR, "image"), "ingo-signing-proxy:latest")], "must name a version"),
    (0, [((*SIDECAR, "image"), "registry:5000/ingo-signing-proxy")], "must name a version"),
    (0, [((*SIDECAR, "startupProbe"), DELETED)], "startupProbe must ask /readyz"),
    (0, [((*SIDECAR, "readinessProbe", "httpGet", "path"), "/livez")], "readinessProbe must ask /readyz"),
    (0, [((*SIDECAR, "livenessProbe", "httpGet", "path"), "/readyz")], "livenessProbe must ask /livez"),
    (0, [((*SIDECAR, "livenessProbe", "httpGet", "port"), 9646)], "livenessProbe must ask /livez"),
    (0, [((*SIDECAR, "ports", 0, "name"), "health")], "must name its health port"),
    (0, [((*SIDECAR, "securityContext", "readOnlyRootFilesystem"), False)], "readOnlyRootFilesystem"),
    (0, [((*SIDECAR, "resources", "limits"), DELETED)], "resources.limits.memory"),
    (0, [((*SIDECAR, "resources", "limits", "memory"), "64Mi")], "allow 97 MiB"),
    (0, [((*SIDECAR, "resources", "requests", "cpu"), DELETED)], "resources.requests.cpu"),
    (0, [((*SIDECAR, "volumeMounts", 1, "subPath"), "secret")], "by subPath"),
    (0, [((*SIDECAR, "volumeMounts", 1, "readOnly"), False)], "read-only"),
    (0, [((*APP, "volumeMounts"), [{"name": "secret", "mountPath": "/s"}])], "the sidecar's alone"),
    (0, [((*POD, "terminationGracePeriodSeconds"), 35)], "may take 35 s"),
    (0, [((*POD, "terminationGracePeriodSeconds"), DELETED)], "is 30"),
    (0, [((*SIDECAR, "args"), ["serve"])], "--config"),
    (0, [((*SIDECAR, "args", 2), "/etc/ingo-signing-proxy/other.yaml")], "no key of ConfigMap"),
    (0, [((*SIDECAR, "volumeMounts", 1, "mountPath"), "/elsewhere")], "secret_file must be in a mounted Secret"),
    (0, [((*APP, "ports", 0, "containerPort"), 9646)], "the port 9646 stands twice"),
    (0, [((*APP, "name"), "later")], "its name stands twice"),
    (0, [((*APP, "volumeMounts"), [{"name": "nowhere", "mountPath": "/n"}])], "no volume of the pod"),
    (0, [((*POD, "volumes", 2), {"name": "unused", "emptyDir": {}})], "nobody mounts"),
    (0, [((*POD, "volumes", 1, "secret", "secretName"), "other")], "refers to Secret/other"),
    (0, [((*POD, "serviceAccountName"), "other")], "refers to ServiceAccount/other"),
    (0, [((*APP, "envFrom"), [{"configMapRef": {"name": "other"}}])], "refers to ConfigMap/other"),
    (0, [((*APP, "env"), [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}])], "Secret/other"),
    (0, [(("spec", "selector", "matchLabels", "app"), "other")], "does not select the pods"),
    (0, [((*APP, "readinessProbe"), {"httpGet": {"port": "web"}})], "which the container does not name"),
    (0, [((*APP, "comand"), ["x"])], "comand"),
    (0, [((*APP, "terminationMessagePolicy"), 1)], "is not of type"),
    (0, [(("metadata", "name"), "Not_A_Name")], "no DNS subdomain"),
    (0, [(("apiVersion",), "apps/v1beta1")], "custom.py does not know it"),
    (2, [(("spec", "selector", "app"), "other")], "selects no pod"),
    (2, [(("spec", "ports", 0, "targetPort"), "other")], "has the port other"),
    (3, [(("spec", "podMetricsEndpoints", 0, "port"), "health")], "has the port health"),
    (3, [(("spec", "podMetricEndpoints"), [])], "unknown field"),
    (3, [(("spec", "podMetricsEndpoints", 0, "interval"), "15")], "no duration"),
    (3, [(("spec", "podMetricsEndpoints", 0, "relabelings", 0, "action"), "rename")], "no action"),
    (3, [(("spec", "podMetricsEndpoints", 0, "relabelings", 0, "regex"), "(")], "regex"),
    (3, [(("spec", "podMetricsEndpoints", 0, "honorLabels"), "yes")], "must be of type bool"),
    (3, [(("spec", "selector"), DELETED)], "spec.selector: must be set"),
]
# The same for the configuration in the ConfigMap: a key, its value, and words of the finding.
CONFIGURED = [
    ("listeners.health.address", "127.0.0.1:9646", "the kubelet cannot ask"),
    ("listeners.health.address", "0.0.0.0:9999", "the kubelet cannot ask"),
    ("listeners.proxy.address", "0.0.0.0:8646", "must be loopback"),
    ("credentials.secret_file", "/tmp/secret", "secret_file must be in a mounted Secret"),
    ("credentials.username", None, "username is not set"),
    ("environment", None, "neither environment nor upstream.url"),
    ("threads", None, "threads must be set"),
    ("limits", None, "let the proxy take 751 MiB"),
    ("limits.inbound_connections", 1024, "let the proxy take 99 MiB"),
    ("limits.buffered_bytes", "128MiB", "resources.limits.memory is 128 MiB"),
    ("shutdown_limit", "90s", "may take 90 s"),
    ("shutdown_delay", "1m", "may take 95 s"),
    ("routes.verify", {"enabled": True, "deadline": "80s"}, "may take 85 s"),
    ("routes.process", {"enabled": True}, "may take 95 s"),
    ("routes.process", {"enabled": True}, "there is no journal.file"),
    ("journal.file", "/var/lib/ingo-signing-proxy/journal", "survives the pod"),
    ("journal.file", "/etc/ingo-signing-proxy/journal", "survives the pod"),
]


class Rules(unittest.TestCase):
    def found(self, documents):
        where = [(f"{d['kind']}", d) for d in documents]
        return [finding for _, finding in validate.findings(where, EXTERNAL)]

    def refused(self, documents, words):
        found = self.found(documents)
        self.assertTrue(any(words in f for f in found), f"{words!r} is not among {found}")

    def test_the_good_one_is_good(self):
        self.assertEqual(self.found(good()), [])

    def test_every_rule_of_the_standard_has_a_manifest_that_breaks_it(self):
        broken = {rule for rule, _ in POD_LEVEL + CONTAINER_LEVEL}
        self.assertEqual(broken, set(restricted.RULES))

    def test_a_pod_that_breaks_the_standard_is_refused_by_that_rule(self):
        for rule, changes in POD_LEVEL:
            with self.subTest(rule=rule.__name__, changes=changes):
                self.refused_by(rule, [((*POD, *path), value) for path, value in changes])

    def test_a_container_that_breaks_the_standard_is_refused_whatever_its_kind(self):
        for rule, changes in CONTAINER_LEVEL:
            for at in (SIDECAR, LATER, APP, (*POD, "ephemeralContainers", 0)):
                with self.subTest(rule=rule.__name__, at=at, changes=changes):
                    own = [((*at, *path), value) for path, value in changes]
                    if at[-2] == "ephemeralContainers":
                        fine = copy.deepcopy(good()[0]["spec"]["template"]["spec"]["containers"][0])
                        own.insert(0, (at, fine | {"name": "debugger", "ports": []}))
                    self.refused_by(rule, own)

    def refused_by(self, rule, changes):
        document = mutated(0, *changes)[0]
        path, metadata, spec = restricted.pods.template(document)
        self.assertTrue(list(rule(path, metadata, spec)), "the rule itself")
        self.assertTrue(list(restricted.findings(document)), "the standard")
        fine = good()[0]
        self.assertFalse(list(rule(*restricted.pods.template(fine))), "the rule refuses the good one, too")

    def test_the_annotation_of_apparmor_is_judged_too(self):
        name = restricted.APPARMOR + "app"
        self.refused(mutated(0, (("spec", "template", "metadata", "annotations"), {name: "unconfined"})), "annotation")
        fine = mutated(0, (("spec", "template", "metadata", "annotations"), {name: "runtime/default"}))
        self.assertEqual(self.found(fine), [])

    def test_pods_of_every_kind_are_judged(self):
        spec = good()[0]["spec"]["template"] | {}
        spec["spec"]["hostNetwork"] = True
        for kind, body in (
            ("Pod", {"metadata": spec["metadata"], "spec": spec["spec"]}),
            ("Job", {"spec": {"template": spec}}),
            ("StatefulSet", {"spec": {"template": spec}}),
            ("DaemonSet", {"spec": {"template": spec}}),
            ("ReplicaSet", {"spec": {"template": spec}}),
            ("CronJob", {"spec": {"jobTemplate": {"spec": {"template": spec}}}}),
        ):
            with self.subTest(kind=kind):
                self.assertTrue(list(restricted.findings({"kind": kind} | body)))

    def test_what_our_own_rules_are_for_is_refused(self):
        for index, changes, words in OURS:
            with self.subTest(words=words, changes=changes):
                self.refused(mutated(index, *changes), words)

    def test_a_configuration_that_does_not_fit_its_pod_is_refused(self):
        for key, value, words in CONFIGURED:
            with self.subTest(key=key, value=value):
                documents = good()
                config = yaml.safe_load(documents[1]["data"]["proxy.yaml"])
                *path, last = key.split(".")
                put(config, (*path, last), value)
                documents[1]["data"]["proxy.yaml"] = yaml.safe_dump(config)
                self.refused(documents, words)

    def test_an_init_container_before_the_sidecar_is_refused(self):
        documents = good()
        documents[0]["spec"]["template"]["spec"]["initContainers"].reverse()
        self.refused(documents, "stands after later")

    def test_an_ordinary_sidecar_in_a_job_needs_quitquitquit(self):
        documents = good()
        pod = documents[0]["spec"]["template"]["spec"]
        ours = pod["initContainers"].pop(0)
        del ours["restartPolicy"]
        pod["containers"].append(ours)
        self.assertEqual(self.found(documents), [], "in a Deployment it is fine")
        documents[0] |= {"apiVersion": "batch/v1", "kind": "Job"}
        del documents[0]["spec"]["selector"]
        pod["restartPolicy"] = "Never"
        self.refused(documents, "would never end")

    def test_an_object_that_stands_twice_is_refused(self):
        self.refused(good() + [good()[2]], "stands twice")

    def test_an_object_of_an_unknown_kind_is_refused(self):
        self.refused(good() + [{"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "foo"}}], "does not know it")

    def test_the_command_refuses_what_is_no_yaml_has_a_key_twice_or_is_nothing(self):
        script = pathlib.Path(__file__).with_name("validate.py")
        for text, words in (("a: [", "standard input"), ("a: 1\na: 2\n", "stands twice"), ("", "nothing to validate")):
            ended = subprocess.run([sys.executable, script, "-"], input=text, capture_output=True, text=True, check=False)
            with self.subTest(text=text):
                self.assertEqual(ended.returncode, 1)
                self.assertIn(words, ended.stderr)

    def test_the_command_passes_the_good_one_and_fails_the_bad_one(self):
        script = pathlib.Path(__file__).with_name("validate.py")
        for text, status in ((GOOD, 0), (GOOD.replace("[ALL]", "[NET_RAW]", 1), 1)):
            command = [sys.executable, script, "--external", "Secret/ingo-credentials", "-"]
            ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
            self.assertEqual(ended.returncode, status, ended.stderr)

    def test_a_compose_file_that_opens_itself_or_is_none_is_refused(self):
        text = pathlib.Path(__file__).parents[1].joinpath("compose.yaml").read_text()
        self.assertEqual(list(compose_file.findings(yaml.safe_load(text))), [])
        for service, key, value, words in (
            ("emulator", "ports", ["8646:8646"], "beyond this host"),
            ("emulator", "ports", ["0.0.0.0:8646:8646"], "beyond this host"),
            ("proxy", "network_mode", "service:nobody", "no such service"),
            ("proxy", "ports", ["127.0.0.1:1:1"], "must publish them"),
            ("proxy", "user", "0:0", "must not be root"),
            ("proxy", "read_only", False, "read_only"),
            ("proxy", "cap_drop", [], "cap_drop"),
            ("proxy", "security_opt", [], "security_opt"),
            ("proxy", "secrets", ["other"], "there is no other"),
            ("proxy", "comand", [], "comand"),
            ("proxy", "mem_limit", {}, "mem_limit"),
        ):
            with self.subTest(key=key, value=value):
                document = yaml.safe_load(text)
                document["services"][service][key] = value
                self.assertTrue(any(words in f for f in compose_file.findings(document)), list(compose_file.findings(document)))

    def test_versions_from_1_29_to_the_newest_are_asked(self):
        asked = validate.versions()
        self.assertEqual(asked[0], "1.29")
        self.assertGreaterEqual(len(asked), 9)


if __name__ == "__main__":
    unittest.main()
