//! Writes log lines in batches: one system call, and one wake-up of the thread that writes, for many lines.
//!
//! A line waits for [`GATHER`] at most. Nothing is held back without a limit in bytes.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

/// After each batch, lines are let come together for so long: nobody reads faster, and at 10,000 exchanges a second it makes
/// 50 of them one.
const GATHER: Duration = Duration::from_millis(5);
/// A batch is written when it is as large as a pipe's buffer (pipe(7)).
const LARGEST: usize = 64 * 1024;

/// A writer whose flush writes what came since the last, then pauses. For a thread of its own.
#[derive(Debug)]
pub(super) struct Batched<W> {
    to: W,
    lines: Vec<u8>,
}

impl<W: Write> Batched<W> {
    pub(super) fn to(to: W) -> Self {
        Self {
            to,
            lines: Vec::new(),
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let written = self.to.write_all(&self.lines);
        // Also where it failed: whoever reads again must not get half a line twice.
        self.lines.clear();
        written
    }
}

impl<W: Write> Write for Batched<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.len() + line.len() > LARGEST {
            self.pass_on()?;
        }
        self.lines.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        self.to.flush()?;
        thread::sleep(GATHER);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps each write apart.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_between_two_flushes_are_one_write_in_order() {
        let mut batched = Batched::to(Writes::default());
        for line in ["one\n", "two\n", "three\n"] {
            batched.write_all(line.as_bytes()).expect("kept");
        }
        assert!(batched.to.0.is_empty());
        batched.flush().expect("written");
        batched.write_all(b"four\n").expect("kept");
        batched.flush().expect("written");
        assert_eq!(
            batched.to.0,
            [b"one\ntwo\nthree\n".to_vec(), b"four\n".to_vec()]
        );
    }

    #[test]
    fn a_batch_is_written_before_it_grows_beyond_its_limit() {
        let mut batched = Batched::to(Writes::default());
        let line = vec![b'x'; LARGEST / 3];
        for _ in 0..4 {
            batched.write_all(&line).expect("kept or written");
        }
        assert_eq!(batched.to.0.len(), 1);
        assert_eq!(batched.to.0[0].len(), line.len() * 3);
    }
}
