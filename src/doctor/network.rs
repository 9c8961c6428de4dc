//! One upstream, from its name to its clock. A step that another needs is not taken where that failed, and says so.
//!
//! What is sent is one unsigned `GET /`, without credentials: any answer to it is good.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::report::Step;
use crate::{
    clock::Clock,
    upstream::{
        BadResponse, Certificate, Distrust, Failure, Reached, Request, Roots, Unanswered,
        Unreachable, Upstream,
    },
};

/// What Ingo's gateway accepts a date to be off by (protocol.md §1).
const ACCEPTED_SKEW: u64 = 300;
/// A certificate that expires sooner is worth a word.
pub(super) const SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 86_400;
/// An answer to something this small should come at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at `upstream`; the steps, and whether it answered. `roots` are `None` where it speaks no TLS.
pub(super) async fn examine(
    upstream: &Upstream,
    roots: Option<&Roots>,
    clock: &Clock,
) -> (Vec<Step>, bool) {
    let mut steps = Vec::new();
    let Some(addresses) = resolve(upstream, &mut steps).await else {
        return unreached(steps, &["connect", "tls", "protocol", "clock"]);
    };
    let connected = connect(upstream, &addresses, &mut steps).await;
    if connected.is_empty() {
        return unreached(steps, &["tls", "protocol", "clock"]);
    }
    let wants_certificate = match roots {
        Some(roots) => {
            let several = connected.len() > 1;
            let mut wants = None;
            for (address, reached) in connected {
                let whose = if several {
                    format!("{address}: ")
                } else {
                    String::new()
                };
                let found = tls(upstream, reached, roots, clock, &whose, &mut steps).await;
                wants = wants.max(found);
            }
            match wants {
                Some(wants) => wants,
                None => return unreached(steps, &["protocol", "clock"]),
            }
        }
        None => {
            steps.push(Step::skipped(
                "tls",
                "http://: nothing protects what is sent",
            ));
            false
        }
    };
    let answered = ask(upstream, wants_certificate, clock, &mut steps).await;
    (steps, answered)
}

fn unreached(mut steps: Vec<Step>, rest: &[&'static str]) -> (Vec<Step>, bool) {
    for step in rest {
        if !steps.iter().any(|known| known.step == *step) {
            steps.push(Step::skipped(step, "not reached"));
        }
    }
    (steps, false)
}

async fn resolve(upstream: &Upstream, steps: &mut Vec<Step>) -> Option<Vec<SocketAddr>> {
    let whose = upstream
        .proxy()
        .map_or_else(String::new, |proxy| format!("the proxy {proxy} has "));
    match upstream.look_up().await {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            steps.push(Step::well(
                "resolve",
                format!("{whose}{}", shown.join(", ")),
            ));
            Some(addresses)
        }
        Err(_) => {
            let (what, remedy) = upstream.why_unreached(Unreachable::Resolve);
            steps.push(Step::wrong("resolve", what, remedy));
            None
        }
    }
}

/// Tries every address, because an exchange may meet any.
async fn connect(
    upstream: &Upstream,
    addresses: &[SocketAddr],
    steps: &mut Vec<Step>,
) -> Vec<(SocketAddr, Reached)> {
    let mut connected = Vec::new();
    let mut failed = Vec::new();
    for address in addresses {
        match upstream.reach(*address).await {
            Ok(reached) => {
                let how = match upstream.proxy() {
                    Some(proxy) => format!("{address}, through the proxy {proxy}"),
                    None => address.to_string(),
                };
                steps.push(Step::well("connect", how));
                connected.push((*address, reached));
            }
            Err(why) => failed.push((address, why)),
        }
    }
    for (address, why) in failed {
        let (what, remedy) = upstream.why_unreached(why);
        let detail = format!("{address}: {what}");
        steps.push(if connected.is_empty() {
            Step::wrong("connect", detail, remedy)
        } else if why == Unreachable::Other && address.is_ipv6() {
            // A host without IPv6 is no fault, and passing such an address over takes no time.
            Step::skipped(
                "connect",
                format!("{address}: this host has no route for IPv6"),
            )
        } else {
            let remedy =
                format!("another address works, and this one delays some connections: {remedy}");
            Step::wrong("connect", detail, remedy)
        });
    }
    connected
}

