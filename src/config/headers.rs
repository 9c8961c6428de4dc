//! Which further headers pass, up to Ingo and back to the caller.
//!
//! An allow-list that cannot be turned against the signature, the framing or the credentials: what the proxy sets
//! itself, what belongs to one connection and what identifies the caller is refused here.

use http::HeaderName;

use super::{Headers, quantity::Expected, reader::Reader};

/// Reads the section `headers`.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Headers> {
    let to_ingo = names(reader, "headers.to_ingo", |name| {
        if name == "accept" {
            Err("names a header that passes anyway; remove it")
        } else if is_kept_from_ingo(name) {
            Err(
                "names a header that the proxy sets itself, or that frames, forwards or authenticates the caller's \
                 request; such never go to Ingo",
            )
        } else {
            Ok(())
        }
    });
    if let Some(names) = &to_ingo
        && names.iter().any(|name| name == "tracestate")
        && !names.iter().any(|name| name == "traceparent")
    {
        reader.reject(
            "headers.to_ingo",
            "names tracestate without traceparent, and means nothing alone; name both",
        );
    }
    let to_caller = names(reader, "headers.to_caller", |name| {
        if PASSES_TO_CALLER.contains(&name) {
            Err("names a header that passes anyway; remove it")
        } else if is_kept_from_caller(name) {
            Err(
                "names a header that the proxy sets itself, or that frames or governs its own connection with the \
                 caller; such never pass",
            )
        } else {
            Ok(())
        }
    });
    Some(Headers {
        to_ingo: to_ingo?,
        to_caller: to_caller?,
    })
}

fn names(
    reader: &mut Reader<'_>,
    path: &str,
    allow: impl Fn(&str) -> Result<(), &'static str>,
) -> Option<Vec<HeaderName>> {
    let names = reader.list(path, |text| {
        let name: HeaderName = text
            .parse()
            .map_err(|_| Expected::from("must be the name of a header"))?;
        allow(name.as_str())?;
        Ok(name)
    })?;
    let repeated = (1..names.len()).any(|i| names[..i].contains(&names[i]));
    if repeated {
        reader.reject(path, "names a header twice; keep one");
        return None;
    }
    Some(names)
}

/// RFC 9110 §7.6.1 and its forerunners: these end at the next hop.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

fn is_kept_from_ingo(name: &str) -> bool {
    const EXACT: [&str; 15] = [
        "host",
        "authorization",
        "x-date",
        "date",
        "expect",
        "idempotency-key",
        "user-agent",
        "api_key",
        "api-key",
        "x-api-key",
        "cookie",
        "cookie2",
        "forwarded",
        "via",
        "x-real-ip",
    ];
    const PREFIXES: [&str; 3] = ["content-", "proxy-", "x-forwarded-"];
    is_one_of(name, &EXACT, &PREFIXES)
}

/// product.md, "The proxy's answers".
const PASSES_TO_CALLER: [&str; 6] = [
    "content-type",
    "content-encoding",
    "www-authenticate",
    "retry-after",
    "deprecation",
    "sunset",
];

fn is_kept_from_caller(name: &str) -> bool {
    const EXACT: [&str; 8] = [
        "set-cookie",
        "set-cookie2",
        "idempotency-key",
        "cache-control",
        "date",
        "alt-svc",
        "clear-site-data",
        "strict-transport-security",
    ];
    // Browsers are refused: no answer may invite them.
    const PREFIXES: [&str; 3] = ["content-", "proxy-", "access-control-"];
    is_one_of(name, &EXACT, &PREFIXES)
}

fn is_one_of(name: &str, exact: &[&str], prefixes: &[&str]) -> bool {
    HOP_BY_HOP.contains(&name)
        || exact.contains(&name)
        || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_the_signature_or_the_framing_rests_on_stay_here() {
        for name in [
            "host",
            "authorization",
            "x-date",
            "content-sha512",
            "content-length",
            "content-type",
            "content-encoding",
            "transfer-encoding",
            "connection",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy-authorization",
            "expect",
            "idempotency-key",
            "user-agent",
            "api_key",
            "cookie",
            "forwarded",
            "x-forwarded-for",
        ] {
            assert!(is_kept_from_ingo(name), "{name}");
        }
        assert!(!is_kept_from_ingo("x-correlation-id"));
        assert!(!is_kept_from_ingo("traceparent"));
    }

    #[test]
    fn headers_that_govern_the_callers_connection_do_not_come_back() {
        for name in [
            "connection",
            "transfer-encoding",
            "content-length",
            "set-cookie",
            "proxy-status",
            "idempotency-key",
            "cache-control",
            "access-control-allow-origin",
        ] {
            assert!(is_kept_from_caller(name), "{name}");
        }
        assert!(!is_kept_from_caller("x-request-id"));
    }
}
