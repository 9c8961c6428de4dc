//! One fault at a time: each is found, in the step it belongs to, with what to do about it, and nothing else is.

use std::time::Duration;

use crate::{
    command::Doctor,
    stage::{Front, Identity, PROXY_BASIC, PROXY_PASSWORD, PROXY_USER, Rule, Stage, trusting},
    support::{
        Reply, SECRET, USERNAME, Upstream,
        tls::{self, Authority, Leaf},
    },
};

fn of_front(stage: &Stage, front: &Front, name: &str) -> Doctor {
    Doctor::of(stage, &front.url(name))
        .yaml(stage, &trusting(&front.authority))
        .arguments(&["--probe"])
}

#[track_caller]
fn holds(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
}

#[test]
fn a_closed_port() {
    let stage = Stage::new();
    let (_taken, closed) = Stage::closed_port();
    let told = Doctor::of(&stage, &format!("http://{closed}"))
        .json()
        .only_wrong("connect");
    holds(&told, &["the connection was refused", "check that it runs"]);
}

#[test]
fn a_host_that_has_no_address() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    // RFC 6761 §6.4.
    let told = of_front(&stage, &front, "ingo.invalid")
        .json()
        .only_wrong("resolve");
    holds(&told, &["could not be resolved", "check the name"]);
}

#[test]
fn a_certificate_that_expired() {
    let stage = Stage::new();
    let front = stage.front(Identity {
        expired: true,
        ..Identity::default()
    });
    let told = of_front(&stage, &front, "localhost")
        .json()
        .only_wrong("tls");
    holds(&told, &["has expired", "days ago", "have it renewed"]);
}

#[test]
fn a_certificate_that_vouches_for_itself() {
    let stage = Stage::new();
    let front = stage.front(Identity {
        self_signed: true,
        ..Identity::default()
    });
    let told = of_front(&stage, &front, "localhost")
        .json()
        .only_wrong("tls");
    holds(&told, &["self-signed", "upstream.ca_file"]);
}

#[test]
fn an_authority_that_is_not_trusted() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let stranger = stage.front(Identity::default());
    let doctor =
        Doctor::of(&stage, &front.url("localhost")).yaml(&stage, &trusting(&stranger.authority));
    let told = doctor.json().only_wrong("tls");
    holds(
        &told,
        &[
            "issued by none of the 1 trusted authorities",
            "upstream.ca_file",
        ],
    );
}

#[test]
fn a_certificate_for_another_name() {
    let stage = Stage::new();
    let front = stage.front(Identity {
        names: vec!["other.example"],
        ..Identity::default()
    });
    let told = of_front(&stage, &front, "localhost")
        .json()
        .only_wrong("tls");
    holds(
        &told,
        &[
            "is for other names",
            "other.example",
            "check the host in the URL",
        ],
    );
}

#[test]
fn a_system_without_roots() {
    let stage = Stage::new();
    let empty = stage.file("empty.pem", "");
    let doctor = Doctor::of(&stage, "https://localhost:1").without_env("SSL_CERT_DIR");
    let told = doctor
        .env("SSL_CERT_FILE", empty.to_str().unwrap())
        .json()
        .only_wrong("roots");
    holds(
        &told,
        &[
            "no root certificates were found",
            "ca-certificates",
            "upstream.ca_file",
        ],
    );
}

#[test]
fn a_port_that_speaks_no_tls() {
    let stage = Stage::new();
    let url = stage.cleartext().replace("http://", "https://");
    let front = stage.front(Identity::default());
    let told = Doctor::of(&stage, &url)
        .yaml(&stage, &trusting(&front.authority))
        .json()
        .only_wrong("tls");
    holds(&told, &["TLS", "check"]);
}

#[test]
fn an_upstream_that_speaks_http_2_only() {
    let stage = Stage::new();
    let front = stage.front(Identity {
        alpn: vec!["h2"],
        ..Identity::default()
    });
    let told = of_front(&stage, &front, "localhost")
        .json()
        .only_wrong("protocol");
    holds(
        &told,
        &[
            "HTTP/1.1 is refused",
            "HTTP/2 only",
            "have HTTP/1.1 enabled",
        ],
    );
}

