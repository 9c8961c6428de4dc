//! What of the bytes after a head is the body.
//!
//! A pasted capture is not a connection: it ends somewhere, and editors add or take a newline there. The only byte ever
//! left aside is such a newline beyond `Content-Length`, and that is noted; whatever else does not fit stays in the body,
//! for the verdict to say that the length is wrong.

use super::{BodyFound, head::Head};

/// The body among `rest`, how it was told, and what a person should know of it.
pub(super) fn body(head: &Head, rest: &[u8]) -> (Vec<u8>, BodyFound, Option<String>) {
    let whole = |found, note: Option<String>| (rest.to_vec(), found, note);
    let length = head.header("content-length").and_then(number);
    if rest.is_empty() && length != Some(0) {
        return whole(BodyFound::Nowhere, None);
    }
    // RFC 9112 §6.3: a Transfer-Encoding overrides the Content-Length.
    if head.header("transfer-encoding").is_some() {
        return match unchunked(rest) {
            Some((body, surplus)) => {
                let note = (!surplus.trim_ascii().is_empty())
                    .then(|| format!("{} bytes after the last chunk are left aside", surplus.len()));
                (body, BodyFound::ByChunks, note)
            }
            None => whole(
                BodyFound::Rest,
                Some("the request has a Transfer-Encoding and the body shows no chunks: it is taken as captured".to_owned()),
            ),
        };
    }
    let Some(length) = length else {
        let note = rest.ends_with(b"\n").then(|| {
            "without a Content-Length the newline at the capture's end counts as part of the body"
                .to_owned()
        });
        return whole(BodyFound::Rest, note);
    };
    if length == rest.len() {
        return whole(BodyFound::ByContentLength, None);
    }
    if let Some((body, b"\n" | b"\r\n")) = rest.split_at_checked(length) {
        return (
            body.to_vec(),
            BodyFound::ByContentLength,
            Some("the newline after the body is left aside: it is beyond Content-Length, and editors add one".to_owned()),
        );
    }
    let lost = if length == rest.len() + 1 {
        "; if the body ended in a newline, the capture has lost it"
    } else {
        ""
    };
    whole(
        BodyFound::Rest,
        Some(format!(
            "Content-Length says {length}, but {} bytes follow the headers: all of them are taken for the body{lost}",
            rest.len()
        )),
    )
}

/// RFC 9110 §8.6: digits alone.
fn number(value: &[u8]) -> Option<usize> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// The chunks of `rest` put together, and what follows the last (RFC 9112 §7.1). Lines may end in bare LF.
fn unchunked(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (line, after) = split_line(rest)?;
        let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
        let size = std::str::from_utf8(size)
            .ok()
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            // Trailer fields up to an empty line, which a paste may have lost.
            let mut rest = after;
            while let Some((line, after)) = split_line(rest) {
                rest = after;
                if line.is_empty() {
                    break;
                }
            }
            return Some((body, rest));
        }
        let (chunk, after) = after.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        rest = after
            .strip_prefix(b"\r\n")
            .or_else(|| after.strip_prefix(b"\n"))?;
    }
}

fn split_line(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&str, &str)], rest: &[u8]) -> (Vec<u8>, BodyFound, Option<String>) {
        let head = Head {
            method: "POST".to_owned(),
            target: b"/".to_vec(),
            version: "HTTP/1.1".to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        };
        body(&head, rest)
    }

    #[test]
    fn a_single_newline_beyond_content_length_is_left_aside_and_noted() {
        for end in [&b"\n"[..], b"\r\n"] {
            let (body, by, note) = found(&[("Content-Length", "2")], &[b"{}", end].concat());
            assert_eq!(
                (body.as_slice(), by),
                (&b"{}"[..], BodyFound::ByContentLength)
            );
            assert!(note.expect("a note").contains("newline"));
        }
    }

    #[test]
    fn any_other_surplus_stays_in_the_body() {
        for rest in [&b"{}\n\n"[..], b"{} ", b"{}{}", b"{"] {
            let (body, by, note) = found(&[("Content-Length", "2")], rest);
            assert_eq!((body.as_slice(), by), (rest, BodyFound::Rest));
            assert!(note.expect("a note").contains("Content-Length says 2"));
        }
    }

    #[test]
    fn an_exact_body_needs_no_note() {
        let exact = (b"{}\n".to_vec(), BodyFound::ByContentLength, None);
        assert_eq!(found(&[("content-length", " 3 ")], b"{}\n"), exact);
        assert_eq!(
            found(&[("Content-Length", "0")], b""),
            (Vec::new(), BodyFound::ByContentLength, None)
        );
    }

    #[test]
    fn a_body_that_is_not_there_is_not_an_empty_body() {
        for headers in [
            &[("Content-Length", "2")][..],
            &[],
            &[("Transfer-Encoding", "chunked")],
        ] {
            assert_eq!(found(headers, b"").1, BodyFound::Nowhere);
        }
    }

    #[test]
    fn chunks_are_put_together_whatever_ends_their_lines() {
        let chunked = [("Transfer-Encoding", "chunked"), ("Content-Length", "1")];
        for rest in [
            &b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\n\r\n"[..],
            b"1\n{\n01\n}\n0\nTrailer: x\n\n",
            b"2\r\n{}\r\n0\r\n",
        ] {
            let (body, by, note) = found(&chunked, rest);
            assert_eq!(
                (body.as_slice(), by, note),
                (&b"{}"[..], BodyFound::ByChunks, None)
            );
        }
        for rest in [
            &b"{}"[..],
            b"2\r\n{",
            b"fffffffffffffffff\r\n{}",
            b"+2\r\n{}\r\n0\r\n",
            b"2\r\n{}",
        ] {
            assert_eq!(found(&chunked, rest).1, BodyFound::Rest, "{rest:?}");
        }
    }
}
