"""Checks a compose file: against the JSON schema of the compose specification (that of 2021, the newest that PyPI has), and for
what it must not do. `docker compose config` would say more; it needs Docker.
"""

import importlib.metadata
import json
import pathlib
import sys

import jsonschema
import yaml

# Of the specification, but younger than the schema.
YOUNGER = {"name"}


def findings(document):
    """What is wrong with a compose file."""
    file = importlib.metadata.distribution("docker-compose").locate_file("compose/config/compose_spec.json")
    schema = json.loads(file.read_text())
    known = {key: value for key, value in document.items() if key not in YOUNGER}
    for error in jsonschema.Draft7Validator(schema).iter_errors(known):
        yield f"{'.'.join(str(p) for p in error.path)}: {error.message}"
    services = document.get("services") or {}
    for name, service in services.items():
        for port in service.get("ports") or []:
            if not str(port).startswith("127.0.0.1:"):
                yield f"services.{name}.ports: {port} is published beyond this host"
        mode = str(service.get("network_mode", ""))
        if mode.startswith("service:") and mode.removeprefix("service:") not in services:
            yield f"services.{name}.network_mode: there is no such service"
        if mode.startswith("service:") and service.get("ports"):
            yield f"services.{name}.ports: whose network it is must publish them"
        if service.get("user", "0").split(":")[0] in ("0", "root"):
            yield f"services.{name}.user: must not be root"
        for key, wanted in (("read_only", True), ("cap_drop", ["ALL"]), ("security_opt", ["no-new-privileges:true"])):
            if service.get(key) != wanted:
                yield f"services.{name}.{key}: must be {wanted}"
        for secret in service.get("secrets") or []:
            if secret not in (document.get("secrets") or {}):
                yield f"services.{name}.secrets: there is no {secret}"


def main():
    for file in sys.argv[1:]:
        found = list(findings(yaml.safe_load(pathlib.Path(file).read_text())))
        for finding in found:
            print(f"{file}: {finding}", file=sys.stderr)
        if found:
            raise SystemExit(1)
        print(f"{file} is valid")


if __name__ == "__main__":
    main()
