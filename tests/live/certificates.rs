//! Certificates replaced while they are in use, on both sides of the proxy.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use rustls::ClientConfig;

use crate::{
    stage::{Ingo, Mounted, USERNAME, become_true, body, lines_with, readyz, readyz_says},
    support::{
        Client, PATIENCE, Post, Proxy, Reply, SECRET, Upstream, process,
        tls::{Authority, Identity, Leaf, caller},
    },
};

/// Seconds since 1970 at the end of 4096, until which certificates here are good.
const AT_THE_END_OF_4096: f64 = 67_121_654_400.0;

/// The same of authorities.
const AT_THE_BEGINNING_OF_4096: f64 = 67_090_118_400.0;

/// The files of `leaf`, and of `authority` if callers need certificates.
fn files<'a>(leaf: &'a Leaf, authority: Option<&'a Authority>) -> Vec<(&'static str, &'a str)> {
    let mut files = vec![
        ("tls.crt", leaf.certificate.as_str()),
        ("tls.key", leaf.key.as_str()),
    ];
    files.extend(authority.map(|authority| ("ca.crt", authority.pem.as_str())));
    files
}

/// The configuration of TLS for callers with the files in `mounted`.
fn inbound(mounted: &Mounted) -> String {
    let path = |name| mounted.path(name).display().to_string();
    let ca = if mounted.path("ca.crt").exists() {
        format!(", client_ca_file: {}", path("ca.crt"))
    } else {
        String::new()
    };
    format!(
        "listeners: {{proxy: {{tls: {{certificate_file: {}, key_file: {}{ca}}}}}}}\n",
        path("tls.crt"),
        path("tls.key")
    )
}

fn connect(proxy: &Proxy, config: &Arc<ClientConfig>) -> Client {
    Client::try_connect_tls(proxy.address("proxy"), config).expect("the handshake should succeed")
}

/// Whether a caller with this configuration is served.
fn is_served(proxy: &Proxy, config: &Arc<ClientConfig>) -> bool {
    let Ok(mut client) = Client::try_connect_tls(proxy.address("proxy"), config) else {
        return false;
    };
    // In TLS 1.3 a client hears that its certificate is refused when it reads.
    client.try_send(&Post::new(body("one")).bytes()).is_ok()
        && client.try_answer("POST").is_ok_and(|a| a.status == 200)
}

fn not_after(proxy: &Proxy, certificate: &str) -> f64 {
    proxy.metrics().sum(
        "ingo_proxy_certificate_not_after_timestamp_seconds",
        &[("certificate", certificate)],
    )
}

