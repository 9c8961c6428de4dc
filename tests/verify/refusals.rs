//! Wrong usage: the exit status says whose fault it is, and the message where reading broke, without repeating the input.

use crate::run::{Place, verify};

#[track_caller]
fn refused(more: &[&str], input: &[u8], status: i32, said: &str) {
    let ran = Place::new().verify(more, input);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (status, ""),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.starts_with("ingo-signing-proxy: "),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn nothing_on_standard_input_is_wrong_usage() {
    refused(&[], b"", 64, "there is nothing on standard input");
    refused(&[], b" \r\n\n", 64, "there is nothing on standard input");
}

#[test]
fn what_is_no_request_is_wrong_usage_and_the_offset_is_told() {
    refused(&[], b"hunter2", 64, "as raw HTTP/1.1, at byte 0");
    refused(&[], b"hunter2", 64, "--format");
    refused(
        &[],
        b"POST / HTTP/1.1\r\nA: b\r\nhunter2\r\n",
        64,
        "as raw HTTP/1.1, at byte 23",
    );
    refused(
        &[],
        b"HTTP/1.1 401 Unauthorized\r\n\r\n",
        64,
        "this is a response",
    );
    refused(&[], b"{\"log\":\"hunter2\"}", 64, "as HAR, at byte");
    refused(
        &["--format", "curl"],
        b"POST /hunter2 HTTP/1.1\r\n\r\n",
        64,
        "as curl output, at byte 26",
    );
}

#[test]
fn an_entry_that_there_is_not_is_wrong_usage_in_every_format() {
    let raw = b"POST /hunter2 HTTP/1.1\r\nHost: h\r\n\r\n";
    let curl = b"> POST /hunter2 HTTP/1.1\r\n> Host: h\r\n> \r\n";
    for input in [&raw[..], curl] {
        for entry in ["0", "2", "9"] {
            let said = "there is no entry of that number\n";
            refused(&["--entry", entry], input, 64, said);
        }
        assert_eq!(Place::new().verify(&["--entry", "1"], input).status, 1);
    }
}

#[test]
fn a_capture_in_utf_16_is_told_to_be() {
    let text = "> POST /hunter2 HTTP/1.1\r\n> \r\n".encode_utf16();
    let marked = || std::iter::once(0xfeff).chain(text.clone());
    let little: Vec<u8> = marked().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = marked().flat_map(u16::to_be_bytes).collect();
    for input in [little, big] {
        refused(&[], &input, 64, "this is UTF-16, as PowerShell writes");
        refused(&[], &input, 64, "-v --stderr FILE\n");
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_wrong_configuration() {
    let ran = verify(
        &["--secret-file", "/nonexistent/secret"],
        b"POST / HTTP/1.1\r\n\r\n",
    );
    assert_eq!(ran.status, 78);
    assert!(
        ran.stderr.contains("/nonexistent/secret does not exist"),
        "{}",
        ran.stderr
    );
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    for more in [
        &["--at", "2020-01-17"][..],
        &["--format", "pcap"],
        &["--entry", "x"],
        &["--color", "blue"],
        &["--loud"],
    ] {
        assert_eq!(
            Place::new().verify(more, b"POST / HTTP/1.1\r\n\r\n").status,
            64,
            "{more:?}"
        );
    }
    refused(
        &["--body-file", "/nonexistent/body"],
        b"POST / HTTP/1.1\r\n\r\n",
        64,
        "/nonexistent/body",
    );
    assert_eq!(verify(&[], b"").status, 64);
}
