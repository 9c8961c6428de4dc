//! The status page: that it says everything without script, lets nothing of a request in, and no other page near.

use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::support::{
    Answer, Client, Gate, PATIENCE, Post, Proxy, Reply, SECRET, Upstream, contains, session,
    tls::Authority,
};

fn get(proxy: &Proxy, lines: &str) -> Answer {
    let mut client = Client::connect(proxy.address("admin"));
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").as_bytes());
    client.answer("GET")
}

/// What stands between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split_once(to)
        .unwrap_or_else(|| panic!("no {to} after {from}"))
        .0
}

/// The cells of the table row that begins with `name`, as text.
fn row(page: &str, name: &str) -> Vec<String> {
    let rows = page.split("<tr>").skip(1);
    let found = rows
        .map(|row| row.split("</tr>").next().unwrap())
        .find(|row| row.starts_with(&format!("<th scope=\"row\">{name}")));
    let row = found.unwrap_or_else(|| panic!("no row {name} in {page}"));
    let row = row.replace("</th>", "</td>");
    let cells = row.split("</td>").map(|cell| {
        let (mut text, mut tag) = (String::new(), false);
        for c in cell.chars() {
            match c {
                '<' => tag = true,
                '>' => tag = false,
                c if !tag => text.push(c),
                _ => {}
            }
        }
        text.trim().to_owned()
    });
    cells.collect()
}

#[test]
fn everything_is_said_without_script() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |request| match request.participant().as_str() {
        "reset" => Reply::reset(),
        "held" => Reply::session("held").held_by(&holding),
        "refused" => Reply::status(401)
            .header("Content-Type", "application/json")
            .body(r#"{"message":"HMAC signature does not match"}"#),
        id => Reply::session(id),
    });
    let yaml = "threads: 1\nroutes:\n  verify:\n    enabled: true\n    disabled: true\n";
    let proxy = Proxy::to(&upstream).admin().yaml(yaml).start();
    for id in ["p-1", "p-2", "refused"] {
        proxy.post(&Post::new(session(id)));
    }
    let lost = proxy.post(&Post::new(session("reset")));
    let lost = lost.is_problem(502, "upstream_reset", "maybe");
    // An exchange is counted after its answer was written, so the order of two is that of their counting.
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_total", &[]) == 4.0);
    let refused = proxy.post(&Post::new("no json"));
    let refused = refused.is_problem(400, "body_not_json", "no");
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_total", &[]) == 5.0);
    let mut held = proxy.client();
    held.send(&Post::new(session("held")).bytes());
    upstream.wait_for(5);

    let answer = proxy.admin("/");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = answer.text();
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\""));
    let told = [
        "<h1>ingo-signing-proxy</h1>",
        env!("CARGO_PKG_VERSION"),
        ">serving<",
        "no warnings",
        "/api/v1/sessions/point-in-time/plugin",
        "/gateway/verify",
        "switched off",
        "Not enabled: process, debit,",
        "<th scope=\"row\">first_byte</th>",
        "<th scope=\"row\">sign</th>",
        "estimates from histogram buckets",
        "<dd>acme</dd>",
        "Secret loaded",
        "limits.buffered_bytes",
        "64\u{a0}MiB",
        "<noscript><meta http-equiv=\"refresh\"",
    ];
    for told in told {
        assert!(page.contains(told), "{told} is missing in {page}");
    }
    let created = row(&page, "create_session");
    assert_eq!(created[1], "enabled");
    assert_eq!(created[2], "1", "one is in flight: {created:?}");
    assert!(
        created[5].contains("1 rejected, 1 failed, 1 by Ingo"),
        "{created:?}"
    );
    assert!(created[6].ends_with('s') && created[7].ends_with('s'));
    assert_eq!(created[8], "5", "{created:?}");
    let name = proxy.announced("admin");
    assert!(!page.contains(name), "the page names no address of its own");
    let authority = upstream.url().replace("http://", "");
    let ingo = row(&page, &authority);
    assert_eq!(ingo[1..4], ["closed", "1", "0"], "{ingo:?}");
    assert!(row(&page, "limits.exchanges_in_flight")[1] == "1");
    assert!(row(&page, "limits.inbound_connections")[1] != "0");

    let problems = between(&page, "id=\"problems\"", "</section>");
    let at = |id: &serde_json::Value| problems.find(id.as_str().unwrap()).expect("its id");
    assert!(
        at(&refused["exchange_id"]) < at(&lost["exchange_id"]),
        "the latest stands first: {problems}"
    );
    for told in [
        "upstream_reset",
        "maybe",
        "body_not_json",
        "signature_mismatch (Ingo)",
    ] {
        assert!(problems.contains(told), "{told} is missing in {problems}");
    }
    gate.open();
    assert_eq!(held.answer("POST").status, 200);
}

