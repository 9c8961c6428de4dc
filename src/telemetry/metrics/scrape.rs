//! A scrape: what is known elsewhere is taken over, and everything is rendered.

use prometheus::{Encoder, TextEncoder};

use super::Metrics;
use crate::{
    config::Limits,
    ingo::Route,
    telemetry::{TENANT, family::whole, logging},
};

impl Metrics {
    /// Takes over what is known of an upstream, before rendering: label values come from configuration.
    pub fn upstream(
        &self,
        name: &str,
        circuit_open: bool,
        clock_skew: Option<i64>,
        (idle, busy): (usize, usize),
    ) {
        for (state, count) in [("idle", idle), ("busy", busy)] {
            self.connections
                .with_label_values(&[name, state])
                .set(whole(count));
        }
        self.circuits
            .with_label_values(&[name])
            .set(i64::from(circuit_open));
        if let Some(seconds) = clock_skew {
            self.skews.with_label_values(&[name]).set(seconds);
        }
    }

    /// Takes over the bounds and how many connections callers have, before rendering.
    pub fn bounds(&self, limits: &Limits, inbound_connections: usize) {
        let values = [
            limits.exchanges_in_flight,
            limits.buffered_bytes,
            limits.inbound_connections,
        ];
        for (gauge, value) in self.limits.iter().zip(values) {
            gauge.set(whole(value));
        }
        self.inbound_connections.set(whole(inbound_connections));
    }

    /// Takes over what the journal knows of a route, before rendering.
    pub fn unresolved(&self, route: Route, count: usize) {
        self.unresolved
            .with_label_values(&[route.name()])
            .set(whole(count));
    }

    /// Takes over when a certificate expires, before rendering.
    pub fn certificate(&self, certificate: &str, not_after: i64) {
        self.certificates
            .with_label_values(&[certificate])
            .set(not_after);
    }

    /// Takes over what is known of the credential, before rendering.
    pub fn credential(&self, loaded_at: u64, failures: u64) {
        let loaded_at = i64::try_from(loaded_at).unwrap_or(i64::MAX);
        self.credential_loaded
            .with_label_values(&[TENANT])
            .set(loaded_at);
        let counter = self.credential_failures.with_label_values(&[TENANT]);
        // Two scrapers at once must not both add what is new.
        let _one = self.catching_up.lock();
        counter.inc_by(failures.saturating_sub(counter.get()));
    }

    /// Takes note of how a reload went. Of upstreams that are there no longer nothing is told any more.
    pub fn reloaded(&self, successfully: bool) {
        self.last_reload.set(i64::from(successfully));
        if successfully {
            for gauges in [
                &self.circuits,
                &self.connections,
                &self.skews,
                &self.unresolved,
                &self.certificates,
            ] {
                gauges.reset();
            }
        }
    }

    /// Whether the configuration in use is not the one that was last asked for.
    pub fn last_reload_failed(&self) -> bool {
        self.last_reload.get() == 0
    }

    /// Everything in the Prometheus text format, version 0.0.4.
    pub fn render(&self, buffered_bytes: usize, queue_length: usize) -> Vec<u8> {
        self.buffered.set(whole(buffered_bytes));
        self.queue.set(whole(queue_length));
        let _one = self.catching_up.lock();
        self.gather();
        let dropped = u64::try_from(logging::dropped_lines()).unwrap_or(u64::MAX);
        self.dropped_lines
            .inc_by(dropped.saturating_sub(self.dropped_lines.get()));
        let mut text = Vec::new();
        let families = self.registry.gather();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("families of a registry have names and at least one sample, and memory takes every byte");
        text
    }
}
