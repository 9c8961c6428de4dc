//! Keys of the way to Ingo: the upstream, the routes and what else passes.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    super::{Form, Key, route_key},
    process::HOST,
};
use crate::ingo::{Environment, Pattern, Product, Route};

/// What a time-out may be: shorter only fails, longer only hides.
pub(super) const TIMEOUT: Form = Form::Time(TIMEOUTS);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(600);
/// How long an idle connection may be kept.
const IDLE: Form = Form::Time(Duration::from_millis(10)..=Duration::from_secs(3_600));
/// A body is held whole in memory, several at once.
pub(super) const BODY: Form = Form::Size(1..=16 << 20);
const ORIGIN: Form = Form::Text(
    "https://host[:port], no path; http:// only to loopback",
    "^https?://[^/?#@ ]+/?$",
);
const HEADER: Form = Form::Text("a header's name", "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");
/// An authorized_url lives for 30 s: a new one would be no better than one that has more left than this.
const REFRESH: Form = Form::Time(Duration::from_secs(1)..=Duration::from_secs(25));

pub(super) const SECTIONS: &[(&str, &str)] = &[
    (
        "upstream.proxy",
        "The HTTP proxy of a corporate network, asked by CONNECT to let TLS through to https:// upstreams. Each of these keys that is not set is taken from the environment: HTTPS_PROXY (with its credentials) and NO_PROXY. See docs/network.md.",
    ),
    (
        "routes",
        "The paths that may be forwarded. The flag --routes names the whole set: those it names are enabled, all others not.",
    ),
];

pub(super) fn keys() -> Vec<Key> {
    let mut keys = Vec::from(upstream());
    keys.extend(Route::ALL.into_iter().flat_map(of_route));
    keys
}

fn upstream() -> [Key; 16] {
    [
        Key::new("upstream.url", ORIGIN, "All routes go to this host, whatever the environment. Default: each route goes to its product's host. The flag also overrides the routes' URLs, and the environment variable those of the file.")
            .flag("--upstream")
            .such_as("https://payapi-sandbox.ingo.money")
            .or_else("not set: see each route"),
        Key::new("upstream.connect_timeout", TIMEOUT, "A TCP connection may take this long to be made.").or("3s"),
        Key::new("upstream.tls_handshake_timeout", TIMEOUT, "Then the TLS handshake may take this long.").or("3s"),
        Key::new("upstream.idle_timeout", IDLE, "A connection without a request is closed after this long. Keep it below that of any NAT on the way.").or("30s"),
        Key::new("upstream.idle_connections", Form::Count(0..=65_536), "Connections kept for reuse, of all threads and upstreams together.").or("128"),
        Key::new("upstream.attempts_in_flight", Form::Count(1..=1_000_000), "Attempts at one upstream that may run at once; beyond them, overloaded at once.").or("1024"),
        Key::file("upstream.ca_file", "/etc/ssl/certs/ca-certificates.crt", "PEM file of the roots to trust. Default: the system's. What is in this file and the next two may change at any time.").or_else("default: the system's roots"),
        Key::file("upstream.client_certificate_file", "/run/secrets/tls/client.crt", "With client_key_file: what is shown to an upstream that asks who we are. PEM files, both or neither."),
        Key::file("upstream.client_key_file", "/run/secrets/tls/client.key", "The private key of client_certificate_file, not encrypted."),
        Key::new("upstream.server_name", HOST, "The name that the upstream's certificate must bear, and that is asked for (SNI). Default: the host of its URL.")
            .such_as("payapi-sandbox.ingo.money")
            .or_else("default: the host of its URL"),
        Key::new("upstream.proxy.url", Form::Text("http://host:port", "^http://[^/?#@ ]+/?$"), "Which proxy; off: none, whatever the environment says.")
            .or_off()
            .such_as("http://proxy.example.com:3128")
            .or_else("not set: HTTPS_PROXY of the environment is not, either"),
        Key::list("upstream.proxy.no_proxy", Form::Text("host names (and all names below them), .names (only those below), *, IP addresses, networks such as 10.0.0.0/8; each but a network also with :PORT", "^[^ ]+$"), "Upstreams that are reached without it.")
            .such_as("[ingo.internal.example.com, .svc.cluster.local]")
            .without_default("not set: NO_PROXY of the environment, if that is"),
        Key::new("upstream.proxy.username", Form::Text("visible ASCII without a colon", "^[!-9;-~]+$"), "Who we are to it (Basic), with password_file. Both or neither.").such_as("ingo-signing-proxy"),
        Key::file("upstream.proxy.password_file", "/run/secrets/proxy/password", "Read anew for each connection, so it must be a regular file; one newline at its end is dropped."),
        Key::new("upstream.max_response_bytes", BODY, "The largest answer that is passed on.").or("1MiB"),
        Key::boolean("upstream.danger_allow_cleartext", false, "Whether http:// may go beyond loopback. Requests and answers could be read and changed on the way."),
    ]
}

