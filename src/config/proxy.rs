//! The HTTP proxy on the way to Ingo: `upstream.proxy`, and where that is not set `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Each key that is not set is taken from its variable. A password is never read here: only the file, or the variable, that
//! holds it is named. Nothing of a variable's value is repeated but host and port.

use super::{
    Origin, RouteConfig, SecretSource,
    listeners::file_path,
    no_proxy::{Bypass, bypass, bypasses},
    origin::base_url,
    quantity::Expected,
    reader::Reader,
};

/// The variables that are looked at, of each pair the first that is set and not empty.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

const URL: &str = "upstream.proxy.url";
const NO_PROXY: &str = "upstream.proxy.no_proxy";
const USERNAME: &str = "upstream.proxy.username";
const PASSWORD_FILE: &str = "upstream.proxy.password_file";

/// The HTTP proxy through which upstreams are reached by CONNECT (RFC 9110 §9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The environment variable it comes from; `None`: the configuration.
    pub variable: Option<String>,
    /// Who we are to it.
    pub credentials: Option<ProxyCredentials>,
    /// The upstreams that are reached without it.
    bypasses: Vec<Bypass>,
}

/// Who we are to the proxy. Names the place of the password, never holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyCredentials {
    /// A name, and the file that holds the password.
    File {
        /// Visible ASCII without `:`, by which RFC 7617 §2 ends it.
        username: String,
        /// Where the password is read from.
        password: SecretSource,
    },
    /// What stands before the `@` in the environment variable of this name.
    Userinfo(String),
}

impl ProxyConfig {
    /// Where its password is read from, where that has a place of its own.
    pub fn password(&self) -> Option<&SecretSource> {
        match &self.credentials {
            Some(ProxyCredentials::File { password, .. }) => Some(password),
            Some(ProxyCredentials::Userinfo(_)) | None => None,
        }
    }

    /// Whether `origin` is reached through it. Only TLS is: what is in the clear would have to be sent to the proxy instead
    /// of through it. As in Go, the environment's proxy is not asked for the machine itself.
    pub fn serves(&self, origin: &Origin) -> bool {
        origin.tls
            && (self.variable.is_none() || !origin.is_loopback())
            && !self.bypasses.iter().any(|rule| rule.covers(origin))
    }

