//! Keys of the process itself: how it runs, where it listens, and whose signature it makes.

use std::{ops::RangeInclusive, thread, time::Duration};

use super::super::{Form, Key};

/// More workers than this are a mistake in writing: a worker a core is what Pingora wants.
const MAX_THREADS: usize = 64;

const UP_TO_AN_HOUR: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
pub(super) const VARIABLE: Form = Form::Text(
    "the name of an environment variable, in capitals, digits and underscores",
    "^[A-Z][A-Z0-9_]{0,63}$",
);
pub(super) const HOST: Form = Form::Text("a host's name or address", "^[^/ ]+$");
const ADDRESS: &str = r"^(unix:/.*[^/]|[0-9.]+:[0-9]+|\[[0-9A-Fa-f:.]+\]:[0-9]+)$";
const USERNAME: Form = Form::Text(
    "visible ASCII without quotes and backslashes",
    r#"^[!#-\[\]-~]{1,256}$"#,
);

pub(super) const SECTIONS: &[(&str, &str)] = &[
    (
        "listeners.proxy",
        "The routes, nothing else. Bound beyond loopback, any host that can reach it can have payments signed.",
    ),
    (
        "listeners.proxy.tls",
        "TLS for callers, 1.2 or 1.3: PEM files, both or neither. What is in them may change at any time; see docs/tls.md.",
    ),
    ("listeners.health", "/livez, /readyz and /metrics."),
    (
        "listeners.admin",
        "Status page, redacted configuration, log level, POST /quitquitquit.",
    ),
    (
        "credentials",
        "Whose signature stands under each request. Files are watched, and a secret that changes is taken without a restart; see docs/rotation.md.",
    ),
];

pub(super) fn keys() -> Vec<Key> {
    let mut keys = vec![
        Key::new("environment", Form::Word(&["sandbox", "production"]), "Which of Ingo's worlds the built-in hosts are taken from. No default: nothing is ever sent to an environment that nobody named. May be left out where every enabled route has a URL.")
            .flag("--environment")
            .such_as("sandbox")
            .or_else("not set: every enabled route has a URL"),
        Key::new("threads", Form::Count(1..=MAX_THREADS), "Worker threads. Default: as many as the machine offers.")
            .flag("--threads")
            .such_as("2")
            .or(default_threads())
            .at_start(),
        Key::new("log_format", Form::Word(&["json", "pretty"]), "How log lines look. Default: pretty on a terminal, json otherwise.")
            .flag("--log-format")
            .such_as("json")
            .or_else("default: pretty on a terminal, json otherwise")
            .at_start(),
        Key::boolean("reload_on_change", false, "Whether this file is taken anew when it changes, and not on SIGHUP only: for a mounted ConfigMap.").at_start(),
        Key::new("shutdown_delay", Form::Time(UP_TO_AN_HOUR), "After a signal to stop, new connections are still served for this long, so that load balancers notice; `POST /quitquitquit` does not wait for it.").or("0s"),
        Key::new("shutdown_limit", Form::Time(UP_TO_AN_HOUR), "Then exchanges in flight may take this long to finish. Default: the longest deadline of an enabled route and 5 seconds. Shorter, and a shutdown can cut off an exchange whose outcome is then unknown; `check` warns.").such_as("35s"),
    ];
    for (listener, address, flag) in [
        ("proxy", "127.0.0.1:8646", "--listen"),
        ("health", "127.0.0.1:9646", "--health-listen"),
        ("admin", "off", "--admin-listen"),
    ] {
        keys.extend(of_listener(listener, address, flag).map(Key::at_start));
        if listener == "proxy" {
            keys.extend(tls().map(Key::at_start));
        }
    }
    keys.extend(credentials());
    keys
}

fn of_listener(name: &str, address: &str, flag: &'static str) -> [Key; 3] {
    let path = |key| format!("listeners.{name}.{key}");
    let (form, meaning) = if name == "admin" {
        (
            "a loopback IP:PORT or unix:/path",
            "Where to listen. Whoever reaches it can stop the proxy.",
        )
    } else {
        (
            "IP:PORT or unix:/path",
            "Where to listen; port 0: the system chooses.",
        )
    };
    let listen = Key::new(path("address"), Form::Text(form, ADDRESS), meaning)
        .flag(flag)
        .or(address);
    [
        if name == "admin" {
            listen.or_off()
        } else {
            listen
        },
        Key::new(
            path("socket_mode"),
            Form::Text("permission bits in octal", "^[0-7]{3,4}$"),
            "Who may connect to the socket's file, where the address is a unix: one.",
        )
        .or("0600"),
        Key::list(
            path("hosts"),
            HOST,
            "Names accepted in Host on a loopback address, besides the loopback names themselves (DNS rebinding).",
        ),
    ]
}

fn tls() -> [Key; 3] {
    [
        Key::file(
            "listeners.proxy.tls.certificate_file",
            "/run/secrets/tls/tls.crt",
            "The certificate, then those that vouch for it.",
        ),
        Key::file(
            "listeners.proxy.tls.key_file",
            "/run/secrets/tls/tls.key",
            "Its private key, not encrypted.",
        ),
        Key::file(
            "listeners.proxy.tls.client_ca_file",
            "/run/secrets/tls/ca.crt",
            "The authorities whose certificates callers must show. Default: callers need none.",
        ),
    ]
}

fn credentials() -> [Key; 9] {
    [
        Key::new("credentials.username", USERNAME, "Ingo's name for the integration. Required.").flag("--username").such_as("your-username"),
        Key::file("credentials.secret_file", "/run/secrets/ingo/secret", "The file that holds the shared secret. One newline at its end is dropped, and nothing else. Required, unless secret_env is set; both are a mistake.")
            .flag("--secret-file")
            .or_else("not set: secret_env is"),
        Key::new("credentials.secret_env", VARIABLE, "Or the environment variable that holds it.").such_as("INGO_SECRET").or_else("not set: secret_file is"),
        Key::new("credentials.algorithm", Form::Word(&["hmac-sha512", "hmac-sha256"]), "The MAC; hmac-sha256 is for an integration that Ingo set up so.").or("hmac-sha512"),
        Key::new("credentials.signed_headers", Form::Text("the five parts, each once", "^[a-z0-9 -]+$"), "The parts in the order in which they are signed.")
            .or("request-line x-date content-type content-sha512 content-length"),
        Key::file("credentials.api_key_file", "/run/secrets/ingo/api-key", "Where the Banking Platform's api_key comes from; sent as a header on the banking route. At most one of the two."),
        Key::new("credentials.api_key_env", VARIABLE, "Or the environment variable that holds it.").such_as("INGO_API_KEY"),
        Key::new("credentials.next_username", USERNAME, "With next_secret_file: what Ingo will accept in place of the above; signed with once Ingo refuses that, and current from then on. Both or neither.").such_as("your-next-username"),
        Key::file("credentials.next_secret_file", "/run/secrets/ingo/next-secret", "The file that holds the secret of next_username."),
    ]
}

fn default_threads() -> String {
    thread::available_parallelism()
        .map_or(1, |n| n.get().min(MAX_THREADS))
        .to_string()
}
