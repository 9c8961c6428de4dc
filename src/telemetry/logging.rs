//! Log lines: one JSON object each, or readable text on a terminal, to standard output.
//!
//! A thread of its own writes them: where whoever reads standard output stops reading, lines are dropped and counted, and no
//! exchange waits.
//!
//! `RUST_LOG` sets levels for this program only, and the admin listener sets them anew. Everything else (Pingora, h2, rustls) is capped at `info`, because at
//! `debug` Pingora prints request headers, and with them signatures.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
    sync::{LazyLock, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, filter_fn},
    layer::{Context, SubscriberExt as _},
    reload,
};

use super::{
    limiter::{LEFT_OUT, LeftOut, Limiter, Limiting, left_out_before},
    lines::{Lines, Writing},
};
use crate::{config::LogFormat, ingo::json, moment::rfc3339};

/// Modules of this program; everything else is foreign and capped.
const OWN: &str = "ingo_signing_proxy";

/// The line that says which levels were set. It is written whatever they are: who finds the log silent looks for it.
pub const LEVELS_SET: &str = "ingo_signing_proxy::levels_set";

static LINES: OnceLock<Lines> = OnceLock::new();
/// The levels in use, and how they are set anew.
static LEVELS: OnceLock<Levels> = OnceLock::new();
static LIMITER: LazyLock<Limiter> = LazyLock::new(Limiter::default);

struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    at_start: String,
}

/// The levels in use, as `RUST_LOG` would have them; empty where nothing is logged.
pub fn levels() -> String {
    let levels = LEVELS.get();
    let shown = levels.and_then(|levels| levels.handle.with_current(EnvFilter::to_string).ok());
    shown.unwrap_or_default()
}

/// Sets levels until they are set anew; `None`: those of the start.
///
/// # Errors
/// A message for people where `list` cannot be read.
pub fn set_levels(list: Option<&str>) -> Result<(), String> {
    let Some(levels) = LEVELS.get() else {
        return Err("nothing is logged by this process, so there are no levels to set".to_owned());
    };
    let filter = match list {
        // A slip such as `debgu` would be taken for a target, and silence everything else.
        Some(list) => {
            let mut of = directives(list).peekable();
            let are_levels = of.peek().is_some() && of.all(has_level);
            filter(list).filter(|_| are_levels)
        }
        None => filter(&levels.at_start),
    };
    let filter =
        filter.ok_or("cannot be read; write levels such as info or ingo_signing_proxy=debug")?;
    let set = levels.handle.reload(filter);
    set.map_err(|_| "the levels could not be set; try again".to_owned())
}

/// Tells of warnings that were left out because they repeated: those of a while ago, or all.
pub fn tell_left_out(all: bool) {
    for LeftOut { count, sample } in LIMITER.take(Instant::now(), all) {
        tracing::warn!(
            target: LEFT_OUT,
            count,
            like = sample,
            "more warnings like one above were left out"
        );
    }
}

/// What a list such as `RUST_LOG` has between its commas.
fn directives(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|d| !d.is_empty())
}

/// Whether a directive ends with a level.
fn has_level(directive: &str) -> bool {
    let level = directive.rsplit('=').next().unwrap_or_default();
    // Nothing would be a level, too.
    !level.is_empty() && level.parse::<LevelFilter>().is_ok()
}

/// Whether a directive is about lines of this program: a level alone is about all.
fn is_about_own(directive: &str) -> bool {
    let target = directive.split(['=', '[']).next().unwrap_or_default();
    let is_level = target == directive && has_level(directive);
    is_level || !target.is_empty() && (OWN.starts_with(target) || target.starts_with(OWN))
}

fn filter(list: &str) -> Option<EnvFilter> {
    // Regular expressions over fields could take any time and memory to build, and there are no spans to have fields.
    EnvFilter::builder().with_regex(false).parse(list).ok()
}

/// Log lines dropped since the start, because standard output was not read fast enough or could not be written to.
pub fn dropped_lines() -> usize {
    LINES.get().map_or(0, Lines::dropped)
}

/// Writes what is still waiting when dropped.
#[derive(Debug)]
pub struct Logging {
    /// Whether `RUST_LOG` names others only, or is a slip such as `warning`, so that nothing is logged here.
    pub is_for_others: bool,
    _written_on_drop: Writing,
}

