//! Why no connection was made, in words for people: the same in an answer to a caller and in what `doctor` says.
//!
//! Of a proxy's answer nothing is repeated but its status.

use super::{Unreachable, Upstream};

impl Upstream {
    /// What happened, to which host, and what to do about it.
    pub fn unreached(&self, why: Unreachable) -> String {
        let (what, remedy) = self.why_unreached(why);
        let name = self.name();
        match self.proxy() {
            Some(proxy) => format!(
                "no connection to {name} was made through the proxy {proxy}: {what}; {remedy}"
            ),
            None => format!("no connection to {name} was made: {what}; {remedy}"),
        }
    }

    /// What happened, and what to do about it.
    pub fn why_unreached(&self, why: Unreachable) -> (String, &'static str) {
        let through_proxy = self.proxy().is_some();
        let its = if through_proxy { "the proxy's" } else { "its" };
        match why {
            Unreachable::Resolve => (
                format!("{its} name could not be resolved"),
                if through_proxy {
                    "check upstream.proxy.url or HTTPS_PROXY, and this host's DNS"
                } else {
                    "check the name and this host's DNS"
                },
            ),
            Unreachable::Refused if through_proxy => (
                "the proxy refused the connection".to_owned(),
                "check that it runs and listens on this port (upstream.proxy.url, HTTPS_PROXY)",
            ),
            Unreachable::Refused => (
                "the connection was refused".to_owned(),
                "check that it runs and listens on this port",
            ),
            Unreachable::TimedOut if through_proxy => (
                "the proxy did not answer in time".to_owned(),
                "check that it runs, and routes and firewalls on both sides of it",
            ),
            Unreachable::TimedOut => (
                "no address answered in time".to_owned(),
                "check routes and firewalls; where only a proxy leads out, set upstream.proxy.url or HTTPS_PROXY",
            ),
            Unreachable::Other => (
                "the system could not connect".to_owned(),
                "check routes and firewalls",
            ),
            Unreachable::ProxyRefused(407) => (
                "the proxy refused with 407".to_owned(),
                if self.shows_credentials() {
                    "it does not accept these credentials: check upstream.proxy.username and upstream.proxy.password_file, or \
                     those in HTTPS_PROXY"
                } else {
                    "it wants credentials: set upstream.proxy.username and upstream.proxy.password_file"
                },
            ),
            Unreachable::ProxyRefused(status @ 500..) => (
                format!("the proxy answered {status}"),
                "it could not reach the upstream itself: check the upstream's name, and the proxy's DNS and routes",
            ),
            Unreachable::ProxyRefused(status) => (
                format!("the proxy refused with {status}"),
                "have this host and port allowed for CONNECT there, or name it in upstream.proxy.no_proxy",
            ),
            Unreachable::ProxyUnintelligible => (
                "the proxy's answer to CONNECT is none".to_owned(),
                "check that what upstream.proxy.url or HTTPS_PROXY names is an HTTP proxy",
            ),
            Unreachable::ProxyPassword => (
                "the password for the proxy could not be read".to_owned(),
                "check upstream.proxy.password_file",
            ),
        }
    }
}
