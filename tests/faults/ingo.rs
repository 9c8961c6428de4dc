//! The emulator for tests that are not asynchronous: it runs on threads of its own until it is dropped.

use std::{
    ops::Deref,
    time::{Duration, SystemTime},
};

use ingo_signing_proxy::{
    clock::Clock,
    emulator::{Builder, Emulator, Entry},
    secret::Secret,
};
use tokio::runtime::Runtime;

use crate::support::{PATIENCE, Proxy, SECRET, USERNAME, proxy};

/// A running emulator that accepts the signatures of the tests.
pub struct Ingo {
    // Dropped first: it ends its tasks on the runtime.
    emulator: Emulator,
    runtime: Runtime,
}

impl Deref for Ingo {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}

impl Ingo {
    /// As it is by default.
    pub fn start() -> Self {
        Self::built(|builder| builder)
    }

    /// With other settings.
    pub fn built(set: impl FnOnce(Builder) -> Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let builder = Emulator::builder(USERNAME, Secret::new(SECRET.to_vec()));
        let emulator = runtime
            .block_on(set(builder).start())
            .expect("a free port of the loopback");
        Self { emulator, runtime }
    }

    /// One whose clock is off by so many seconds.
    pub fn off_by(seconds: i64) -> Self {
        Self::built(|builder| builder.clock(clock_off_by(seconds)))
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.emulator.addresses().gateway)
    }

    /// A proxy that leads to it and repeats as it does by default.
    pub fn proxy(&self) -> proxy::Builder {
        Proxy::to_url(&self.url()).repeating()
    }

    /// Waits until the ledger is as `wanted`.
    pub fn wait(&self, wanted: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let reached =
            async { tokio::time::timeout(PATIENCE, self.emulator.ledger_when(wanted)).await };
        self.runtime
            .block_on(reached)
            .unwrap_or_else(|_| panic!("the ledger never became so: {:#?}", self.ledger()))
    }
}

/// The host's clock, moved.
pub fn clock_off_by(seconds: i64) -> Clock {
    let by = Duration::from_secs(seconds.unsigned_abs());
    Clock::from_fn(move || match seconds < 0 {
        true => SystemTime::now() - by,
        false => SystemTime::now() + by,
    })
}
