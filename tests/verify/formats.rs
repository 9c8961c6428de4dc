//! What tools really print: recordings of curl 7.88.1 posting `correct.py`'s body, and captures without a body.

use crate::run::{Place, SECRET, signature, signed_by, split};

const RECORDINGS: [(&str, &[u8]); 3] = [
    ("curl -v", include_bytes!("recordings/curl-v.txt")),
    ("curl --trace", include_bytes!("recordings/curl-trace.txt")),
    (
        "curl --trace-ascii",
        include_bytes!("recordings/curl-trace-ascii.txt"),
    ),
];

const BODY: &[u8] = include_bytes!("recordings/body.json");

const ACCEPTED: &str = "{\"accepted\":true,\"findings\":[]}\n";
const UNDECIDED: &str = "{\"accepted\":false,\"findings\":[]}\n";

#[test]
fn a_hex_trace_holds_everything() {
    let ran = Place::new().verify(&["--json"], RECORDINGS[1].1);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str(), ran.status),
        (ACCEPTED, "", 0)
    );
}

#[test]
fn with_the_body_from_a_file_every_recording_is_accepted() {
    let place = Place::new();
    let body = place.write("body.json", BODY);
    let body = ["--json", "--body-file", body.to_str().expect("UTF-8")];
    for (tool, recording) in RECORDINGS {
        let ran = place.verify(&body, recording);
        assert_eq!(
            (ran.stdout.as_str(), ran.status),
            (ACCEPTED, 0),
            "{tool}: {}",
            ran.stderr
        );
    }
}

#[test]
fn without_the_body_nothing_is_guessed_about_its_digest() {
    let place = Place::new();
    for (tool, recording) in [RECORDINGS[0], RECORDINGS[2]] {
        let ran = place.verify(&["--json"], recording);
        assert_eq!((ran.stdout.as_str(), ran.status), (UNDECIDED, 1), "{tool}");
        assert!(ran.stderr.contains("--body-file"), "{tool}: {}", ran.stderr);
    }
    let ran = place.verify(&[], RECORDINGS[0].1);
    assert!(ran.stdout.starts_with("undecided: "), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("  ? Content-sha512  "),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_response_in_the_recording_is_not_taken_for_the_body() {
    let recording = String::from_utf8_lossy(RECORDINGS[0].1);
    assert!(recording.contains("{\"message\":\"Unauthorized\"}"));
    let ran = Place::new().verify(&[], RECORDINGS[0].1);
    assert!(
        ran.stdout.contains("  body     not captured"),
        "{}",
        ran.stdout
    );
}

#[test]
fn pasting_with_bare_line_feeds_and_a_newline_at_the_end_is_noted_and_does_no_harm() {
    let Some(request) = signed_by("correct") else {
        return;
    };
    let (head, body) = split(&request);
    let pasted = [head.replace("\r\n", "\n").as_bytes(), b"\n\n", body, b"\n"].concat();
    let ran = Place::new().verify(&["--json"], &pasted);
    assert_eq!((ran.stdout.as_str(), ran.status), (ACCEPTED, 0));
    assert_eq!(ran.stderr.matches("note: ").count(), 2, "{}", ran.stderr);
}

#[test]
fn a_har_of_several_requests_means_its_last_post() {
    let Some(request) = signed_by("correct") else {
        return;
    };
    let (head, body) = split(&request);
    let headers: Vec<_> = head
        .lines()
        .skip(1)
        .map(|line| line.split_once(": ").expect("a header"))
        .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
        .collect();
    let target = head.split(' ').nth(1).expect("a target");
    let entry = |method: &str| {
        serde_json::json!({"request": {"method": method, "url": format!("https://h{target}"), "httpVersion": "http/1.1",
            "headers": headers, "postData": {"text": String::from_utf8_lossy(body)}}})
    };
    let har = serde_json::json!({"log": {"entries": [entry("GET"), entry("POST"), entry("GET")]}})
        .to_string();
    let place = Place::new();
    let ran = place.verify(&["--json"], har.as_bytes());
    assert_eq!(ran.stdout, ACCEPTED);
    assert!(
        ran.stderr.contains("of 3 requests this is number 2"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        place
            .verify(&["--json", "--entry", "1"], har.as_bytes())
            .status,
        1
    );
    assert_eq!(
        place
            .verify(&["--json", "--entry", "4"], har.as_bytes())
            .status,
        64
    );
}

#[test]
fn neither_secret_nor_signature_nor_body_is_in_any_output() {
    let secret_in_body = format!("{{\"canary\":\"{SECRET}\"}}");
    let place = Place::new();
    for script in [
        "correct",
        "base64_of_hex",
        "bearer",
        "no_space_after_commas",
        "request_headers_parameter",
        "charset",
    ] {
        let Some(request) = signed_by(script) else {
            return;
        };
        let right = signed_by("correct").expect("python3 was there");
        // Signatures where they do not belong, and the secret in target, header and body.
        let text = String::from_utf8(request.clone()).expect("UTF-8");
        let unquoted = text.replace(" signature=\"", " headers=\"").into_bytes();
        let swapped = text
            .replace(
                "username=\"acme\"",
                &format!("username=\"{}\"", signature(&request)),
            )
            .into_bytes();
        let listed = text
            .replace("request-line", "authorization request-line")
            .into_bytes();
        let disclosed = text
            .replace("plugin?", &format!("plugin?{SECRET}&"))
            .replace("X-Date: ", &format!("X-Date: {SECRET}"))
            .replace(
                "{\"participant",
                &format!("{secret_in_body}{{\"participant"),
            )
            .into_bytes();
        for input in [request.clone(), unquoted, swapped, listed, disclosed] {
            for more in [&[][..], &["--json"], &["--color", "always"]] {
                let ran = place.verify(more, &input);
                let shown = ran.stdout + &ran.stderr;
                for canary in [
                    SECRET,
                    signature(&request),
                    signature(&right),
                    "participant_unique_id1",
                    "70646041",
                ] {
                    assert!(
                        !shown.contains(canary),
                        "{script} {more:?}: {canary} in {shown}"
                    );
                }
            }
        }
    }
}