/// Makes a handshake; `whose` it is stands before what is said of it. Whether it asks for a client certificate and there is none; `None`
/// where it is not spoken to.
async fn tls(
    upstream: &Upstream,
    reached: Reached,
    roots: &Roots,
    clock: &Clock,
    whose: &str,
    steps: &mut Vec<Step>,
) -> Option<bool> {
    match upstream.shake_hands(reached, roots).await {
        Ok(handshake) => {
            let (version, chosen) = (handshake.version, handshake.chose_http_1_1);
            let certificate = handshake.certificate;
            let left = certificate
                .as_ref()
                .map(|c| c.not_after.duration_since(clock.now()).unwrap_or_default());
            let shown = certificate.map_or_else(String::new, |c| described(&c, clock.now()));
            let soon = left.is_some_and(|left| left < SOON);
            let soon = if soon { "; that is soon" } else { "" };
            let by = if chosen {
                ""
            } else {
                "; it chose no protocol by ALPN"
            };
            let wants = if handshake.wants_certificate {
                "; it asks for a client certificate, and upstream.client_certificate_file is not set"
            } else {
                ""
            };
            steps.push(Step::well(
                "tls",
                format!("{whose}{version}{shown}{soon}{by}{wants}"),
            ));
            Some(handshake.wants_certificate)
        }
        Err((Distrust::NoHttp11, _)) => {
            steps.push(Step::well(
                "tls",
                format!("{whose}the certificate was not asked for, because the protocol is refused first"),
            ));
            steps.push(Step::wrong(
                "protocol",
                format!("{whose}HTTP/1.1 is refused by ALPN: it speaks HTTP/2 only, or another protocol"),
                "Ingo's signature names HTTP/1.1, so have HTTP/1.1 enabled there, or check that this is Ingo's host",
            ));
            None
        }
        Err((why, certificate)) => {
            let (what, remedy) = distrusted(why, certificate.as_ref(), roots);
            let shown = certificate.map_or_else(String::new, |c| described(&c, clock.now()));
            steps.push(Step::wrong("tls", format!("{whose}{what}{shown}"), remedy));
            None
        }
    }
}

fn described(certificate: &Certificate, now: SystemTime) -> String {
    const MOST: usize = 4;
    let mut names = certificate
        .names
        .iter()
        .take(MOST)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if certificate.names.len() > MOST {
        names.push_str(", …");
    }
    let expiry = expires(certificate.not_after, now);
    format!(
        "; certificate for {names}, issued by {}, {expiry}",
        certificate.issuer
    )
}

/// When that is or was.
pub(super) fn expires(not_after: SystemTime, now: SystemTime) -> String {
    match not_after.duration_since(now) {
        Ok(left) => format!("expires in {}", days(left)),
        Err(past) => format!("expired {} ago", days(past.duration())),
    }
}