#[test]
fn callers_over_tls_are_served_and_resume_their_sessions() {
    let authority = Authority::fresh();
    let mounted = Mounted::new(&files(&authority.issue(&["127.0.0.1"]), None));
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    let trusting = caller(&authority, None);
    let mut first = connect(&proxy, &trusting);
    for size in [2, 70_000, 1_048_576] {
        let answer = first.post(&Post::new(crate::support::json_of(size)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(!first.secured().1, "there was nothing to resume");
    let mut second = connect(&proxy, &trusting);
    assert!(second.secured().1, "the second one resumes");
    assert_eq!(second.post(&Post::new("{}")).status, 200);
    for request in upstream.requests() {
        request.verify(SECRET, crate::support::USERNAME);
    }
    assert_eq!(not_after(&proxy, "listener"), AT_THE_END_OF_4096);
    assert!(
        Client::try_connect_tls(proxy.address("proxy"), &caller(&Authority::fresh(), None))
            .is_err(),
        "whoever trusts another authority does not go on"
    );
}

#[test]
fn http_2_is_served_over_tls() {
    if !process::is_installed("curl", &["--http2", "--version"]) {
        println!("skipped: no curl that speaks HTTP/2 is installed");
        return;
    }
    let authority = Authority::fresh();
    let mounted = Mounted::new(&files(&authority.issue(&["127.0.0.1"]), None));
    let ca = mounted.path("authority.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let upstream = Upstream::answering(Reply::json("{}"));
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    let url = format!(
        "https://{}{}",
        proxy.address("proxy"),
        crate::support::SESSIONS
    );
    for (version, expected) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let ca = ca.display().to_string();
        let arguments = [
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            version,
            "--cacert",
            &ca,
            "--data-binary",
            "{}",
            "--write-out",
            "%{http_code} %{http_version}",
            "--output",
            "/dev/null",
            &url,
        ];
        let ended = process::run("curl", &arguments, b"");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(said, format!("200 {expected}"), "{}", ended.output());
    }
}

#[test]
fn what_speaks_no_tls_where_tls_is_spoken_is_told_so() {
    let authority = Authority::fresh();
    let mounted = Mounted::new(&files(&authority.issue(&["127.0.0.1"]), None));
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    let answer = proxy.post(&Post::new("{}"));
    let problem = answer.is_problem(400, "bad_request", "no");
    assert!(problem["detail"].as_str().unwrap().contains("https://"));
    upstream.received_nothing();
    let rejected = proxy
        .metrics()
        .sum("ingo_proxy_rejections_total", &[("code", "bad_request")]);
    assert_eq!(rejected, 1.0);
}

#[test]
fn nothing_older_than_tls_1_2_is_spoken() {
    let authority = Authority::fresh();
    let mounted = Mounted::new(&files(&authority.issue(&["127.0.0.1"]), None));
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const PROTOCOL_VERSION: u8 = 70;
    let of_tls_1_2 = answer_to_hello(&proxy, [3, 3]);
    assert_eq!(of_tls_1_2.first(), Some(&HANDSHAKE), "{of_tls_1_2:?}");
    let of_tls_1_1 = answer_to_hello(&proxy, [3, 2]);
    assert_eq!(of_tls_1_1, [ALERT, 3, 3, 0, 2, 2, PROTOCOL_VERSION]);
}

/// What comes for a ClientHello of that version, as before TLS 1.3 (RFC 5246 §7.4.1.2).
fn answer_to_hello(proxy: &Proxy, version: [u8; 2]) -> Vec<u8> {
    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, by secp256r1 and ecdsa_secp256r1_sha256.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, //
        0, 11, 0, 2, 1, 0, //
        0, 13, 0, 4, 0, 2, 4, 3,
    ];
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut message = vec![1, 0, 0, hello.len() as u8];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    let mut socket = TcpStream::connect(proxy.address("proxy")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&record).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn callers_without_the_right_certificate_are_not_served_and_other_authorities_can_follow() {
    let (ours, clients, others) = (Authority::fresh(), Authority::fresh(), Authority::fresh());
    let leaf = ours.issue(&["127.0.0.1"]);
    let mut mounted = Mounted::new(&files(&leaf, Some(&clients)));
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    let known = caller(&ours, Some(&clients.issue(&["a-caller"])));
    let unknown = caller(&ours, Some(&others.issue(&["a-caller"])));
    let anonymous = caller(&ours, None);
    assert!(is_served(&proxy, &known) && is_served(&proxy, &known));
    assert!(!is_served(&proxy, &unknown));
    assert!(!is_served(&proxy, &anonymous));
    assert_eq!(upstream.requests().len(), 2);
    assert_eq!(not_after(&proxy, "client_ca"), AT_THE_BEGINNING_OF_4096);

    mounted.swap(&files(&leaf, Some(&others)));
    become_true("the other authority is taken", PATIENCE, || {
        is_served(&proxy, &unknown)
    });
    assert!(
        !is_served(&proxy, &known),
        "nobody gets in by a session that began under the former authority"
    );
}

/// Callers that make a connection for each request, until they are told to stop.
struct Callers {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Callers {
    fn of(proxy: &Proxy, config: &Arc<ClientConfig>) -> Self {
        let callers = Self {
            stop: Arc::default(),
            served: Arc::default(),
            failures: Arc::default(),
            threads: Vec::new(),
        };
        let threads = (0..4).map(|_| {
            let (stop, served) = (callers.stop.clone(), callers.served.clone());
            let failures = callers.failures.clone();
            let (address, config) = (proxy.address("proxy"), config.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer =
                        Client::try_connect_tls(address, &config).and_then(|mut client| {
                            client.try_send(&Post::new(body("one")).bytes())?;
                            client.try_answer("POST")
                        });
                    match answer {
                        Ok(answer) if answer.status == 200 => {}
                        Ok(answer) => failures.lock().unwrap().push(answer.text()),
                        Err(error) => failures.lock().unwrap().push(error.to_string()),
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let threads = threads.collect();
        Self { threads, ..callers }
    }

    fn go_on(&self) {
        let before = self.served.load(Ordering::Relaxed);
        become_true("callers go on", PATIENCE, || {
            self.served.load(Ordering::Relaxed) > before + 8
        });
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        self.served.load(Ordering::Relaxed)
    }
}

#[test]
fn the_listeners_certificate_is_replaced_under_load_and_a_broken_one_is_not_taken() {
    let authority = Authority::fresh();
    let mut leaf = authority.issue(&["127.0.0.1"]);
    let mut mounted = Mounted::new(&files(&leaf, None));
    let ingo = Ingo::accepting(&[(USERNAME, "a-secret-that-is-long")]);
    let proxy = Proxy::to_url(&ingo.url())
        .secret_file(Some(b"a-secret-that-is-long"))
        .yaml(&inbound(&mounted))
        .repeating()
        .env("RUST_LOG", "info,ingo_signing_proxy::access=off")
        .start();
    let trusting = caller(&authority, None);
    let shown = |proxy: &Proxy| connect(proxy, &caller(&authority, None)).secured().0;
    let callers = Callers::of(&proxy, &trusting);
    callers.go_on();
    for round in 1..=5 {
        let next = authority.issue_until(&["127.0.0.1"], 4000 + round);
        mounted.swap(&files(&next, None));
        become_true("the new one is shown", PATIENCE, || {
            shown(&proxy) == next.der
        });
        callers.go_on();

        // A certificate with the former's key, then half a file: neither is taken.
        let other = authority.issue(&["127.0.0.1"]);
        mounted.swap(&[("tls.crt", &other.certificate), ("tls.key", &leaf.key)]);
        readyz_says(&proxy, "does not go with the certificate");
        callers.go_on();
        mounted.swap(&[("tls.crt", &next.certificate[..90]), ("tls.key", &next.key)]);
        readyz_says(&proxy, "tls.crt is no PEM file");
        mounted.swap(&[
            ("tls.crt", &next.certificate),
            ("tls.key", "nothing of the kind"),
        ]);
        readyz_says(&proxy, "tls.key holds no private key");
        assert_eq!(shown(&proxy), next.der);
        mounted.swap(&files(&next, None));
        become_true("all is well again", PATIENCE, || readyz(&proxy) == "ok\n");
        leaf = next;
    }
    println!("{} connections, none failed", callers.end());
    assert_eq!(lines_with(&proxy, "certificates were loaded"), 5);
    assert!(not_after(&proxy, "listener") < AT_THE_END_OF_4096);
}

/// The configuration of a client certificate with the files in `mounted`.
fn outbound(mounted: &Mounted) -> String {
    let path = |name| mounted.path(name).display().to_string();
    format!(
        "upstream:\n  client_certificate_file: {}\n  client_key_file: {}\n  ca_file: {}\n",
        path("tls.crt"),
        path("tls.key"),
        path("ca.crt")
    )
}

#[test]
fn an_upstream_is_shown_our_certificate_and_the_next_one_without_a_restart() {
    let (ingos, ours) = (Authority::fresh(), Authority::fresh());
    let upstream = Upstream::over_tls(
        Identity::by(&ingos, &["127.0.0.1"], Some(&ours)),
        Reply::json("{}"),
    );
    let first = ours.issue(&["acme"]);
    let mut mounted = Mounted::new(&files(&first, Some(&ingos)));
    let proxy = Proxy::to(&upstream).yaml(&outbound(&mounted)).start();
    let post = || proxy.post(&Post::new("{}"));
    assert_eq!(post().status, 200);
    assert_eq!(upstream.peers().len(), 1);
    assert_eq!(upstream.peers()[0].certificate, Some(first.der.clone()));
    assert_eq!(not_after(&proxy, "upstream_client"), AT_THE_END_OF_4096);
    assert_eq!(not_after(&proxy, "upstream_ca"), AT_THE_BEGINNING_OF_4096);

    let second = ours.issue(&["acme"]);
    mounted.swap(&files(&second, Some(&ingos)));
    become_true("the second one is shown", PATIENCE, || {
        assert_eq!(post().status, 200);
        let last = upstream.peers().pop().unwrap();
        last.certificate == Some(second.der.clone())
    });

    // One without its key is not taken.
    mounted.swap(&[
        ("tls.crt", &first.certificate),
        ("tls.key", &second.key),
        ("ca.crt", &ingos.pem),
    ]);
    readyz_says(&proxy, "upstream.client_key_file");
    assert_eq!(post().status, 200);
}

#[test]
fn other_roots_are_taken_without_a_restart_and_connections_made_under_the_former_are_not_used() {
    let (former, new) = (Authority::fresh(), Authority::fresh());
    let upstream = Upstream::over_tls(
        Identity::by(&former, &["127.0.0.1"], None),
        Reply::json("{}"),
    );
    let leaf = former.issue(&["acme"]);
    let mut mounted = Mounted::new(&files(&leaf, Some(&former)));
    let yaml = format!(
        "upstream: {{ca_file: {}}}\n",
        mounted.path("ca.crt").display()
    );
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    mounted.swap(&files(&leaf, Some(&new)));
    become_true("nobody is believed any more", PATIENCE, || {
        proxy.post(&Post::new("{}")).status == 502
    });
    proxy
        .post(&Post::new("{}"))
        .is_problem(502, "upstream_tls", "no");
    mounted.swap(&files(&leaf, Some(&former)));
    become_true("the former one is believed again", PATIENCE, || {
        proxy.post(&Post::new("{}")).status == 200
    });
}

#[test]
fn sessions_with_an_upstream_are_resumed() {
    let identity = Identity::of(&["127.0.0.1"]);
    let upstream = Upstream::over_tls(identity.clone(), Reply::json("{}"));
    let mounted = Mounted::new(&[("ca.crt", &identity.authority)]);
    let yaml = format!(
        "upstream: {{ca_file: {}}}\n",
        mounted.path("ca.crt").display()
    );
    let proxy = Proxy::to(&upstream).yaml(&yaml).repeating().start();
    for connection in 1..=3 {
        assert_eq!(proxy.post(&Post::new("{}")).status, 200);
        upstream.wait_for_idle(1);
        assert_eq!(upstream.peers().len(), connection);
        upstream.close_idle_connections();
    }
    let resumed: Vec<_> = upstream.peers().iter().map(|peer| peer.resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

#[test]
fn an_upstream_may_bear_another_name_than_that_of_its_url() {
    let identity = Identity::of(&["ingo.test"]);
    let upstream = Upstream::over_tls(identity.clone(), Reply::json("{}"));
    let mounted = Mounted::new(&[("ca.crt", &identity.authority)]);
    let ca = mounted.path("ca.crt");
    let with = |name: &str| format!("upstream: {{ca_file: {}{name}}}\n", ca.display());
    let proxy = Proxy::to(&upstream).yaml(&with("")).start();
    proxy
        .post(&Post::new("{}"))
        .is_problem(502, "upstream_tls", "no");
    let proxy = Proxy::to(&upstream)
        .yaml(&with(", server_name: ingo.test"))
        .start();
    assert_eq!(proxy.post(&Post::new("{}")).status, 200);
    let asked_for = upstream.handshakes().pop().unwrap().server_name;
    assert_eq!(asked_for.as_deref(), Some("ingo.test"));
    let host = upstream.only_request().header("host").unwrap();
    assert_eq!(
        host,
        upstream.address().to_string(),
        "Host is that of the URL"
    );
}

#[test]
fn files_that_cannot_be_used_keep_it_from_starting_and_are_named() {
    let authority = Authority::fresh();
    let (leaf, other) = (authority.issue(&["127.0.0.1"]), authority.issue(&["other"]));
    let upstream = Upstream::echoing();
    let cases: [(&str, &str, &str); 5] = [
        (
            &leaf.certificate,
            &other.key,
            "tls.key does not go with the certificate in",
        ),
        ("", &leaf.key, "tls.crt holds no certificate"),
        (&leaf.key, &leaf.key, "tls.crt holds no certificate"),
        (
            &leaf.certificate,
            &leaf.certificate,
            "tls.key holds no private key",
        ),
        (
            &leaf.certificate,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "cannot be used",
        ),
    ];
    for (certificate, key, expected) in cases {
        let mounted = Mounted::new(&[("tls.crt", certificate), ("tls.key", key)]);
        let ended = Proxy::to(&upstream).yaml(&inbound(&mounted)).fails();
        assert_eq!(ended.status, Some(78), "{}", ended.output());
        assert!(ended.output().contains(expected), "{}", ended.output());
    }
    let mounted = Mounted::new(&[("tls.crt", &leaf.certificate)]);
    let ended = Proxy::to(&upstream).yaml(&inbound(&mounted)).fails();
    assert_eq!(ended.status, Some(78));
    assert!(
        ended.output().contains("listeners.proxy.tls.key_file: "),
        "{}",
        ended.output()
    );
}

#[test]
fn a_key_file_that_is_whole_only_as_far_as_its_key_is_refused_at_the_start_and_at_a_change() {
    let (ingos, ours) = (Authority::fresh(), Authority::fresh());
    let upstream = Upstream::over_tls(
        Identity::by(&ingos, &["127.0.0.1"], Some(&ours)),
        Reply::json("{}"),
    );
    let leaf = ours.issue(&["acme"]);
    let cut_off = format!("{}{}", leaf.key, &leaf.certificate[..100]);
    let bad = [
        ("tls.crt", leaf.certificate.as_str()),
        ("tls.key", &cut_off),
        ("ca.crt", &ingos.pem),
    ];
    let mounted = Mounted::new(&bad);
    let ended = Proxy::to(&upstream).yaml(&outbound(&mounted)).fails();
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    assert!(ended.output().contains("upstream.client_key_file"));

    let mut mounted = Mounted::new(&files(&leaf, Some(&ingos)));
    let proxy = Proxy::to(&upstream).yaml(&outbound(&mounted)).start();
    mounted.swap(&bad);
    readyz_says(&proxy, "upstream.client_key_file");
    let next = ours.issue(&["acme"]);
    mounted.swap(&files(&next, Some(&ingos)));
    become_true("the next one is taken all the same", PATIENCE, || {
        assert_eq!(proxy.post(&Post::new("{}")).status, 200);
        upstream.peers().pop().unwrap().certificate == Some(next.der.clone())
    });
}

#[test]
fn a_session_that_began_with_a_certificate_ends_with_it() {
    let (ours, clients) = (Authority::fresh(), Authority::fresh());
    let mounted = Mounted::new(&files(&ours.issue(&["127.0.0.1"]), Some(&clients)));
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    // Good for some seconds, which a handshake does not take.
    let known = caller(&ours, Some(&clients.issue_for(&["a-caller"], 4)));
    assert!(is_served(&proxy, &known));
    assert!(connect(&proxy, &known).secured().1, "it resumes");
    become_true("it is not served any more", PATIENCE, || {
        !is_served(&proxy, &known)
    });
    assert!(!is_served(&proxy, &known), "neither by another session");
    let failed = "ingo_proxy_inbound_tls_handshakes_failed_total";
    assert!(proxy.metrics().sum(failed, &[]) > 0.0);
}

#[test]
fn a_connection_that_was_let_in_by_a_certificate_is_closed_once_others_are_let_in() {
    let (ours, clients, others) = (Authority::fresh(), Authority::fresh(), Authority::fresh());
    let leaf = ours.issue(&["127.0.0.1"]);
    let mut mounted = Mounted::new(&files(&leaf, Some(&clients)));
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    let known = caller(&ours, Some(&clients.issue(&["a-caller"])));
    let mut kept = connect(&proxy, &known);
    assert_eq!(kept.post(&Post::new(body("one"))).status, 200);
    mounted.swap(&files(&leaf, Some(&others)));
    become_true("the other authority is taken", PATIENCE, || {
        !is_served(&proxy, &known)
    });
    // What was on its way is answered, and is the last.
    assert_eq!(kept.post(&Post::new(body("two"))).status, 200);
    kept.is_closed();
}

#[test]
fn connections_over_the_limit_and_handshakes_that_stall_are_counted() {
    let authority = Authority::fresh();
    let mounted = Mounted::new(&files(&authority.issue(&["127.0.0.1"]), None));
    let upstream = Upstream::echoing();
    let yaml = format!(
        "{}limits: {{inbound_connections: 2, header_deadline: 1s}}\n",
        inbound(&mounted)
    );
    let proxy = Proxy::to(&upstream).yaml(&yaml).start();
    let trusting = caller(&authority, None);
    let _held = (connect(&proxy, &trusting), connect(&proxy, &trusting));
    assert!(Client::try_connect_tls(proxy.address("proxy"), &trusting).is_err());
    let rejected = |m: &crate::support::Metrics| {
        m.sum("ingo_proxy_rejections_total", &[("code", "overloaded")])
    };
    proxy.metrics_become(|m| rejected(m) == 1.0);
    drop(_held);
    proxy.metrics_become(|m| m.sum("ingo_proxy_inbound_connections", &[]) == 0.0);
    let mut stalled = TcpStream::connect(proxy.address("proxy")).unwrap();
    stalled.write_all(&[22, 3, 1]).unwrap();
    proxy.metrics_become(|m| m.sum("ingo_proxy_inbound_tls_handshakes_failed_total", &[]) == 1.0);
}

#[test]
fn an_upstream_that_refuses_our_certificate_is_named_as_what_the_last_attempt_met() {
    let (ingos, ours) = (Authority::fresh(), Authority::fresh());
    let upstream = Upstream::over_tls(
        Identity::by(&ingos, &["127.0.0.1"], Some(&ours)),
        Reply::json("{}"),
    );
    let mounted = Mounted::new(&files(&Authority::fresh().issue(&["acme"]), Some(&ingos)));
    let proxy = Proxy::to(&upstream).yaml(&outbound(&mounted)).start();
    let answer = proxy.post(&Post::new("{}"));
    assert_eq!(answer.status, 502, "{}", answer.text());
    let line = proxy.access_lines(1).remove(0);
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.starts_with("tls alert: "), "{line:#}");
}

#[test]
fn what_has_expired_or_will_soon_is_warned_of_at_the_start() {
    let authority = Authority::fresh();
    let mounted = Mounted::new(&files(&authority.issue_until(&["127.0.0.1"], 2001), None));
    let upstream = Upstream::echoing();
    let proxy = Proxy::to(&upstream).yaml(&inbound(&mounted)).start();
    become_true("it is said", PATIENCE, || {
        lines_with(&proxy, "the certificate has expired") == 1
    });
    assert!(not_after(&proxy, "listener") < 1.1e9);
}