fn of_route(route: Route) -> Vec<Key> {
    let path = |key| route_key(route, key);
    let money = route.class().moves_money();
    let (deadline, attempt_timeout) = if money {
        ("90s", "75s")
    } else {
        ("30s", "10s")
    };
    let first = route == Route::CreateSession;
    let mut keys = vec![
        Key::boolean(path("enabled"), first, "Whether it is forwarded at all."),
        Key::new(path("url"), ORIGIN, "Where the route goes, if not to upstream.url or its product's host.").such_as(usual_host(route)),
        Key::new(path("deadline"), TIMEOUT, "The whole exchange may take this long, body and all attempts included.").or(deadline),
        Key::new(path("attempt_timeout"), TIMEOUT, "One attempt may take this long, at most the deadline. More than 60 s where money moves, because Ingo may hold such a call for 60 s before it answers.").or(attempt_timeout),
        Key::new(path("attempts"), Form::Count(1..=10), "Attempts per exchange, the first included. What may be repeated at all is told in docs/failures.md.").or("3"),
        Key::boolean(path("disabled"), false, "Switched off for a while: answered with route_disabled."),
    ];
    if money {
        keys.push(Key::boolean(path("danger_repeat_after_write"), false, "Only where money moves: whether a call that was sent and not answered is sent again, after 4 s. Then Ingo alone keeps a payment from happening twice."));
    }
    if first {
        keys.extend([
            Key::new(path("validation"), Form::Word(&["off", "warn", "enforce"]), "Only create_session: whether its bodies are checked against Ingo's documents. warn: forwarded, counted and logged by rule, never by value; enforce: refused. See docs/validation.md.").or("warn"),
            Key::new(path("validation_profile"), Form::Word(&["newer", "older"]), "Only create_session: which of Ingo's documents is gone by.").or("newer"),
            Key::new(path("validation_answer"), Form::Word(&["problem", "ingo"]), "Only create_session: ingo is a refusal in the form of Ingo's own 13400, for services that read that already.").or("problem"),
            Key::new(path("refresh_url_below"), REFRESH, "Only create_session: an authorized_url of which less than this is left is asked for anew, by an idempotent repeat, before the caller gets it.").or_off().or("off"),
        ]);
    }
    keys
}

/// A host that stands for the route's own in the reference.
fn usual_host(route: Route) -> &'static str {
    let host = route.product().base_url(Environment::Sandbox);
    host.unwrap_or(match route.product() {
        Product::OpenBanking => "https://sandbox-api.ingomoney.com",
        _ => "https://ingo.example.com",
    })
}

pub(super) fn route_meaning(route: Route) -> String {
    let remark = match route {
        Route::Process => ": pushes money",
        Route::Debit => ": pulls money",
        Route::OpenBankingAccount => ": coming soon. Ingo publishes no production host: set url",
        Route::VerifyOpenBanking => ": under development at Ingo. No production host either",
        Route::Banking => ", the Banking Platform",
        _ => "",
    };
    match route.pattern() {
        Pattern::Exact(path) => format!("POST {path}{remark}."),
        Pattern::Prefix(path) => format!("POST below {path}{remark}."),
    }
}

pub(super) fn headers() -> [Key; 2] {
    [
        Key::list(
            "headers.to_ingo",
            HEADER,
            "Further headers of the caller that go to Ingo. None that the proxy sets, or that frame, forward or authenticate. With traceparent, and tracestate beside it, Ingo is told the trace; of the span it is told ours, not the caller's.",
        ),
        Key::list(
            "headers.to_caller",
            HEADER,
            "Further headers of Ingo's answer that go to the caller, such as a request id.",
        ),
    ]
}
