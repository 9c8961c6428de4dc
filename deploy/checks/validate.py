"""Validates rendered Kubernetes manifests, wherever they come from.

Every object is checked
  - against the schema of each Kubernetes version from 1.29 to the newest that kubernetes-validate knows, strictly (unknown
    fields are mistakes); kinds of CRDs by what custom.py knows of them, and no other kind is let through;
  - against the `restricted` Pod Security Standard (restricted.py);
  - for names that lead nowhere (references.py): what a pod mounts, selects and refers to must be there, or be named by --external;
  - for what a pod with our sidecar owes it (sidecar.py).

It must not know a particular overlay or chart.
"""

import argparse
import functools
import pathlib
import re
import sys

import kubernetes_validate
import kubernetes_validate.utils
import yaml

import custom
import references
import restricted
import sidecar

OLDEST = (1, 29)

# Each object is held against many versions: their schemas are read once.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


class Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it, but for a key that stands twice: the last one would win, silently."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def versions():
    """Every minor version there are schemas of, from the oldest that we promise."""
    minors = {tuple(int(n) for n in v.split(".")[:2]) for v in kubernetes_validate.utils.all_versions()}
    return [f"{major}.{minor}" for major, minor in sorted(minors) if (major, minor) >= OLDEST]


def sources(names):
    """(name, text) of each file; of a folder, all YAML files below it."""
    for name in names:
        path = pathlib.Path(name)
        if name == "-":
            yield "standard input", sys.stdin.read()
        elif path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml"))
            if not found:
                raise SystemExit(f"{name}: a folder without YAML files")
            for file in found:
                yield str(file), file.read_text()
        else:
            yield name, path.read_text()


def load(names):
    """(where, object) of each object, lists taken apart."""
    for name, text in sources(names):
        try:
            documents = [d for d in yaml.load_all(text, Loader=Loader) if d is not None]
        except yaml.YAMLError as error:
            raise SystemExit(f"{name}: {error}") from error
        for document in documents:
            items = document.get("items", []) if document.get("kind") == "List" else [document]
            for item in items:
                meta = item.get("metadata", {})
                yield f"{name}: {item.get('kind')}/{meta.get('name')}", item


def schema_findings(document):
    if custom.knows(document):
        yield from custom.findings(document)
        return
    told = set()
    for version in versions():
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(p) for p in error.path) or "the object"
            message = f"{path}: {error.message}"
            if message not in told:
                told.add(message)
                yield f"{message} (Kubernetes {version})"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"Kubernetes {version} has no {error.kind} of {error.api_version}, and custom.py does not know it either"


def name_findings(document):
    name = document.get("metadata", {}).get("name", "")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
        yield f"metadata.name: {name!r} is no DNS subdomain"


def findings(documents, external):
    """(where, finding) of everything that is not as it should be."""
    seen = {}
    for where, document in documents:
        meta = document.get("metadata", {})
        identity = (document.get("apiVersion"), document.get("kind"), meta.get("namespace"), meta.get("name"))
        if identity in seen:
            yield where, f"stands twice: also in {seen[identity]}"
        seen[identity] = where
        for check in (schema_findings, name_findings, restricted.findings, sidecar.findings):
            for finding in check(document):
                yield where, finding
    objects = [d for _, d in documents]
    for where, document in documents:
        for finding in references.findings(document, objects, external):
            yield where, finding
        for finding in sidecar.configuration_findings(document, objects):
            yield where, finding


def main():
    parser = argparse.ArgumentParser(prog="deploy/checks/validate", description="Validates rendered Kubernetes manifests.")
    parser.add_argument("--external", action="append", default=[], metavar="KIND/NAME",
                        help="an object that is made by hand, such as Secret/ingo-credentials; can be given several times")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, a folder, or - for standard input")
    arguments = parser.parse_args()
    documents = list(load(arguments.files))
    if not documents:
        raise SystemExit("nothing to validate: no object in " + ", ".join(arguments.files))
    found = list(findings(documents, set(arguments.external)))
    for where, finding in found:
        print(f"{where}: {finding}", file=sys.stderr)
    if found:
        raise SystemExit(1)
    first, last = versions()[0], versions()[-1]
    print(f"{len(documents)} objects are valid for Kubernetes {first} to {last}, the restricted standard included")


if __name__ == "__main__":
    main()
