//! Where one HTTP/1 request ends and the next begins, judged strictly and from the raw bytes.
//!
//! Pure. Pingora mends what it reads: it drops a Content-Length beside Transfer-Encoding, joins repeated lengths, accepts bare
//! line feeds and empty chunk sizes, and rewrites the request line. Whoever stands before us may have read such a request
//! differently, and hidden a second one in it (RFC 9112 §11.2). So a [`Scanner`] reads along, and what it does not accept
//! never reaches Pingora.

mod chunked;
mod head;

use std::collections::VecDeque;

use memchr::memchr2;

pub use self::head::{is_token, split_target};
use self::{chunked::Chunked, head::Body};

/// What most heads take, in bytes.
const USUAL_HEAD: usize = 1024;

/// Follows the bytes of one connection, request after request.
#[derive(Debug)]
pub struct Scanner {
    head_bytes: usize,
    state: State,
    /// The head that is being read.
    head: Vec<u8>,
    accepted: VecDeque<Target>,
}

/// The request target of an accepted head: the bytes as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub Vec<u8>);

/// Why a connection's bytes are not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The framing cannot be trusted, and why, in words for the caller.
    Untrusted(&'static str),
    /// The request line alone is larger than a head may be.
    LineTooLarge,
    /// The head is larger than it may be.
    HeadTooLarge,
    /// The body's length is more than can be counted.
    LengthTooLarge,
}

impl From<&'static str> for Fault {
    fn from(why: &'static str) -> Self {
        Self::Untrusted(why)
    }
}

/// Bytes that are not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// How many of the bytes given may be passed on. They do not complete what is at fault.
    pub passed: usize,
    /// What is wrong.
    pub fault: Fault,
}

#[derive(Debug)]
enum State {
    /// Between requests; whether an empty line was skipped already, and its CR seen.
    Between {
        skipped: bool,
        cr: bool,
    },
    Head,
    Length(u64),
    Chunked(Chunked),
    Broken(Fault),
}

impl Scanner {
    /// A scanner at the start of a connection, for heads of at most `head_bytes`.
    pub fn new(head_bytes: usize) -> Self {
        Self {
            head_bytes,
            state: State::Between {
                skipped: false,
                cr: false,
            },
            head: Vec::new(),
            accepted: VecDeque::new(),
        }
    }

    /// Reads along.
    ///
    /// # Errors
    /// A [`Violation`], from which there is no way back: every later call fails as well.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let step = match &mut self.state {
                State::Broken(fault) => {
                    return Err(Violation {
                        passed: at,
                        fault: *fault,
                    });
                }
                State::Between { skipped, cr } => {
                    between(rest[0], skipped, cr).map(|next| (usize::from(!next), next))
                }
                State::Head => self.head(rest).map(|n| (n, false)),
                State::Length(left) => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= n as u64;
                    let done = *left == 0;
                    if done {
                        self.state = State::Between {
                            skipped: false,
                            cr: false,
                        };
                    }
                    Ok((n, false))
                }
                State::Chunked(chunked) => match chunked.feed(rest) {
                    Ok((n, true)) => {
                        self.state = State::Between {
                            skipped: false,
                            cr: false,
                        };
                        Ok((n, false))
                    }
                    Ok((n, false)) => Ok((n, false)),
                    Err((n, why)) => Err((n, Fault::Untrusted(why))),
                },
            };
            match step {
                Ok((n, begins)) => {
                    at += n;
                    if begins {
                        self.state = State::Head;
                    }
                }
                Err((n, fault)) => {
                    self.state = State::Broken(fault);
                    return Err(Violation {
                        passed: at + n,
                        fault,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a head has begun and is not complete.
    pub fn is_within_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Bytes of the head that is being read.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// The next head that was accepted, in the order in which they came.
    pub fn accepted(&mut self) -> Option<Target> {
        self.accepted.pop_front()
    }

    /// Takes up to the end of the head; answers how many bytes.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            // RFC 9112 §2.2: a bare CR is never valid, and a bare LF only tolerated by those who guard nothing.
            let n = match (self.head.last(), memchr2(b'\r', b'\n', rest)) {
                (Some(b'\r'), _) if rest[0] != b'\n' => {
                    let why = "a line of the request head holds a bare CR";
                    return Err((at, Fault::Untrusted(why)));
                }
                (Some(b'\r'), _) => 1,
                (_, Some(0)) if rest[0] == b'\n' => {
                    let why = "a line of the request head ends without CR";
                    return Err((at, Fault::Untrusted(why)));
                }
                (_, Some(0)) => 1,
                (_, Some(line)) => line,
                (_, None) => rest.len(),
            };
            let room = self.head_bytes - self.head.len();
            if n > room {
                let line_complete = self.head.contains(&b'\n');
                let fault = if line_complete {
                    Fault::HeadTooLarge
                } else {
                    Fault::LineTooLarge
                };
                return Err((at + room, fault));
            }
            if self.head.is_empty() {
                self.head.reserve(rest.len().min(USUAL_HEAD));
            }
            self.head.extend_from_slice(&rest[..n]);
            at += n;
            if self.head.ends_with(b"\r\n\r\n") {
                // The byte that completes it is not passed on where it is refused.
                let (target, body) = head::check(&self.head).map_err(|fault| (at - 1, fault))?;
                self.accepted.push_back(target);
                // A burst of large heads must not stay allocated on an idle connection.
                self.head = Vec::new();
                self.state = match body {
                    Body::None | Body::Length(0) => State::Between {
                        skipped: false,
                        cr: false,
                    },
                    Body::Length(n) => State::Length(n),
                    Body::Chunked => State::Chunked(Chunked::new()),
                };
                return Ok(at);
            }
        }
        Ok(at)
    }
}

/// One byte between requests: whether it begins a head. One empty line is skipped (RFC 9112 §2.2).
fn between(byte: u8, skipped: &mut bool, cr: &mut bool) -> Result<bool, (usize, Fault)> {
    match (byte, *cr, *skipped) {
        (b'\r', false, false) => *cr = true,
        (b'\n', true, _) => (*cr, *skipped) = (false, true),
        (b'\n', false, false) => {
            return Err((
                0,
                Fault::Untrusted("an empty line before the request ends without CR"),
            ));
        }
        (_, true, _) | (b'\r' | b'\n', ..) => {
            return Err((
                0,
                Fault::Untrusted("there is more than one empty line before the request"),
            ));
        }
        _ => return Ok(true),
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
