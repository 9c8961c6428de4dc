//! Every key there is: its path, default, shape and flag, in the order in which people are shown them.
//!
//! One table, so that unknown keys, defaults, remedies and the effective listing cannot disagree. What a value must
//! look like is not said here: the files that read a section do that.

use std::{sync::LazyLock, thread};

use crate::ingo::Route;

/// The prefix of environment variables that set a key.
pub(super) const VARIABLE_PREFIX: &str = "INGO_PROXY__";

/// More workers than this are a mistake in writing: a worker a core is what Pingora wants.
pub(super) const MAX_THREADS: usize = 64;

/// A key that holds a value.
pub(super) struct Key {
    /// The dotted path.
    pub(super) path: String,
    /// The default as it would be written in a file.
    pub(super) default: Option<String>,
    /// Whether the value is a list.
    pub(super) list: bool,
    /// The flag that sets it.
    pub(super) flag: Option<&'static str>,
    /// What holds where the key is not set and has no default.
    pub(super) unset: &'static str,
    /// Whether it is read at the start only: a reload that changes it is refused.
    pub(super) at_start: bool,
}

impl Key {
    fn scalar(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            default: None,
            list: false,
            flag: None,
            unset: "not set",
            at_start: false,
        }
    }

    /// A list of these items, separated by commas, where nobody sets it.
    fn list_of(path: impl Into<String>, default: &str) -> Self {
        Self::list(path).or(default)
    }

    fn list(path: impl Into<String>) -> Self {
        Self {
            list: true,
            default: Some(String::new()),
            ..Self::scalar(path)
        }
    }

    fn or(mut self, default: impl Into<String>) -> Self {
        self.default = Some(default.into());
        self
    }

    fn or_else(mut self, meaning: &'static str) -> Self {
        self.unset = meaning;
        self
    }

    /// For a list that means something else where it is not set than where it is empty.
    fn without_default(mut self, meaning: &'static str) -> Self {
        self.default = None;
        self.or_else(meaning)
    }

    fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// What it decides is made once: sockets, threads, files that are open.
    fn at_start(mut self) -> Self {
        self.at_start = true;
        self
    }

    /// The environment variable that sets this key.
    pub(super) fn variable(&self) -> String {
        format!(
            "{VARIABLE_PREFIX}{}",
            self.path.to_ascii_uppercase().replace('.', "__")
        )
    }

    /// All the ways to set this key, for a remedy.
    pub(super) fn ways(&self) -> String {
        let flag = self.flag.map(|f| format!("{f}, ")).unwrap_or_default();
        format!("{flag}{} or {} in the file", self.variable(), self.path)
    }
}

