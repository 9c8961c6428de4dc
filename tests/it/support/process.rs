//! A child process whose output is kept whole and whose every wait has an end.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A running process. It is killed when dropped.
pub struct Process {
    child: Child,
    output: Arc<Output>,
}

/// A process that ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` where a signal ended it.
    pub status: Option<i32>,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: Vec<u8>,
}

#[derive(Default)]
struct Output {
    streams: Mutex<Streams>,
    changed: Condvar,
}

#[derive(Default)]
struct Streams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: usize,
}

impl Process {
    /// Starts `command` with `input` on its standard input.
    pub fn start(mut command: Command, input: &[u8]) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} should start: {e}", command.get_program()));
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        output.collect(stdout, |s| &mut s.stdout);
        output.collect(stderr, |s| &mut s.stderr);
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // A thread of its own: a program may write much before it reads, or end without reading.
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        Self { child, output }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.is_ok_and(|s| s.success()), "the signal should be sent");
    }

    /// All output so far, standard output first.
    pub fn output(&self) -> Vec<u8> {
        let streams = self.output.streams();
        [&streams.stdout[..], &streams.stderr[..]].concat()
    }

    /// Waits until `enough` finds what it seeks among the lines of standard output. `Err` is the output where the
    /// process ended before, or `patience` did.
    pub fn wait_until<T>(
        &self,
        patience: Duration,
        mut enough: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T, String> {
        let until = Instant::now() + patience;
        let mut streams = self.output.streams();
        loop {
            if let Some(found) = enough(&lines(&streams.stdout)) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if streams.ended == 2 || left.is_zero() {
                let all = [&streams.stdout[..], &streams.stderr[..]].concat();
                return Err(String::from_utf8_lossy(&all).into_owned());
            }
            let waited = self.output.changed.wait_timeout(streams, left);
            streams = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end, at most `patience`: then it is killed and the test fails.
    pub fn end(mut self, patience: Duration) -> Ended {
        let streams = self.output.streams();
        let (streams, waited) = self
            .output
            .changed
            .wait_timeout_while(streams, patience, |s| s.ended < 2)
            .unwrap_or_else(PoisonError::into_inner);
        let stdout = streams.stdout.clone();
        let stderr = streams.stderr.clone();
        drop(streams);
        if waited.timed_out() {
            let _ = self.child.kill();
            let ended = Ended {
                status: None,
                stdout,
                stderr,
            };
            panic!("the process should have ended: {}", ended.output());
        }
        // Both pipes are closed: the process is gone or about to be.
        let status = self.child.wait().expect("our own child").code();
        Ended {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Standard output and error as text.
    pub fn output(&self) -> String {
        let all = [&self.stdout[..], &self.stderr[..]].concat();
        String::from_utf8_lossy(&all).into_owned()
    }
}

impl Output {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        // A test that fails while it looks at the output still shows it.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(
        self: &Arc<Self>,
        from: impl Read + Send + 'static,
        of: fn(&mut Streams) -> &mut Vec<u8>,
    ) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                of(&mut output.streams()).append(&mut line);
                output.changed.notify_all();
            }
            output.streams().ended += 1;
            output.changed.notify_all();
        });
    }
}

/// Runs `program` to its end.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A], input: &[u8]) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments);
    Process::start(command, input).end(Duration::from_secs(60))
}

/// Whether a program of this name can be run with `arguments`.
pub fn is_installed(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}
