//! The bounds that keep memory and sockets finite: the sections `upstream` and `limits`, threads, and the way out.
//!
//! Each value has a least and a greatest. What must fit together is checked only where both values can be trusted.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    ClientCertificate, Limits, LogFormat, ProxyConfig, RouteConfig, Shutdown, UpstreamConfig,
    layers::DEFAULT,
    listeners::file_path,
    origin::host_name,
    quantity::{boolean, count, duration, show_duration, size},
    reader::Reader,
    schema::MAX_THREADS,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a time-out may be: shorter only fails, longer only hides.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(600);
/// How long an idle connection may be kept.
const IDLE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);
/// Pingora counts an inbound connection's idle time in whole seconds.
const INBOUND_IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// A body is held whole in memory, several at once.
const BODY: RangeInclusive<u64> = 1..=16 * MIB;
/// What the shutdown needs after the last exchange's deadline, to write its answer and its log line.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);

/// Reads the section `upstream`, but for the URLs and the `proxy`, which has been read.
pub(super) fn read_upstream(
    reader: &mut Reader<'_>,
    proxy: Option<Option<ProxyConfig>>,
    routes: Option<&[RouteConfig]>,
) -> Option<UpstreamConfig> {
    let mut time =
        |name, bounds| reader.required(&format!("upstream.{name}"), |text| duration(text, bounds));
    let connect_timeout = time("connect_timeout", TIMEOUT);
    let tls_handshake_timeout = time("tls_handshake_timeout", TIMEOUT);
    let idle_timeout = time("idle_timeout", IDLE);
    let idle_connections = reader.required("upstream.idle_connections", |t| count(t, 0..=65_536));
    let attempts_in_flight =
        reader.required("upstream.attempts_in_flight", |t| count(t, 1..=1_000_000));
    let ca_file = reader.optional("upstream.ca_file", file_path);
    let client_certificate = reader.pair(
        ("upstream.client_certificate_file", file_path),
        ("upstream.client_key_file", file_path),
    );
    let server_name = server_name(reader, routes);
    let max_response_bytes = reader.required("upstream.max_response_bytes", |t| size(t, BODY));
    Some(UpstreamConfig {
        connect_timeout: connect_timeout?,
        tls_handshake_timeout: tls_handshake_timeout?,
        idle_timeout: idle_timeout?,
        idle_connections: idle_connections?,
        attempts_in_flight: attempts_in_flight?,
        ca_file: ca_file?,
        client_certificate: client_certificate?
            .map(|(certificate, key)| ClientCertificate { certificate, key }),
        server_name: server_name?,
        proxy: proxy?,
        max_response_bytes: max_response_bytes?,
    })
}

/// One name can be that of one host only.
fn server_name(reader: &mut Reader<'_>, routes: Option<&[RouteConfig]>) -> Option<Option<String>> {
    const KEY: &str = "upstream.server_name";
    let name = reader.optional(KEY, host_name)?;
    let mut hosts = routes.into_iter().flatten().map(|r| &r.upstream.host);
    let first = hosts.next();
    if name.is_some() && hosts.any(|host| Some(host) != first) {
        reader.reject(
            KEY,
            "is one name, and the enabled routes go to several hosts; leave it out, or set upstream.url",
        );
        return None;
    }
    Some(name)
}