/// Every key, in the order in which they are shown.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = vec![
        Key::scalar("environment")
            .flag("--environment")
            .or_else("not set: every enabled route has a URL"),
        Key::scalar("threads")
            .flag("--threads")
            .or(default_threads())
            .at_start(),
        Key::scalar("log_format")
            .flag("--log-format")
            .or_else("default: pretty on a terminal, json otherwise")
            .at_start(),
        Key::scalar("reload_on_change").or("false").at_start(),
        Key::scalar("shutdown_delay").or("0s"),
        Key::scalar("shutdown_limit"),
    ];
    for (listener, address, flag) in [
        ("proxy", "127.0.0.1:8646", "--listen"),
        ("health", "127.0.0.1:9646", "--health-listen"),
        ("admin", "off", "--admin-listen"),
    ] {
        let path = |key| format!("listeners.{listener}.{key}");
        let address = Key::scalar(path("address")).or(address).flag(flag);
        let mode = Key::scalar(path("socket_mode")).or("0600");
        let hosts = Key::list(path("hosts"));
        keys.extend([address, mode, hosts].map(Key::at_start));
        if listener == "proxy" {
            let files = ["tls.certificate_file", "tls.key_file", "tls.client_ca_file"];
            keys.extend(files.map(|file| Key::scalar(path(file)).at_start()));
        }
    }
    keys.extend([
        Key::scalar("credentials.username").flag("--username"),
        Key::scalar("credentials.secret_file")
            .flag("--secret-file")
            .or_else("not set: secret_env is"),
        Key::scalar("credentials.secret_env").or_else("not set: secret_file is"),
        Key::scalar("credentials.algorithm").or("hmac-sha512"),
        Key::scalar("credentials.signed_headers")
            .or("request-line x-date content-type content-sha512 content-length"),
        Key::scalar("credentials.api_key_file"),
        Key::scalar("credentials.api_key_env"),
        Key::scalar("credentials.next_username"),
        Key::scalar("credentials.next_secret_file"),
        Key::scalar("upstream.url")
            .flag("--upstream")
            .or_else("not set: see each route"),
        Key::scalar("upstream.connect_timeout").or("3s"),
        Key::scalar("upstream.tls_handshake_timeout").or("3s"),
        Key::scalar("upstream.idle_timeout").or("30s"),
        Key::scalar("upstream.idle_connections").or("128"),
        Key::scalar("upstream.ca_file").or_else("default: the system's roots"),
        Key::scalar("upstream.client_certificate_file"),
        Key::scalar("upstream.client_key_file"),
        Key::scalar("upstream.server_name").or_else("default: the host of its URL"),
        Key::scalar("upstream.proxy.url")
            .or_else("not set: HTTPS_PROXY of the environment is not, either"),
        Key::list("upstream.proxy.no_proxy")
            .without_default("not set: NO_PROXY of the environment, if that is"),
        Key::scalar("upstream.proxy.username"),
        Key::scalar("upstream.proxy.password_file"),
        Key::scalar("upstream.attempts_in_flight").or("1024"),
        Key::scalar("upstream.max_response_bytes").or("1MiB"),
        Key::scalar("upstream.danger_allow_cleartext").or("false"),
    ]);
    for route in Route::ALL {
        let path = |key| route_key(route, key);
        let (deadline, attempt_timeout) = if route.class().moves_money() {
            ("90s", "75s")
        } else {
            ("30s", "10s")
        };
        let enabled = route == Route::CreateSession;
        keys.push(Key::scalar(path("enabled")).or(enabled.to_string()));
        keys.push(Key::scalar(path("url")));
        keys.push(Key::scalar(path("deadline")).or(deadline));
        keys.push(Key::scalar(path("attempt_timeout")).or(attempt_timeout));
        keys.push(Key::scalar(path("attempts")).or("3"));
        keys.push(Key::scalar(path("disabled")).or("false"));
        if route.class().moves_money() {
            keys.push(Key::scalar(path("danger_repeat_after_write")).or("false"));
        }
        if enabled {
            keys.push(Key::scalar(path("validation")).or("warn"));
            keys.push(Key::scalar(path("validation_profile")).or("newer"));
            keys.push(Key::scalar(path("validation_answer")).or("problem"));
            keys.push(Key::scalar(path("refresh_url_below")).or("off"));
        }
    }
    keys.extend([
        Key::scalar("limits.body_bytes").or("1MiB"),
        Key::scalar("limits.header_bytes").or("32KiB").at_start(),
        Key::scalar("limits.target_bytes").or("8KiB"),
        Key::scalar("limits.header_deadline").or("10s").at_start(),
        Key::scalar("limits.body_deadline").or("10s"),
        Key::scalar("limits.exchanges_in_flight").or("1024"),
        Key::scalar("limits.queue_length").or("256"),
        Key::scalar("limits.queue_wait").or("100ms"),
        Key::scalar("limits.inbound_connections")
            .or("10000")
            .at_start(),
        Key::scalar("limits.inbound_idle_timeout")
            .or("75s")
            .at_start(),
        Key::scalar("limits.buffered_bytes").or("64MiB").at_start(),
        Key::scalar("limits.followers_per_key").or("64"),
        Key::scalar("repeats.backoff_base").or("50ms"),
        Key::scalar("repeats.backoff_cap").or("2s"),
        Key::scalar("repeats.budget").or("100"),
        Key::scalar("repeats.budget_percent").or("20"),
        Key::scalar("idempotency.policy").or("generate"),
        Key::scalar("idempotency.secret_file").or_else("not set: only derive needs one"),
        Key::scalar("idempotency.secret_env").or_else("not set: only derive needs one"),
        Key::scalar("journal.file")
            .or_else("not set: no journal is kept")
            .at_start(),
        Key::scalar("journal.fsync").or("true").at_start(),
        Key::scalar("circuit_breaker.failures").or("5"),
        Key::scalar("circuit_breaker.open_for").or("5s"),
        Key::scalar("rate_limit.per_second").or("off"),
        Key::scalar("rate_limit.burst").or("5"),
        Key::scalar("clock.correct").or("true"),
        Key::scalar("clock.max_correction").or("15m"),
        Key::list_of(
            "histograms.own_buckets",
            "0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1",
        )
        .at_start(),
        Key::list_of(
            "histograms.ingo_buckets",
            "0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90",
        )
        .at_start(),
        Key::scalar("tracing.otlp_endpoint")
            .or_else("not set: no spans are sent")
            .at_start(),
        Key::scalar("tracing.sample_ratio").or("1").at_start(),
        Key::scalar("tracing.service_name")
            .or("ingo-signing-proxy")
            .at_start(),
        Key::scalar("tracing.headers_file").at_start(),
        Key::list("headers.to_ingo"),
        Key::list("headers.to_caller"),
    ]);
    keys
});

