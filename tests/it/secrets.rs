//! What must never be seen: searched for in every byte the program prints or answers, with all logging switched on.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    Client, PATIENCE, Post, Process, Proxy, Reply, SECRET, SESSIONS, USERNAME, Upstream, contains,
    tls::Identity,
};

const BODY: &str = "canary-of-the-body-4111111111111111";
const ANSWER: &str = "canary-of-the-authorized-url";
const CALLER: &str = "canary-of-the-callers-authorization";
const COOKIE: &str = "canary-of-the-callers-cookie";

fn body() -> String {
    format!(r#"{{"participant_unique_id1":"p","card":"{BODY}"}}"#)
}

fn answer() -> String {
    format!(
        r#"{{"status":100,"data":{{"authorized_url":"https://x.example/?{ANSWER}","session_identifier":"s"}},"time":0.1}}"#
    )
}

/// A request that bears all canaries of a caller.
fn post() -> Post {
    Post::new(body())
        .header("Authorization", format!("Bearer {CALLER}"))
        .header("Cookie", COOKIE)
        .header("api_key", CALLER)
}

/// Lets many things go right and wrong, and gives every byte that was printed or answered, and what was signed.
fn all_that_is_said(upstream: &Upstream, proxy: Proxy) -> (Vec<u8>, Vec<String>) {
    let mut said = Vec::new();
    let mut answered = 0;
    let good = [post(), post().in_chunks_of(7)];
    let bad = [
        Post::new(format!("{{\"a\":{BODY}}}")).header("Authorization", CALLER),
        Post::new(BODY),
        post().header("Idempotency-Key", ""),
        post().header("Content-Encoding", "gzip"),
        post().header("Origin", "null"),
        post().header("Content-Length", "1"),
        post().to(format!("{SESSIONS}/x")),
        post().method("PUT"),
    ];
    for good in good {
        let answer = proxy.post(&good);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains(ANSWER), "the caller itself gets it");
        answered += 1;
        for (name, value) in answer.headers {
            said.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
    }
    for bad in bad {
        let answer = proxy.post(&bad);
        assert!(answer.status >= 400);
        said.extend(answer.body);
    }
    // Half a body and no more.
    let bytes = post().bytes();
    proxy.client().send(&bytes[..bytes.len() - 2]);
    for path in ["/metrics", "/readyz"] {
        said.extend(proxy.health(path).body);
    }
    for path in ["/", "/config"] {
        said.extend(Client::connect(proxy.address("admin")).get(path).body);
    }
    proxy.access_lines(answered);
    let ended = proxy.terminate();
    assert_eq!(ended.status, Some(0));
    said.extend(ended.stdout);
    said.extend(ended.stderr);
    let requests = upstream.requests();
    assert_eq!(requests.len(), answered);
    let signatures = requests
        .iter()
        .map(|r| r.verify(SECRET, USERNAME).value)
        .collect();
    (said, signatures)
}

/// Panics if any canary stands in `said`.
fn holds_no_canary(said: &[u8], signatures: &[String]) {
    let secret = String::from_utf8_lossy(SECRET).into_owned();
    let encoded = STANDARD.encode(SECRET);
    // How Rust's derived Debug shows a Vec<u8>.
    let debug = format!("{SECRET:?}");
    let debug = debug.trim_matches(['[', ']']).to_owned();
    let hex: String = SECRET.iter().map(|b| format!("{b:02x}")).collect();
    let mut canaries = vec![secret, encoded, debug, hex];
    canaries.extend([BODY, ANSWER, CALLER, COOKIE].map(str::to_owned));
    canaries.extend(signatures.iter().cloned());
    // Part of a secret is no redaction.
    canaries.push(String::from_utf8_lossy(&SECRET[SECRET.len() - 8..]).into_owned());
    for canary in canaries {
        let lines = said.split(|b| *b == b'\n');
        let found = lines.into_iter().find(|l| contains(l, canary.as_bytes()));
        if let Some(line) = found {
            panic!("{canary} was said: {}", String::from_utf8_lossy(line));
        }
    }
}

#[test]
fn the_search_finds_each_canary_in_each_of_its_forms() {
    let secret = String::from_utf8_lossy(SECRET).into_owned();
    let forms = [
        secret.clone(),
        secret[secret.len() - 8..].to_owned(),
        STANDARD.encode(SECRET),
        format!("{SECRET:?}"),
        SECRET.iter().map(|b| format!("{b:02x}")).collect(),
        "a-signature".to_owned(),
    ];
    let canaries = [BODY, ANSWER, CALLER, COOKIE].map(str::to_owned);
    holds_no_canary(b"nothing\nof the kind", &["a-signature".to_owned()]);
    for said in forms.into_iter().chain(canaries) {
        let line = format!("first\nsomething {said} something\nlast");
        let found = std::panic::catch_unwind(|| {
            holds_no_canary(line.as_bytes(), &["a-signature".to_owned()]);
        });
        assert!(found.is_err(), "{said} was not found");
    }
}

#[test]
fn at_trace_level_nothing_secret_is_said() {
    let upstream = Upstream::answering(Reply::json(answer()));
    let proxy = Proxy::to(&upstream)
        .admin()
        .env("RUST_LOG", "trace")
        .start();
    let (said, signatures) = all_that_is_said(&upstream, proxy);
    assert_eq!(signatures.len(), 2);
    holds_no_canary(&said, &signatures);
}

#[test]
fn with_every_crate_asked_for_by_name_nothing_secret_is_said() {
    let upstream = Upstream::answering(Reply::json(answer()));
    let levels = "trace,pingora=trace,pingora_core=trace,pingora_http=trace,pingora_proxy=trace,h2=trace,rustls=trace,\
                  tokio=trace,mio=trace,hyper=trace,log=trace,ingo_signing_proxy=trace,config=trace";
    let proxy = Proxy::to(&upstream).admin().env("RUST_LOG", levels).start();
    let (said, signatures) = all_that_is_said(&upstream, proxy);
    holds_no_canary(&said, &signatures);
}

#[test]
fn in_the_pretty_format_nothing_secret_is_said() {
    // Ports cannot be read from lines for people: the JSON lines of one proxy prove the same exchanges elsewhere.
    let upstream = Upstream::answering(Reply::json(answer()));
    let builder = Proxy::to(&upstream).env("RUST_LOG", "trace");
    let path = builder.directory().join("proxy.sock");
    let address = format!("unix:{}", path.display());
    let (pretty, _directory) = builder.listen(Some(&address)).pretty();
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    while !path.exists() {
        assert!(
            std::time::Instant::now() < until,
            "the socket never appeared"
        );
        std::thread::yield_now();
    }
    assert_eq!(Client::connect_unix(&path).post(&post()).status, 200);
    pretty.signal("TERM");
    let ended = pretty.end(crate::support::PATIENCE);
    assert_eq!(ended.status, Some(0), "{}", ended.output());
    let signature = upstream.only_request().verify(SECRET, USERNAME).value;
    holds_no_canary(ended.output().as_bytes(), &[signature]);
}

#[test]
fn over_tls_nothing_secret_is_said_at_trace_level() {
    let identity = Identity::of(&["127.0.0.1"]);
    let upstream = Upstream::over_tls(identity.clone(), Reply::json(answer()));
    let builder = Proxy::to(&upstream).admin().env("RUST_LOG", "trace");
    let file = builder.directory().join("authority.pem");
    std::fs::write(&file, &identity.authority).expect("a temporary directory can be written to");
    let yaml = format!("upstream:\n  ca_file: {}\n", file.display());
    let proxy = builder.yaml(&yaml).start();
    let (said, signatures) = all_that_is_said(&upstream, proxy);
    holds_no_canary(&said, &signatures);
}

#[test]
fn when_ingo_fails_nothing_secret_is_said() {
    let broken = [
        Reply::reset(),
        Reply::raw(format!("HTTP/1.1 200 {ANSWER}\r\nX-{ANSWER}\r\n\r\n")),
        Reply::raw(format!("{ANSWER}\r\n\r\n")),
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{ANSWER}"
        )),
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{ANSWER}\r\n"
        )),
        Reply::status(401).body(answer()),
        Reply::status(500).body(answer()),
    ];
    for reply in broken {
        let upstream = Upstream::answering(reply);
        let proxy = Proxy::to(&upstream).env("RUST_LOG", "trace").start();
        let answer = proxy.post(&post());
        let passed_on = answer.status == 401 || answer.status == 500;
        let mut said = if passed_on { Vec::new() } else { answer.body };
        proxy.access_lines(1);
        said.extend(proxy.terminate().output().as_bytes());
        let signature = upstream.only_request().verify(SECRET, USERNAME).value;
        holds_no_canary(&said, &[signature]);
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let canary = "canary-in-the-wrong-place";
    let proxy = || Proxy::to_url("http://127.0.0.1:1").secret_file(None);
    for builder in [
        proxy().yaml(&format!("credentials:\n  secret: {canary}\n")),
        proxy().yaml(&format!("credentials:\n  secret_env: {canary} x\n")),
        proxy().yaml(&format!("secret: {canary}\n")),
        proxy().env("INGO_PROXY__CREDENTIALS__SECRET", canary),
        proxy().yaml(&format!("credentials: {canary}\n")),
        proxy().yaml(&format!("credentials:\n  secret_file: [{canary}\n")),
        Proxy::to_url(&format!("http://user:{canary}@127.0.0.1:1")),
    ] {
        let ended = builder.fails();
        assert_eq!(ended.status, Some(78), "{}", ended.output());
        assert!(!ended.output().contains(canary), "{}", ended.output());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_leaves_no_core_dump() {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    const NOBODY: u32 = 65534;
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingo-signing-proxy"));
    command.arg("demo").current_dir("/");
    for listener in [
        "--listen",
        "--health-listen",
        "--emulator-listen",
        "--control-listen",
    ] {
        command.args([listener, "127.0.0.1:0"]);
    }
    let owner = |file: &str| std::fs::metadata(file).expect("a file of /proc").uid();
    // What is not dumpable belongs to root in /proc (proc(5)), so root would not see a difference.
    if owner("/proc/self/environ") == 0 {
        let mut probe = Command::new(command.get_program());
        if probe.arg("--version").uid(NOBODY).output().is_err() {
            eprintln!("SKIPPED: nobody else may run this binary, and root sees no difference");
            return;
        }
        command.uid(NOBODY);
    }
    let process = Process::start(command, b"");
    let ready = |lines: &[String]| lines.iter().any(|l| l == "Ctrl-C ends it.").then_some(());
    let started = process.wait_until(PATIENCE, ready);
    started.expect("the demonstration starts");
    assert_eq!(owner(&format!("/proc/{}/environ", process.id())), 0);
}
