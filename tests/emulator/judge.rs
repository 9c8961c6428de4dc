//! A second verifier, written from protocol.md §1 on the bare primitives: it shares no line with the first.
//!
//! It reads the bytes that go over the wire, and says yes or no.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};

use crate::client::{SECRET, USERNAME};

const REQUIRED: [&str; 4] = ["x-date", "content-type", "content-sha512", "content-length"];

/// Whether a strict gateway accepts these bytes.
pub(crate) fn accepts(request: &[u8], now: SystemTime) -> bool {
    judge(request, now).is_some()
}

fn judge(request: &[u8], now: SystemTime) -> Option<()> {
    let end = request.windows(4).position(|it| it == b"\r\n\r\n")?;
    let (head, body) = (
        std::str::from_utf8(&request[..end]).ok()?,
        &request[end + 4..],
    );
    let mut lines = head.split("\r\n");
    let request_line = lines.next()?;
    let headers: Vec<(String, &str)> = lines
        .map(|line| line.split_once(':'))
        .map(|it| it.map(|(name, value)| (name.to_lowercase(), value.trim_matches([' ', '\t']))))
        .collect::<Option<_>>()?;
    let all = |name: &str| -> Vec<&str> {
        let named = headers.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| *value).collect()
    };
    let only = |name: &str| match all(name)[..] {
        [value] => Some(value),
        _ => None,
    };

    require(request_line.ends_with(" HTTP/1.1"))?;
    require(all("transfer-encoding").is_empty())?;
    require(only("content-type")? == "application/json")?;
    require(only("content-length")? == body.len().to_string())?;
    require(only("content-sha512")? == STANDARD.encode(Sha512::digest(body)))?;
    let date = only("x-date")?;
    let signed = httpdate::parse_http_date(date).ok()?;
    require(httpdate::fmt_http_date(signed) == date)?;
    let apart = signed
        .duration_since(now)
        .or_else(|_| now.duration_since(signed))
        .ok()?;
    require(apart <= Duration::from_secs(300))?;

    let rest = only("authorization")?.strip_prefix("hmac username=\"")?;
    let (username, rest) = rest.split_once("\", algorithm=\"")?;
    let (algorithm, rest) = rest.split_once("\", headers=\"")?;
    let (names, rest) = rest.split_once("\", signature=\"")?;
    let signature = STANDARD.decode(rest.strip_suffix('"')?).ok()?;
    require(username == USERNAME)?;

    let names: Vec<&str> = names.split(' ').collect();
    for name in REQUIRED.into_iter().chain(["request-line"]) {
        require(names.iter().filter(|other| **other == name).count() == 1)?;
    }
    let mut text = Vec::new();
    for name in names {
        require(!name.is_empty() && name == name.to_lowercase())?;
        text.push(match (name, all(name).first()) {
            ("request-line", _) => request_line.to_owned(),
            (_, Some(value)) => format!("{name}: {value}"),
            (_, None) => format!("{name}:"),
        });
    }
    let text = text.join("\n");
    match algorithm {
        "hmac-sha512" => {
            let mac = Hmac::<Sha512>::new_from_slice(SECRET).expect("any length");
            mac.chain_update(text).verify_slice(&signature).ok()
        }
        "hmac-sha256" => {
            let mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("any length");
            mac.chain_update(text).verify_slice(&signature).ok()
        }
        _ => None,
    }
}

fn require(condition: bool) -> Option<()> {
    condition.then_some(())
}