/// The path of a route's key.
pub(super) fn route_key(route: Route, key: &str) -> String {
    format!("routes.{}.{key}", route.name())
}

/// The key of that path.
pub(super) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The place of that path, of an item in it or of a section, in the order of [`KEYS`].
pub(super) fn position(path: &str) -> usize {
    let near = |key: &Key| path.starts_with(&key.path) || key.path.starts_with(path);
    KEYS.iter().position(near).unwrap_or(KEYS.len())
}

/// All the ways to set the key of that path.
pub(super) fn ways(path: &str) -> String {
    key(path).map_or_else(|| path.to_owned(), Key::ways)
}

/// The names that may stand in the section of that path (`""`: at the top), in order; none where it is no section.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS.iter() {
        let rest = match section {
            "" => Some(key.path.as_str()),
            _ => key
                .path
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| names.last() != Some(name)));
    }
    names
}

/// What to do about a key that does not exist. `section` is the path of the section it stands in.
pub(super) fn unknown(section: &str, name: &str) -> String {
    let bare = name.to_ascii_lowercase();
    if ["api_key", "apikey", "api-key"].contains(&bare.as_str()) {
        return "secrets do not stand in configuration: name a file with credentials.api_key_file or an environment \
                variable with credentials.api_key_env"
            .to_owned();
    }
    if section == "upstream.proxy" && bare.starts_with("pass") {
        return "passwords do not stand in configuration: name a file with upstream.proxy.password_file"
            .to_owned();
    }
    if ["secret", "password", "token", "passwd", "shared_secret"]
        .iter()
        .any(|word| bare == *word)
        || bare.ends_with("_secret")
        || bare.ends_with("secret_key")
    {
        return "secrets do not stand in configuration: name a file with credentials.secret_file or an environment \
                variable with credentials.secret_env"
            .to_owned();
    }
    let names = names_in(section);
    if section == "routes" {
        // A route is money: none is suggested, all are told.
        return format!("unknown route; the routes are {}", names.join(", "));
    }
    if name.contains('.') {
        return "unknown key; write sections nested, not with dots".to_owned();
    }
    let nearest = names
        .iter()
        .map(|known| (edits(&bare, known), known))
        .min()
        // More than a third wrong is no slip of the finger.
        .filter(|(edits, known)| edits * 3 <= known.len());
    match nearest {
        Some((_, known)) => format!("unknown key; did you mean {known}?"),
        None => format!("unknown key; the keys here are {}", names.join(", ")),
    }
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn default_threads() -> String {
    thread::available_parallelism()
        .map_or(1, |n| n.get().min(MAX_THREADS))
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_stands_twice_and_none_is_also_a_section() {
        let mut seen = HashSet::new();
        for key in KEYS.iter() {
            assert!(seen.insert(&key.path), "{}", key.path);
            assert!(names_in(&key.path).is_empty(), "{}", key.path);
        }
    }

    #[test]
    fn every_path_is_one_that_the_config_crate_reads_as_nested_identifiers() {
        for key in KEYS.iter() {
            let plain = |name: &str| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            };
            assert!(key.path.split('.').all(plain), "{}", key.path);
            assert!(
                !key.path.contains("__"),
                "{} could not be a variable",
                key.path
            );
        }
    }

    #[test]
    fn the_keys_that_need_a_restart_are_those_that_the_documentation_names() {
        let page = include_str!("../../docs/reload.md");
        let (_, table) = page.split_once("<!-- keys that need").expect("the table");
        let (table, _) = table.split_once("<!-- end -->").expect("its end");
        let named: HashSet<_> = table.split('`').skip(1).step_by(2).collect();
        let fixed = KEYS.iter().filter(|key| key.at_start);
        assert_eq!(named, fixed.map(|key| key.path.as_str()).collect());
    }

    #[test]
    fn names_in_a_section_are_told_once_and_in_order() {
        assert_eq!(names_in("listeners"), ["proxy", "health", "admin"]);
        assert_eq!(names_in("headers"), ["to_ingo", "to_caller"]);
        assert_eq!(names_in("routes").len(), 10);
        assert_eq!(names_in("")[0], "environment");
        assert!(names_in("limit").is_empty());
    }

    #[test]
    fn a_slip_of_the_finger_gets_the_key_that_was_meant() {
        assert_eq!(
            unknown("limits", "body_byte"),
            "unknown key; did you mean body_bytes?"
        );
        assert_eq!(
            unknown("", "Environment"),
            "unknown key; did you mean environment?"
        );
        assert_eq!(
            unknown("headers", "x"),
            "unknown key; the keys here are to_ingo, to_caller"
        );
        assert!(unknown("routes", "proces").contains("create_session, verify, process, debit"));
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
