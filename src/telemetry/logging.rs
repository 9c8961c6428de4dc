//! Log lines: one JSON object each, or readable text on a terminal, to standard output.
//!
//! A thread of its own writes them: where whoever reads standard output stops reading, lines are dropped and counted, and no
//! exchange waits.
//!
//! `RUST_LOG` sets levels for this program only, and the admin listener sets them anew. Everything else (Pingora, h2, rustls) is capped at `info`, because at
//! `debug` Pingora prints request headers, and with them signatures.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::{LazyLock, OnceLock},
    time::Instant,
};

use serde::Serialize;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, filter_fn},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime as Rfc3339},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
};

use super::batched::Batched;
use super::limiter::{LEFT_OUT, LeftOut, Limiter, Limiting, left_out_before};
use crate::config::LogFormat;

/// Modules of this program; everything else is foreign and capped.
const OWN: &str = "ingo_signing_proxy";

/// Lines that wait to be written; more are dropped. At most about 8 MiB.
const WAITING_LINES: usize = 8192;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
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
/// A message for people where `directives` cannot be read.
pub fn set_levels(directives: Option<&str>) -> Result<(), String> {
    let Some(levels) = LEVELS.get() else {
        return Err("nothing is logged by this process, so there are no levels to set".to_owned());
    };
    let filter = match directives {
        // A slip such as `debgu` would be taken for a target, and silence everything else.
        Some(directives) => filter(directives).filter(|_| directives.split(',').all(has_level)),
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

/// Whether a directive ends with a level.
fn has_level(directive: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = directive.rsplit('=').next().unwrap_or_default().trim();
    LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known))
}

fn filter(directives: &str) -> Option<EnvFilter> {
    // Regular expressions over fields could take any time and memory to build, and there are no spans to have fields.
    EnvFilter::builder()
        .with_regex(false)
        .parse(directives)
        .ok()
}

/// Log lines dropped since the start, because standard output was not read fast enough.
pub fn dropped_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}

/// Writes what is still waiting when dropped.
#[derive(Debug)]
pub struct Logging {
    _flushed_on_drop: WorkerGuard,
}

/// Starts logging for the whole process, at `level` where `RUST_LOG` says nothing.
///
/// # Errors
/// A message for people where `RUST_LOG` cannot be read as EnvFilter directives.
pub fn start(format: Option<LogFormat>, level: &'static str) -> Result<Logging, String> {
    let at_start = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => directives,
        _ => level.to_owned(),
    };
    let levels = filter(&at_start)
        .ok_or("RUST_LOG cannot be read; write levels such as info or ingo_signing_proxy=debug")?;
    let terminal = io::stdout().is_terminal();
    let pretty = match format {
        Some(format) => format == LogFormat::Pretty,
        None => terminal,
    };
    let (levels, handle) = reload::Layer::new(levels);
    let filter = levels.and(filter_fn(is_within_cap)).and(Limiting {
        limiter: &LIMITER,
        lines_tell: !pretty,
    });
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(Batched::to(io::stdout()));
    // Where it is set already, so is the subscriber below, and this writer is not used.
    let _already_set = DROPPED.set(writer.error_counter());
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = if pretty {
        layer.compact().with_ansi(terminal).boxed()
    } else {
        layer.event_format(JsonLines).boxed()
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
        _flushed_on_drop: guard,
    })
}

fn is_within_cap(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with(OWN)
}

/// One JSON object a line: `time`, `level`, `target`, `message`, then the event's own fields.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line(Vec::with_capacity(USUAL_LINE));
        line.begin("time");
        line.0.push(b'"');
        Rfc3339.format_time(&mut Writer::new(&mut line))?;
        line.0.push(b'"');
        // What comes over from `log` carries its origin apart from the event's own metadata.
        let over_from_log = event.normalized_metadata();
        let metadata = over_from_log.as_ref().unwrap_or_else(|| event.metadata());
        line.put("level", metadata.level().as_str());
        line.put("target", metadata.target());
        event.record(&mut line);
        if let Some(count) = left_out_before() {
            line.put("left_out", &count);
        }
        line.0.extend_from_slice(b"}\n");
        writer.write_str(std::str::from_utf8(&line.0).map_err(|_| fmt::Error)?)
    }
}

/// Bytes of an access line, about.
const USUAL_LINE: usize = 1024;

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
        let before = if self.0.is_empty() { b'{' } else { b',' };
        self.0.push(before);
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.begin(name);
        // No text, number or bool fails to serialise, and nothing fails that writes to memory.
        let _infallible = serde_json::to_writer(&mut self.0, value);
    }

    fn field<T: Serialize + ?Sized>(&mut self, field: &Field, value: &T) {
        // The origin of what comes over from `log` was told as our own fields already.
        if !field.name().starts_with("log.") {
            self.put(field.name(), value);
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, &value);
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
        self.field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, &format!("{value:?}"));
    }
}
