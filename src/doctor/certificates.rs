//! Our own certificates: whether they can be used, and how long still. Those of upstreams are looked at where they are met.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    network::{SOON, expires},
    report::Step,
};
use crate::{config::Config, tls, upstream::Upstreams};

/// What callers are shown.
pub(super) fn of_the_listener(config: &Config, now: SystemTime) -> Vec<Step> {
    let Some(settings) = &config.listeners.proxy.tls else {
        return Vec::new();
    };
    match tls::inbound(settings) {
        Ok(inbound) => steps(&inbound.expiries(), now),
        Err(unusable) => vec![wrong("listener_certificate", &unusable)],
    }
}

/// What upstreams are shown, and what they are verified with where that is a file.
pub(super) fn of_upstreams(upstreams: &Upstreams, now: SystemTime) -> Vec<Step> {
    steps(&upstreams.expiries(), now)
}

/// A file that cannot be used.
pub(super) fn wrong(step: &'static str, unusable: &tls::Unusable) -> Step {
    let (detail, remedy) =
        (unusable.0.rsplit_once("; ")).unwrap_or((&unusable.0, "name a PEM file that can be read"));
    Step::wrong(step, detail, remedy)
}

fn steps(expiries: &[tls::Expiry], now: SystemTime) -> Vec<Step> {
    let step = |expiry: &tls::Expiry| {
        let name = match expiry.certificate {
            "listener" => "listener_certificate",
            "client_ca" => "client_ca",
            "upstream_client" => "client_certificate",
            _ => "roots",
        };
        let seconds = u64::try_from(expiry.not_after).unwrap_or(0);
        let not_after = UNIX_EPOCH + Duration::from_secs(seconds);
        let told = expires(not_after, now);
        match not_after.duration_since(now) {
            Err(_) => Step::wrong(name, told, "replace it; it is taken without a restart"),
            Ok(left) if left < SOON => Step::well(name, format!("{told}; that is soon")),
            Ok(_) => Step::well(name, told),
        }
    };
    expiries.iter().map(step).collect()
}
