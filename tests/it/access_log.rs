//! One line for each exchange, with what an operator asks first and nothing that must stay secret.

use serde_json::Value;

use crate::support::{Gate, Post, Proxy, Reply, Upstream, session};

/// Every field that each line has, whatever became of the exchange.
const ALWAYS: [&str; 11] = [
    "time",
    "message",
    "exchange_id",
    "route",
    "tenant",
    "caller",
    "code",
    "outcome",
    "attempts",
    "sent",
    "idempotency_key",
];

/// The one line of the one exchange that `proxy` had.
fn only_line(proxy: Proxy) -> Value {
    proxy.access_lines(1);
    let ended = proxy.terminate();
    let lines: Vec<String> = String::from_utf8_lossy(&ended.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    let mut lines = crate::support::proxy::access_lines(&lines);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.pop().expect("there is one")
}

/// All numbers, at whatever depth, whose names hold `part`.
fn numbers<'a>(line: &'a Value, part: &str) -> Vec<(String, &'a Value)> {
    fn walk<'a>(prefix: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(&format!("{prefix}.{name}"), value, found);
                }
            }
            Value::Number(_) => found.push((prefix.to_owned(), value)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", line, &mut found);
    found.retain(|(name, _)| name.contains(part));
    found
}

#[test]
fn an_answered_exchange_has_one_line_with_all_that_is_known_of_it() {
    let reply = Reply::json(
        r#"{"status":100,"data":{"participant_unique_id1":"p-1","transaction_id":"t-42"},"time":0.8}"#,
    );
    let upstream = Upstream::answering(reply);
    let proxy = Proxy::to(&upstream).start();
    let answer = proxy.post(&Post::new(session("p-1")).header("Idempotency-Key", "k-1"));
    assert_eq!(answer.status, 200);
    let line = only_line(proxy);
    for field in ALWAYS {
        assert!(line.get(field).is_some(), "no {field}: {line:#}");
    }
    assert_eq!(line["route"], "create_session");
    assert_eq!(line["tenant"], "default");
    assert_eq!(line["caller"], "local");
    assert_eq!(line["code"], 200);
    assert_eq!(line["ingo_status"].to_string().trim_matches('"'), "100");
    assert_eq!(line["outcome"], "answered");
    assert_eq!(line["attempts"], 1);
    assert_eq!(line["idempotency_key"], "k-1");
    assert_eq!(line["participant_unique_id1"], "p-1");
    assert_eq!(line["transaction_id"], "t-42");
    for phase in ["read_body", "sign", "send", "first_byte", "read_response"] {
        assert!(
            !numbers(&line, phase).is_empty(),
            "no duration of {phase}: {line:#}"
        );
    }
    let sizes = numbers(&line, "bytes");
    let body = session("p-1").len();
    assert!(
        sizes.iter().any(|(_, n)| **n == body),
        "{body} bytes: {line:#}"
    );
}

#[test]
fn a_refused_exchange_has_one_line_that_says_so() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let answer = proxy.post(&Post::new("not json"));
    let problem = answer.is_problem(400, "body_not_json", "no");
    let line = only_line(proxy);
    assert_eq!(line["outcome"], "rejected");
    assert_eq!(line["code"], 400);
    assert_eq!(line["sent"], "no");
    assert_eq!(line["attempts"], 0);
    assert_eq!(line["exchange_id"], problem["exchange_id"]);
    assert!(line.to_string().contains("body_not_json"), "{line:#}");
}

#[test]
fn a_failed_exchange_has_one_line_that_says_whether_it_was_sent() {
    let upstream = Upstream::answering(Reply::reset());
    let proxy = Proxy::to(&upstream).start();
    let answer = proxy.post(&Post::new(session("p-2")));
    let problem = answer.is_problem(502, "upstream_reset", "maybe");
    let line = only_line(proxy);
    assert_eq!(line["outcome"], "failed");
    assert_eq!(line["code"], 502);
    assert_eq!(line["sent"], "maybe");
    assert_eq!(line["attempts"], 1);
    assert_eq!(line["participant_unique_id1"], "p-2");
    assert_eq!(line["exchange_id"], problem["exchange_id"]);
    assert!(line.to_string().contains("upstream_reset"), "{line:#}");
    assert_eq!(
        line["idempotency_key"].as_str(),
        answer.header("idempotency-key")
    );
}

#[test]
fn an_exchange_whose_caller_went_away_has_one_line_that_says_aborted() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let bytes = Post::new(session("p-3")).bytes();
    let mut client = proxy.client();
    client.send(&bytes[..bytes.len() - 1]);
    drop(client);
    proxy.access_lines(1);
    let rejections = proxy.metrics().sum("ingo_proxy_rejections_total", &[]);
    assert_eq!(rejections, 0.0, "nobody was answered");
    let line = only_line(proxy);
    assert_eq!(line["outcome"], "aborted");
    assert!(line.get("problem").is_none(), "{line:#}");
    assert_eq!(line["sent"], "no");
    assert_eq!(line["attempts"], 0);
    upstream.received_nothing();
}

#[test]
fn nothing_that_a_caller_sends_can_forge_a_line_or_a_field() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    let forged = r#"p","outcome":"answered"}\n{"message":"exchange","forged":true"#;
    proxy.post(&Post::new(session(forged)).header("Idempotency-Key", "\"},{\"forged\":1"));
    let line = only_line(proxy);
    assert_eq!(line["participant_unique_id1"], forged);
    assert_eq!(line["idempotency_key"], "\"},{\"forged\":1");
    assert!(line.get("forged").is_none());
}

#[test]
fn every_exchange_of_a_connection_has_a_line_and_an_id_of_its_own() {
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    for number in 0..10 {
        client.post(&Post::new(session(&number.to_string())));
    }
    let lines = proxy.access_lines(10);
    let ids: std::collections::HashSet<_> =
        lines.iter().map(|l| l["exchange_id"].as_str()).collect();
    assert_eq!(ids.len(), 10);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["participant_unique_id1"], number.to_string());
    }
}

#[test]
fn the_time_of_a_line_is_a_timestamp_of_rfc_3339_in_utc() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).start();
    proxy.post(&Post::new("{}"));
    let line = only_line(proxy);
    let time = line["time"].as_str().expect("text");
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert!(shape.starts_with("0000-00-00T00:00:00"), "{time}");
    assert!(shape.ends_with('Z'), "{time}");
}

#[test]
fn the_line_is_written_when_the_exchange_ends_and_not_before() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |_| Reply::json("{}").held_by(&holding));
    let proxy = Proxy::to(&upstream).start();
    let mut client = proxy.client();
    client.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    let lines: Vec<String> = output.lines().map(str::to_owned).collect();
    assert!(crate::support::proxy::access_lines(&lines).is_empty());
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
    proxy.access_lines(1);
}

#[test]
fn identifiers_are_logged_whatever_type_they_have_and_only_if_they_are_short() {
    let upstream = Upstream::answering(Reply::json(r#"{"status":"100","transaction_id":12345}"#));
    let proxy = Proxy::to(&upstream).start();
    let long = "x".repeat(100_000);
    let answer = proxy.post(&Post::new(session(&long)));
    assert_eq!(answer.status, 200);
    let line = only_line(proxy);
    assert_eq!(line["ingo_status"].to_string().trim_matches('"'), "100");
    assert!(
        line.to_string().len() < 10_000,
        "a log line of {} bytes",
        line.to_string().len()
    );
}
