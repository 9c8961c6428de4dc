//! Bodies that are no JSON: refused with the place where they stop being it, and without their content.

use crate::support::{Post, Proxy, Refusing, Reply, Upstream};

#[test]
fn an_empty_body_is_no_json() {
    let refusing = Refusing::start();
    refusing.refuses(&Post::new("").bytes(), 400, "body_not_json");
    refusing.refuses(&Post::new("").in_chunks_of(1).bytes(), 400, "body_not_json");
    refusing.refuses(&Post::new("").unframed().bytes(), 400, "body_not_json");
    refusing.refuses(&Post::new(" \r\n\t").bytes(), 400, "body_not_json");
}

#[test]
fn a_byte_order_mark_is_no_json() {
    let refusing = Refusing::start();
    refusing.refuses(&Post::new("\u{feff}{}").bytes(), 400, "body_not_json");
}

#[test]
fn a_body_that_is_no_json_is_refused_with_its_offset_and_without_its_content() {
    let refusing = Refusing::start();
    // Each body, and the offset of the first byte that cannot stand there.
    let bodies = [
        (r#"{"canary-content": 'x'}"#, 19),
        (r#"{"canary-content": 1,}"#, 21),
        (r#"{"canary-content": 1} {"#, 22),
        (r#"["canary-content" "b"]"#, 18),
        ("canary-content=1", 0),
        ("{\"a\":\n\n \"canary-content\",\nb:1}", 26),
    ];
    for (body, offset) in bodies {
        let (_, answer, problem) = refusing.refuses(&Post::new(body).bytes(), 400, "body_not_json");
        let text = answer.text();
        assert!(!text.contains("canary-content"), "{text}");
        let detail = problem["detail"].as_str().expect("text");
        let numbers: Vec<usize> = detail
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect();
        assert!(
            numbers.contains(&offset),
            "the offset of {body:?} is {offset}: {detail}"
        );
    }
}

#[test]
fn a_body_that_ends_too_early_or_holds_what_json_has_not_is_refused() {
    let refusing = Refusing::start();
    for body in [
        "{",
        "[1,",
        "\"a",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "NaN",
        "{'a':1}",
        "{a:1}",
        "[1,]",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u00zz\"",
        "{\"a\nb\":1}",
        "{} // c",
        "/* c */{}",
        "{}\u{0}",
        "\u{a0}{}",
    ] {
        refusing.refuses(&Post::new(body).bytes(), 400, "body_not_json");
    }
}

#[test]
fn a_body_that_is_no_utf_8_is_no_json() {
    let refusing = Refusing::start();
    for body in [
        &b"\"\xff\""[..],
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\xaf\"",
        b"\xfe\xff\0{\0}",
    ] {
        refusing.refuses(&Post::new(body).bytes(), 400, "body_not_json");
    }
}

#[test]
fn json_nested_beyond_all_reason_is_answered_and_does_not_end_the_process() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 100_000;
        let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let answer = proxy.post(&Post::new(body.clone()));
        // It is JSON: passed on as it is, or refused with a reason; never a crash.
        match answer.status {
            200 => assert_eq!(
                upstream.requests().pop().expect("one").body,
                body.as_bytes()
            ),
            _ => drop(answer.is_problem(400, "body_not_json", "no")),
        }
    }
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
}
