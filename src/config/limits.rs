//! The bounds that keep memory and sockets finite: the sections `upstream` and `limits`, threads, and the way out.
//!
//! The least and the greatest of each value stand in the table of keys. What must fit together is checked only where both
//! values can be trusted.

use std::time::Duration;

use super::{
    ClientCertificate, Limits, LogFormat, ProxyConfig, RouteConfig, Shutdown, UpstreamConfig,
    layers::DEFAULT, listeners::file_path, origin::host_name, quantity::show_duration,
    reader::Reader, schema,
};

/// What the shutdown needs after the last exchange's deadline, to write its answer and its log line.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);

/// Reads the section `upstream`, but for the URLs and the `proxy`, which has been read.
pub(super) fn read_upstream(
    reader: &mut Reader<'_>,
    proxy: Option<Option<ProxyConfig>>,
    routes: Option<&[RouteConfig]>,
) -> Option<UpstreamConfig> {
    let connect_timeout = reader.time("upstream.connect_timeout");
    let tls_handshake_timeout = reader.time("upstream.tls_handshake_timeout");
    let idle_timeout = reader.time("upstream.idle_timeout");
    let idle_connections = reader.count("upstream.idle_connections");
    let attempts_in_flight = reader.count("upstream.attempts_in_flight");
    let ca_file = reader.optional("upstream.ca_file", file_path);
    let client_certificate = reader.pair(
        ("upstream.client_certificate_file", file_path),
        ("upstream.client_key_file", file_path),
    );
    let server_name = server_name(reader, routes);
    let max_response_bytes = reader.size("upstream.max_response_bytes");
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
    let body_bytes = reader.size("limits.body_bytes");
    let header_bytes = reader.size("limits.header_bytes");
    let target_bytes = reader.size("limits.target_bytes");
    let buffered_bytes = reader.size("limits.buffered_bytes");
    let header_deadline = reader.time("limits.header_deadline");
    let body_deadline = reader.time("limits.body_deadline");
    let queue_wait = reader.time("limits.queue_wait");
    let inbound_idle_timeout = reader.time("limits.inbound_idle_timeout");
    let exchanges_in_flight = reader.count("limits.exchanges_in_flight");
    let queue_length = reader.count("limits.queue_length");
    let inbound_connections = reader.count("limits.inbound_connections");
    let followers_per_key = reader.count("limits.followers_per_key");

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
    let delay = reader.time("shutdown_delay");
    let limit = reader.optional("shutdown_limit", schema::time_at("shutdown_limit"));
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
    let threads = reader.count("threads");
    let log_format = reader.optional("log_format", |text| match text {
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err("must be json or pretty".to_owned()),
    });
    let reload_on_change = reader.boolean("reload_on_change");
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