#[test]
fn a_clock_ten_minutes_off_is_found_and_the_credentials_judged_all_the_same() {
    let stage = Stage::new();
    stage.emulator.advance(Duration::from_secs(600));
    let said = Doctor::of(&stage, &stage.cleartext())
        .arguments(&["--probe"])
        .json();
    let told = said.only_wrong("clock");
    holds(
        &told,
        &["s behind the upstream", "Ingo accepts 300 s", "NTP"],
    );
    holds(&said.well("credentials"), &["with the date corrected by"]);
}

#[test]
fn a_clock_that_may_not_be_corrected_refuses_the_credentials_too() {
    let stage = Stage::new();
    stage.emulator.advance(Duration::from_secs(600));
    let doctor = Doctor::of(&stage, &stage.cleartext()).yaml(&stage, "clock: {correct: false}\n");
    let said = doctor.arguments(&["--probe"]).json();
    assert_eq!(said.ended.status, Some(1));
    let wrong: Vec<_> = said.json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|s| s["ok"] == false)
        .map(|s| &s["step"])
        .collect();
    assert_eq!(wrong, ["clock", "credentials"]);
}

#[test]
fn a_wrong_secret_and_a_wrong_username_are_told_apart() {
    let stage = Stage::new();
    let url = stage.cleartext();
    let other = Doctor::with(&stage, &url, USERNAME, b"another-secret-0123456789");
    let told = other
        .arguments(&["--probe"])
        .json()
        .only_wrong("credentials");
    holds(
        &told,
        &["the signature is wrong", "the secret is not the one"],
    );
    let other = Doctor::with(&stage, &url, "nobody", SECRET);
    let told = other
        .arguments(&["--probe"])
        .json()
        .only_wrong("credentials");
    holds(
        &told,
        &["the username is unknown", "credentials.username (nobody)"],
    );
}

#[test]
fn a_secret_with_something_at_its_end_is_found_without_asking_anybody() {
    let stage = Stage::new();
    let url = stage.cleartext();
    for (end, expected) in [
        (&b"\r\n"[..], "carriage return"),
        (b" \n", "white space"),
        (b"\n\n", "more than one newline"),
    ] {
        let secret = [SECRET, end].concat();
        let told = Doctor::with(&stage, &url, USERNAME, &secret)
            .json()
            .only_wrong("secret");
        holds(&told, &[expected]);
    }
    let told = Doctor::with(&stage, &url, USERNAME, b"")
        .json()
        .only_wrong("secret");
    holds(&told, &["is empty", "put the secret there"]);
}

#[test]
fn a_proxy_on_the_way_with_and_without_credentials() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let way = stage.proxy(Rule::LeadWho(front.address, PROXY_BASIC));
    let yaml = format!(
        "{}  proxy:\n    url: {}\n",
        trusting(&front.authority),
        way.url()
    );
    let doctor = |yaml: &str| {
        Doctor::of(&stage, &front.url("ingo.test"))
            .yaml(&stage, yaml)
            .arguments(&["--probe"])
    };
    let said = doctor(&yaml).json();
    let told = said.only_wrong("connect");
    holds(
        &told,
        &[
            "the proxy refused with 407",
            "it wants credentials: set upstream.proxy.username",
        ],
    );
    assert!(
        !said.ended.output().contains("canary"),
        "{}",
        said.ended.output()
    );
    let password = stage.file("password", PROXY_PASSWORD);
    let yaml = format!(
        "{yaml}    username: {PROXY_USER}\n    password_file: {}\n",
        password.display()
    );
    let said = doctor(&yaml).json();
    said.is_healthy();
    holds(
        &said.well("connect"),
        &[&format!("through the proxy {}", way.address)],
    );
    holds(
        &said.well("resolve"),
        &[&format!("the proxy {} has 127.0.0.1", way.address)],
    );
    said.well("proxy_password");
    // The environment's, with credentials.
    let url = format!("http://{PROXY_USER}:canary-proxy-p%40ss@{}", way.address);
    let said = doctor(&trusting(&front.authority))
        .env("HTTPS_PROXY", &url)
        .json();
    said.is_healthy();
    assert!(
        !said.ended.output().contains("canary"),
        "{}",
        said.ended.output()
    );
}