#[test]
fn who_waits_for_the_outbound_rate_limit_is_told() {
    const OFF: &str = "rate_limit: off";
    let upstream = Upstream::answering(Reply::session("p"));
    let yaml = "rate_limit:\n  per_second: 1\n  burst: 1\n";
    let proxy = Proxy::to(&upstream).admin().yaml(yaml).start();
    let page = || proxy.admin("/").text();
    let told = "rate_limit: 1 request is sent a second, 1 at once";
    assert!(page().contains(&format!("{told}; 0 wait for it now")));
    let mut callers: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for caller in &mut callers {
        caller.send(&Post::new(session("p")).bytes());
    }
    // The last of them waits for three seconds.
    let began = Instant::now();
    while !page().contains(&format!("{told}; 2 wait for it now")) {
        assert!(began.elapsed() < PATIENCE, "{}", page());
    }
    for caller in &mut callers {
        assert_eq!(caller.answer("POST").status, 200);
    }
    assert!(!page().contains(OFF));
    let free = Proxy::to(&upstream).admin().start();
    assert!(free.admin("/").text().contains(OFF));
}

#[test]
fn nothing_of_a_request_and_no_secret_gets_in_and_what_is_configured_is_escaped() {
    let upstream = Upstream::answering(Reply::session("canary-participant"));
    let username = "<script>alert(1)</script>&'";
    let proxy = Proxy::to(&upstream)
        .admin()
        .username(Some(username))
        .start();
    let hostile = "<script>canary</script>";
    proxy.post(
        &Post::new(session(hostile))
            .header("X-Canary", hostile)
            .header("Idempotency-Key", hostile),
    );
    proxy.post(&Post::new(hostile).to(format!("/{hostile}")));
    proxy.post(&Post::new(hostile).to("/%3Cscript%3Ecanary%3C/script%3E"));
    proxy.post(&Post::new(hostile).method("CANARY"));
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_total", &[]) == 4.0);
    let mut client = Client::connect(proxy.address("admin"));
    client.send(
        format!(
            "GET /?canary=%3Cscript%3E HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {hostile}\r\n\r\n"
        )
        .as_bytes(),
    );
    let page = client.answer("GET").text();
    assert!(page.contains("route_not_found"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;"));
    for never in [
        "canary",
        "alert(1)</",
        "plugin.example",
        "session_identifier",
    ] {
        assert!(!page.contains(never), "{never} stands in {page}");
    }
    assert!(!contains(page.as_bytes(), SECRET));
    assert_eq!(page.matches("<script").count(), 1, "only its own");
}

#[test]
fn its_policy_allows_its_own_style_and_script_and_nothing_else() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    let answer = proxy.admin("/");
    let page = answer.text();
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let style = hash(between(&page, "<style>", "</style>"));
    let script = hash(between(&page, "<script>", "</script>"));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    assert_eq!(answer.header("content-security-policy"), Some(&*policy));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    for never in [
        " style=",
        " onclick=",
        " onload=",
        "http://",
        "https://",
        " src=",
    ] {
        let page = page.replace("xmlns='http://www.w3.org/2000/svg'", "");
        assert!(!page.contains(never), "{never} stands in {page}");
    }
}

#[test]
fn it_is_read_and_never_written_to() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    let answer = Client::connect(proxy.address("admin")).post(&Post::new("{}").to("/"));
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    let mut client = Client::connect(proxy.address("admin"));
    client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.answer("HEAD");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-security-policy").is_some());
    assert_eq!(
        proxy.health("/").status,
        404,
        "it is for people on this host"
    );
}

#[test]
fn a_browser_may_open_it_and_no_other_page_may_ask_for_it() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).admin().start();
    let from = |site: &str, mode: &str| {
        let lines = format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\n");
        get(&proxy, &lines).status
    };
    assert_eq!(from("none", "navigate"), 200, "its address was typed");
    assert_eq!(from("same-origin", "cors"), 200, "it asks for itself");
    for site in ["cross-site", "same-site"] {
        for mode in ["navigate", "cors", "no-cors"] {
            assert_eq!(from(site, mode), 403, "{site} {mode}");
        }
    }
    assert_eq!(get(&proxy, "Origin: http://evil.example\r\n").status, 403);
    let mut client = Client::connect(proxy.address("admin"));
    client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(client.answer("GET").status, 421);
}

