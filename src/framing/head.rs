//! A complete request head: its grammar, and how it frames its body (RFC 9112 §3, §5, §6).

use memchr::memchr;

use super::{Fault, Target};

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Checks a head that ends with an empty line and holds neither bare CR nor bare LF.
pub(super) fn check(head: &[u8]) -> Result<(Target, Body), Fault> {
    let mut lines = head
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (target, http_11) = request_line(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        fields.read(line)?;
    }
    let why = match fields {
        Fields { lengths: 2.., .. } => "Content-Length is repeated",
        Fields { codings: 2.., .. } => "Transfer-Encoding is repeated",
        Fields {
            lengths: 1,
            codings: 1,
            ..
        } => "Content-Length stands beside Transfer-Encoding", // §6.1
        Fields { codings: 1, .. } if !http_11 => "an HTTP/1.0 request has Transfer-Encoding", // §6.1
        Fields { hosts: 2.., .. } => "Host is repeated", // §3.2
        Fields { hosts: 0, .. } if http_11 => "Host is missing", // §3.2
        Fields { hosts: 1, host, .. } if is_elsewhere(&target.0, host) => {
            "the target names another host than Host does, or spells it in another way; send the path alone"
        }
        Fields { codings: 1, .. } => return Ok((target, Body::Chunked)),
        Fields {
            lengths: 1, length, ..
        } => {
            let length = length.ok_or(Fault::LengthTooLarge)?;
            return Ok((target, Body::Length(length)));
        }
        Fields { .. } => return Ok((target, Body::None)),
    };
    Err(Fault::Untrusted(why))
}

/// `method SP target SP version`: the target, and whether the version is 1.1.
fn request_line(line: &[u8]) -> Result<(Target, bool), &'static str> {
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the request line is not method, target and version with one space between");
    };
    if !is_token(method) {
        return Err("the method is not a token");
    }
    // Beyond ASCII is no URI (RFC 3986), but common in queries, and passed on as it came. Asked of all bytes and not up to the first that
    // is not so, here and of values: of many at a time.
    let is_visible = |visible: bool, b: &u8| visible & (b.is_ascii_graphic() | !b.is_ascii());
    if target.is_empty() || !target.iter().fold(true, is_visible) {
        return Err("the target holds a control character");
    }
    if target.contains(&b'#') {
        return Err("the target has a fragment");
    }
    match version {
        b"HTTP/1.1" => Ok((Target(target.to_owned()), true)),
        b"HTTP/1.0" => Ok((Target(target.to_owned()), false)),
        _ => Err("the version is neither HTTP/1.1 nor HTTP/1.0"),
    }
}

/// Authority, if there is one, and path with query: we are the origin server's gateway, so an absolute-form target goes up in
/// origin-form (RFC 9112 §3.2.1 and §3.2.2).
pub fn split_target(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    if target.starts_with(b"/") {
        return (None, target);
    }
    let Some(scheme_end) = target.windows(3).position(|w| w == b"://") else {
        return (None, target);
    };
    let after = &target[scheme_end + 3..];
    let path_at = after
        .iter()
        .position(|b| matches!(b, b'/' | b'?'))
        .unwrap_or(after.len());
    let (authority, path) = after.split_at(path_at);
    (Some(authority), if path.is_empty() { b"/" } else { path })
}

/// Whether the target names its host otherwise than Host does. RFC 9112 §3.2.2 lets the target's stand, but whoever is in front may have
/// gone by the other, and Pingora refuses the two without a word that could be passed on.
fn is_elsewhere(target: &[u8], host: &[u8]) -> bool {
    split_target(target)
        .0
        .is_some_and(|authority| authority != host)
}

#[derive(Default)]
struct Fields<'a> {
    lengths: u32,
    codings: u32,
    hosts: u32,
    /// `None`: more than can be counted.
    length: Option<u64>,
    host: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(&mut self, line: &'a [u8]) -> Result<(), &'static str> {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = decimal(value)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding is not chunked alone");
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            self.host = value;
        }
        Ok(())
    }
}

/// `name: value`, with nothing between name and colon (§5.1) and no folding (§5.2).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err("a header field is folded over two lines");
    }
    let Some(colon) = memchr(b':', line) else {
        return Err("a header field has no colon");
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err("a header field's name is not a token");
    }
    let is_text = |text: bool, b: &u8| text & (*b == b'\t' || !b.is_ascii_control());
    if !value.iter().fold(true, is_text) {
        return Err("a header field's value holds a control character");
    }
    Ok((name, value.trim_ascii()))
}

/// RFC 9110 §8.6: `1*DIGIT`; `None` where it is a number larger than can be counted.
fn decimal(value: &[u8]) -> Result<Option<u64>, &'static str> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    match str::from_utf8(value).ok().filter(|_| is_number) {
        Some(digits) => Ok(digits.parse().ok()),
        None => Err("Content-Length is not one whole number"),
    }
}

/// Whether it is a token, as methods and names of fields are (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| OF_TOKENS[usize::from(*byte)])
}

/// By byte: whether tokens consist of it.
static OF_TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};
