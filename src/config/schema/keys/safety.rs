//! Keys that keep things finite and safe: limits, repeats, the journal, pacing; and what is measured.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    super::{Form, Key},
    ingo::{BODY, TIMEOUT},
    process::VARIABLE,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Pingora counts an inbound connection's idle time in whole seconds.
const INBOUND_IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// What repeats and a circuit breaker may wait.
const WAIT: Form = Form::Time(Duration::from_millis(1)..=Duration::from_secs(60));
/// Upper bounds of buckets in seconds; the longest is the longest deadline.
const SECONDS: Form = Form::Number(0.000_001..=600.0);
const MANY: RangeInclusive<usize> = 1..=1_000_000;
const ANY: RangeInclusive<usize> = 0..=1_000_000;

pub(super) const SECTIONS: &[(&str, &str)] = &[
    (
        "repeats",
        "The waits and the budget of repeats. Before a repeat the proxy waits a random part of backoff_base, doubled with each attempt, at most of backoff_cap, and at least what Retry-After says.",
    ),
    (
        "idempotency",
        "Where an Idempotency-Key comes from that the caller did not send. The caller's own always wins.",
    ),
    (
        "journal",
        "A record before and after each call that moves money, for `ingo-signing-proxy unresolved`. See docs/journal.md.",
    ),
    (
        "circuit_breaker",
        "An upstream that cannot be connected to is left alone for a while.",
    ),
    (
        "rate_limit",
        "Requests to Ingo per second, over all routes. Ingo advises at most 5 per client, across all of a client's machines.",
    ),
    (
        "clock",
        "Where Ingo's gateway refuses a request because its date is too far off, the date is corrected by the gateway's own and the request repeated once. This host's clock is not touched.",
    ),
    (
        "histograms",
        "The upper bounds of histograms, in seconds: 1 to 40 numbers, ascending.",
    ),
    (
        "tracing",
        "Spans of each exchange to a collector, by OTLP/HTTP. The variables OTEL_… are not read. See docs/observability.md.",
    ),
];

pub(super) fn keys() -> Vec<Key> {
    let mut keys = Vec::from(limits());
    keys.extend(repeats());
    keys.extend(pace());
    keys.extend(measures().map(Key::at_start));
    keys
}

fn limits() -> [Key; 12] {
    [
        Key::new("limits.body_bytes", BODY, "The largest request body.").or("1MiB"),
        Key::new("limits.header_bytes", Form::Size(KIB..=256 * KIB), "The largest request head, request line and headers. Over HTTP/2, 16 KiB at most, beyond which the stream is refused by HTTP/2 itself: 431 without a problem document or a log line.").or("32KiB").at_start(),
        Key::new("limits.target_bytes", Form::Size(64..=64 * KIB), "The longest request target; less than header_bytes.").or("8KiB"),
        Key::new("limits.header_deadline", TIMEOUT, "A request head must be complete this long after its first byte.").or("10s").at_start(),
        Key::new("limits.body_deadline", TIMEOUT, "A request body must be complete this long after its head.").or("10s"),
        Key::new("limits.exchanges_in_flight", Form::Count(MANY), "Exchanges that may run at once.").or("1024"),
        Key::new("limits.queue_length", Form::Count(ANY), "Exchanges that may wait for their turn.").or("256"),
        Key::new("limits.queue_wait", Form::Time(Duration::ZERO..=Duration::from_secs(60)), "How long one may wait for its turn.").or("100ms"),
        Key::new("limits.inbound_connections", Form::Count(MANY), "Connections that may be open on the proxy listener.").or("10000").at_start(),
        Key::new("limits.inbound_idle_timeout", Form::Time(INBOUND_IDLE), "An inbound connection without a request is closed after this long.").or("75s").at_start(),
        Key::new("limits.buffered_bytes", Form::Size(1..=65_536 * MIB), "Bytes of request and answer bodies held at once. At least body_bytes and upstream.max_response_bytes together.").or("64MiB").at_start(),
        Key::new("limits.followers_per_key", Form::Count(ANY), "Exchanges that may wait for one with the same Idempotency-Key.").or("64"),
    ]
}

