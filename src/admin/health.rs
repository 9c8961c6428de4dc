//! `/livez`, `/readyz` and `/metrics`.

use http::Method;

use super::{
    PageApp,
    page::{Page, Pages},
};
use crate::{
    exchange::{Current, hosts::Hosts},
    journal::Journal,
    lifecycle::Stage,
};

/// What the kubelet and Prometheus ask.
#[derive(Debug)]
pub struct Health {
    current: Current,
}

/// The Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
impl Health {
    /// The health pages of the current proxy.
    pub fn app(current: Current, hosts: Hosts) -> PageApp {
        PageApp::new(Pages::Health(Self { current }), hosts)
    }

    pub(super) fn page(&self, method: &Method, path: &[u8]) -> Page {
        let known = [b"/livez".as_slice(), b"/readyz", b"/metrics"];
        if !known.contains(&path) {
            return Page::not_found("/livez, /readyz and /metrics");
        }
        if *method != Method::GET && *method != Method::HEAD {
            return Page::method_not_allowed("GET, HEAD");
        }
        match path {
            b"/livez" => Page::text(200, "ok\n"),
            b"/readyz" => self.ready(),
            _ => self.metrics(),
        }
    }

    fn metrics(&self) -> Page {
        let proxy = &self.current.load();
        for upstream in proxy.upstreams() {
            proxy.metrics.upstream(
                upstream.name(),
                upstream.circuit_open(),
                upstream.clock_skew(),
                upstream.connections(),
            );
        }
        let limit = proxy.limits.inbound_connections;
        let open = limit.saturating_sub(proxy.places.available_permits());
        proxy.metrics.bounds(&proxy.limits, open);
        if let Some(journal) = &proxy.journal {
            for route in Journal::routes() {
                proxy.metrics.unresolved(route, journal.unresolved(route));
            }
        }
        for expiry in proxy.tls.expiries() {
            proxy
                .metrics
                .certificate(expiry.certificate, expiry.not_after);
        }
        let rotation = &proxy.rotation;
        proxy
            .metrics
            .credential(rotation.loaded_at(), rotation.failures());
        let text = proxy
            .metrics
            .render(proxy.memory.used(), proxy.turns.waiting());
        Page {
            content_type: METRICS_TYPE,
            ..Page::text(200, text)
        }
    }

    /// Ready means: credentials loaded and listeners bound, which both hold before this answers at all, and not draining.
    /// A secret file that is broken takes nothing away from that, since the one before is in use; it is said below.
    fn ready(&self) -> Page {
        let proxy = &self.current.load();
        match proxy.lifecycle.stage() {
            Stage::Serving => {
                let mut text = "ok\n".to_owned();
                for trouble in proxy.troubles() {
                    text.push_str("warning: ");
                    text.push_str(&trouble);
                    text.push('\n');
                }
                Page::text(200, text)
            }
            Stage::Leaving | Stage::Draining => Page::text(503, "not ready: draining\n"),
        }
    }
}
