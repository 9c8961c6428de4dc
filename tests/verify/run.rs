//! Running the scripts and the binary.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The secret that the scripts sign with, and a canary: no output may hold it.
pub(crate) const SECRET: &str = "correct horse battery staple";
/// Its owner.
pub(crate) const USERNAME: &str = "acme";
/// When the scripts sign, and the command judges.
pub(crate) const DATE: &str = "Fri, 17 Jan 2020 19:59:29 GMT";

/// What a run of the binary left.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A directory with the secret in a file, as `echo` writes it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory"));
        place.write("secret", format!("{SECRET}\n").as_bytes());
        place
    }

    /// Writes a file and says where it is.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("a file can be written there");
        path
    }

    /// Runs `verify` with the secret, at [`DATE`].
    pub(crate) fn verify(&self, more: &[&str], input: &[u8]) -> Ran {
        let secret = self.0.path().join("secret");
        let secret = secret.to_str().expect("UTF-8");
        let required = [
            "--secret-file",
            secret,
            "--username",
            USERNAME,
            "--at",
            DATE,
        ];
        verify(&[&required, more].concat(), input)
    }
}

/// Runs `verify` with `arguments` alone.
pub(crate) fn verify(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"))
        .arg("verify")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A command that ends before it reads, for want of a secret, breaks the pipe.
    let _written = child.stdin.take().expect("piped").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        status: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// What the script `name` prints, or `None` where there is no python3.
pub(crate) fn signed_by(name: &str) -> Option<Vec<u8>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/broken_signers")
        .join(name)
        .with_extension("py");
    let output = Command::new("python3")
        .arg(&script)
        .envs([
            ("INGO_SECRET", SECRET),
            ("INGO_USERNAME", USERNAME),
            ("INGO_DATE", DATE),
        ])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            #[expect(
                clippy::print_stderr,
                reason = "a test that checks nothing must say so"
            )]
            {
                eprintln!(
                    "\n*** SKIPPED: there is no python3, so {name}.py was not run and nothing was checked ***\n"
                );
            }
            return None;
        }
        Err(error) => panic!("python3 cannot be run: {error}"),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {complaint}");
    Some(output.stdout)
}

/// Where a request's body begins.
pub(crate) fn split(request: &[u8]) -> (&str, &[u8]) {
    let end = request
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head ends in an empty line");
    let head = std::str::from_utf8(&request[..end]).expect("a head is ASCII");
    (head, &request[end + 4..])
}

/// The signature in a request of one of the scripts.
pub(crate) fn signature(request: &[u8]) -> &str {
    let (head, _) = split(request);
    let (_, rest) = head.split_once("signature=\"").expect("a signature");
    rest.split('"').next().expect("a closing quote")
}