    /// Host and port, for people.
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Whether `name` is a variable that [`read`] looks at.
pub(super) fn is_variable(name: &str) -> bool {
    PROXY_VARIABLES.contains(&name) || NO_PROXY_VARIABLES.contains(&name)
}

/// Reads the section `upstream.proxy`. The outer `None`: a mistake.
pub(super) fn read(
    reader: &mut Reader<'_>,
    environment: &[(String, String)],
    routes: Option<&[RouteConfig]>,
    warnings: &mut Vec<String>,
) -> Option<Option<ProxyConfig>> {
    let url = reader.optional(URL, written);
    let rules = reader.list(NO_PROXY, bypass);
    let credentials = credentials(reader);
    let (url, rules, credentials) = (url?, rules?, credentials?);
    let rules = if reader.is_set(NO_PROXY) {
        rules
    } else {
        let variable = variable(environment, NO_PROXY_VARIABLES);
        variable.map_or_else(Vec::new, |(_, value)| bypasses(value))
    };
    let of = |proxy: Origin, variable: Option<String>, credentials| ProxyConfig {
        host: proxy.host,
        port: proxy.port,
        variable,
        credentials,
        bypasses: rules,
    };
    match url {
        Some(Some(proxy)) => return Some(Some(of(proxy, None, credentials))),
        Some(None) => {}
        // Where nothing goes through it, a variable that was set for other programs is none of our business.
        None if routes.is_some_and(|r| {
            r.iter()
                .any(|r| r.upstream.tls && !r.upstream.is_loopback())
        }) =>
        {
            if let Some((name, value)) = variable(environment, PROXY_VARIABLES) {
                return match of_variable(value) {
                    Ok((proxy, has_userinfo)) => {
                        let userinfo = || ProxyCredentials::Userinfo(name.to_owned());
                        let credentials = credentials.or_else(|| has_userinfo.then(userinfo));
                        Some(Some(of(proxy, Some(name.to_owned()), credentials)))
                    }
                    Err(expected) => {
                        let remedy =
                            format!("{expected}; or set upstream.proxy.url, which may be off");
                        reader.reject_at(URL, name, remedy);
                        None
                    }
                };
            }
        }
        None => {}
    }
    if credentials.is_some() {
        warnings.push(format!(
            "{USERNAME} is set and no proxy is: nobody is shown it"
        ));
    }
    Some(None)
}

fn credentials(reader: &mut Reader<'_>) -> Option<Option<ProxyCredentials>> {
    let pair = reader.pair((USERNAME, username), (PASSWORD_FILE, file_path));
    Some(pair?.map(|(username, path)| ProxyCredentials::File {
        username,
        password: SecretSource::File(path),
    }))
}

/// A proxy's URL as the configuration has it; `None`: `off`.
fn written(text: &str) -> Result<Option<Origin>, Expected> {
    if text == "off" {
        return Ok(None);
    }
    if text.contains('@') {
        return Err(format!(
            "must not hold a user name or password; set {USERNAME} and {PASSWORD_FILE}"
        ));
    }
    proxy_url(text).map(Some)
}

/// A proxy's URL as variables have it, and whether it has credentials. Other programs take it without `http://`, too.
fn of_variable(value: &str) -> Result<(Origin, bool), Expected> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let (userinfo, rest) = split_userinfo(rest);
    Ok((
        proxy_url(&format!("{scheme}://{rest}"))?,
        userinfo.is_some(),
    ))
}

/// What stands before the `@` of an authority, and what is behind it.
fn split_userinfo(rest: &str) -> (Option<&str>, &str) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    }
}

/// The credentials in the URL of a proxy, as they stand there: percent-encoded, with or without a password.
pub fn userinfo(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    split_userinfo(rest).0
}

fn proxy_url(text: &str) -> Result<Origin, Expected> {
    const EXPECTED: &str =
        "must be a URL such as http://proxy.example.com:3128, without a path, or off";
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
        return Err(
            "must begin with http://: the proxy itself is spoken to in the clear, what goes through it is TLS from here \
             to Ingo"
                .to_owned(),
        );
    }
    base_url(text)
        .ok()
        .filter(|proxy| !proxy.tls)
        .ok_or_else(|| EXPECTED.to_owned())
}

/// RFC 7617 §2: a colon ends the name.
fn username(text: &str) -> Result<String, Expected> {
    const LONGEST: usize = 256;
    let plain = |b: u8| b.is_ascii_graphic() && b != b':';
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1 to {LONGEST} visible ASCII characters, without spaces and colons"
        ))
    }
}

