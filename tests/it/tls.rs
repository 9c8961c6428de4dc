//! Ingo over TLS: whom the proxy believes, and that it never offers HTTP/2, which would break every signature.

use std::net::TcpListener;

use crate::support::{
    Builder, Post, Proxy, Reply, SECRET, USERNAME, Upstream, json_of,
    tls::{Handshake, Identity},
};

/// A proxy to `url` that trusts the authority of `identity` and nobody else.
fn trusting(identity: &Identity, url: &str) -> Builder {
    let builder = Proxy::to_url(url);
    let file = builder.directory().join("authority.pem");
    std::fs::write(&file, &identity.authority).expect("a temporary directory can be written to");
    let yaml = format!("upstream:\n  ca_file: {}\n", file.display());
    builder.yaml(&yaml)
}

#[test]
fn requests_over_tls_verify_and_are_http_1_1_on_one_connection() {
    let identity = Identity::of(&["127.0.0.1"]);
    let upstream = Upstream::over_tls(identity.clone(), Reply::json(json_of(70_000)));
    let proxy = trusting(&identity, &upstream.url()).start();
    let mut client = proxy.client();
    for size in [2, 65_537, 1_048_576] {
        let answer = client.post(&Post::new(json_of(size)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.body == json_of(70_000),
            "the answer came back changed"
        );
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    for recorded in requests {
        recorded.verify(SECRET, USERNAME);
    }
    assert_eq!(upstream.handshakes().len(), 1);
}

#[test]
fn http_1_1_is_all_that_is_offered_in_the_handshake() {
    let identity = Identity::of(&["localhost"]);
    let upstream = Upstream::over_tls(identity.clone(), Reply::json("{}"));
    let url = format!("https://localhost:{}", upstream.address().port());
    let proxy = trusting(&identity, &url).start();
    let answer = proxy.post(&Post::new("{}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = Handshake {
        alpn: vec!["http/1.1".to_owned()],
        server_name: Some("localhost".to_owned()),
    };
    assert_eq!(upstream.handshakes(), [expected]);
    let host = upstream.only_request().header("host");
    assert_eq!(
        host,
        Some(format!("localhost:{}", upstream.address().port()))
    );
}

#[test]
fn an_upstream_whose_authority_is_not_trusted_gets_nothing() {
    let upstream = Upstream::over_tls(Identity::of(&["127.0.0.1"]), Reply::json("{}"));
    let stranger = Identity::of(&["127.0.0.1"]);
    let proxy = trusting(&stranger, &upstream.url()).start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(502, "upstream_tls", "no");
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_upstream_whose_certificate_names_another_gets_nothing() {
    let identity = Identity::of(&["ingo.example"]);
    let upstream = Upstream::over_tls(identity.clone(), Reply::json("{}"));
    let proxy = trusting(&identity, &upstream.url()).start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(502, "upstream_tls", "no");
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_upstream_that_speaks_no_tls_gets_nothing() {
    let plain = Upstream::cutting(
        |_, _| crate::support::Cut::AtFirstByte,
        |_| Reply::json("{}"),
    );
    let url = format!("https://{}", plain.address());
    let proxy = trusting(&Identity::of(&["127.0.0.1"]), &url).start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(502, "upstream_tls", "no");
    assert!(plain.requests().is_empty());
}

#[test]
fn a_handshake_that_never_ends_is_given_up_and_nothing_was_sent() {
    // It takes connections (the system does) and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound");
    let identity = Identity::of(&["127.0.0.1"]);
    let builder = Proxy::to_url(&format!("https://{address}"));
    let file = builder.directory().join("authority.pem");
    std::fs::write(&file, &identity.authority).expect("a temporary directory can be written to");
    let yaml = format!(
        "upstream:\n  ca_file: {}\n  tls_handshake_timeout: 300ms\n",
        file.display()
    );
    let proxy = builder.yaml(&yaml).start();
    let answer = proxy.post(&Post::new("{}"));
    answer.is_problem(502, "upstream_tls", "no");
}

#[test]
fn a_file_of_roots_that_is_missing_or_empty_is_wrong_configuration() {
    let builder = Proxy::to_url("https://127.0.0.1:1");
    let missing = builder.directory().join("missing.pem");
    let ended = builder
        .yaml(&format!("upstream:\n  ca_file: {}\n", missing.display()))
        .fails();
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    assert!(ended.output().contains("ca_file"), "{}", ended.output());

    let builder = Proxy::to_url("https://127.0.0.1:1");
    let empty = builder.directory().join("empty.pem");
    std::fs::write(&empty, "").expect("a temporary directory can be written to");
    let ended = builder
        .yaml(&format!("upstream:\n  ca_file: {}\n", empty.display()))
        .fails();
    assert_eq!(ended.status, Some(78), "{}", ended.output());
    assert!(ended.output().contains("ca_file"), "{}", ended.output());
}
