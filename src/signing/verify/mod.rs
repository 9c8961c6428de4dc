//! The signature read backwards: would Ingo accept this captured request, and if not, exactly why not.
//!
//! The judge is a strict Kong hmac-auth gateway as protocol.md §1 describes it; what only Kong would tolerate (other
//! spacing, another order of parameters) is refused too, because no document of Ingo's promises it.
//! Any input gets a verdict; nothing here panics. No finding holds a secret, a signature or a part of the body.

mod authorization;
mod body;
mod captured;
mod diagnosis;
mod finding;
mod reading;
mod signature;

#[cfg(test)]
mod mistakes;

use std::time::{Duration, SystemTime};

pub use captured::Captured;
pub use finding::{Finding, FindingCode};

use self::{
    authorization::Authorization,
    diagnosis::{Diagnosis, diagnose},
    reading::Reading,
};
use super::{
    BodyDigest, CONTENT_TYPE, HeaderOrder, Unsigned, canonical::VERSION, date, imf_fixdate,
    order::Part, parse_imf_fixdate, signing_string,
};
use crate::secret::Secret;

/// How far `X-Date` may be from the verifier's clock, either way (protocol.md §1).
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// How many names the `headers` parameter may have. There is use for five; without a limit a request could name one
/// long header thousands of times, and make a signing string out of all proportion to itself.
const MOST_NAMES: usize = 64;

/// What a strict gateway would say.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether the request would be accepted; then, and only then, are there no findings. Of a request whose body is
    /// not known it is never true ([`verify_without_body`]).
    pub accepted: bool,
    /// What is wrong, the most specific finding first.
    pub findings: Vec<Finding>,
    /// The texts to lay side by side.
    pub explanation: Explanation,
}

/// The signing string as it should be, and as the request makes it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What we would sign for this request, at the date it gives (at the time judged at if it gives none).
    pub expected: Vec<u8>,
    /// What a gateway rebuilds from the headers as captured, in the order of the `headers` parameter; `None` if that
    /// parameter cannot be read. A name whose header is absent stands in it as `name:` with no space, as in Kong.
    pub implied: Option<Vec<u8>>,
    /// What the client put under the signature, where that was found out: `implied` if the signature is right, otherwise
    /// the same with the mistakes that explain the signature.
    pub signed: Option<Vec<u8>>,
}

/// Where two signing strings part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Bytes that are the same before it.
    pub offset: usize,
    /// The line it is in, counted from 1.
    pub line: usize,
    /// The byte of that line, counted from 1.
    pub column: usize,
}

impl Explanation {
    /// Where the first two texts first differ; `None` if they are equal or there is only one.
    pub fn first_difference(&self) -> Option<Difference> {
        Difference::between(&self.expected, self.implied.as_deref()?)
    }
}

impl Difference {
    /// Where `other` first differs from `text`; `None` if it does not.
    pub fn between(text: &[u8], other: &[u8]) -> Option<Self> {
        let same = text
            .iter()
            .zip(other)
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        if same == text.len() && same == other.len() {
            return None;
        }
        let before = &other[..same];
        let begin = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let newlines = before.iter().filter(|byte| **byte == b'\n').count();
        Some(Self {
            offset: same,
            line: newlines + 1,
            column: same - begin + 1,
        })
    }
}

/// Judges `request` as of `at`, as if `secret` were the only one known.
///
/// `username` is the one the secret belongs to; `None` accepts any. `at` is the verifier's clock, in whole seconds.
pub fn verify(
    request: &Captured,
    secret: &Secret,
    username: Option<&str>,
    at: SystemTime,
) -> Verdict {
    let digest = BodyDigest::of(&request.body);
    judge(request, Some(&digest), secret, username, at)
}

/// [`verify`] for a request whose body was not captured: `request.body` is not looked at.
///
/// `Content-sha512` and `Content-Length` are taken at their word as far as they can be a SHA-512 and a length at all. So
/// no request is accepted; one without findings is right in everything but what was not seen.
pub fn verify_without_body(
    request: &Captured,
    secret: &Secret,
    username: Option<&str>,
    at: SystemTime,
) -> Verdict {
    judge(request, None, secret, username, at)
}