#[test]
fn what_is_not_as_it_should_be_stands_at_the_top() {
    let proxy = Proxy::to_url("http://127.0.0.1:1")
        .admin()
        .yaml("circuit_breaker:\n  failures: 1\n  open_for: 60s\n")
        .start();
    proxy
        .post(&Post::new("{}"))
        .is_problem(502, "upstream_unreachable", "no");
    let page = proxy.admin("/").text();
    let warnings = between(&page, "class=\"warnings\"", "</section>");
    assert!(
        warnings.contains("127.0.0.1:1 could not be connected to"),
        "{warnings}"
    );
    assert!(page.contains("<title>1 warning ·"), "{page}");
    let ingo = row(&page, "127.0.0.1:1");
    assert!(ingo[1].starts_with("open, for "), "{ingo:?}");
}

#[test]
fn a_file_that_cannot_be_taken_is_told_and_its_name_is_escaped() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("<b>secret&");
    std::fs::write(&file, SECRET).unwrap();
    let proxy = Proxy::to(&upstream)
        .admin()
        .secret_file(None)
        .argument("--secret-file")
        .argument(&file)
        .start();
    let page = proxy.admin("/").text();
    assert!(!page.contains("class=\"warnings\""), "{page}");
    std::fs::write(&file, "").unwrap();
    let until = std::time::Instant::now() + PATIENCE;
    let warnings = loop {
        let page = proxy.admin("/").text();
        if page.contains("class=\"warnings\"") {
            break between(&page, "class=\"warnings\"", "</section>").to_owned();
        }
        assert!(std::time::Instant::now() < until, "it was not told: {page}");
    };
    assert!(warnings.contains("&lt;b&gt;secret&amp;"), "{warnings}");
    assert!(!warnings.contains("<b>"), "{warnings}");
}

#[test]
fn certificates_the_next_credential_and_what_is_unresolved_are_told() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let builder = Proxy::to(&upstream).admin();
    let directory = builder.directory();
    let file = |name: &str| directory.join(name).display().to_string();
    let leaf = Authority::fresh().issue_for(&["localhost"], 3 * 86_400 + 3_600);
    std::fs::write(file("certificate"), &leaf.certificate).unwrap();
    std::fs::write(file("key"), &leaf.key).unwrap();
    std::fs::write(file("next"), "canary of the next secret").unwrap();
    let yaml = format!(
        "listeners:\n  proxy:\n    tls: {{certificate_file: {}, key_file: {}}}\ncredentials: {{next_username: globex, next_secret_file: {}}}\nroutes:\n  process: {{enabled: true}}\njournal: {{file: {}}}\n",
        file("certificate"),
        file("key"),
        file("next"),
        file("journal"),
    );
    let proxy = builder.yaml(&yaml).start();
    let page = proxy.admin("/").text();
    assert_eq!(row(&page, "listener")[1], "3", "{page}");
    assert!(page.contains("the certificate listener expires in 3\u{a0}d"));
    assert!(page.contains("<dd>globex, not in use</dd>"), "{page}");
    let journal = between(&page, "id=\"journal\"", "</section>");
    assert_eq!(row(journal, "process")[1], "0", "{journal}");
    assert!(!page.contains("canary of the next"));
}

#[test]
fn that_no_journal_is_kept_is_warned_of_where_money_moves_and_explained_where_none_does() {
    let upstream = Upstream::answering(Reply::json("{}"));
    let page_with = |yaml: &str| {
        let proxy = Proxy::to(&upstream).admin().yaml(yaml).start();
        proxy.admin("/").text()
    };
    let moves = page_with("routes:\n  process: {enabled: true}\n");
    let journal = between(&moves, "id=\"journal\"", "</section>");
    assert!(journal.contains("journal.file is not set"), "{journal}");
    assert!(
        moves.contains("the route process moves money and there is no journal"),
        "{moves}"
    );
    let moves_none = page_with("routes:\n  verify: {enabled: true}\n");
    let journal = between(&moves_none, "id=\"journal\"", "</section>");
    assert!(
        journal.contains("no enabled route moves money"),
        "{journal}"
    );
    assert!(!moves_none.contains("there is no journal"), "{moves_none}");
}

#[test]
fn while_it_leaves_the_page_says_so() {
    let gate = Gate::closed();
    let holding = gate.clone();
    let upstream = Upstream::scripted(move |_| Reply::json("{}").held_by(&holding));
    let proxy = Proxy::to(&upstream).admin().start();
    let mut client = proxy.client();
    client.send(&Post::new("{}").bytes());
    upstream.wait_for(1);
    proxy.signal("TERM");
    proxy.readyz_becomes(503);
    let page = proxy.admin("/").text();
    assert!(
        page.contains(">leaving<") || page.contains(">draining<"),
        "{page}"
    );
    gate.open();
    assert_eq!(client.answer("POST").status, 200);
}
