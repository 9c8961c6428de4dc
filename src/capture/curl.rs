//! What `curl -v` prints: `* ` information, `> ` the request's head, `< ` the response's.
//!
//! `-v` does not show the body that was sent. It is taken to follow the first empty line that stands right after one of
//! curl's own lines, once a request has ended; the response's body, where it is mixed in, follows a `<` line directly and is
//! not taken for it. `--trace` and `--trace-ascii` do show it and are read in [`super::trace`].

use super::{
    Broken, Message, chosen, framing,
    head::{self, Line},
    trace,
};

/// Whether `line` can only be curl's, and begins a request.
pub(super) fn begins_request(line: &[u8]) -> bool {
    sent(line).is_some_and(head::is_request_line) || trace::begins_request(line)
}

/// Reads the request that is meant, or the `entry`th.
pub(super) fn read(input: &[u8], entry: Option<usize>) -> Result<Message, Broken> {
    if head::lines(input).any(|line| trace::begins_request(line.bytes)) {
        return trace::read(input, entry);
    }
    let (heads, body) = split(input);
    if heads.is_empty() {
        return Err(Broken::at(
            input.len(),
            "no line begins with > and a request line: is it the output of curl -v, with standard error?",
        ));
    }
    let begin = heads[0][0].offset;
    let (lines, chosen) = chosen(&heads, |lines| method(lines), entry)
        .map_err(|problem| Broken::at(begin, problem))?;
    let head = head::read(lines.iter().copied())?;
    let (body, found, note) = framing::body(&head, body);
    Ok(Message {
        head,
        body,
        found,
        notes: chosen.into_iter().chain(note).collect(),
    })
}

/// The heads that were sent, none of them empty, and what follows the line that separates curl's output from a body.
fn split(input: &[u8]) -> (Vec<Vec<Line<'_>>>, &[u8]) {
    let mut heads: Vec<Vec<Line<'_>>> = Vec::new();
    let (mut within, mut after_own) = (false, false);
    for line in head::lines(input) {
        if line.bytes.is_empty() && after_own && !heads.is_empty() {
            return (heads, &input[line.next..]);
        }
        after_own = is_own(line.bytes);
        let Some(bytes) = sent(line.bytes) else {
            // Information stands between the lines of a head in some versions; only another kind of line ends it.
            within &= line.bytes.starts_with(b"*");
            continue;
        };
        let line = Line { bytes, ..line };
        match heads.last_mut() {
            _ if bytes.is_empty() => within = false,
            Some(head) if within => head.push(line),
            // A line that belongs to no request line is left for the reader of heads to complain of.
            _ => {
                heads.push(vec![line]);
                within = true;
            }
        }
    }
    (heads, &[])
}

fn method<'a>(lines: &[Line<'a>]) -> &'a [u8] {
    let line = lines.first().map_or(&b""[..], |line| line.bytes);
    line.split(|byte| *byte == b' ').next().unwrap_or(line)
}

