//! What a page's commands find first in PATH: the real binary, told where to listen where the page leaves that to the defaults,
//! and in the place of programs that reach beyond the page's folder some that do not.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

/// Programs that would change the machine, or ask others.
const OFF_LIMITS: [&str; 9] = [
    "apt-get",
    "buildah",
    "docker",
    "journalctl",
    "podman",
    "ssh",
    "sudo",
    "systemctl",
    "chronyc",
];

/// A clone is what is here already.
const GIT: &str = "#!/usr/bin/env bash\n[ \"$1\" = clone ] && exec ln -s . \"${@: -1}\"\nexit 97\n";

/// What make builds is what is tested.
const MAKE: &str = "#!/usr/bin/env bash\ncase \"$*\" in build) ;; demo) exec ingo-signing-proxy demo ;; *) exit 97 ;; esac\n";

/// A page that needs more has to say so.
const REFUSE: &str =
    "#!/bin/sh\necho \"$0: a block that runs this says what it needs\" >&2; exit 97\n";

/// Puts all of them into the folder `bin` of a page. Where no upstream is named, it is the one at the port `ingo`.
pub fn install(page: &Path, address: Ipv4Addr, ingo: u16) {
    program(
        &page.join("bin/ingo-signing-proxy"),
        &shim(page, address, ingo),
    );
    program(&page.join("bin/pidof"), &pidof(page));
    program(&page.join("bin/git"), GIT);
    program(&page.join("bin/make"), MAKE);
    program(&page.join("bin/refuse"), REFUSE);
    for name in OFF_LIMITS {
        symlink("refuse", page.join("bin").join(name)).unwrap();
    }
}

/// What stands first in PATH: the real binary, told where to listen where the page leaves that to the defaults.
fn shim(page: &Path, address: Ipv4Addr, ingo: u16) -> String {
    format!(
        r#"#!/usr/bin/env bash
set -eu
given="$*"
configuration=
previous=
for argument in "$@"; do
  if [ "$previous" = --config ]; then configuration=$argument; fi
  previous=$argument
done
says() {{ [ -n "$configuration" ] && grep -qE "$1" "$configuration"; }}
case "${{1-}}" in
  serve | doctor)
    says 'address:' || {{
      export INGO_PROXY__LISTENERS__PROXY__ADDRESS="${{INGO_PROXY__LISTENERS__PROXY__ADDRESS-{address}:8646}}"
      export INGO_PROXY__LISTENERS__HEALTH__ADDRESS="${{INGO_PROXY__LISTENERS__HEALTH__ADDRESS-{address}:9646}}"
    }}
    says ' url:' || export INGO_PROXY__UPSTREAM__URL="${{INGO_PROXY__UPSTREAM__URL-http://{address}:{ingo}}}"
    ;;
  emulator)
    [[ "$given" == *--listen* ]] || set -- "$@" --listen {address}:8647
    [[ "$given" == *--control-listen* ]] || set -- "$@" --control-listen {address}:9647
    ;;
  demo)
    set -- "$@" --listen {address}:8646 --health-listen {address}:9646 --emulator-listen {address}:8647 --control-listen {address}:9647
    ;;
esac
: > "{page}/pids/$$-${{1-}}"
exec "{binary}" "$@"
"#,
        page = page.display(),
        binary = env!("CARGO_BIN_EXE_ingo-signing-proxy"),
    )
}

/// The page's own processes alone: others of this name may run on this machine.
fn pidof(page: &Path) -> String {
    format!(
        r#"#!/usr/bin/env bash
set -eu
found=()
for file in "{page}"/pids/*-serve; do
  pid=$(basename "$file"); pid=${{pid%-serve}}
  if [ -e "/proc/$pid" ]; then found+=("$pid"); fi
done
echo "${{found[@]}}"
"#,
        page = page.display(),
    )
}

/// Writes a program by another process: while this one has a file open for writing, a process that another thread starts has it,
/// too, and the system runs no program that someone writes to.
fn program(file: &Path, content: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(content.as_bytes()).unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success());
}
