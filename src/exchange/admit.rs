//! The first stage: from a request head to an [`Admitted`] request, or a refusal. Nothing of the body is read here.
//!
//! The order of the checks is the order of what cannot be trusted: framing, then who asks, then what for.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::http::RequestHeader;

use super::{Destination, Proxy, Rejection, patience::caller_timeout, traced::is_of_trace};
use crate::{
    framing,
    ingo::{Pattern, Route},
    problem::Code,
    telemetry::{Phase, Trail},
};

/// A request that may be forwarded once its body is here.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    /// Where it goes.
    pub(super) destination: &'a Destination,
    /// The target that is signed and sent: path and query exactly as received.
    pub(super) target: Vec<u8>,
    /// The caller's own key, if there is one.
    pub(super) idempotency_key: Option<String>,
    /// The caller's fields that go up beside ours.
    pub(super) forwarded: Vec<(HeaderName, HeaderValue)>,
    /// The length the caller announced; `None`: chunked, or HTTP/2 without.
    pub(super) content_length: Option<usize>,
    /// By how much the caller shortens the deadline.
    pub(super) timeout: Option<Duration>,
    /// Whether the caller waits for `100 Continue`.
    pub(super) expects_continue: bool,
}

impl Proxy {
    /// Admits a request by its head.
    pub(super) fn admit(
        &self,
        head: &RequestHeader,
        received: Option<Vec<u8>>,
        trail: &mut Trail,
    ) -> Result<Admitted<'_>, Rejection> {
        let headers = &head.headers;
        if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
            || (head.version >= http::Version::HTTP_2
                && headers.contains_key(header::TRANSFER_ENCODING))
        {
            return Err(Rejection::unsent(
                Code::BadRequest,
                "Content-Length is repeated, or Transfer-Encoding stands in an HTTP/2 request",
            ));
        }
        // Pingora rewrites request lines; what the guard saw is what came. HTTP/2 has no request line.
        let received = received.unwrap_or_else(|| head.raw_path().to_owned());
        let (authority, target) = framing::split_target(&received);
        // First of all, so that what is refused is counted with the route that it asked for.
        let destination = self.route(&head.method, target);
        trail.route = destination.as_ref().ok().map(|found| found.route);
        if target.len() > self.limits.target_bytes {
            return Err(Rejection::unsent(
                Code::TargetTooLong,
                format!(
                    "the target has {} bytes, the limit is {}",
                    target.len(),
                    self.limits.target_bytes
                ),
            ));
        }
        self.check_host(head, authority)?;
        check_browser(headers, &[b"none"])?;
        trail.progress.stopwatch.enter(Phase::Validate);
        let destination = destination?;
        if head.method != Method::POST {
            return Err(method_not_allowed());
        }
        if destination.disabled {
            let detail = format!(
                "the route {route} is switched off by routes.{route}.disabled",
                route = destination.route.name()
            );
            return Err(Rejection::unsent(Code::RouteDisabled, detail));
        }
        let expects_continue = check_expectation(head)?;
        check_encoding(headers)?;
        Ok(Admitted {
            destination,
            target: target.to_owned(),
            idempotency_key: idempotency_key(headers)?,
            forwarded: self.forwarded(headers, trail),
            content_length: self.content_length(headers)?,
            timeout: caller_timeout(headers)?,
            expects_continue,
        })
    }

    /// A web page can make a browser resolve its own name to 127.0.0.1 (DNS rebinding); the `Host` gives it away.
    fn check_host(&self, head: &RequestHeader, authority: Option<&[u8]>) -> Result<(), Rejection> {
        let h2_authority = head.uri.authority().map(|a| a.as_str().as_bytes());
        let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
        // Where there are both, they are the same. HTTP/1.0 may have none but the target's.
        self.hosts.check(authority.or(h2_authority).or(host))
    }

    fn route(&self, method: &Method, target: &[u8]) -> Result<&Destination, Rejection> {
        // CONNECT and `OPTIONS *` have no path; neither is a call of Ingo's.
        if *method == Method::CONNECT || target == b"*" {
            return Err(method_not_allowed());
        }
        let path = target.split(|b| *b == b'?').next().unwrap_or_default();
        if let Some(destination) = self.routes.iter().find(|r| r.route.matches(path)) {
            return Ok(destination);
        }
        let detail = match Route::ALL.into_iter().find(|r| r.matches(path)) {
            Some(route) => format!(
                "the route {route} is not enabled here; enable it with routes.{route}.enabled or --routes",
                route = route.name()
            ),
            None => format!(
                "the path belongs to no route; enabled here: {}",
                self.enabled_paths()
            ),
        };
        Err(Rejection::unsent(Code::RouteNotFound, detail))
    }

    fn enabled_paths(&self) -> String {
        let paths = self.routes.iter().map(|r| match r.route.pattern() {
            Pattern::Exact(path) => path.to_owned(),
            Pattern::Prefix(prefix) => format!("{prefix}…"),
        });
        paths.collect::<Vec<_>>().join(", ")
    }

    fn content_length(&self, headers: &HeaderMap) -> Result<Option<usize>, Rejection> {
        let Some(value) = headers.get(header::CONTENT_LENGTH) else {
            return Ok(None);
        };
        // The framing check left a number, so what does not parse is larger than any limit.
        let length = value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok());
        match length {
            Some(length) if length <= self.limits.body_bytes => Ok(Some(length)),
            Some(_) | None => Err(self.body_too_large()),
        }
    }

    pub(super) fn body_too_large(&self) -> Rejection {
        Rejection::unsent(
            Code::BodyTooLarge,
            format!(
                "the body is larger than {} bytes; the limit is limits.body_bytes",
                self.limits.body_bytes
            ),
        )
    }

    fn forwarded(&self, headers: &HeaderMap, trail: &Trail) -> Vec<(HeaderName, HeaderValue)> {
        std::iter::once(&header::ACCEPT)
            .chain(&self.headers.to_ingo)
            .filter(|name| !is_of_trace(name))
            .flat_map(|name| {
                headers
                    .get_all(name)
                    .iter()
                    .map(|value| (name.clone(), value.clone()))
            })
            .chain(self.tracestate(headers, trail))
            .collect()
    }
}