fn repeats() -> [Key; 9] {
    [
        Key::new("repeats.backoff_base", WAIT, "The first wait, at most backoff_cap.").or("50ms"),
        Key::new("repeats.backoff_cap", WAIT, "The longest wait.").or("2s"),
        Key::new("repeats.budget", Form::Count(0..=100_000), "Repeats that can be made at once, before exchanges have earned more.").or("100"),
        Key::new("repeats.budget_percent", Form::Count(0..=100), "Repeats per hundred exchanges in the long run, so that an outage is not multiplied.").or("20"),
        Key::new("idempotency.policy", Form::Word(&["generate", "derive"]), "generate: a new V4 UUID per exchange. derive: on create_session, from tenant, environment, route and body, so that a service that posts the same bytes again within 2 hours gets its first session back. See docs/idempotency.md.").or("generate"),
        Key::file("idempotency.secret_file", "/run/secrets/ingo/idempotency", "derive needs a secret of its own that never changes: with another one every key is another. One of the two.").or_else("not set: only derive needs one"),
        Key::new("idempotency.secret_env", VARIABLE, "Or the environment variable that holds it.").such_as("INGO_IDEMPOTENCY_SECRET").or_else("not set: only derive needs one"),
        Key::file("journal.file", "/var/lib/ingo-signing-proxy/journal", "The file that is appended to. Default: none, and a warning where a route moves money.").or_else("not set: no journal is kept").at_start(),
        Key::boolean("journal.fsync", true, "Whether a record must be on the disk before the request is sent.").at_start(),
    ]
}

fn pace() -> [Key; 6] {
    [
        Key::new(
            "circuit_breaker.failures",
            Form::Count(0..=10_000),
            "Consecutive failures to connect that open it; 0: never. A connection that a deadline or a caller that hangs up cut off counts as one after 1.5 s.",
        )
        .or("5"),
        Key::new(
            "circuit_breaker.open_for",
            WAIT,
            "Then one probe is let through.",
        )
        .or("5s"),
        Key::new(
            "rate_limit.per_second",
            Form::Count(MANY),
            "How many a second in the long run.",
        )
        .or_off()
        .or("off"),
        Key::new(
            "rate_limit.burst",
            Form::Count(MANY),
            "Requests that may be sent at once.",
        )
        .or("5"),
        Key::boolean("clock.correct", true, "Whether dates are corrected so."),
        Key::new(
            "clock.max_correction",
            Form::Time(Duration::from_secs(1)..=Duration::from_secs(3_600)),
            "A clock that is off by more than this must be set right.",
        )
        .or("15m"),
    ]
}

fn measures() -> [Key; 6] {
    [
        Key::list("histograms.own_buckets", SECONDS, "Of our own work: overhead_seconds.")
            .or("0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1"),
        Key::list("histograms.ingo_buckets", SECONDS, "Of exchange_duration_seconds and ingo_processing_seconds. phase_duration_seconds has both.")
            .or("0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90"),
        Key::new("tracing.otlp_endpoint", Form::Text("http:// or https:// and host[:port], with the path or without", "^https?://[^?#@ ]+$"), "Where the collector is; without a path it is /v1/traces. Default: no spans are sent.").such_as("http://127.0.0.1:4318/v1/traces").or_else("not set: no spans are sent"),
        Key::new("tracing.sample_ratio", Form::Number(0.0..=1.0), "Of the traces that begin here, so many are recorded. Where a caller sends traceparent, the caller has decided.").or("1"),
        Key::new("tracing.service_name", Form::Text("1 to 100 visible characters", "^[!-~]{1,100}$"), "What the collector knows us as.").or("ingo-signing-proxy"),
        Key::file("tracing.headers_file", "/run/secrets/otlp/headers", "A file with header fields for the collector, such as credentials: Name: value, a line each. Read anew for each batch."),
    ]
}
