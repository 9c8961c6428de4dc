"""Checks the systemd unit, as far as that goes without systemd as process 1:

  - `systemd-analyze verify` has nothing to say;
  - `systemd-analyze security` finds nothing open but what there is a reason for;
  - the program makes no system call that the unit forbids, no socket of a family that it forbids, and writes to no file but its
    journal. For that it is run under strace, through all that it does in its life: started, asked, reloaded, its secret
    replaced, a call that moves money put into its journal, stopped; and by the way, whether it tells systemd so.

The program is the debug build of this checkout, or that of INGO_BINARY.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/ingo-signing-proxy.service"
BINARY = pathlib.Path(
    os.environ.get("INGO_BINARY") or pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/ingo-signing-proxy"
)
# What `systemd-analyze security` finds open, each with its reason in docs/systemd.md; never add one without.
OPEN = {
    "PrivateNetwork", "RestrictAddressFamilies_AF_INET_INET6", "RestrictAddressFamilies_AF_UNIX", "IPAddressDeny", "ProcSubset",
    "RootDirectoryOrRootImage", "DeviceAllow",
}
PATIENCE = 30
MONEY = {"participant_unique_id1": "p-1", "amount": "1.00"}
SESSION = {
    "participant_unique_id1": "p-1",
    "recipient_information": {
        "first_name": "Ada", "last_name": "Lovelace", "address_line1": "1 Main St",
        "city": "Atlanta", "state": "GA", "zip_code": "30313",
    },
}


def skip(why):
    print(f"SKIPPED: {why}", file=sys.stderr)


def settings(name):
    """All values of a key of the unit, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def verify(folder):
    """The unit as it is, but for the program, which need not be installed where it will be."""
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/ingo-signing-proxy", "/bin/true"))
    ended = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    if ended.returncode or ended.stderr.strip():
        raise SystemExit(f"systemd-analyze verify: {ended.stderr}{ended.stdout}")
    # A word that it does not know it only warns of, so see that this would have been seen.
    copy.write_text(copy.read_text().replace("PrivateTmp=", "PrivateTemp="))
    ended = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert "PrivateTemp" in ended.stderr, "systemd-analyze verify says nothing of an unknown key"
    print("systemd-analyze verify has nothing to say")


def security():
    def analyzed(*further):
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", *further, UNIT]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    said = analyzed("--json=short")
    if said.returncode or not said.stdout.strip():
        skip(f"systemd-analyze security is too old: {said.stderr.strip()}")
        return
    # The score has one digit and would not tell of every setting that is lost; a newer systemd may ask for more than 252 does.
    found = {row["json_field"] for row in json.loads(said.stdout) if row["set"] is False}
    if found - OPEN:
        raise SystemExit(f"{analyzed().stdout}\nsystemd-analyze security finds more open than before: {', '.join(sorted(found - OPEN))}")
    score = re.search(r"exposure level .*: ([0-9.]+)", analyzed().stdout)
    print(f"systemd-analyze security: {score[1] if score else 'no score'}")


