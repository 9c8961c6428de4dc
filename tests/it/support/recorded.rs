//! A request as it arrived upstream, and whether its signature is right (protocol.md §1).
//!
//! The check is made with `sha2`, `hmac` and `base64` over the bytes that came off the socket, never with the code
//! under test; and it says which part differs.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};

use super::wire;

/// Ingo accepts a date that is off by this much.
const SKEW: Duration = Duration::from_secs(300);

/// The parts that are signed, in the default order (A).
pub const ORDER_A: &str = "request-line x-date content-type content-sha512 content-length";

/// The same parts in the order that a newer page shows (B).
pub const ORDER_B: &str = "request-line x-date content-type content-length content-sha512";

/// One request, byte for byte.
#[derive(Debug)]
pub struct Recorded {
    /// Which of the upstream's connections it came on, counted from 0.
    pub connection: usize,
    /// The how-manieth request of that connection it was, counted from 0.
    pub number: usize,
    /// Request line and headers, with the empty line.
    pub head: Vec<u8>,
    /// The body, decoded where it came chunked.
    pub body: Vec<u8>,
}

/// What an `Authorization` header said, once it was found to be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// `hmac-sha512` or `hmac-sha256`.
    pub algorithm: String,
    /// The list of what was signed.
    pub headers: String,
    /// The signature, base64.
    pub value: String,
}

impl Recorded {
    /// The first line without its CRLF.
    pub fn request_line(&self) -> &[u8] {
        let end = wire::find(&self.head, b"\r\n").expect("a head has a first line");
        &self.head[..end]
    }

    /// What stands between the method and the version.
    pub fn target(&self) -> &[u8] {
        let line = self.request_line();
        let first = line.iter().position(|b| *b == b' ').expect("a space");
        let last = line.iter().rposition(|b| *b == b' ').expect("a space");
        &line[first + 1..last]
    }

    /// All headers as they came.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        wire::fields(&self.head)
    }

    /// The names of all headers in lower case, sorted, repeats included.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .headers()
            .into_iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        names.sort();
        names
    }

    /// The one value of a header; `None` where it is absent. Panics where it is repeated.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers()
            .into_iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .collect();
        assert!(values.len() < 2, "{name} is repeated:\n{self}");
        let (_, value) = values.into_iter().next()?;
        Some(String::from_utf8(value).expect("a header of text"))
    }

    /// The body's `participant_unique_id1`.
    pub fn participant(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).expect("a JSON body");
        body["participant_unique_id1"]
            .as_str()
            .expect("a participant")
            .to_owned()
    }

    /// Checks the signature as Ingo's gateway would, as of now. Panics with what is wrong.
    pub fn verify(&self, secret: &[u8], username: &str) -> Signature {
        self.verify_at(secret, username, SystemTime::now())
    }

    /// The same as of `now`.
    pub fn verify_at(&self, secret: &[u8], username: &str, now: SystemTime) -> Signature {
        match self.signature(secret, username, now) {
            Ok(signature) => signature,
            Err(why) => panic!("Ingo would refuse this request: {why}\n{self}"),
        }
    }

    /// What the signature is, or what is wrong with it.
    pub fn signature(
        &self,
        secret: &[u8],
        username: &str,
        now: SystemTime,
    ) -> Result<Signature, String> {
        let line = self.request_line();
        if !line.ends_with(b" HTTP/1.1") {
            return Err("the request is not HTTP/1.1".to_owned());
        }
        if self.header("transfer-encoding").is_some() {
            return Err("there is a Transfer-Encoding".to_owned());
        }
        self.equal("Content-Type", "application/json")?;
        self.equal("Content-Length", &self.body.len().to_string())?;
        self.equal(
            "Content-sha512",
            &STANDARD.encode(Sha512::digest(&self.body)),
        )?;

        let date = self.header("X-Date").ok_or("there is no X-Date")?;
        let signed_at = httpdate::parse_http_date(&date).map_err(|_| "X-Date is no date")?;
        if httpdate::fmt_http_date(signed_at) != date {
            return Err("X-Date is not in the form of RFC 9110 §5.6.7".to_owned());
        }
        let apart = now
            .duration_since(signed_at)
            .unwrap_or_else(|ahead| ahead.duration());
        if apart > SKEW {
            return Err(format!("X-Date is {apart:?} away from now"));
        }

        let authorization = self.header("Authorization").ok_or("no Authorization")?;
        let [user, algorithm, list, signature] = parameters(&authorization)
            .ok_or("Authorization is not of the form that Ingo documents")?;
        if user != username {
            return Err(format!("the username is {user}"));
        }
        if ![ORDER_A, ORDER_B].contains(&list) {
            return Err(format!(
                "what is signed is not one of the two lists: {list}"
            ));
        }
        let text = self.signing_string(list)?;
        let expected = match algorithm {
            "hmac-sha512" => STANDARD.encode(mac512(secret, &text)),
            "hmac-sha256" => STANDARD.encode(mac256(secret, &text)),
            other => return Err(format!("the algorithm is {other}")),
        };
        if signature != expected {
            return Err(format!(
                "the signature is not that of the text that arrived, which is\n{}",
                String::from_utf8_lossy(&text)
            ));
        }
        Ok(Signature {
            algorithm: algorithm.to_owned(),
            headers: list.to_owned(),
            value: signature.to_owned(),
        })
    }

    /// The text to sign, made of what arrived in the order of `list`.
    fn signing_string(&self, list: &str) -> Result<Vec<u8>, String> {
        let mut lines = Vec::new();
        for name in list.split(' ') {
            lines.push(match name {
                "request-line" => self.request_line().to_vec(),
                name => {
                    let value = self.header(name).ok_or(format!("{name} is absent"))?;
                    format!("{name}: {value}").into_bytes()
                }
            });
        }
        Ok(lines.join(&b'\n'))
    }

    fn equal(&self, name: &str, expected: &str) -> Result<(), String> {
        match self.header(name) {
            Some(value) if value == expected => Ok(()),
            Some(value) => Err(format!("{name} is {value}, not {expected}")),
            None => Err(format!("there is no {name}")),
        }
    }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.head))?;
        f.write_char('(')?;
        write!(f, "{} bytes of body)", self.body.len())
    }
}

/// The four values of `hmac username="…", algorithm="…", headers="…", signature="…"`, in exactly this form.
fn parameters(authorization: &str) -> Option<[&str; 4]> {
    let rest = authorization.strip_prefix("hmac username=\"")?;
    let (user, rest) = rest.split_once("\", algorithm=\"")?;
    let (algorithm, rest) = rest.split_once("\", headers=\"")?;
    let (list, rest) = rest.split_once("\", signature=\"")?;
    let signature = rest.strip_suffix('"')?;
    let values = [user, algorithm, list, signature];
    values.iter().all(|v| !v.contains('"')).then_some(values)
}

fn mac512(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(secret).expect("HMAC takes any key");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn mac256(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