#[test]
fn one_dead_address_of_two_is_told_and_the_other_is_used() {
    let stage = Stage::new();
    let Some((front, command, _free)) = stage.half_dead() else {
        eprintln!(
            "SKIPPED: no names of one's own here (unshare -rm); src/upstream/dial.rs tests two addresses"
        );
        return;
    };
    let doctor = Doctor::run_as(command, &stage, &front.url("twice.test"), USERNAME, SECRET);
    let doctor = doctor
        .yaml(&stage, &trusting(&front.authority))
        .arguments(&["--probe"]);
    let said = doctor.json();
    let told = said.only_wrong("connect");
    holds(
        &told,
        &[
            "127.0.0.1:",
            "the connection was refused",
            "another address works",
        ],
    );
    holds(&said.well("connect"), &["127.0.0.2:"]);
    said.well("credentials");
}

#[test]
fn an_upstream_that_wants_a_certificate_and_one_that_has_expired() {
    let stage = Stage::new();
    let (ingos, ours) = (Authority::fresh(), Authority::fresh());
    // `{}` of a load balancer in Ingo's place proves the signature accepted as little as it refuses it.
    let upstream = Upstream::over_tls(
        tls::Identity::by(&ingos, &["127.0.0.1"], Some(&ours)),
        Reply::json("{}"),
    );
    let ca = stage.file("ca.pem", ingos.pem.as_bytes());
    let doctor = |rest: &str| {
        let yaml = format!("upstream:\n  ca_file: {}\n{rest}", ca.display());
        Doctor::of(&stage, &upstream.url())
            .yaml(&stage, &yaml)
            .json()
    };
    let shown = |leaf: &Leaf| {
        let certificate = stage.file("tls.crt", leaf.certificate.as_bytes());
        let key = stage.file("tls.key", leaf.key.as_bytes());
        format!(
            "  client_certificate_file: {}\n  client_key_file: {}\n",
            certificate.display(),
            key.display()
        )
    };
    // In TLS 1.3 the handshake is over for us before the server misses a certificate.
    let said = doctor("");
    let told = said.only_wrong("protocol");
    holds(
        &told,
        &[
            "asked for a client certificate",
            "name it with upstream.client_certificate_file",
        ],
    );
    holds(&said.well("tls"), &["it asks for a client certificate"]);
    let good = ours.issue(&["acme"]);
    let said = doctor(&shown(&good));
    said.is_healthy();
    holds(&said.well("client_certificate"), &["expires in"]);
    holds(&said.well("roots"), &["expires in"]);

    let expired = ours.issue_until(&["acme"], 2001);
    let said = doctor(&shown(&expired));
    assert_eq!(said.ended.status, Some(1));
    holds(
        &said.ended.output(),
        &["expired", "days ago", "it is taken without a restart"],
    );

    let other = Leaf {
        key: expired.key,
        ..good
    };
    let told = doctor(&shown(&other)).only_wrong("client_certificate");
    holds(
        &told,
        &[
            "upstream.client_key_file",
            "does not go with",
            "write both anew",
        ],
    );
}

#[test]
fn the_listeners_own_certificate() {
    let stage = Stage::new();
    let front = stage.front(Identity::default());
    let leaf = Authority::fresh().issue_until(&["localhost"], 2001);
    let yaml = format!(
        "{}listeners: {{proxy: {{tls: {{certificate_file: {}, key_file: {}}}}}}}\n",
        trusting(&front.authority),
        stage.file("tls.crt", leaf.certificate.as_bytes()).display(),
        stage.file("tls.key", leaf.key.as_bytes()).display(),
    );
    let told = Doctor::of(&stage, &front.url("localhost"))
        .yaml(&stage, &yaml)
        .json()
        .only_wrong("listener_certificate");
    holds(&told, &["expired", "replace it"]);
}

#[test]
fn an_upstream_on_ipv6() {
    let stage = Stage::new();
    let Some(front) = stage.front_at("[::1]:0", Identity::default()) else {
        eprintln!("SKIPPED: this host has no ::1");
        return;
    };
    let said = of_front(&stage, &front, "[::1]").json();
    said.is_healthy();
    holds(&said.well("connect"), &["[::1]:"]);
}