/// Why nothing is logged.
#[derive(Debug)]
pub enum LoggingError {
    /// `RUST_LOG` is no list of EnvFilter directives.
    Levels,
    /// The system refused the thread that writes.
    Thread(io::Error),
}

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Levels => f.write_str(
                "RUST_LOG cannot be read; write levels such as info or ingo_signing_proxy=debug",
            ),
            Self::Thread(error) => write!(
                f,
                "the system refused the thread that writes log lines: {error}; raise the limit on threads (ulimit -u, TasksMax, pids.max)"
            ),
        }
    }
}

impl std::error::Error for LoggingError {}

/// Starts logging for the whole process, at `level` where `RUST_LOG` says nothing.
///
/// # Errors
/// [`LoggingError`].
pub fn start(format: Option<LogFormat>, level: &'static str) -> Result<Logging, LoggingError> {
    let at_start = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => directives,
        _ => level.to_owned(),
    };
    let is_for_others = !directives(&at_start).any(is_about_own);
    let levels = filter(&at_start).ok_or(LoggingError::Levels)?;
    let terminal = io::stdout().is_terminal();
    let pretty = match format {
        Some(format) => format == LogFormat::Pretty,
        None => terminal,
    };
    let (levels, handle) = reload::Layer::new(levels);
    let levels = levels.or(filter_fn(|metadata| metadata.target() == LEVELS_SET));
    let filter = levels.and(filter_fn(is_within_cap)).and(Limiting {
        limiter: &LIMITER,
        lines_tell: !pretty,
    });
    let (lines, writing) = Lines::to(io::stdout()).map_err(LoggingError::Thread)?;
    // Where it is set already, so is the subscriber below, and these are not used.
    let _already_set = LINES.set(lines.clone());
    let layer = if pretty {
        let layer = tracing_subscriber::fmt::layer().with_writer(move || lines.clone());
        layer.compact().with_ansi(terminal).boxed()
    } else {
        Json(lines).boxed()
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _first = LEVELS.set(Levels { handle, at_start });
        // The same cap once more, so that records over it are not even formatted.
        let _already_set = tracing_log::LogTracer::builder()
            .with_max_level(log::LevelFilter::Info)
            .init();
    }
    Ok(Logging {
        is_for_others,
        _written_on_drop: writing,
    })
}

fn is_within_cap(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with(OWN)
}

/// One JSON object a line: `time`, `level`, `target`, `message`, then the event's own fields.
struct Json(Lines);

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line(Vec::with_capacity(USUAL_LINE));
        line.begin("time");
        line.moment(SystemTime::now());
        // What comes over from `log` carries its origin apart from the event's own metadata.
        let over_from_log = event.normalized_metadata();
        let metadata = over_from_log.as_ref().unwrap_or_else(|| event.metadata());
        line.word("level", metadata.level().as_str());
        line.word("target", metadata.target());
        event.record(&mut line);
        if let Some(count) = left_out_before() {
            line.put("left_out", &count);
        }
        line.0.extend_from_slice(b"}\n");
        self.0.put(&line.0);
    }
}

/// Bytes of an access line, about.
const USUAL_LINE: usize = 1024;

/// Seconds up to here have all their nanoseconds in a double.
const LONGEST_EXACT: f64 = 1e6;

