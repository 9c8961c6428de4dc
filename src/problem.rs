//! What the proxy itself answers, as one table: code, HTTP status, title, and the error type of RFC 9209.
//!
//! Pure. The codes are public API (product.md, "The proxy's answers"): rename none. How an answer is written is the
//! business of `exchange::respond`; which `detail` it carries is that of the stage that refused.

use std::fmt;

/// Whether Ingo may have received the request. Where money moves, that is the first question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// The exchange ended before the first byte of any request was written to an upstream connection.
    No,
    /// A byte was written, so Ingo may have acted.
    Maybe,
}

impl Sent {
    /// The word used in answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $error:literal, $title:literal;)+) => {
        /// Why the proxy itself answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The code as callers, logs and metrics see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The proxy error type for `Proxy-Status` (RFC 9209 §2.3).
            pub const fn proxy_error(self) -> &'static str {
                match self { $(Self::$variant => $error,)+ }
            }

            /// A short summary that is the same for every occurrence (RFC 9457 §3.1.3).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    /// The framing cannot be trusted.
    BadRequest = "bad_request", 400, "http_request_error", "the request cannot be read with certainty";
    /// The body is empty or no JSON.
    BodyNotJson = "body_not_json", 400, "http_request_error", "the body is not JSON";
    /// The caller's `Idempotency-Key` cannot be used.
    BadIdempotencyKey = "bad_idempotency_key", 400, "http_request_error", "the Idempotency-Key cannot be used";
    /// A web page tried to have a request signed.
    BrowserRefused = "browser_refused", 403, "http_request_denied", "requests from browsers are refused";
    /// No enabled route has this path.
    RouteNotFound = "route_not_found", 404, "http_request_error", "no route has this path";
    /// Ingo's calls are POSTs.
    MethodNotAllowed = "method_not_allowed", 405, "http_request_error", "the method is not allowed";
    /// The caller stopped sending.
    BodyTimeout = "body_timeout", 408, "http_request_error", "the request did not arrive in time";
    /// The same key is being processed, on a route where waiting is not offered.
    InFlight = "in_flight", 409, "http_request_denied", "the same Idempotency-Key is being processed";
    /// The body is larger than `limits.body_bytes`, or its identifying values than a record of the journal.
    BodyTooLarge = "body_too_large", 413, "http_request_error", "the body is too large";
    /// The target is longer than `limits.target_bytes`.
    TargetTooLong = "target_too_long", 414, "http_request_error", "the request target is too long";
    /// The body has a content coding.
    UnsupportedEncoding = "unsupported_encoding", 415, "http_request_error", "the body has a content coding";
    /// An expectation other than `100-continue`.
    ExpectationFailed = "expectation_failed", 417, "http_request_error", "the expectation cannot be met";
    /// On a loopback listener, a `Host` that names somewhere else.
    HostRefused = "host_refused", 421, "http_request_denied", "the host is not served here";
    /// The body breaks a rule of Ingo's documents, and rules are enforced.
    ValidationFailed = "validation_failed", 422, "http_request_error", "Ingo would refuse the body's fields";
    /// More requests than `rate_limit` lets through within the deadline.
    RateLimited = "rate_limited", 429, "http_request_denied", "the rate limit is reached";
    /// The head is larger than `limits.header_bytes`.
    HeadersTooLarge = "headers_too_large", 431, "http_request_error", "the request head is too large";
    /// A fault of ours.
    Internal = "internal", 500, "proxy_internal_error", "the proxy failed";
    /// No connection to Ingo was made.
    UpstreamUnreachable = "upstream_unreachable", 502, "destination_unavailable", "Ingo cannot be reached";
    /// No TLS connection to Ingo was made.
    UpstreamTls = "upstream_tls", 502, "tls_protocol_error", "the TLS handshake with Ingo failed";
    /// The connection ended before the answer did.
    UpstreamReset = "upstream_reset", 502, "connection_terminated", "the connection to Ingo ended before its answer did";
    /// An answer came that cannot be passed on.
    UpstreamBadResponse = "upstream_bad_response", 502, "http_protocol_error", "Ingo's answer cannot be passed on";
    /// A bound of the proxy is reached.
    Overloaded = "overloaded", 503, "connection_limit_reached", "the proxy is overloaded";
    /// The upstream cannot be connected to and is left alone for a while.
    CircuitOpen = "circuit_open", 503, "destination_unavailable", "Ingo cannot be reached for now";
    /// The journal cannot be written, so nothing that moves money is sent.
    JournalUnavailable = "journal_unavailable", 503, "proxy_internal_error", "the journal cannot be written";
    /// The route is switched off for a while.
    RouteDisabled = "route_disabled", 503, "destination_unavailable", "the route is switched off";
    /// The proxy is about to exit.
    Draining = "draining", 503, "destination_unavailable", "the proxy is shutting down";
    /// The exchange's deadline passed before anything was sent.
    DeadlineExceeded = "deadline_exceeded", 503, "connection_timeout", "the deadline passed before the request was sent";
    /// Ingo did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "http_response_timeout", "Ingo did not answer in time";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_dashboards_and_pages_ask_for_codes_that_exist() {
        let asking = [
            include_str!("../deploy/observability/alerts.yaml"),
            include_str!("../deploy/observability/dashboard.json"),
            include_str!("../docs/observability.md"),
            include_str!("../docs/runbook.md"),
        ];
        let selectors = asking.iter().flat_map(|page| page.split("code=~").skip(1));
        let mut asked_for = 0;
        for selector in selectors {
            let codes = selector.trim_start_matches(['\\', '"']);
            let codes = codes.split(['\\', '"']).next().unwrap_or_default();
            for code in codes.split('|') {
                let stem = code.trim_end_matches(".+");
                let exists = |known: &Code| {
                    let name = known.as_str();
                    name == code || stem != code && name.starts_with(stem)
                };
                assert!(Code::ALL.iter().any(exists), "{code}");
                asked_for += 1;
            }
        }
        assert!(asked_for > 50, "{asked_for} codes were found");
    }

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(
                !Code::ALL[i + 1..]
                    .iter()
                    .any(|c| c.as_str() == code.as_str()),
                "{code}"
            );
        }
    }
}
