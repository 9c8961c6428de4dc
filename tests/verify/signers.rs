//! Each broken signer is refused for what it is, in every form in which its request can be captured.

use std::{collections::BTreeSet, fs, path::Path};

use crate::run::{Place, signed_by, split};

/// The scripts, and the finding that must come first.
const BROKEN: &[(&str, &str)] = &[
    ("base64_of_hex", "signature_is_base64_of_hex"),
    ("bearer", "authorization_syntax"),
    ("body_written_again", "digest_mismatch"),
    ("charset", "missing_header"),
    ("chunked", "chunked_body"),
    ("crlf_lines", "signature_mismatch"),
    ("date_header", "missing_header"),
    ("decoded_target", "target_reencoded"),
    ("header_list_capitalised", "header_name_case"),
    ("header_names_as_sent", "header_name_case"),
    ("hex_signature", "signature_is_base64_of_hex"),
    ("http2_sent", "http2_request_line"),
    ("http2_signed", "http2_request_line"),
    ("iso_date", "date_format"),
    ("length_in_characters", "length_mismatch"),
    ("length_not_listed", "header_list"),
    ("list_in_another_order", "header_list"),
    ("newline_after_body", "digest_mismatch"),
    ("newline_after_secret", "secret_trailing_newline"),
    (
        "newline_after_signing_string",
        "signing_string_trailing_newline",
    ),
    ("no_digest_header", "missing_header"),
    ("no_space_after_commas", "authorization_syntax"),
    ("other_secret", "signature_mismatch"),
    ("other_username", "username"),
    ("query_left_out", "query_missing"),
    ("repeated_date", "repeated_header"),
    ("request_headers_parameter", "wrong_parameter_name"),
    ("sha1", "algorithm"),
    ("sha256_digest", "digest_is_sha256"),
    ("sha256_named_sha512", "algorithm"),
    ("stale_date", "date_stale"),
    ("target_encoded_twice", "target_reencoded"),
];

/// A form in which a request can be captured.
type Form = fn(&[u8]) -> Vec<u8>;

const FORMS: [(&str, Form); 3] = [
    ("raw", <[u8]>::to_vec),
    ("curl -v", as_curl_prints_it),
    ("HAR", as_har),
];

/// `curl -v` with the body appended after an empty line.
fn as_curl_prints_it(request: &[u8]) -> Vec<u8> {
    let (head, body) = split(request);
    let mut text = "*   Trying 127.0.0.1:443...\n* Connected\n".to_owned();
    for line in head.split("\r\n") {
        text += &format!("> {line}\r\n");
    }
    text += "> \r\n} [83 bytes data]\n* upload completely sent off: 83 bytes\n\
             < HTTP/1.1 401 Unauthorized\r\n< Content-Length: 0\r\n< \r\n* Connection #0 to host h left intact\n\n";
    [text.as_bytes(), body].concat()
}

fn as_har(request: &[u8]) -> Vec<u8> {
    let (head, body) = split(request);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().expect("a request line").split(' ');
    let (method, target, version) = (first.next(), first.next().expect("a target"), first.next());
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").expect("a header"))
        .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
        .collect();
    let body = std::str::from_utf8(body).expect("UTF-8");
    // What a browser shows has no chunks.
    let body = match body.strip_suffix("\r\n0\r\n\r\n") {
        Some(chunk) => chunk.split_once("\r\n").expect("a size").1,
        None => body,
    };
    let request = serde_json::json!({
        "method": method, "url": format!("https://ingo.example{target}"), "httpVersion": version, "headers": headers,
        "postData": {"mimeType": "application/json", "text": body},
    });
    serde_json::json!({"log": {"version": "1.2", "entries": [{"request": request, "response": {"status": 401}}]}})
        .to_string()
        .into_bytes()
}

#[test]
fn a_correct_signer_is_accepted_in_every_form() {
    let Some(request) = signed_by("correct") else {
        return;
    };
    let place = Place::new();
    for (name, form) in FORMS {
        let ran = place.verify(&["--json"], &form(&request));
        assert_eq!(
            ran.stdout, "{\"accepted\":true,\"findings\":[]}\n",
            "{name}"
        );
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{name}");
    }
}

#[test]
fn each_broken_signer_is_refused_and_named_rightly_in_every_form() {
    let place = Place::new();
    for (script, code) in BROKEN {
        let Some(request) = signed_by(script) else {
            return;
        };
        for (name, form) in FORMS {
            let ran = place.verify(&["--json"], &form(&request));
            let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
            assert_eq!(verdict["accepted"], false, "{script} as {name}");
            assert_eq!(
                verdict["findings"][0]["code"], *code,
                "{script} as {name}: {verdict}"
            );
            assert_eq!(
                verdict["findings"].as_array().map(Vec::len),
                Some(1),
                "{script} as {name}: {verdict}"
            );
            assert_eq!(ran.status, 1, "{script} as {name}");
            assert_eq!(ran.stdout.matches('\n').count(), 1, "{script} as {name}");
        }
    }
}

#[test]
fn no_script_is_left_out() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken_signers");
    let scripts: BTreeSet<String> = fs::read_dir(directory)
        .expect("the scripts are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|it| it == "py"))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let named: BTreeSet<String> = BROKEN
        .iter()
        .map(|(script, _)| (*script).to_owned())
        .chain(["correct".to_owned()])
        .collect();
    assert_eq!(scripts, named);
}

#[test]
fn every_code_has_a_signer_that_earns_it() {
    let earned: BTreeSet<&str> = BROKEN.iter().map(|(_, code)| *code).collect();
    for code in ingo_signing_proxy::signing::verify::FindingCode::ALL {
        assert!(earned.contains(code.as_str()), "{code}");
    }
}
