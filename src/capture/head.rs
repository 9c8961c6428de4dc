//! A request's line and headers, from lines that some tool wrote.
//!
//! Spelling and order are kept: both are evidence. Line ends may be bare LF, because editors and terminals make them so;
//! everything else that RFC 9112 forbids is an error here, since no server would have read such a request either.

use super::{Broken, MAX_HEAD};
use crate::framing::is_token;

/// Everything of a request but its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: Vec<u8>,
    pub(super) version: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The value of the first header called `name` in any case, without surrounding white space.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_ascii())
    }
}

/// A line without its end, and where in the input it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
    /// Where in the input the next line begins.
    pub(super) next: usize,
    /// Whether a line feed without a carriage return ended it.
    pub(super) bare: bool,
}

/// The lines of `input`, ended by LF or CRLF. The last may have no end.
pub(super) fn lines(input: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = input.get(offset..).filter(|rest| !rest.is_empty())?;
        let (bytes, next, ended) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], offset + end + 1, true),
            None => (rest, input.len(), false),
        };
        let stripped = bytes.strip_suffix(b"\r");
        let line = Line {
            offset,
            bytes: stripped.unwrap_or(bytes),
            next,
            bare: ended && stripped.is_none(),
        };
        offset = next;
        Some(line)
    })
}

/// Reads a request line and the header lines after it; no empty line is among `lines`.
pub(super) fn read<'a>(mut lines: impl Iterator<Item = Line<'a>>) -> Result<Head, Broken> {
    let first = lines
        .next()
        .ok_or_else(|| Broken::at(0, "there is no request line"))?;
    let (method, target, version) = request_line(first)?;
    let mut headers = Vec::new();
    let mut length = first.bytes.len();
    for line in lines {
        length += line.bytes.len();
        if length > MAX_HEAD {
            return Err(Broken::at(
                line.offset,
                "the headers go on beyond 256 KiB: is an empty line missing before the body?",
            ));
        }
        headers.push(header(line)?);
    }
    Ok(Head {
        method,
        target,
        version,
        headers,
    })
}

/// Whether `line` has the form of a request line.
pub(super) fn is_request_line(line: &[u8]) -> bool {
    request_line(Line {
        offset: 0,
        bytes: line,
        next: 0,
        bare: false,
    })
    .is_ok()
}

/// RFC 9112 §3. The target is all between the first and the last space: a client that decodes its path sends spaces,
/// and is to be told so rather than that its request cannot be read.
fn request_line(line: Line<'_>) -> Result<(String, Vec<u8>, String), Broken> {
    let Line { offset, bytes, .. } = line;
    if bytes.starts_with(b"HTTP/") {
        return Err(Broken::at(
            offset,
            "this is a response: the request that it answers is what is judged",
        ));
    }
    if bytes.len() > MAX_HEAD {
        return Err(Broken::at(offset, "the request line is beyond 256 KiB"));
    }
    let spaces = |byte: &u8| *byte == b' ';
    let (Some(first), Some(last)) = (
        bytes.iter().position(spaces),
        bytes.iter().rposition(spaces),
    ) else {
        return Err(Broken::at(offset, NOT_A_REQUEST_LINE));
    };
    let (method, version) = (&bytes[..first], &bytes[last + 1..]);
    if first == last || !is_token(method) || !version.starts_with(b"HTTP/") || !visible(version) {
        return Err(Broken::at(offset, NOT_A_REQUEST_LINE));
    }
    let target = &bytes[first + 1..last];
    if target.is_empty() {
        return Err(Broken::at(offset + first, "the request line has no target"));
    }
    Ok((text(method), target.to_vec(), text(version)))
}

const NOT_A_REQUEST_LINE: &str = "this is no request line, which has the form: POST /path HTTP/1.1";

/// RFC 9112 §5: a name, a colon right after it, a value.
fn header(line: Line<'_>) -> Result<(String, Vec<u8>), Broken> {
    let Line { offset, bytes, .. } = line;
    if bytes.starts_with(b" ") || bytes.starts_with(b"\t") {
        return Err(Broken::at(
            offset,
            "a header line begins with white space: join it to the line before, which was folded",
        ));
    }
    let Some(colon) = bytes.iter().position(|byte| *byte == b':') else {
        return Err(Broken::at(
            offset,
            "a header line has no colon: is an empty line missing before the body?",
        ));
    };
    let name = &bytes[..colon];
    if !is_token(name) {
        return Err(Broken::at(
            offset,
            "a header's name has characters that no name can have, such as a space before its colon",
        ));
    }
    Ok((text(name), bytes[colon + 1..].trim_ascii_start().to_vec()))
}

fn visible(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_graphic)
}

/// For bytes known to be ASCII.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(input: &[u8]) -> (usize, &'static str) {
        let broken = read(lines(input)).expect_err("it is broken");
        (broken.offset, broken.problem)
    }

    #[test]
    fn spelling_order_and_spaces_in_the_target_are_kept() {
        let head = read(lines(b"POST /a b?c HTTP/1.1\r\nx-DATE:\t1 \nA:\n")).expect("a head");
        assert_eq!(
            (head.method.as_str(), head.version.as_str()),
            ("POST", "HTTP/1.1")
        );
        assert_eq!(head.target, b"/a b?c");
        assert_eq!(
            head.headers,
            [
                ("x-DATE".to_owned(), b"1 ".to_vec()),
                ("A".to_owned(), Vec::new())
            ]
        );
        assert_eq!(head.header("X-Date"), Some(&b"1"[..]));
    }

    #[test]
    fn what_no_server_would_read_is_refused_where_it_stands() {
        assert_eq!(broken(b"").0, 0);
        assert!(
            broken(b"HTTP/1.1 401 Unauthorized\r\n")
                .1
                .contains("response")
        );
        for line in [
            &b"POST /"[..],
            b"POST  HTTP/1.1",
            b"P\x01 / HTTP/1.1",
            b"{}",
        ] {
            assert_eq!(
                broken(line).0,
                if line.contains(&b'H') && line[0] == b'P' && line[1] == b'O' {
                    4
                } else {
                    0
                }
            );
        }
        assert_eq!(broken(b"POST / HTTP/1.1\nA: b\nC : d\n").0, 21);
        assert_eq!(broken(b"POST / HTTP/1.1\nA: b\n c\n").0, 21);
        assert_eq!(broken(b"POST / HTTP/1.1\r\nA: b\r\n{}\r\n").0, 23);
    }

    #[test]
    fn endless_headers_are_refused() {
        let mut input = b"POST / HTTP/1.1\n".to_vec();
        input.extend(b"A: b\n".repeat(MAX_HEAD / 4));
        assert!(broken(&input).1.contains("256 KiB"));
    }
}
