//! Requests that two servers could read differently: 400, the connection closed, and what follows them never taken for a
//! request of its own (request smuggling, RFC 9112 §11.2).

use crate::support::{Post, Refusing, SESSIONS};

#[test]
fn content_length_beside_transfer_encoding_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    let post = Post::new("{}");
    let length_first = post.clone().header("Content-Length", "2").in_chunks_of(1);
    refusing.distrusts(&length_first.bytes());
    let length_last = post.unframed().header("Transfer-Encoding", "chunked");
    let length_last = length_last.header("Content-Length", "12");
    refusing.distrusts(&[&length_last.head()[..], b"2\r\n{}\r\n0\r\n\r\n"].concat());
}

#[test]
fn repeated_and_listed_lengths_are_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for lengths in [
        &["2", "2"][..],
        &["2", "3"],
        &["3", "2"],
        &["2, 2"],
        &["2,3"],
    ] {
        let mut post = Post::new("{}").unframed();
        for length in lengths {
            post = post.header("Content-Length", length);
        }
        refusing.distrusts(&post.bytes());
    }
}

#[test]
fn a_length_that_is_no_number_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for length in ["", "-2", "+2", "0x2", "2 2", "2;", "two", "2.0"] {
        let post = Post::new("{}").unframed().header("Content-Length", length);
        let bytes = [&post.bytes()[..], &Post::new("{}").bytes()].concat();
        let mut client = refusing.proxy.client();
        let _ = client.try_send(&bytes);
        let answer = client.answer("POST");
        assert_eq!(answer.problem()["code"], "bad_request", "{length:?}");
        client.is_closed();
    }
}

#[test]
fn a_transfer_encoding_other_than_chunked_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for coding in [
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "gzip",
        "identity",
        "xchunked",
        "chunked;a=b",
        "\"chunked\"",
        "",
    ] {
        let post = Post::new("{}")
            .unframed()
            .header("Transfer-Encoding", coding);
        refusing.distrusts(&[&post.head()[..], b"2\r\n{}\r\n0\r\n\r\n"].concat());
    }
    let twice = Post::new("{}")
        .in_chunks_of(1)
        .header("Transfer-Encoding", "chunked");
    refusing.distrusts(&twice.bytes());
}

#[test]
fn chunks_that_are_none_are_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    let head = Post::new("").in_chunks_of(1).head();
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "3\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut client = refusing.proxy.client();
        let _ = client.try_send(&[&head[..], body.as_bytes()].concat());
        client.finish_sending();
        // Either a 400, or 413 for a chunk that could never fit; in any case the connection ends.
        if let Ok(answer) = client.try_answer("POST") {
            let status = answer.status;
            assert!(
                [400, 413].contains(&status),
                "{body:?}: {status} {}",
                answer.text()
            );
            answer.problem();
        }
        client.is_closed();
    }
}

#[test]
fn a_bare_line_feed_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    let head = format!("POST {SESSIONS} HTTP/1.1\r\nHost: localhost\r\n");
    for rest in [
        "X-A: b\nContent-Length: 2\r\n\r\n{}",
        "Content-Length: 2\n\r\n{}",
        "Content-Length: 2\r\n\n{}",
        "X-A: b\nX-C: d\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        refusing.distrusts(format!("{head}{rest}").as_bytes());
    }
    refusing.distrusts(
        format!("POST {SESSIONS} HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n{{}}").as_bytes(),
    );
}

#[test]
fn a_bare_carriage_return_or_a_nul_in_a_header_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    for value in ["a\rContent-Length: 5", "a\0b"] {
        refusing.distrusts(&Post::new("{}").header("X-A", value).bytes());
    }
}

#[test]
fn a_folded_header_line_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    refusing.distrusts(&Post::new("{}").header("X-A", "b\r\n c").bytes());
    refusing.distrusts(&Post::new("{}").header("X-A", "b\r\n\tc").bytes());
    let first = format!(
        "POST {SESSIONS} HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    refusing.distrusts(first.as_bytes());
}

#[test]
fn a_line_feed_before_a_request_is_refused_where_it_is_the_first_byte_as_well() {
    let refusing = Refusing::start();
    let request = Post::new("{}").bytes();
    refusing.distrusts(&[b"\n", &request[..]].concat());
    refusing.distrusts(&[b"\r\n\n", &request[..]].concat());
}

#[test]
fn a_space_before_a_colon_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    refusing.distrusts(
        &Post::new("{}")
            .unframed()
            .header("Content-Length ", "2")
            .bytes(),
    );
    refusing.distrusts(
        &Post::new("{}")
            .header("Transfer-Encoding ", "chunked")
            .bytes(),
    );
    refusing.distrusts(&Post::new("{}").header("X A", "b").bytes());
}

#[test]
fn a_missing_or_second_host_is_refused_and_the_connection_closed() {
    let refusing = Refusing::start();
    refusing.distrusts(&Post::new("{}").without("Host").bytes());
    refusing.distrusts(&Post::new("{}").header("Host", "localhost").bytes());
    refusing.distrusts(&Post::new("{}").header("host", "evil.example").bytes());
}

#[test]
fn a_target_that_names_another_host_or_is_no_uri_is_refused_and_told_what_to_do() {
    let refusing = Refusing::start();
    let head = |target: &str, host: &str| {
        let head = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n");
        [head.as_bytes(), b"{}"].concat()
    };
    for (target, host, told) in [
        (
            format!("http://LOCALHOST{SESSIONS}"),
            "localhost",
            "another host than Host",
        ),
        (
            format!("http://127.0.0.1{SESSIONS}"),
            "localhost",
            "another host than Host",
        ),
        (
            format!("http://localhost:80{SESSIONS}"),
            "localhost",
            "another host than Host",
        ),
        (
            format!("http://evil.example{SESSIONS}"),
            "localhost",
            "another host than Host",
        ),
        (format!("{SESSIONS}?a=<b>"), "localhost", "percent-encoded"),
        (
            format!("{SESSIONS}?a=\"b\""),
            "localhost",
            "percent-encoded",
        ),
        (
            format!("http:///{SESSIONS}"),
            "localhost",
            "send the path alone",
        ),
        (SESSIONS.to_owned(), "a@localhost", "names a user"),
    ] {
        let bytes = head(&target, host);
        let (mut client, _, problem) = refusing.refuses(&bytes, 400, "bad_request");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(told), "{target} {host}: {detail}");
        client.is_closed();
    }
}

#[test]
fn bytes_that_are_no_http_are_answered_with_400_or_closed() {
    let refusing = Refusing::start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"[..],
        b"hello, is this the proxy of Ingo? please answer\r\n\r\n",
        b"POST  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1 extra\r\nHost: localhost\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut client = refusing.proxy.client();
        let _ = client.try_send(bytes);
        client.finish_sending();
        if let Ok(answer) = client.try_answer("POST") {
            assert!([400, 404, 405, 505].contains(&answer.status), "{}", answer.status);
        }
        client.is_closed();
    }
}
