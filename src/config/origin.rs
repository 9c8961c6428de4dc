//! Where requests go: `https://host[:port]`, and names of hosts.
//!
//! A base URL has no path, because what is matched, signed and sent is the caller's target; and no user name, because
//! credentials do not stand in configuration. Nothing is resolved here.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Origin, quantity::Expected};

impl Origin {
    /// Whether this can only be the machine itself.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls {
            ("https", HTTPS_PORT)
        } else {
            ("http", HTTP_PORT)
        };
        let host = &self.host;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]")?;
        } else {
            write!(f, "{scheme}://{host}")?;
        }
        if self.port == usual {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

const HTTPS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;

/// A base URL.
pub(super) fn base_url(text: &str) -> Result<Origin, Expected> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("must be a URL such as https://host or https://host:port".to_owned());
    };
    // RFC 3986 §3.1: a scheme has no case.
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err("must begin with https:// or http://".to_owned()),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        return Err(
            "must not hold a user name or password; credentials are set under credentials"
                .to_owned(),
        );
    }
    if !matches!(tail, "" | "/") {
        return Err(
            "must end after host and port: the path, query and fragment are the caller's"
                .to_owned(),
        );
    }
    let (host, port) =
        split_port(authority).ok_or("must have a port from 1 to 65535 after the colon, or none")?;
    let host = host_name(host)?;
    let port = port.unwrap_or(if tls { HTTPS_PORT } else { HTTP_PORT });
    Ok(Origin { tls, host, port })
}

/// A DNS name or IP address as it stands in a URL, in lower case, IPv6 without its brackets.
pub(super) fn host_name(text: &str) -> Result<String, Expected> {
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Some(address) = bracketed {
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| "must have an IPv6 address between the brackets")?;
        return Ok(address.to_string());
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Ok(text.to_owned());
    }
    // What ends in a number is an IPv4 address to some resolvers: `127.1`, `0x7f.1`, `2130706433`.
    let ends_in_number = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()) && !last.contains('-'));
    if text.len() > LONGEST_NAME || !text.split('.').all(is_label) || ends_in_number {
        return Err(
            "must name a host: letters, digits, hyphens and dots, or an IP address (IPv6 in brackets)"
                .to_owned(),
        );
    }
    Ok(text.to_ascii_lowercase())
}

/// RFC 1035 §2.3.4, as text and without the last dot.
const LONGEST_NAME: usize = 253;

fn is_label(label: &str) -> bool {
    const LONGEST: usize = 63;
    // An underscore is no letter of host names, but names of containers have it.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=LONGEST).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The host of an authority, and its port if there is one. `None`: something other than a port follows the colon.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority[after_brackets..].find(':') else {
        return Some((authority, None));
    };
    let (host, port) = authority.split_at(after_brackets + colon);
    let digits = &port[1..];
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = all_digits.then(|| digits.parse().ok())??;
    (port != 0).then_some((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_scheme_host_and_port() {
        for (text, shown) in [
            (
                "https://payapi-sandbox.ingo.money",
                "https://payapi-sandbox.ingo.money",
            ),
            ("https://Payapi.Ingo.Money/", "https://payapi.ingo.money"),
            ("HTTPS://host:443", "https://host"),
            ("https://host:8443/", "https://host:8443"),
            ("http://127.0.0.1:9", "http://127.0.0.1:9"),
            ("http://localhost", "http://localhost"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("https://ingo_emulator", "https://ingo_emulator"),
        ] {
            assert_eq!(
                base_url(text).map(|o| o.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_more_or_less_than_a_base_url_is_refused_without_repeating_it() {
        for text in [
            "",
            "canary",
            "canary:443",
            "//canary",
            "canary://host",
            "https://",
            "https:///",
            "https://host/canary",
            "https://host//",
            "https://host?canary",
            "https://host#canary",
            "https://host\\@evil",
            "https://canary@host",
            "https://user:canary@host",
            "https://host:",
            "https://host:0",
            "https://host:65536",
            "https://host:canary",
            "https://host:1:2",
            "https://canary host",
            "https://-host",
            "https://host.",
            "https://a..b",
            "https://127.1",
            "https://0x7f.1",
            "https://2130706433",
            "https://[::1",
            "https://::1",
            "https://[fe80::1%25eth0]",
            "https://h\u{f6}st",
        ] {
            let error = base_url(text).expect_err(text);
            assert!(!error.contains("canary"), "{text:?}: {error}");
        }
    }

    #[test]
    fn loopback_is_told_from_what_only_looks_like_it() {
        let loopback = |text| base_url(text).expect("valid").is_loopback();
        for text in [
            "http://localhost",
            "http://127.9.9.9",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(loopback(text), "{text}");
        }
        for text in [
            "http://localhost.example.com",
            "http://128.0.0.1",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            assert!(!loopback(text), "{text}");
        }
    }
}
