use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1024;

/// What becomes of `bytes`, whole: the targets that were accepted, and the fault if there is one.
fn scan(bytes: &[u8]) -> (Vec<String>, Option<Violation>) {
    let mut scanner = Scanner::new(LIMIT);
    let violation = scanner.feed(bytes).err();
    let targets = std::iter::from_fn(|| scanner.accepted())
        .map(|t| String::from_utf8_lossy(&t.0).into_owned());
    (targets.collect(), violation)
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}").into_bytes()
}

fn is_accepted(bytes: &[u8]) -> bool {
    let next = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let (targets, violation) = scan(&[bytes, next].concat());
    violation.is_none() && targets.last().is_some_and(|t| t == "/next") && targets.len() == 2
}

#[test]
fn a_token_is_what_is_visible_and_no_delimiter() {
    assert!(!is_token(b""));
    for byte in 0..=u8::MAX {
        // RFC 9110 §5.6.2, which says it both ways.
        let expected = byte.is_ascii_graphic() && !br#"(),/:;<=>?@[\]{}""#.contains(&byte);
        assert_eq!(is_token(&[b'a', byte]), expected, "{byte}");
    }
}

#[test]
fn plain_requests_are_accepted_one_after_the_other() {
    for good in [
        post("", ""),
        post("Content-Length: 2\r\n", "{}"),
        post("content-length:2\r\n", "{}"),
        post("Content-Length: 0\r\n", ""),
        post("Transfer-Encoding: Chunked \r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post(
            "Transfer-Encoding: chunked\r\n",
            "0002;a=b;c=\"d\"\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        post(
            "Transfer-Encoding: chunked\r\n",
            "1 ; a\r\n{\r\n1\r\n}\r\n00\r\n\r\n",
        ),
        post("X: \u{e9}\ty\r\n", ""),
        b"\r\nGET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"GET /a?b=http://c/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"CONNECT c:1 HTTP/1.1\r\nHost: c:1\r\n\r\n".to_vec(),
    ] {
        assert!(
            is_accepted(&good),
            "{:?} {:?}",
            String::from_utf8_lossy(&good),
            scan(&good)
        );
    }
}