fn variable<'a>(
    environment: &'a [(String, String)],
    names: [&'static str; 2],
) -> Option<(&'static str, &'a str)> {
    names.into_iter().find_map(|name| {
        let (_, value) = environment
            .iter()
            .find(|(n, v)| n == name && !v.is_empty())?;
        Some((name, value.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flag, LoadError, Sources, load};

    fn with(
        flags: &[(&'static str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Config, LoadError> {
        let mut all = vec![
            ("environment", "sandbox"),
            ("credentials.username", "u"),
            ("credentials.secret_file", "/s"),
        ];
        all.extend(flags);
        let flags = all.into_iter().map(|(key, value)| Flag {
            key,
            value: value.to_owned(),
            name: "--flag",
        });
        let environment = environment
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        load(&Sources {
            file: None,
            flags: flags.collect(),
            environment: environment.collect(),
        })
        .map(|loaded| loaded.config)
    }

    fn proxy(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> Option<ProxyConfig> {
        with(flags, environment).expect("valid").upstream.proxy
    }

    #[test]
    fn without_a_key_and_without_a_variable_there_is_no_proxy() {
        assert!(proxy(&[], &[]).is_none());
        assert!(proxy(&[], &[("HTTPS_PROXY", ""), ("HTTP_PROXY", "http://p:1")]).is_none());
    }

    #[test]
    fn a_key_beats_its_variable_and_off_means_none() {
        let environment = [
            ("HTTPS_PROXY", "http://a:canary@env.example:1"),
            ("NO_PROXY", "x.example"),
        ];
        let found = proxy(
            &[("upstream.proxy.url", "http://file.example:3128/")],
            &environment,
        )
        .expect("one");
        assert_eq!(
            (found.name().as_str(), found.credentials),
            ("file.example:3128", None)
        );
        assert_eq!(found.bypasses.len(), 1);
        assert!(proxy(&[("upstream.proxy.url", "off")], &environment).is_none());
        let found = proxy(&[], &environment).expect("one");
        assert_eq!(found.name(), "env.example:1");
        assert_eq!(
            found.credentials,
            Some(ProxyCredentials::Userinfo("HTTPS_PROXY".to_owned()))
        );
        assert!(!format!("{found:?}").contains("canary"));
        let of_a_file = proxy(
            &[
                ("upstream.proxy.username", "u"),
                ("upstream.proxy.password_file", "/p"),
            ],
            &environment,
        );
        let credentials = of_a_file.expect("one").credentials;
        assert!(
            matches!(credentials, Some(ProxyCredentials::File { .. })),
            "{credentials:?}"
        );
    }

    #[test]
    fn a_variable_may_be_written_as_other_programs_take_it() {
        for (value, name) in [
            ("proxy:3128", "proxy:3128"),
            ("http://proxy", "proxy:80"),
            ("http://u:p@ss@proxy:3128/", "proxy:3128"),
            ("http://[::1]:3128", "[::1]:3128"),
        ] {
            let found = proxy(&[], &[("https_proxy", value)]).expect(value);
            assert_eq!(found.name(), name);
        }
        for value in [
            "https://canary:1",
            "socks5://canary:1",
            "http://can ary",
            "http://p/canary",
        ] {
            let told = with(&[], &[("HTTPS_PROXY", value)])
                .expect_err(value)
                .to_string();
            assert!(
                told.contains("upstream.proxy.url (HTTPS_PROXY): must b"),
                "{told}"
            );
            assert!(!told.contains("canary"), "{told}");
            let local = [("upstream.url", "https://127.0.0.1:1")];
            assert!(
                with(&local, &[("HTTPS_PROXY", value)]).is_ok(),
                "nothing would go through it"
            );
        }
    }

    #[test]
    fn only_tls_goes_through_it_and_loopback_only_where_the_configuration_says_so() {
        let origin = |url| base_url(url).expect("a URL");
        let configured = proxy(
            &[("upstream.proxy.url", "http://p:1")],
            &[("NO_PROXY", "a.example")],
        )
        .expect("one");
        assert!(configured.serves(&origin("https://127.0.0.1:1")));
        assert!(configured.serves(&origin("https://b.example")));
        assert!(!configured.serves(&origin("http://b.example")));
        assert!(!configured.serves(&origin("https://a.example")));
        let from_variable = proxy(&[], &[("HTTPS_PROXY", "http://p:1")]).expect("one");
        assert!(from_variable.serves(&origin("https://b.example")));
        assert!(!from_variable.serves(&origin("https://localhost:1")));
    }

    #[test]
    fn the_userinfo_of_a_url_is_what_stands_before_its_last_at() {
        assert_eq!(userinfo("http://u:p%40x@proxy:1"), Some("u:p%40x"));
        assert_eq!(userinfo("u@proxy:1/"), Some("u"));
        assert_eq!(userinfo("http://proxy/@x"), None);
    }
}
