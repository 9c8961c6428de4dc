//! What holds for any input whatever: reading never panics, and a request written out is read back as it was.

use proptest::prelude::*;

use super::*;

/// Pieces of all three formats, so that random sequences of them get past the first line.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec![
            &b"POST /a?b HTTP/1.1\r\n"[..],
            b"> POST / HTTP/2\n",
            b"> A: b\r\n",
            b"> \r\n",
            b"* x\n",
            b"< \n",
            b"\n",
            b"\r\n",
            b"Content-Length: 3\n",
            b"> Content-Length: 3\n",
            b"Transfer-Encoding: chunked\r\n",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"=> Send header, 18 bytes (0x12)\n",
            b"=> Send data, 18446744073709551615 bytes (0x3)\n",
            b"0000: POST / HTTP/1.1\n",
            b"0011: \n",
            b"ffffffffffffffff: x\n",
            b"0000: 7b 7d ",
            b"12:34:56.123456 [0-0] ",
            b"--:--:--  1k",
            b"\xef\xbb\xbf",
            b"{\"log\":{\"entries\":[",
            b"{\"request\":{\"method\":\"POST\",\"url\":\"h\",\"headers\":[]}}",
            b"]}}",
        ])
        .prop_map(<[u8]>::to_vec),
    ]
}

proptest! {
    #[test]
    fn reading_never_panics_and_breaks_within_the_input(
        pieces in proptest::collection::vec(piece(), 0..24),
        format in prop::sample::select(vec![None, Some(Format::Raw), Some(Format::Curl), Some(Format::Har)]),
        entry in proptest::option::of(0..3_usize),
    ) {
        let input = pieces.concat();
        match read(&input, format, entry) {
            Ok(capture) => prop_assert!(capture.body != BodyFound::Nowhere || capture.request.body.is_empty()),
            Err(unreadable) => prop_assert!(unreadable.offset <= input.len()),
        }
    }

    #[test]
    fn a_raw_request_is_read_back_as_it_was_written(
        target in "/[!-~]{0,40}",
        values in proptest::collection::vec("[!-~]([ -~]{0,20}[!-~])?", 0..5),
        body in proptest::collection::vec(any::<u8>(), 1..200),
        end in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        let mut input = format!("POST {target} HTTP/1.1{end}Content-Length: {}{end}", body.len());
        for value in &values {
            input += &format!("X-Value: {value}{end}");
        }
        input += end;
        let capture = read(&[input.as_bytes(), &body].concat(), None, None).expect("it is a request");
        prop_assert_eq!(capture.format, Format::Raw);
        prop_assert_eq!(capture.request.target, target.as_bytes());
        prop_assert_eq!(capture.body, BodyFound::ByContentLength);
        prop_assert_eq!(capture.request.body, body);
        let read: Vec<&[u8]> = capture.request.headers.iter().skip(1).map(|(_, value)| value.as_slice()).collect();
        prop_assert_eq!(read, values.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn an_input_beyond_the_limit_is_refused() {
    let input = vec![b'x'; MAX_INPUT + 1];
    let unreadable = read(&input, None, None).expect_err("too long");
    assert_eq!(unreadable.offset, MAX_INPUT);
}

#[test]
fn the_format_is_told_by_the_first_line_that_only_one_has() {
    for (input, format) in [
        (&b" \n{\"log\":{}}"[..], Format::Har),
        (b"\n\nPOST / HTTP/1.1\n\n> POST / HTTP/1.1\n", Format::Raw),
        (b"* Trying\n> POST / HTTP/1.1\n", Format::Curl),
        (b"== Info: x\n=> Send header, 5 bytes (0x5)\n", Format::Curl),
        (b"anything else", Format::Raw),
    ] {
        assert_eq!(detected(input), format);
    }
}
