//! The signing string: the text under the MAC (protocol.md §1; the scheme of Kong's hmac-auth).
//!
//! One line for each signed part, joined by `\n`, none after the last. The target stands in it exactly as it will be
//! sent: nothing here decodes, normalises or checks it, because any difference to what is sent breaks the signature.

use super::{BodyDigest, HeaderOrder, order::Part};

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'r, 'd> {
    /// The method, `POST` but for the `sign` command.
    pub method: &'r str,
    /// The request target exactly as it will be sent, query included. Any bytes but the line feed, which HTTP/1.1
    /// cannot carry there either and which would begin a line of its own.
    pub target: &'r [u8],
    /// The body's digest.
    pub digest: &'d BodyDigest,
}

/// The HTTP version in a signed request line. The upstream connection must not be anything else.
pub(super) const VERSION: &str = "HTTP/1.1";

/// The text under the MAC, for a request signed in `order` with `x_date` as the value of `X-Date`.
///
/// The bytes are final: no newline follows the last line.
pub fn signing_string(order: &HeaderOrder, request: Unsigned<'_, '_>, x_date: &str) -> Vec<u8> {
    // Besides method and target it takes 221 bytes at most, the digest's 88 among them: one allocation.
    let mut text = Vec::with_capacity(256 + request.method.len() + request.target.len());
    for (index, part) in order.parts().iter().enumerate() {
        if index > 0 {
            text.push(b'\n');
        }
        // What each line begins with is written out, so that it is a few moves and no call: this is a twentieth of signing.
        let value = match part {
            Part::RequestLine => {
                text.extend_from_slice(request.method.as_bytes());
                text.push(b' ');
                text.extend_from_slice(request.target);
                text.extend_from_slice(b" HTTP/1.1");
                continue;
            }
            Part::XDate => {
                text.extend_from_slice(b"x-date: ");
                x_date
            }
            Part::ContentType => {
                text.extend_from_slice(b"content-type: application/json");
                continue;
            }
            Part::ContentSha512 => {
                text.extend_from_slice(b"content-sha512: ");
                request.digest.content_sha512()
            }
            Part::ContentLength => {
                text.extend_from_slice(b"content-length: ");
                request.digest.content_length()
            }
        };
        text.extend_from_slice(value.as_bytes());
    }
    text
}

/// Lines being joined, as the verifier does who tries what a client may have got wrong. A test holds what it makes of a right request to
/// what is signed.
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    separator: &'static str,
    begun: bool,
}

impl Lines {
    /// No lines yet. The verifier tries separators other than `\n`, to name a wrong one.
    pub(super) fn joined_by(separator: &'static str, capacity: usize) -> Self {
        Self {
            text: Vec::with_capacity(capacity),
            separator,
            begun: false,
        }
    }

    /// `METHOD target VERSION`.
    pub(super) fn push_request_line(&mut self, method: &str, target: &[u8], version: &str) {
        self.push(&[method.as_bytes(), b" ", target, b" ", version.as_bytes()]);
    }

    /// `name: value`.
    pub(super) fn push_header(&mut self, name: &str, colon: &str, value: &[u8]) {
        self.push(&[name.as_bytes(), colon.as_bytes(), value]);
    }

    /// `name:` and no space: how Kong signs a name whose header the request does not have.
    pub(super) fn push_absent(&mut self, name: &str) {
        self.push(&[name.as_bytes(), b":"]);
    }

    /// A line made of `pieces`, after the separator unless it is the first.
    pub(super) fn push(&mut self, pieces: &[&[u8]]) {
        if self.begun {
            self.text.extend_from_slice(self.separator.as_bytes());
        }
        self.begun = true;
        self.text
            .reserve(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.text.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::CONTENT_TYPE;

    #[test]
    fn what_is_signed_is_what_the_verifier_joins() {
        let digest = BodyDigest::of(b"{}");
        let request = Unsigned {
            method: "POST",
            target: b"/a?b=c",
            digest: &digest,
        };
        for order in [HeaderOrder::ORDER_A, HeaderOrder::ORDER_B] {
            let mut lines = Lines::joined_by("\n", 0);
            for part in order.parts() {
                let value = match part {
                    Part::RequestLine => {
                        lines.push_request_line(request.method, request.target, VERSION);
                        continue;
                    }
                    Part::XDate => "a date",
                    Part::ContentType => CONTENT_TYPE,
                    Part::ContentSha512 => digest.content_sha512(),
                    Part::ContentLength => digest.content_length(),
                };
                lines.push_header(part.name(), ": ", value.as_bytes());
            }
            assert_eq!(signing_string(&order, request, "a date"), lines.text);
        }
    }
}
