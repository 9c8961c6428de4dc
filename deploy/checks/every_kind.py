"""Writes the workloads of every-kind: of its Deployment one object of each kind that the Components change, and one without the label.

every_kind.py FOLDER, a copy of every-kind.
"""

import copy
import pathlib
import sys

import yaml


def main():
    file = pathlib.Path(sys.argv[1]) / "deployment.yaml"
    deployment = yaml.safe_load(file.read_text())
    template = deployment["spec"]["template"]

    def of(kind, version, spec):
        return copy.deepcopy(deployment | {"apiVersion": version, "kind": kind, "spec": spec})

    once = copy.deepcopy(template)
    once["spec"]["restartPolicy"] = "Never"
    made = [
        deployment,
        of("StatefulSet", "apps/v1", deployment["spec"] | {"serviceName": "every"}),
        of("DaemonSet", "apps/v1", deployment["spec"]),
        of("Job", "batch/v1", {"template": once}),
        of("CronJob", "batch/v1", {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": once}}}),
        of("Deployment", "apps/v1", deployment["spec"]) | {"metadata": {"name": "without-the-label"}},
    ]
    file.write_text(yaml.safe_dump_all(copy.deepcopy(made)))


if __name__ == "__main__":
    main()
