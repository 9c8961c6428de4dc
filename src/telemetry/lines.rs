//! Log lines on their way to whoever reads them. A thread of its own writes them, many at once, so that no exchange waits for a reader
//! and, under load, a line costs neither a system call nor a wake-up.
//!
//! Where a sidecar has one processor, exchanges stand still while that thread runs: it takes lines as one buffer, and does little for each.

use std::{
    fmt,
    io::{self, Write},
    iter, mem,
    sync::Arc,
    thread,
    time::Duration,
};

use memchr::{memchr, memrchr};
use parking_lot::{Condvar, Mutex};

/// After each write, lines are let come together for so long: nobody reads faster, and at 10,000 exchanges a second it makes 50 of
/// them one.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that wait at most while as many are being written, 5,000 access lines of each; lines beyond are dropped.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// Bytes of a buffer that are kept whatever was last written.
const KEPT: usize = 16 * 1024;
/// Bytes that are written at once, as far as lines are not longer: what a pipe holds (pipe(7)). Where a write fails, so much is lost.
const AT_ONCE: usize = 64 * 1024;
/// For so long the last lines are waited for, because who should read them may have stopped to.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Takes lines; clones are of one.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: usize,
    /// Whether the thread sleeps until there is a line.
    idle: bool,
    /// The thread is to write what is there, and end; it has.
    over: bool,
    ended: bool,
}

/// Has the lines that are there written when it is dropped; none after it.
#[derive(Debug)]
pub(super) struct Writing(Lines);

impl Lines {
    /// Lines that a thread writes to `to`.
    ///
    /// # Errors
    /// The system refused the thread.
    pub(super) fn to(to: impl Write + Send + 'static) -> io::Result<(Self, Writing)> {
        let lines = Self(Arc::default());
        let shared = lines.0.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write(to))?;
        Ok((lines.clone(), Writing(lines)))
    }

    /// Takes a line, or several, unless too many wait already.
    pub(super) fn put(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.ended || waiting.lines.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        waiting.lines.extend_from_slice(line);
        if mem::take(&mut waiting.idle) {
            drop(waiting);
            self.0.changed.notify_all();
        }
    }

    /// Lines that nobody took, since the start.
    pub(super) fn dropped(&self) -> usize {
        self.0.waiting.lock().dropped
    }
}

impl Shared {
    fn write(&self, mut to: impl Write) {
        let mut lines = Vec::new();
        loop {
            let over = self.take(&mut lines);
            for some in at_once(&lines) {
                if to.write_all(some).and_then(|()| to.flush()).is_err() {
                    // Not told on standard error, which is mostly the same.
                    self.waiting.lock().dropped += some.iter().filter(|b| **b == b'\n').count();
                }
            }
            if over {
                break;
            }
            // And where lines go on, but fewer.
            let written = lines.len();
            lines.clear();
            lines.shrink_to(KEPT.max(2 * written));
            thread::sleep(GATHER);
        }
        self.waiting.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for lines and takes all of them for `lines`, which is empty. Whether they are the last.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.lines.is_empty() && !waiting.over {
            waiting.idle = true;
            // What a rush took is given back, also where no line follows it.
            waiting.lines.shrink_to(KEPT);
            lines.shrink_to(KEPT);
            self.changed.wait(&mut waiting);
        }
        waiting.idle = false;
        mem::swap(&mut waiting.lines, lines);
        waiting.over
    }
}

/// Whole lines, of which each time as many as are written at once.
fn at_once(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let most = lines.len().min(AT_ONCE);
        let whole = memrchr(b'\n', &lines[..most]).or_else(|| memchr(b'\n', lines));
        let (some, rest) = lines.split_at(whole.map_or(lines.len(), |end| end + 1));
        lines = rest;
        (!some.is_empty()).then_some(some)
    })
}

impl Drop for Writing {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut waiting = shared.waiting.lock();
        waiting.over = true;
        shared.changed.notify_all();
        // Who does not read them by then has stopped to, and is not waited for.
        let still_writes = |waiting: &mut Waiting| !waiting.ended;
        (shared.changed).wait_while_for(&mut waiting, still_writes, LAST_LINES);
    }
}

