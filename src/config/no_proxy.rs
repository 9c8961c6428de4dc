//! Which upstreams are reached without the proxy: the rules of `upstream.proxy.no_proxy` and of `NO_PROXY`.
//!
//! The common ground of curl and Go. Pure: only what is written is compared, no name is resolved, so an address or a network
//! matches only an upstream that is configured by address.

use std::net::IpAddr;

use super::{
    Origin,
    origin::{host_name, split_port},
    quantity::Expected,
};

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    hosts: Hosts,
    /// Only at this port; `None`: at every one.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// `*`
    All,
    /// `name`: it and every name below it.
    Domain(String),
    /// `.name` or `*.name`: every name below it.
    Below(String),
    /// An address.
    Address(IpAddr),
    /// A network, and how many of its leading bits count.
    Network(IpAddr, u8),
}

impl Bypass {
    /// Whether `origin` is to be reached without the proxy.
    pub(super) fn covers(&self, origin: &Origin) -> bool {
        if self.port.is_some_and(|port| port != origin.port) {
            return false;
        }
        let address = || Some(origin.host.parse::<IpAddr>().ok()?.to_canonical());
        let below = |domain: &str| {
            let rest = origin.host.strip_suffix(domain);
            rest.is_some_and(|rest| rest.ends_with('.'))
        };
        match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(domain) => origin.host == *domain || below(domain),
            Hosts::Below(domain) => below(domain),
            Hosts::Address(rule) => address() == Some(*rule),
            Hosts::Network(network, bits) => {
                address().is_some_and(|address| leading(address, *bits) == leading(*network, *bits))
            }
        }
    }
}

/// A rule as it is written.
pub(super) fn bypass(text: &str) -> Result<Bypass, Expected> {
    let expected = || {
        "must be *, a host name, .name for the names below it, an IP address or a network such as 10.0.0.0/8; all but a \
         network may be followed by :PORT"
            .to_owned()
    };
    let of = |hosts, port| Ok(Bypass { hosts, port });
    if let Some((address, bits)) = text.split_once('/') {
        let address = address.parse::<IpAddr>().map_err(|_| expected())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let digits = bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= widest);
        return of(Hosts::Network(address, bits.ok_or_else(expected)?), None);
    }
    // An IPv6 address needs no brackets where no port follows.
    if let Ok(address) = text.parse::<IpAddr>() {
        return of(Hosts::Address(address.to_canonical()), None);
    }
    let (host, port) = split_port(text).ok_or_else(expected)?;
    if host == "*" {
        return of(Hosts::All, port);
    }
    let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
    let name = host_name(below.unwrap_or(host)).map_err(|_| expected())?;
    match (name.parse::<IpAddr>(), below) {
        (Ok(_), Some(_)) => Err(expected()),
        (Ok(address), None) => of(Hosts::Address(address.to_canonical()), port),
        (Err(_), Some(_)) => of(Hosts::Below(name), port),
        (Err(_), None) => of(Hosts::Domain(name), port),
    }
}

/// The rules of an environment variable. What is no rule is passed over, as curl and Go do: the variable is not ours alone.
pub(super) fn bypasses(variable: &str) -> Vec<Bypass> {
    let items = variable.split(|c: char| c == ',' || c.is_whitespace());
    items.filter_map(|item| bypass(item).ok()).collect()
}

/// The leading `bits` of an address, and of which family it is.
fn leading(address: IpAddr, bits: u8) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => {
            let shift = 32 - u32::from(bits.min(32));
            let kept = u32::from(v4).checked_shr(shift).unwrap_or(0);
            (true, u128::from(kept))
        }
        IpAddr::V6(v6) => {
            let shift = 128 - u32::from(bits.min(128));
            (false, u128::from(v6).checked_shr(shift).unwrap_or(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::origin::base_url;

    fn covers(rule: &str, url: &str) -> bool {
        let origin = base_url(url).expect("a URL");
        bypass(rule).expect(rule).covers(&origin)
    }

    #[test]
    fn a_rule_covers_what_curl_and_go_agree_on() {
        for (rule, url) in [
            ("*", "https://ingo.money"),
            ("ingo.money", "https://ingo.money"),
            ("Ingo.Money", "https://ingo.money"),
            ("ingo.money", "https://payapi.ingo.money"),
            (".ingo.money", "https://payapi.ingo.money"),
            ("*.ingo.money", "https://payapi.ingo.money"),
            ("ingo.money:443", "https://ingo.money"),
            ("192.0.2.1", "https://192.0.2.1"),
            ("192.0.2.1:8443", "https://192.0.2.1:8443"),
            ("192.0.2.0/24", "https://192.0.2.255"),
            ("0.0.0.0/0", "https://192.0.2.255"),
            ("::1", "https://[::1]"),
            ("[::1]:8443", "https://[::1]:8443"),
            ("2001:db8::/32", "https://[2001:db8:1::1]"),
            ("::/0", "https://[2001:db8:1::1]"),
        ] {
            assert!(covers(rule, url), "{rule} {url}");
        }
        for (rule, url) in [
            ("ingo.money", "https://notingo.money"),
            (".ingo.money", "https://ingo.money"),
            ("payapi.ingo.money", "https://ingo.money"),
            ("ingo.money:8443", "https://ingo.money"),
            ("192.0.2.1", "https://192.0.2.10"),
            ("192.0.2.0/25", "https://192.0.2.128"),
            ("0.0.0.0/0", "https://[2001:db8::1]"),
            ("0.0.0.0/0", "https://ingo.money"),
        ] {
            assert!(!covers(rule, url), "{rule} {url}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_in_a_file_and_passed_over_in_a_variable() {
        for text in [
            "",
            "a b",
            "a:b",
            "https://a",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "a/8",
            ".1.2.3.4",
            "*a",
            "a:0",
        ] {
            let error = bypass(text).expect_err(text);
            assert!(error.starts_with("must be *"), "{error}");
        }
        assert_eq!(bypasses("").len(), 0);
        assert_eq!(bypasses(" a.example , 10.0.0.0/8 https://x,,::1").len(), 3);
    }
}
