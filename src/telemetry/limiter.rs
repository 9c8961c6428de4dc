//! Warnings that repeat: each is written a few times a minute, and then counted.
//!
//! An outage, or a stranger who knocks at the door a thousand times a second, must not bury the line that says what is wrong.
//! What was left out is told with the next one of its kind, or after a while by itself.

use std::{
    cell::Cell,
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::layer::{Context, Filter};

/// Of each kind so many are written in a [`WINDOW`].
const WRITTEN: u32 = 10;
/// Then it begins anew.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Kinds that are known at once: places in the code, of which there are fewer.
const KINDS: usize = 1024;
/// Of a message this many characters tell what was left out.
const SAMPLE: usize = 200;

/// What becomes of warnings and errors.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<u64, Kind>>);

/// Warnings from one place in the code.
#[derive(Debug)]
struct Kind {
    began: Instant,
    written: u32,
    left_out: u64,
    /// The first that was left out, as far as its message.
    sample: String,
}

/// How many of a kind were left out, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    pub(super) sample: String,
}

thread_local! {
    /// What was left out before the event that this thread is about to write.
    static BEFORE: Cell<u64> = const { Cell::new(0) };
}

/// How many of its kind were left out before the event that is being written, asked once.
pub(super) fn left_out_before() -> Option<u64> {
    Some(BEFORE.take()).filter(|count| *count > 0)
}

impl Limiter {
    /// Whether a warning of that kind is written at `now`; `sample` is asked for where it is the first that is not.
    /// `tell` has the next one that is written tell of those before.
    fn passes(&self, kind: u64, now: Instant, tell: bool, sample: impl FnOnce() -> String) -> bool {
        let mut kinds = self.0.lock();
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            return true;
        }
        let kind = match kinds.entry(kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Kind {
                began: now,
                written: 0,
                left_out: 0,
                sample: String::new(),
            }),
        };
        if now.duration_since(kind.began) >= WINDOW {
            (kind.began, kind.written) = (now, 0);
        }
        if kind.written < WRITTEN {
            kind.written += 1;
            if tell {
                BEFORE.set(std::mem::take(&mut kind.left_out));
            }
            return true;
        }
        if kind.left_out == 0 {
            kind.sample = sample();
        }
        kind.left_out += 1;
        false
    }

    /// Takes what was left out and not told of: of kinds whose window is over, or of all.
    pub(super) fn take(&self, now: Instant, all: bool) -> Vec<LeftOut> {
        let mut kinds = self.0.lock();
        let over = |kind: &&mut Kind| all || now.duration_since(kind.began) >= WINDOW;
        let told = kinds
            .values_mut()
            .filter(over)
            .filter(|kind| kind.left_out > 0);
        told.map(|kind| LeftOut {
            count: std::mem::take(&mut kind.left_out),
            sample: std::mem::take(&mut kind.sample),
        })
        .collect()
    }
}

/// Targets of lines that each say something else, or that must not be missed: they are always written.
const ALWAYS: [&str; 3] = [PANIC, CONFIGURATION, LEFT_OUT];
/// The target of panics: each has a place of its own.
pub(crate) const PANIC: &str = "ingo_signing_proxy::panic";
/// The target of warnings about the configuration: each is another.
pub(crate) const CONFIGURATION: &str = "ingo_signing_proxy::configuration";
/// The target of what tells of lines that were left out.
pub(super) const LEFT_OUT: &str = "ingo_signing_proxy::left_out";

/// A limiter as a filter: shared, so that what it left out can be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiting {
    pub(super) limiter: &'static Limiter,
    /// Whether the lines themselves tell what was left out before them.
    pub(super) lines_tell: bool,
}

impl<S: Subscriber> Filter<S> for Limiting {
    fn enabled(&self, _metadata: &tracing::Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        // What comes over from `log` has one place in the code for each level, and its origin in its fields.
        let over_from_log = event.normalized_metadata();
        let metadata = over_from_log.as_ref().unwrap_or_else(|| event.metadata());
        let mut kind = DefaultHasher::new();
        event.metadata().callsite().hash(&mut kind);
        (metadata.target(), metadata.file(), metadata.line()).hash(&mut kind);
        if ALWAYS.contains(&metadata.target()) {
            return true;
        }
        self.limiter
            .passes(kind.finish(), Instant::now(), self.lines_tell, || {
                let mut message = Message::default();
                event.record(&mut message);
                message.0
            })
    }
}

/// The message of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").chars().take(SAMPLE).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_some_are_written_in_a_minute_and_the_rest_is_counted() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let passes = |kind, at| limiter.passes(kind, at, true, || format!("kind {kind}"));
        let written = (0..25).filter(|_| passes(1, now)).count();
        assert_eq!(written, 10);
        assert_eq!(left_out_before(), None);
        assert!(passes(2, now), "another kind is another matter");
        assert_eq!(limiter.take(now, false), []);

        let later = now + WINDOW;
        // Where lines do not tell, nothing is lost by writing one.
        assert!(limiter.passes(1, later, false, String::new));
        assert_eq!(left_out_before(), None);
        assert!(passes(1, later));
        assert_eq!(left_out_before(), Some(15));
        assert_eq!(left_out_before(), None, "told once");

        let written = (0..10).filter(|_| passes(1, later)).count();
        assert_eq!(written, 8, "two were written before");
        let untold = LeftOut {
            count: 2,
            sample: "kind 1".to_owned(),
        };
        assert_eq!(limiter.take(later, false), []);
        assert_eq!(limiter.take(later + WINDOW, false), [untold]);
        assert_eq!(limiter.take(later + WINDOW, true), []);
    }
}