fn days(time: Duration) -> String {
    match time.as_secs() / DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// What to do where a client certificate is wanted.
const SHOW_ONE: &str = "ask whoever runs it for one, and name it with upstream.client_certificate_file and upstream.client_key_file";

fn distrusted(
    why: Distrust,
    certificate: Option<&Certificate>,
    roots: &Roots,
) -> (String, &'static str) {
    const INSPECTION: &str = "where a proxy or firewall inspects TLS, its authority is needed: name a PEM file with upstream.ca_file";
    let (what, remedy) = match why {
        Distrust::TimedOut => (
            "the handshake took longer than upstream.tls_handshake_timeout",
            "check that this port speaks TLS, and what lies on the way",
        ),
        Distrust::Expired => (
            "the certificate has expired",
            "have it renewed; or, if it should be valid, set this host's clock right (NTP)",
        ),
        Distrust::NotYetValid => (
            "the certificate is not valid yet",
            "set this host's clock right (NTP)",
        ),
        Distrust::OtherName => (
            "the certificate is for other names",
            "check the host in the URL, and that nothing on the way answers in its place",
        ),
        Distrust::UnknownIssuer if certificate.is_some_and(|c| c.self_signed) => {
            ("the certificate is self-signed and not trusted", INSPECTION)
        }
        Distrust::UnknownIssuer => {
            let roots = roots.count();
            let what =
                format!("the certificate is issued by none of the {roots} trusted authorities");
            return (what, INSPECTION);
        }
        Distrust::Certificate if certificate.is_some_and(|c| c.self_signed) => (
            "the certificate is self-signed, and no certificate of a server",
            INSPECTION,
        ),
        Distrust::Certificate => ("the certificate cannot be used", "have it replaced"),
        Distrust::NoHttp11 => ("HTTP/1.1 is refused", "have HTTP/1.1 enabled there"),
        Distrust::WantsCertificate => ("it wants a client certificate", SHOW_ONE),
        Distrust::NoTls => (
            "what answers there speaks no TLS 1.2 or 1.3",
            "check the port in the URL",
        ),
        Distrust::Ended => (
            "the connection was closed during the handshake",
            "check that this port speaks TLS, and whether a firewall closes it",
        ),
        Distrust::Other => ("the handshake failed", "check what lies on the way"),
    };
    (what.to_owned(), remedy)
}

/// Asks for `/`, unsigned: harmless, and any answer has a `Date`.
async fn ask(
    upstream: &Upstream,
    wants_certificate: bool,
    clock: &Clock,
    steps: &mut Vec<Step>,
) -> bool {
    let request = Request {
        method: "GET",
        target: "/",
        fields: &[("User-Agent", super::USER_AGENT)],
        body: b"",
        limit: PATIENCE,
    };
    let answer = match upstream.ask(request).await {
        Ok(answer) => answer,
        Err(why) => {
            let (what, remedy) = match why {
                // In TLS 1.3 the handshake is over for us before the server misses a certificate.
                Unanswered::Failed(Failure::Reset) if wants_certificate => (
                    "it asked for a client certificate, and closed the connection when it got none"
                        .to_owned(),
                    SHOW_ONE,
                ),
                why => unanswered(upstream, why),
            };
            steps.push(Step::wrong("protocol", what, remedy));
            steps.push(Step::skipped("clock", "not reached"));
            return false;
        }
    };
    steps.push(Step::well(
        "protocol",
        format!(
            "HTTP/1.1; GET / without credentials is answered with {}",
            answer.status.as_u16()
        ),
    ));
    upstream.compare_clocks(&answer, answer.head_at.elapsed(), clock.now());
    steps.push(match upstream.clock_skew() {
        None => Step::skipped("clock", "the answer has no date to compare with"),
        Some(0) => Step::well("clock", "both clocks agree to the second"),
        Some(seconds) => {
            let off = seconds.unsigned_abs();
            let way = if seconds > 0 { "behind" } else { "ahead of" };
            let detail = format!("this host is {off} s {way} the upstream; Ingo accepts {ACCEPTED_SKEW} s");
            if off > ACCEPTED_SKEW {
                Step::wrong("clock", detail, "set this host's clock right (NTP); until then clock.correct helps where it may")
            } else {
                Step::well("clock", detail)
            }
        }
    });
    true
}

/// Why an answer did not come, and what to do.
pub(super) fn unanswered(upstream: &Upstream, why: Unanswered) -> (String, &'static str) {
    match why {
        Unanswered::TimedOut => (
            "no answer came in time".to_owned(),
            "try again; if it stays so, ask whoever runs it",
        ),
        Unanswered::LeftAlone => (
            "a further connection was not tried".to_owned(),
            "see circuit_breaker and upstream.attempts_in_flight",
        ),
        Unanswered::Failed(failure) => match failure {
            Failure::Unreachable(why) => upstream.why_unreached(why),
            Failure::BadResponse(BadResponse::Malformed) => (
                "what it answers is not HTTP/1.1: perhaps it speaks HTTP/2 only".to_owned(),
                "Ingo's signature names HTTP/1.1, so have HTTP/1.1 enabled there; check scheme and port of the URL",
            ),
            Failure::BadResponse(BadResponse::Framing) => (
                "where the body of its answer ends is not certain: its Transfer-Encoding is not chunked alone, or stands beside a Content-Length".to_owned(),
                "check the gateways on the way",
            ),
            Failure::BadResponse(_) => (
                "its answer is larger than upstream.max_response_bytes".to_owned(),
                "check that this is Ingo's host",
            ),
            Failure::Reset => (
                "it closed the connection instead of answering".to_owned(),
                "check scheme and port of the URL: perhaps it speaks HTTP/2 only, or TLS where none is spoken, or wants a client certificate",
            ),
            Failure::Tls { .. } => (
                "a further connection could not be made".to_owned(),
                "try again",
            ),
        },
    }
}