def system_calls(group):
    """The names of the system calls in a group, groups within it taken apart."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True).stdout
    names = set()
    for line in text.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            names |= system_calls(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


def allowed_calls():
    allowed = set()
    for filtered in settings("SystemCallFilter"):
        calls = set().union(*(system_calls(g) for g in filtered.lstrip("~").split()))
        allowed = allowed - calls if filtered.startswith("~") else allowed | calls
    # Always allowed, or never made under systemd: execve by strace itself.
    return allowed | system_calls("@default") | {"execve"}


def wait(what, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


def listening(log):
    """Which listener is where, of a log."""
    found = {}
    for line in log.read_text().splitlines():
        if line.startswith("{"):
            fields = json.loads(line)
            if fields.get("message") == "listening":
                found[fields.get("listener", "gateway")] = fields["address"]
    return found


def post(address, path, body):
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def told(systemd, *expected):
    """Sees that the program tells systemd this next."""
    for start in expected:
        message = systemd.recv(4096).decode()
        assert message.startswith(start), f"{message!r}, not {start}"


def life(folder):
    """Runs the program through its life under strace, and gives back the trace."""
    (folder / "secret").write_text("made up")
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(folder / "notify"))
    systemd.settimeout(PATIENCE)
    emulator_log, log, trace = folder / "emulator", folder / "log", folder / "trace"
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("INGO_PROXY", "RUST_LOG")) and not k.upper().endswith("_PROXY")}
    with emulator_log.open("w") as output:
        emulator = subprocess.Popen(
            [BINARY, "emulator", "--username", "acme", "--secret-file", folder / "secret", "--listen", "127.0.0.1:0",
             "--control-listen", "off", "--log-format", "json"], stdout=output, env=quiet)
    try:
        wait("the emulator listens", lambda: listening(emulator_log))
        (gateway,) = listening(emulator_log).values()
        _, port = gateway.rsplit(":", 1)
        (folder / "proxy.yaml").write_text(
            "listeners: {proxy: {address: '127.0.0.1:0'}, health: {address: '127.0.0.1:0'}, admin: {address: '127.0.0.1:0'}}\n"
            # By name, so that names are resolved.
            f"upstream: {{url: 'http://localhost:{port}'}}\ncredentials: {{username: acme}}\nlog_format: json\n"
            f"routes: {{process: {{enabled: true}}}}\njournal: {{file: {folder}/journal}}\n")
        command = settings("ExecStart")[0].replace("%d", str(folder)).split()
        command[0] = str(BINARY)
        command[command.index("--config") + 1] = str(folder / "proxy.yaml")
        with log.open("w") as output:
            traced = subprocess.Popen(
                ["strace", "-f", "-o", trace, *command], stdout=output, env={**quiet, "NOTIFY_SOCKET": str(folder / "notify")})
        told(systemd, "READY=1")
        wait("all listeners are there", lambda: len(listening(log)) == 3)
        at = listening(log)
        process = int(pathlib.Path(f"/proc/{traced.pid}/task/{traced.pid}/children").read_text().split()[0])
        for path, body in (("/api/v1/sessions/point-in-time/plugin", SESSION), ("/gateway/process", MONEY)):
            status, text = post(at["proxy"], path, body)
            assert status == 200, f"{path}: {status} {text}"
        status, _ = post(at["admin"], "/nowhere", {})
        assert status == 404
        (folder / "new").write_text("made up\n")
        (folder / "new").rename(folder / "secret")
        os.kill(process, signal.SIGHUP)
        told(systemd, "RELOADING=1\nMONOTONIC_USEC=", "READY=1")
        wait("the configuration is taken anew", lambda: "configuration reloaded" in log.read_text())
        assert (folder / "journal").stat().st_size > 0
        for path in ("/readyz", "/livez", "/metrics"):
            connection = http.client.HTTPConnection(at["health"], timeout=PATIENCE)
            connection.request("GET", path)
            assert connection.getresponse().status == 200, path
        os.kill(process, signal.SIGTERM)
        told(systemd, "STOPPING=1")
        assert traced.wait(PATIENCE) == 0
        return trace.read_text()
    finally:
        systemd.close()
        emulator.kill()
        emulator.wait()
        if "traced" in locals() and traced.poll() is None:
            traced.kill()


def seccomp(folder):
    trace = life(folder)
    made = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace, re.MULTILINE))
    assert len(made) > 40, f"that is no whole trace: {made}"
    forbidden = made - allowed_calls()
    if forbidden:
        raise SystemExit(f"the unit forbids system calls that the program makes: {', '.join(sorted(forbidden))}")
    families = set(re.findall(r"\bsocket(?:pair)?\((AF_[A-Z0-9]+)", trace))
    # glibc asks by netlink which addresses there are, and goes on where it may not (see the unit).
    denied = families - set(settings("RestrictAddressFamilies")[0].split()) - {"AF_NETLINK"}
    if denied:
        raise SystemExit(f"the unit forbids sockets that the program makes: {', '.join(sorted(denied))}")
    executable = re.findall(r"(?:mmap|mprotect)\([^\n]*PROT_WRITE\|PROT_EXEC", trace)
    if executable and settings("MemoryDenyWriteExecute") == ["yes"]:
        raise SystemExit(f"the unit forbids memory that is written and executed: {executable[0]}")
    opened = re.findall(r'\bopen(?:at)?\((?:AT_FDCWD, )?"([^"]*)", [^)]*O_(?:WRONLY|RDWR|CREAT)', trace)
    assert f"{folder}/journal" in opened, f"the journal is written: {opened}"
    # What a journal is called until a rotation is complete lies beside it.
    unfinished = f"{folder}/journal.unfinished"
    elsewhere = set(opened) - {f"{folder}/journal", unfinished, "/dev/null"}
    if elsewhere:
        raise SystemExit(f"the program writes where it may not, also in a pod: {', '.join(sorted(elsewhere))}")
    changed = re.findall(r"\b(?:mkdir|unlink|rename|link|symlink|mknod|chmod|chown)(?:at2?)?\(.*", trace)
    changed = [call for call in changed if f'"{unfinished}"' not in call]
    if changed:
        raise SystemExit(f"the program changes the file system: {changed[0]}")
    print(f"{len(made)} kinds of system calls, none forbidden; sockets: {', '.join(sorted(families))}")


def main():
    if shutil.which("systemd-analyze") is None:
        skip("the unit is not checked: systemd-analyze is not here")
        return
    with tempfile.TemporaryDirectory() as name:
        verify(pathlib.Path(name))
        security()
        if shutil.which("strace") is None or not BINARY.exists():
            skip(f"system calls are not checked: that needs strace, and {BINARY} (make build, or cargo build)")
            return
        seccomp(pathlib.Path(name))


if __name__ == "__main__":
    main()