/// What was sent, if `line` is a `>` line.
fn sent(line: &[u8]) -> Option<&[u8]> {
    let rest = undated(unmetered(line)).strip_prefix(b">")?;
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Whether curl itself wrote `line`, or its end.
fn is_own(line: &[u8]) -> bool {
    let plain = undated(unmetered(line));
    // `{ [5 bytes data]`: how much was received, and sent. At the end a note follows the response's body on its line.
    [&b">"[..], b"<", b"*", b"{ [", b"} ["]
        .iter()
        .any(|mark| plain.starts_with(mark))
        || [
            &b"* Connection #"[..],
            b"* Closing connection",
            b"* shutting down",
        ]
        .iter()
        .any(|end| line.windows(end.len()).any(|window| window == *end))
}

/// `line` without the time and the ids that `--trace-time` and `--trace-ids` put before it.
pub(super) fn undated(line: &[u8]) -> &[u8] {
    let mut rest = line;
    if let Some((time, after)) = line.split_at_checked("12:34:56.123456 ".len())
        && time.iter().enumerate().all(|(at, byte)| match at {
            2 | 5 => *byte == b':',
            8 => *byte == b'.',
            15 => *byte == b' ',
            _ => byte.is_ascii_digit(),
        })
    {
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(b"[")
        && let Some(end) = after.iter().position(|byte| *byte == b']')
        && after[..end]
            .iter()
            .all(|byte| byte.is_ascii_digit() || b"-x".contains(byte))
    {
        let after = &after[end + 1..];
        rest = after.strip_prefix(b" ").unwrap_or(after);
    }
    rest
}

/// `line` without a progress meter before it: curl draws one where its output is no terminal, over and over on one
/// line, and what it says next stands right after it. A meter ends in the current speed, such as `--:--:--  1234k`.
fn unmetered(line: &[u8]) -> &[u8] {
    const CLOCK: &[u8] = b"--:--:--";
    let Some(at) = line
        .windows(CLOCK.len())
        .rposition(|window| window == CLOCK)
    else {
        return line;
    };
    let mut rest = line[at + CLOCK.len()..].trim_ascii_start();
    while let [b'0'..=b'9' | b'.' | b'k' | b'M' | b'G', after @ ..] = rest {
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{BodyFound, Format, detected};

    const VERBOSE: &str = "*   Trying 127.0.0.1:8080...\r\n* Connected\n> POST /a?b HTTP/1.1\r\n> Host: x\r\n\
                           > Content-Length: 2\r\n> \r\n* upload completely sent off\r\n< HTTP/1.1 401 Unauthorized\r\n< \r\n";

    fn body(input: &str) -> (Vec<u8>, BodyFound) {
        assert_eq!(detected(input.as_bytes()), Format::Curl);
        let message = read(input.as_bytes(), None).expect("readable");
        assert_eq!(message.head.target, b"/a?b");
        (message.body, message.found)
    }

    #[test]
    fn the_body_follows_an_empty_line_after_curls_own_lines() {
        assert_eq!(body(VERBOSE), (Vec::new(), BodyFound::Nowhere));
        let with_body = (b"{}".to_vec(), BodyFound::ByContentLength);
        for ending in ["\n{}", "\r\n{}\n", "* Closing connection 0\n\n{}"] {
            assert_eq!(body(&format!("{VERBOSE}{ending}")), with_body, "{ending:?}");
        }
    }

    #[test]
    fn the_body_of_the_response_is_not_taken_for_that_of_the_request() {
        let answered = format!("{VERBOSE}{{\"message\":\n\n\"Unauthorized\"}}");
        assert_eq!(body(&answered), (Vec::new(), BodyFound::Nowhere));
        let ended = format!("{answered}* Connection #0 to host x left intact\n\n{{}}");
        assert_eq!(body(&ended).1, BodyFound::ByContentLength);
    }

    #[test]
    fn times_ids_and_a_progress_meter_are_looked_through() {
        let dated = VERBOSE.replace("> ", "12:34:56.123456 [0-0] > ");
        assert_eq!(body(&dated).1, BodyFound::Nowhere);
        let metered = VERBOSE.replace(
            "> POST",
            "\r  0     0    0     0    0     0      0      0 --:--:-- --:--:-- --:--:--     0> POST",
        );
        assert_eq!(body(&metered).1, BodyFound::Nowhere);
    }

    #[test]
    fn the_last_post_is_meant_unless_an_entry_is_named() {
        let connect =
            "> CONNECT h:443 HTTP/1.1\r\n> Host: h:443\r\n> \r\n< HTTP/1.1 200 OK\r\n< \r\n";
        let both = format!("{connect}{VERBOSE}> GET /c HTTP/1.1\r\n> \r\n");
        let message = read(both.as_bytes(), None).expect("readable");
        assert_eq!(message.head.target, b"/a?b");
        assert!(message.notes[0].contains("of 3 requests this is number 2"));
        assert_eq!(
            read(both.as_bytes(), Some(3))
                .expect("readable")
                .head
                .target,
            b"/c"
        );
        for entry in [0, 4] {
            assert!(read(both.as_bytes(), Some(entry)).is_err());
        }
    }

    #[test]
    fn output_without_a_request_is_refused() {
        assert!(read(b"* Could not resolve host\n", None).is_err());
        assert!(read(b"> \n>\n", None).is_err());
        assert!(read(b"> nonsense\n", None).is_err());
    }
}