fn judge(
    request: &Captured,
    digest: Option<&BodyDigest>,
    secret: &Secret,
    username: Option<&str>,
    at: SystemTime,
) -> Verdict {
    let mut findings = Vec::new();

    check_headers(request, &mut findings);
    match digest {
        Some(digest) => body::check(request, digest, &mut findings),
        None => body::check_form(request, &mut findings),
    }
    check_date(request, at, &mut findings);
    check_version(request, &mut findings);

    let authorization = match request.header("authorization") {
        Some(value) => Authorization::read(value, &mut findings),
        None => Authorization::default(),
    };
    if let (Some(known), Some(given)) = (username, authorization.username)
        && known != given
    {
        findings.push(Finding::new(
            FindingCode::Username,
            "the request names another username than the one given",
        ));
    }
    if let Some(list) = authorization.headers {
        check_list(list, &mut findings);
    }
    let algorithm = authorization.check_algorithm(&mut findings);

    let names: Option<Vec<&str>> = authorization
        .headers
        .filter(|list| list.split(' ').count() <= MOST_NAMES)
        .map(|list| list.split(' ').collect());
    let reading = Reading::of(request, names.as_deref().unwrap_or(&DEFAULT_NAMES));
    let diagnosis = authorization
        .signature
        .and_then(|text| signature::read(text, algorithm, &mut findings))
        .map_or(Diagnosis::Unknown, |mac| {
            diagnose(&reading, digest, secret, &mac, &mut findings)
        });
    let verified = matches!(diagnosis, Diagnosis::Right);
    if !verified && findings.is_empty() {
        // Each check above reports what it refuses; should one forget to, nothing unverified is accepted.
        findings.push(Finding::new(
            FindingCode::SignatureMismatch,
            "the signature could not be verified",
        ));
    }

    let explanation = Explanation {
        expected: expected_text(request, digest, authorization.headers, at),
        implied: names.is_some().then(|| reading.text()),
        signed: match diagnosis {
            Diagnosis::Right => Some(reading.text()),
            Diagnosis::Mistaken(text) => Some(text),
            Diagnosis::Unknown => None,
        },
    };
    // The codes are declared from the most to the least specific; the sort is stable.
    findings.sort_by_key(|finding| finding.code);
    Verdict {
        accepted: verified && findings.is_empty() && digest.is_some(),
        findings,
        explanation,
    }
}

/// What is tried where the request does not say what it signed.
const DEFAULT_NAMES: [&str; 5] = {
    let parts = Part::ALL;
    [
        parts[0].name(),
        parts[1].name(),
        parts[2].name(),
        parts[3].name(),
        parts[4].name(),
    ]
};

/// The headers of a signed call, spelt as Ingo spells them.
const HEADERS: [&str; 5] = [
    "X-Date",
    "Content-Type",
    "Content-sha512",
    "Content-Length",
    "Authorization",
];

fn check_headers(request: &Captured, findings: &mut Vec<Finding>) {
    let chunked = request.header("transfer-encoding").is_some();
    if chunked {
        findings.push(Finding::new(
            FindingCode::ChunkedBody,
            "the request has a Transfer-Encoding: send the whole body with its Content-Length instead",
        ));
    }
    for name in HEADERS {
        match request.count(name) {
            // Chunked is why it is missing, and said already.
            0 if chunked && name == "Content-Length" => {}
            0 => findings.push(Finding::new(
                FindingCode::MissingHeader,
                missing(request, name),
            )),
            1 => {}
            count => {
                findings.push(Finding::new(
                    FindingCode::RepeatedHeader,
                    format!("{name} stands {count} times"),
                ));
            }
        }
    }
    // No code speaks of a wrong media type. The header that Ingo asks for is this name with this value, so what the
    // request has instead counts as its absence.
    if request
        .header("content-type")
        .is_some_and(|value| value != CONTENT_TYPE.as_bytes())
    {
        findings.push(Finding::new(
            FindingCode::MissingHeader,
            "Content-Type: application/json is missing: the request has another media type, or parameters after it",
        ));
    }
}