/// One call, one line: as a formatter of `tracing-subscriber` writes.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Keeps each write apart, and begins none before it may.
    struct Reader {
        may: Receiver<()>,
        begun: Sender<usize>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reader {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            self.begun.send(lines.len()).expect("the test waits");
            self.may.recv().map_err(io::Error::other)?;
            self.read.lock().extend_from_slice(lines);
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stage {
        lines: Lines,
        writing: Writing,
        may: Sender<()>,
        begun: Receiver<usize>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Stage {
        fn set() -> Self {
            let ((may, is_let), (tell, begun)) = (channel(), channel());
            let read = Arc::default();
            let (lines, writing) = Lines::to(Reader {
                may: is_let,
                begun: tell,
                read: Arc::clone(&read),
            })
            .expect("a thread");
            // From here on a line has to wake it.
            while !lines.0.waiting.lock().idle {
                thread::yield_now();
            }
            Self {
                lines,
                writing,
                may,
                begun,
                read,
            }
        }
    }

    #[test]
    fn lines_that_come_while_others_are_written_are_one_write_in_order() {
        let stage = Stage::set();
        stage.lines.put(b"one\n");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(4));
        for line in ["two\n", "three\n"] {
            stage.lines.put(line.as_bytes());
        }
        stage.may.send(()).expect("it waits");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(10));
        stage.may.send(()).expect("it waits");
        drop(stage.writing);
        assert_eq!(*stage.read.lock(), b"one\ntwo\nthree\n");
        assert_eq!(stage.lines.dropped(), 0);
    }

    #[test]
    fn who_writes_waits_for_no_reader_and_what_is_too_much_is_dropped_and_counted() {
        let stage = Stage::set();
        stage.lines.put(b"first\n");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(6));
        // From here on nothing is taken.
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let room = MOST_WAITING / line.len();
        for _ in 0..room + 5 {
            stage.lines.put(&line);
        }
        assert_eq!(stage.lines.dropped(), 5);
        for _ in 0..=MOST_WAITING / AT_ONCE {
            stage.may.send(()).expect("it waits");
        }
        drop(stage.writing);
        assert_eq!(stage.lines.dropped(), 5);
        let read = stage.read.lock();
        assert_eq!(read.len(), 6 + MOST_WAITING);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_those_after_them_are_tried() {
        let stage = Stage::set();
        stage.lines.put(b"one\ntwo\n");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(8));
        stage.lines.put(b"three\n");
        drop(stage.may);
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(6));
        drop(stage.writing);
        assert_eq!(stage.lines.dropped(), 3);
    }

    #[test]
    fn what_is_there_at_the_end_is_written_before_it_is_over() {
        let stage = Stage::set();
        stage.may.send(()).expect("taken later");
        stage.may.send(()).expect("taken later");
        stage.lines.put(b"one\n");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(4));
        stage.lines.put(b"last\n");
        drop(stage.writing);
        assert_eq!(*stage.read.lock(), b"one\nlast\n");
    }

    #[test]
    fn who_stopped_reading_does_not_hold_up_the_end() {
        let stage = Stage::set();
        stage.lines.put(b"one\n");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(4));
        let (tell, ended) = channel();
        let writing = stage.writing;
        thread::spawn(move || {
            drop(writing);
            tell.send(()).expect("the test waits");
        });
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(()));
        assert!(stage.read.lock().is_empty());
    }

    #[test]
    fn lines_after_the_end_are_dropped_and_counted() {
        let stage = Stage::set();
        drop(stage.writing);
        stage.lines.put(b"late\n");
        assert_eq!(stage.lines.dropped(), 1);
    }

    #[test]
    fn what_a_rush_took_is_given_back_when_it_is_over() {
        let stage = Stage::set();
        let rush = vec![b'\n'; MOST_WAITING];
        for _ in at_once(&rush) {
            stage.may.send(()).expect("taken later");
        }
        stage.lines.put(b"first\n");
        assert_eq!(stage.begun.recv_timeout(PATIENCE), Ok(6));
        stage.lines.put(&rush);
        stage.may.send(()).expect("taken later");
        let waiting = || stage.lines.0.waiting.lock();
        while !waiting().idle {
            thread::yield_now();
        }
        assert!(waiting().lines.capacity() <= KEPT);
    }

    #[test]
    fn what_a_rush_took_is_given_back_while_lines_go_on() {
        let stage = Stage::set();
        let rush = vec![b'\n'; MOST_WAITING];
        let room = || stage.lines.0.waiting.lock().lines.capacity();
        // Written in turns by two buffers.
        for lines in [&rush[..], b"two\n", b"three\n", b"four\n"] {
            stage.lines.put(lines);
            for _ in at_once(lines) {
                let begun = stage.begun.recv_timeout(PATIENCE);
                assert!(begun.is_ok());
                stage.may.send(()).expect("it waits");
            }
        }
        assert!(room() <= KEPT, "{}", room());
    }

    proptest! {
        #[test]
        fn what_is_written_at_once_are_whole_lines_and_none_is_missing(lengths in prop::collection::vec(0..AT_ONCE * 2, 0..6)) {
            let lines: Vec<u8> = lengths.iter().flat_map(|n| [vec![b'x'; *n], vec![b'\n']].concat()).collect();
            let parts: Vec<&[u8]> = at_once(&lines).collect();
            prop_assert_eq!(parts.concat(), lines.clone());
            for part in parts {
                prop_assert!(part.ends_with(b"\n"));
                let is_one = part.iter().filter(|b| **b == b'\n').count() == 1;
                prop_assert!(part.len() <= AT_ONCE || is_one);
            }
        }
    }
}