/// Reads the section `limits`. `max_response_bytes` is the upstream's, if it could be read.
pub(super) fn read_limits(
    reader: &mut Reader<'_>,
    max_response_bytes: Option<usize>,
) -> Option<Limits> {
    let mut bytes =
        |name, bounds| reader.required(&format!("limits.{name}"), |text| size(text, bounds));
    let body_bytes = bytes("body_bytes", BODY);
    let header_bytes = bytes("header_bytes", KIB..=256 * KIB);
    let target_bytes = bytes("target_bytes", 64..=64 * KIB);
    let buffered_bytes = bytes("buffered_bytes", 1..=65_536 * MIB);
    let mut time =
        |name, bounds| reader.required(&format!("limits.{name}"), |text| duration(text, bounds));
    let header_deadline = time("header_deadline", TIMEOUT);
    let body_deadline = time("body_deadline", TIMEOUT);
    let queue_wait = time("queue_wait", Duration::ZERO..=Duration::from_secs(60));
    let inbound_idle_timeout = time("inbound_idle_timeout", INBOUND_IDLE);
    let mut number =
        |name, bounds| reader.required(&format!("limits.{name}"), |text| count(text, bounds));
    let exchanges_in_flight = number("exchanges_in_flight", 1..=1_000_000);
    let queue_length = number("queue_length", 0..=1_000_000);
    let inbound_connections = number("inbound_connections", 1..=1_000_000);
    let followers_per_key = number("followers_per_key", 0..=1_000_000);

    if let (Some(target), Some(header)) = (target_bytes, header_bytes)
        && target >= header
    {
        // The target is part of the head.
        reader.reject_order("limits.target_bytes", "limits.header_bytes");
    }
    if let (Some(buffered), Some(body), Some(response)) =
        (buffered_bytes, body_bytes, max_response_bytes)
        && buffered < body.saturating_add(response)
    {
        let remedy = "must be at least limits.body_bytes and upstream.max_response_bytes together, or the largest \
                      exchange could never run";
        reader.reject("limits.buffered_bytes", remedy);
    }
    Some(Limits {
        body_bytes: body_bytes?,
        header_bytes: header_bytes?,
        target_bytes: target_bytes?,
        header_deadline: header_deadline?,
        body_deadline: body_deadline?,
        exchanges_in_flight: exchanges_in_flight?,
        queue_length: queue_length?,
        queue_wait: queue_wait?,
        inbound_connections: inbound_connections?,
        inbound_idle_timeout: inbound_idle_timeout?,
        buffered_bytes: buffered_bytes?,
        followers_per_key: followers_per_key?,
    })
}

/// Reads `shutdown_delay` and `shutdown_limit`. By default the limit lets every enabled route's exchange end.
pub(super) fn read_shutdown(
    reader: &mut Reader<'_>,
    routes: Option<&[RouteConfig]>,
    warnings: &mut Vec<String>,
) -> Option<Shutdown> {
    const LONGEST: Duration = Duration::from_secs(3_600);
    let delay = reader.required("shutdown_delay", |t| duration(t, Duration::ZERO..=LONGEST));
    let limit = reader.optional("shutdown_limit", |t| duration(t, Duration::ZERO..=LONGEST));
    let (delay, limit) = (delay?, limit?);
    let longest = routes?.iter().map(|route| route.deadline).max()?;
    let needed = longest + SHUTDOWN_MARGIN;
    if limit.is_some_and(|limit| limit < needed) {
        warnings.push(format!(
            "shutdown_limit is shorter than {}, the longest deadline of an enabled route and {} more: a shutdown can \
             cut off an exchange whose outcome is then unknown",
            show_duration(needed),
            show_duration(SHUTDOWN_MARGIN)
        ));
    }
    Some(Shutdown {
        delay,
        limit: limit.unwrap_or(needed),
    })
}

/// Reads `threads` and `log_format`.
pub(super) fn read_process(reader: &mut Reader<'_>) -> Option<(usize, Option<LogFormat>, bool)> {
    let threads = reader.required("threads", |text| count(text, 1..=MAX_THREADS));
    let log_format = reader.optional("log_format", |text| match text {
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err("must be json or pretty".to_owned()),
    });
    let reload_on_change = reader.required("reload_on_change", boolean);
    Some((threads?, log_format?, reload_on_change?))
}

/// What `shutdown_limit` is where nobody set it, and how that is said.
pub(super) fn shown_default_limit(shutdown: &Shutdown) -> (String, String) {
    (
        show_duration(shutdown.limit),
        format!(
            "{DEFAULT}: the longest deadline and {} more",
            show_duration(SHUTDOWN_MARGIN)
        ),
    )
}
