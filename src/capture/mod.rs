//! A captured request, read back from what the capturing tool wrote.
//!
//! Pure: bytes go in, a [`Capture`] or the offset at which reading broke comes out. Whatever had to be decided on the
//! way (what ended the body, a newline left aside, which of several requests) stands in [`Capture::notes`]: nothing is
//! guessed silently. No message holds a part of the input, which may hold card numbers and a signature.

mod curl;
mod framing;
mod har;
mod head;
mod raw;
mod trace;

#[cfg(test)]
mod properties;

use std::fmt;

use self::head::Head;
use crate::signing::verify::Captured;

/// The longest input that is read. A HAR of a whole browser session can be larger; one of a single call is not.
pub const MAX_INPUT: usize = 32 << 20;

/// The longest request line and headers that are read. Servers take 8 to 64 KiB; what is longer is not a request, and
/// diagnosing a signature takes time in proportion to it.
const MAX_HEAD: usize = 256 << 10;

/// In which form a request was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The HTTP/1.1 message itself, with CRLF or bare LF at its lines' ends.
    Raw,
    /// What curl's `-v`, `--trace-ascii` or `--trace` prints.
    Curl,
    /// An HTTP Archive, the JSON that browsers and debugging proxies export.
    Har,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raw => "raw HTTP/1.1",
            Self::Curl => "curl output",
            Self::Har => "HAR",
        })
    }
}

/// A request, and what is known about how it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The request. Its body is empty if [`Capture::body`] says that there is none.
    pub request: Captured,
    /// What the input turned out to be.
    pub format: Format,
    /// Where the body was found, and how far it can be trusted.
    pub body: BodyFound,
    /// What a person should know about the reading: lower case, without full stop, no part of the input.
    pub notes: Vec<String>,
}

/// Where the body was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFound {
    /// It is as long as `Content-Length` says.
    ByContentLength,
    /// Its chunks were put together.
    ByChunks,
    /// It is all that the capture holds after the head, or states as the body.
    Rest,
    /// The tool showed it with some bytes replaced: only if its digest is right is it known to be the body.
    Blurred,
    /// The capture does not hold it.
    Nowhere,
}

/// Why no request was found in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What the input was read as.
    pub format: Format,
    /// The byte at which that failed, counted from 0.
    pub offset: usize,
    /// What is wrong there: lower case, without full stop.
    pub problem: &'static str,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            format,
            offset,
            problem,
        } = self;
        write!(f, "as {format}, at byte {offset}: {problem}")
    }
}

impl std::error::Error for Unreadable {}

impl Unreadable {
    /// Whether naming another format may help.
    pub fn may_be_of_another_format(&self) -> bool {
        ![IS_UTF_16, NO_SUCH_ENTRY].contains(&self.problem)
    }
}

/// Reads the request in `input`, which is in `format`, or in the one that it looks like.
///
/// Where the input holds several requests, `entry` picks one, counted from 1; `None` picks the last POST.
///
/// # Errors
/// [`Unreadable`] where there is no request.
pub fn read(
    input: &[u8],
    format: Option<Format>,
    entry: Option<usize>,
) -> Result<Capture, Unreadable> {
    if UTF_16_MARKS.iter().any(|mark| input.starts_with(mark)) {
        return Err(Unreadable {
            format: format.unwrap_or(Format::Raw),
            offset: 0,
            problem: IS_UTF_16,
        });
    }
    let mark = if input.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    let text = &input[mark..];
    let format = format.unwrap_or_else(|| detected(text));
    let message = if input.len() > MAX_INPUT {
        Err(Broken::at(
            MAX_INPUT,
            "the input goes on, and 32 MiB are read at most",
        ))
    } else {
        match format {
            // There is one message in it.
            Format::Raw if entry.is_some_and(|number| number != 1) => {
                Err(Broken::at(0, NO_SUCH_ENTRY))
            }
            Format::Raw => raw::read(text),
            Format::Curl => curl::read(text, entry),
            Format::Har => har::read(text, entry),
        }
    };
    match message {
        Ok(Message {
            head,
            body,
            found,
            mut notes,
        }) => {
            if mark > 0 {
                notes.insert(
                    0,
                    "the byte order mark before the capture is left aside".to_owned(),
                );
            }
            Ok(Capture {
                request: Captured {
                    method: head.method,
                    target: head.target,
                    version: head.version,
                    headers: head.headers,
                    body,
                },
                format,
                body: found,
                notes,
            })
        }
        Err(broken) => Err(Unreadable {
            format,
            offset: mark + broken.offset,
            problem: broken.problem,
        }),
    }
}

/// Editors on Windows put it before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The same in UTF-16.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// It is not read: PowerShell has mixed lines of its own in by then, and changed bytes.
const IS_UTF_16: &str = "this is UTF-16, as PowerShell writes with >; have curl write the file itself, with --trace FILE or -v --stderr FILE";
const NO_SUCH_ENTRY: &str = "there is no entry of that number";

/// A request as one of the formats holds it.
struct Message {
    head: Head,
    body: Vec<u8>,
    found: BodyFound,
    notes: Vec<String>,
}

/// Where reading broke, and why.
#[derive(Debug)]
struct Broken {
    offset: usize,
    problem: &'static str,
}

impl Broken {
    fn at(offset: usize, problem: &'static str) -> Self {
        Self { offset, problem }
    }
}

/// What `input` looks like. The first line that can only belong to one format decides: what follows may be a body.
fn detected(input: &[u8]) -> Format {
    if input.trim_ascii_start().starts_with(b"{") {
        return Format::Har;
    }
    for line in head::lines(input) {
        if head::is_request_line(line.bytes) {
            return Format::Raw;
        }
        if curl::begins_request(line.bytes) {
            return Format::Curl;
        }
    }
    Format::Raw
}

/// The one of several requests that is meant, and a note of it if there was a choice. `method_of` tells their methods.
fn chosen<T>(
    requests: &[T],
    method_of: impl Fn(&T) -> &[u8],
    entry: Option<usize>,
) -> Result<(&T, Option<String>), &'static str> {
    let last = |wanted: &dyn Fn(&[u8]) -> bool| {
        requests
            .iter()
            .rposition(|request| wanted(method_of(request)))
    };
    let index = match entry {
        Some(number) => number
            .checked_sub(1)
            .filter(|index| *index < requests.len())
            .ok_or(NO_SUCH_ENTRY)?,
        // CONNECT opens a tunnel through a proxy; what is meant goes through it.
        None => last(&|method| method == b"POST")
            .or_else(|| last(&|method| method != b"CONNECT"))
            .ok_or("there is no request in it")?,
    };
    let note = (requests.len() > 1 && entry.is_none()).then(|| {
        format!(
            "of {} requests this is number {}, the last POST if there is one: --entry picks another",
            requests.len(),
            index + 1
        )
    });
    Ok((&requests[index], note))
}
