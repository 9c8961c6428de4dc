//! Which `Host` a listener answers to.

use super::Rejection;
use crate::{config::Address, problem::Code};

/// The names that requests on one listener may be addressed to.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// Only a loopback listener looks: elsewhere a name is the business of whoever made the network.
    loopback_only: bool,
    configured: Vec<String>,
}

impl Hosts {
    /// The names for a listener at `address`, beside those that are `configured`.
    pub fn of(address: &Address, configured: &[String]) -> Self {
        Self {
            loopback_only: address.is_loopback_ip(),
            configured: configured.to_vec(),
        }
    }

    /// Checks the value of `Host`, or the authority of the target.
    ///
    /// # Errors
    /// [`Code::HostRefused`].
    pub fn check(&self, host: Option<&[u8]>) -> Result<(), Rejection> {
        let Some(host) = host.filter(|_| self.loopback_only) else {
            return Ok(());
        };
        let host = std::str::from_utf8(host).unwrap_or_default();
        let name = without_port(host);
        if is_loopback(name) || self.configured.iter().any(|c| c.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        Err(Rejection::unsent(
            Code::HostRefused,
            "this listener is on loopback and Host names something else; call it as localhost or 127.0.0.1, or add the name to the listener's hosts",
        ))
    }
}

/// The name in `host` or `host:port`; nothing where it is neither.
fn without_port(host: &str) -> &str {
    let (name, rest) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some(bracketed) => bracketed,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if is_port { name } else { "" }
}

/// `localhost` and names below it never leave the host (RFC 6761 §6.3).
fn is_loopback(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_loopback_and_configured_names_are_answered() {
        let address = Address::Tcp(([127, 0, 0, 1], 8646).into());
        let hosts = Hosts::of(&address, &["ingo.internal".to_owned()]);
        for good in [
            "localhost",
            "LOCALHOST:8646",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]",
            "[::1]:80",
            "a.localhost",
            "Ingo.Internal:8646",
            "localhost.",
        ] {
            assert!(hosts.check(Some(good.as_bytes())).is_ok(), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8646",
            "10.0.0.1",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::2]",
            "[::1].evil.example",
            "localhost:80.evil.example",
            "localhost:80:80",
            "\u{e9}",
        ] {
            assert!(hosts.check(Some(bad.as_bytes())).is_err(), "{bad}");
        }
        assert!(
            hosts.check(None).is_ok(),
            "HTTP/1.0 knows no Host, and no browser speaks it"
        );
    }

    #[test]
    fn other_listeners_answer_to_every_name() {
        let address = Address::Tcp(([0, 0, 0, 0], 8646).into());
        assert!(
            Hosts::of(&address, &[])
                .check(Some(b"evil.example"))
                .is_ok()
        );
    }
}
