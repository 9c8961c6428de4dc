//! Whether a request's framing can be trusted, judged from its raw bytes.
//!
//! Pingora mends what it reads: it drops a Content-Length beside Transfer-Encoding, joins repeated lengths, accepts other
//! codings before `chunked` and bare line feeds. Whoever stands before us may have read such a request differently
//! (request smuggling, RFC 9112 §11.2), so here it is refused, and the connection closed.

/// Checks the raw head of an HTTP/1 request.
///
/// # Errors
/// What is wrong, in words for the caller.
pub(super) fn check(head: &[u8]) -> Result<(), &'static str> {
    // RFC 9112 §2.2: a recipient may accept a bare LF; one that guards money does not.
    let bare_lf = head
        .iter()
        .enumerate()
        .any(|(at, b)| *b == b'\n' && (at == 0 || head[at - 1] != b'\r'));
    if bare_lf {
        return Err("a line of the request head ends without CR");
    }
    let mut lines = head
        .split(|b| *b == b'\n')
        .map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let request_line = lines.next().unwrap_or_default();
    let (mut lengths, mut codings, mut hosts) = (0, 0, 0);
    for line in lines.take_while(|l| !l.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err("a header field is folded over two lines"); // RFC 9112 §5.2
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            return Err("a header field has no colon");
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err("Content-Length is not one whole number");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding is not chunked alone");
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        }
    }
    match (lengths, codings, hosts) {
        (2.., _, _) => Err("Content-Length is repeated"),
        (_, 2.., _) => Err("Transfer-Encoding is repeated"),
        (1, 1, _) => Err("Content-Length stands beside Transfer-Encoding"), // RFC 9112 §6.1
        (_, _, 2..) => Err("Host is repeated"),                             // RFC 9112 §3.2
        (_, _, 0) if request_line.ends_with(b"HTTP/1.1") => Err("Host is missing"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &str) -> Result<(), &'static str> {
        check(
            format!("POST /gateway/verify HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes(),
        )
    }

    #[test]
    fn plain_framing_is_trusted() {
        for fields in [
            "",
            "Content-Length: 2\r\n",
            "content-length:2\r\n",
            "Transfer-Encoding: Chunked \r\n",
            "X: y\r\nA: b:c\r\n",
        ] {
            assert_eq!(checked(fields), Ok(()), "{fields:?}");
        }
        assert_eq!(check(b"POST / HTTP/1.0\r\n\r\n"), Ok(()));
    }

    #[test]
    fn whatever_two_servers_could_read_differently_is_refused() {
        for fields in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "Content-Length: 2\r\nCONTENT-LENGTH: 3\r\n",
            "Content-Length: 2, 2\r\n",
            "Content-Length: +2\r\n",
            "Content-Length: 0x2\r\n",
            "Content-Length:\r\n",
            "Content-Length: 2 \t 3\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
            "X: a\r\n b\r\n",
            "Host: other\r\n",
            "X: y\n",
        ] {
            assert!(checked(fields).is_err(), "{fields:?}");
        }
        assert!(check(b"POST / HTTP/1.1\r\n\r\n").is_err());
        assert!(check(b"POST / HTTP/1.1\nHost: a\r\n\r\n").is_err());
    }

    #[test]
    fn a_transfer_encoding_in_the_body_is_not_the_heads_business() {
        assert_eq!(
            check(b"POST / HTTP/1.1\r\nHost: a\r\n\r\nTransfer-Encoding: gzip\r\n"),
            Ok(())
        );
    }
}