fn method_not_allowed() -> Rejection {
    Rejection::unsent(Code::MethodNotAllowed, "Ingo's calls are POST requests")
}

/// Browsers name where a request comes from; services and command lines do not.
pub(crate) fn check_browser(headers: &HeaderMap, allowed_sites: &[&[u8]]) -> Result<(), Rejection> {
    let site_allowed = headers
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| allowed_sites.contains(&site.as_bytes()));
    let origin_allowed = !headers.contains_key(header::ORIGIN)
        || allowed_sites.contains(&b"same-origin".as_slice())
            && headers.contains_key("sec-fetch-site");
    if site_allowed && origin_allowed {
        return Ok(());
    }
    Err(Rejection::unsent(
        Code::BrowserRefused,
        "the request has Origin or Sec-Fetch-Site, so a web page made it; call the proxy from a service",
    ))
}

/// Whether the caller waits for `100 Continue` (RFC 9110 §10.1.1; HTTP/1.0 knows none).
fn check_expectation(head: &RequestHeader) -> Result<bool, Rejection> {
    let mut expectations = head.headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        _ if head.version < http::Version::HTTP_11 => Ok(false),
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        (Some(_), _) => Err(Rejection::unsent(
            Code::ExpectationFailed,
            "the only expectation that can be met is 100-continue",
        )),
    }
}

/// The digest covers the bytes that Ingo parses, so they must be the JSON itself.
fn check_encoding(headers: &HeaderMap) -> Result<(), Rejection> {
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if plain {
        return Ok(());
    }
    Err(Rejection::unsent(
        Code::UnsupportedEncoding,
        "the body has a Content-Encoding; send the JSON itself",
    ))
}

/// The caller's own `Idempotency-Key`: at most 250 characters (protocol.md §3), visible ASCII, one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Rejection> {
    const MAX_CHARS: usize = 250;
    let refused = |why| Err(Rejection::unsent(Code::BadIdempotencyKey, why));
    let mut keys = headers.get_all("idempotency-key").iter();
    let (Some(key), more) = (keys.next(), keys.next()) else {
        return Ok(None);
    };
    if more.is_some() {
        return refused("there are several Idempotency-Key fields; send one");
    }
    match key.as_bytes() {
        [] => refused("Idempotency-Key is empty; leave it out to have one made"),
        key if key.len() > MAX_CHARS => refused("Idempotency-Key is longer than 250 characters"),
        key if !key.iter().all(u8::is_ascii_graphic) => {
            refused("Idempotency-Key holds something other than visible ASCII characters")
        }
        key => Ok(Some(String::from_utf8_lossy(key).into_owned())),
    }
}