#[test]
fn whatever_two_servers_could_read_differently_is_refused() {
    let head = |text: &str| format!("{text}\r\n\r\n").into_bytes();
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    for bad in [
        // Framing.
        post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", ""),
        post("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", ""),
        post("Content-Length: 2\r\nContent-Length: 2\r\n", ""),
        post("Content-Length: 2\r\nCONTENT-LENGTH: 3\r\n", ""),
        post("Content-Length: 2, 2\r\n", ""),
        post("Content-Length: +2\r\n", ""),
        post("Content-Length: -2\r\n", ""),
        post("Content-Length: 0x2\r\n", ""),
        post("Content-Length:\r\n", ""),
        post("Content-Length: 2 \t 3\r\n", ""),
        post("Content-Length: 99999999999999999999\r\n", ""),
        post("Transfer-Encoding: gzip, chunked\r\n", ""),
        post("Transfer-Encoding: chunked, gzip\r\n", ""),
        post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "",
        ),
        post("Transfer-Encoding: xchunked\r\n", ""),
        post("Transfer-Encoding:\r\n", ""),
        head("POST / HTTP/1.0\r\nTransfer-Encoding: chunked"),
        // Fields.
        post("X: a\r\n b\r\n", ""),
        post("Transfer-Encoding : chunked\r\n", ""),
        post("X\r\n", ""),
        post(": x\r\n", ""),
        post("X: a\0b\r\n", ""),
        post("X: a\x0bb\r\n", ""),
        post("Host: other\r\n", ""),
        head("POST / HTTP/1.1"),
        head("POST http://other/ HTTP/1.1\r\nHost: h"),
        head("POST http://h:80/ HTTP/1.1\r\nHost: h"),
        head("POST http://H/ HTTP/1.1\r\nHost: h"),
        // Lines.
        b"POST / HTTP/1.1\nHost: h\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: h\r\nX: y\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n".to_vec(),
        b"\r\n\r\nPOST / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"\nPOST / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"\rPOST / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        // Request lines.
        head("POST  / HTTP/1.1\r\nHost: h"),
        head("POST / x HTTP/1.1\r\nHost: h"),
        head("POST /a\tb HTTP/1.1\r\nHost: h"),
        head("POST /a\0 HTTP/1.1\r\nHost: h"),
        head("POST /a#b HTTP/1.1\r\nHost: h"),
        head("POST / HTTP/1.2\r\nHost: h"),
        head("POST / HTTP/2.0\r\nHost: h"),
        head("POST /"),
        head("P(ST / HTTP/1.1\r\nHost: h"),
        head("PRI * HTTP/2.0"),
        // Chunks.
        chunked("2;a\nb\r\n{}\r\n0\r\n\r\n"),
        chunked("2\r\n{}\r\n\r\n\r\n"),
        chunked("2\r\n{}\r\n;x\r\n\r\n"),
        chunked("2\n{}\r\n0\r\n\r\n"),
        chunked("2\r\n{}\n0\r\n\r\n"),
        chunked("2\r\n{}x0\r\n\r\n"),
        chunked("0x2\r\n{}\r\n0\r\n\r\n"),
        chunked("-1\r\n{}\r\n0\r\n\r\n"),
        chunked("FFFFFFFFFFFFFFFF\r\n{}"),
        chunked("0\r\nPOST / HTTP/1.1\r\n\r\n"),
        chunked("0\r\nContent-Length: 5\r\n\r\n"),
        chunked("0\r\nX: a\n\r\n"),
        chunked("0\r\n\rx"),
    ] {
        let (_, violation) = scan(&bad);
        assert!(violation.is_some(), "{:?}", String::from_utf8_lossy(&bad));
    }
}

#[test]
fn nothing_that_would_complete_a_refused_head_is_passed_on() {
    let bad = post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}");
    let (targets, violation) = scan(&bad);
    let passed = violation.expect("repeated lengths").passed;
    assert!(targets.is_empty());
    assert!(!bad[..passed].windows(4).any(|w| w == b"\r\n\r\n"));
}

#[test]
fn a_head_over_its_limit_is_told_from_a_line_over_it() {
    let long = "x".repeat(LIMIT);
    assert_eq!(
        scan(format!("POST /{long}").as_bytes()).1.map(|v| v.fault),
        Some(Fault::LineTooLarge)
    );
    let fields = post(&format!("X: {long}\r\n"), "");
    assert_eq!(scan(&fields).1.map(|v| v.fault), Some(Fault::HeadTooLarge));
}

proptest! {
    /// Where the bytes are cut into reads makes no difference, and nothing panics.
    #[test]
    fn the_way_the_bytes_arrive_does_not_matter(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[\r\n :;0-9a-fA-Fx/P]{0,200}".prop_map(String::into_bytes),
            ("[\r\n :;0-9a-f,a-z]{0,60}", "[\r\n;0-9a-f{}]{0,60}").prop_map(|(f, b)| post(&f, &b)),
            "[\r\n;0-9a-f{}: x]{0,80}".prop_map(|b| post("Transfer-Encoding: chunked\r\n", &b)),
        ],
        cuts in prop::collection::vec(1_usize..7, 0..50),
    ) {
        let whole = scan(&bytes);
        let mut scanner = Scanner::new(LIMIT);
        let (mut at, mut violation) = (0_usize, None);
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let end = at.saturating_add(cut).min(bytes.len());
            if let Err(found) = scanner.feed(&bytes[at..end]) {
                violation = Some(Violation { passed: at + found.passed, ..found });
                break;
            }
            at = end;
        }
        let targets: Vec<_> = std::iter::from_fn(|| scanner.accepted())
            .map(|t| String::from_utf8_lossy(&t.0).into_owned())
            .collect();
        prop_assert_eq!((targets, violation), whole);
    }
}