/// What the detail says of an absent header; names the near miss where there is one.
fn missing(request: &Captured, name: &str) -> String {
    let (other, remark) = match name {
        "X-Date" => ("date", "the Date header is not read in its place"),
        "Content-sha512" => ("digest", "the Digest header is not read in its place"),
        "Authorization" => (
            "proxy-authorization",
            "Proxy-Authorization is not read in its place",
        ),
        _ => return format!("{name} is missing"),
    };
    if request.header(other).is_some() {
        format!("{name} is missing: {remark}")
    } else {
        format!("{name} is missing")
    }
}

fn check_date(request: &Captured, at: SystemTime, findings: &mut Vec<Finding>) {
    let Some(value) = request.header("x-date") else {
        return;
    };
    let Some(date) = std::str::from_utf8(value).ok().and_then(parse_imf_fixdate) else {
        findings.push(Finding::new(
            FindingCode::DateFormat,
            "X-Date is not an IMF-fixdate such as Fri, 17 Jan 2020 19:59:29 GMT",
        ));
        return;
    };
    let (signed, now) = (date::seconds(date), date::seconds(at));
    let (apart, side) = (
        signed.abs_diff(now),
        if signed < now { "before" } else { "after" },
    );
    if apart > TOLERANCE.as_secs() {
        findings.push(Finding::new(
            FindingCode::DateStale,
            format!(
                "X-Date is {apart} s {side} the time judged at, {}: {} s are allowed",
                imf_fixdate(at),
                TOLERANCE.as_secs()
            ),
        ));
    }
}

fn check_version(request: &Captured, findings: &mut Vec<Finding>) {
    if request.version != VERSION {
        findings.push(Finding::new(
            FindingCode::Http2RequestLine,
            format!(
                "the request was sent over {}, and the verifier rebuilds the request line with the version it sees: \
                 send it over HTTP/1.1",
                captured::shown_version(&request.version)
            ),
        ));
    }
}

/// Checks the `headers` parameter. Names beyond the five are let pass: they are signed like any other.
fn check_list(list: &str, findings: &mut Vec<Finding>) {
    let names: Vec<&str> = list.split(' ').collect();
    if names.len() > MOST_NAMES {
        findings.push(Finding::new(
            FindingCode::HeaderList,
            format!("the `headers` parameter has more than {MOST_NAMES} names"),
        ));
    }
    if names.contains(&"") || list.contains(|c: char| c.is_ascii_whitespace() && c != ' ') {
        findings.push(Finding::new(
            FindingCode::HeaderList,
            "the names are not separated by single spaces",
        ));
    }
    if names
        .iter()
        .any(|name| name.bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        findings.push(Finding::new(
            FindingCode::HeaderNameCase,
            "the `headers` parameter has names that are not in lower case",
        ));
    }
    for part in Part::ALL {
        match names
            .iter()
            .filter(|name| name.eq_ignore_ascii_case(part.name()))
            .count()
        {
            0 => findings.push(Finding::new(
                FindingCode::HeaderList,
                format!(
                    "the `headers` parameter does not name {}, so it is not signed",
                    part.name()
                ),
            )),
            1 => {}
            count => findings.push(Finding::new(
                FindingCode::HeaderList,
                format!(
                    "the `headers` parameter names {} {count} times",
                    part.name()
                ),
            )),
        }
    }
}

fn expected_text(
    request: &Captured,
    digest: Option<&BodyDigest>,
    list: Option<&str>,
    at: SystemTime,
) -> Vec<u8> {
    let order: HeaderOrder = list.and_then(|list| list.parse().ok()).unwrap_or_default();
    let x_date = match request.header("x-date").map(std::str::from_utf8) {
        Some(Ok(date)) => date.to_owned(),
        _ => imf_fixdate(at),
    };
    let Some(digest) = digest else {
        let names: Vec<&str> = order.parts().iter().map(|part| part.name()).collect();
        let mut reading = Reading::of(request, &names);
        reading.version = VERSION;
        reading.values = vec![
            ("x-date", x_date.into_bytes()),
            ("content-type", CONTENT_TYPE.into()),
        ];
        return reading.text();
    };
    signing_string(
        &order,
        Unsigned {
            method: &request.method,
            target: &request.target,
            digest,
        },
        &x_date,
    )
}