/// A JSON object that is being written, as text.
struct Line(Vec<u8>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl Line {
    /// Begins a member. Names are identifiers of the code: none needs escaping.
    fn begin(&mut self, name: &str) {
        let before = if self.0.is_empty() { b"{\"" } else { b",\"" };
        self.0.extend_from_slice(before);
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// An identifier of the code: none needs escaping.
    fn word(&mut self, name: &str, word: &str) {
        self.begin(name);
        self.0.push(b'"');
        self.0.extend_from_slice(word.as_bytes());
        self.0.push(b'"');
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.begin(name);
        // No text, number or bool fails to serialise, and nothing fails that writes to memory.
        let _infallible = serde_json::to_writer(&mut self.0, value);
    }

    /// A moment to the microsecond (RFC 3339), in UTC.
    fn moment(&mut self, at: SystemTime) {
        thread_local! {
            /// A second and its text up to the point: of a second's lines all but the first have the same.
            static SECOND: RefCell<(Duration, String)> = const { RefCell::new((Duration::MAX, String::new())) };
        }
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = Duration::from_secs(since.as_secs());
        SECOND.with_borrow_mut(|(of, text)| {
            if *of != whole {
                *text = rfc3339(at);
                text.truncate("YYYY-MM-DDThh:mm:ss".len());
                *of = whole;
            }
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
        });
        self.0.push(b'.');
        self.0
            .extend_from_slice(&digits::<6>(since.subsec_micros()));
        self.0.extend_from_slice(b"Z\"");
    }

    /// A duration of less than [`LONGEST_EXACT`], to the last nanosecond that it has.
    fn seconds(&mut self, seconds: f64) {
        // To the nearest, by what costs less than `round`.
        let nanoseconds = (seconds * 1e9 + 0.5) as u64;
        let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        match seconds {
            // As of nearly all: the machinery of `write!` costs more than the rest of this.
            0..=9 => self.0.extend_from_slice(&[b'0' + seconds as u8, b'.']),
            _ => drop(write!(self, "{seconds}.")),
        }
        let digits = digits::<9>(rest as u32);
        // One digit stays behind the point.
        let kept = digits.iter().rposition(|digit| *digit != b'0');
        self.0.extend_from_slice(&digits[..=kept.unwrap_or(0)]);
    }

    fn text(&mut self, field: &Field, write: impl FnOnce(&mut Escaped<'_>) -> fmt::Result) {
        if is_told(field) {
            self.begin(field.name());
            self.0.push(b'"');
            // Nothing fails that writes to memory.
            let _infallible = write(&mut Escaped(&mut self.0));
            self.0.push(b'"');
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, field: &Field, value: &T) {
        if is_told(field) {
            self.put(field.name(), value);
        }
    }
}

/// The last `N` digits of a number, as text.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    const PAIRS: [[u8; 2]; 100] = pairs();
    let mut digits = [b'0'; N];
    // Two at a time, because divisions are what costs here.
    for pair in digits.rchunks_mut(2) {
        let two = PAIRS[(number % 100) as usize];
        pair.copy_from_slice(&two[2 - pair.len()..]);
        number /= 100;
    }
    digits
}

/// The numbers of two digits, as text.
const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
}

/// The origin of what comes over from `log` was told as our own fields already.
fn is_told(field: &Field) -> bool {
    !field.name().starts_with("log.")
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name().ends_with("seconds") && (0.0..LONGEST_EXACT).contains(&value) {
            self.begin(field.name());
            self.seconds(value);
        } else {
            self.field(field, &value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| text.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, |text| write!(text, "{value:?}"));
    }
}

/// Text within a JSON string.
struct Escaped<'l>(&'l mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if json::is_plain(text) {
            self.0.extend_from_slice(text.as_bytes());
        } else {
            let quoted = serde_json::to_string(text).map_err(|_| fmt::Error)?;
            self.0
                .extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn seconds_are_written_to_the_nanosecond(below in 1_u32..=15, nanoseconds: u64) {
            // Of each length as many.
            let nanoseconds = nanoseconds % 10_u64.pow(below);
            let mut line = Line(Vec::new());
            line.seconds(Duration::from_nanos(nanoseconds).as_secs_f64());
            let text = String::from_utf8(line.0).expect("digits");
            let (seconds, rest) = text.split_once('.').expect("a point");
            let read: u64 = format!("{seconds}{rest:0<9}").parse().expect("a number");
            prop_assert!(serde_json::from_str::<f64>(&text).is_ok(), "{}", text);
            prop_assert_eq!(read, nanoseconds, "{}", text);
        }

        #[test]
        fn what_is_shown_stands_in_its_string_as_it_is(pieces in prop::collection::vec(any::<String>(), 0..4)) {
            let mut text = Vec::from(b"\"");
            for piece in &pieces {
                Escaped(&mut text).write_str(piece).expect("written to memory");
            }
            text.push(b'"');
            let read: String = serde_json::from_slice(&text).expect("one string");
            prop_assert_eq!(read, pieces.concat());
        }
    }

    #[test]
    fn a_moment_is_told_to_the_microsecond_also_across_seconds() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
        ] {
            let mut line = Line(Vec::new());
            line.moment(UNIX_EPOCH + Duration::from_micros(micros));
            assert_eq!(String::from_utf8(line.0), Ok(format!("\"{text}\"")));
        }
    }

    #[test]
    fn whole_seconds_keep_one_digit_behind_the_point() {
        for (seconds, text) in [
            (0.0, "0.0"),
            (1e-9, "0.000000001"),
            (2.5, "2.5"),
            (7.0, "7.0"),
        ] {
            let mut line = Line(Vec::new());
            line.seconds(seconds);
            assert_eq!(line.0, text.as_bytes());
        }
    }
}
