//! What the tests are made with: the real binary, a scriptable upstream, and a client that sends exact bytes.
//!
//! Nothing here sleeps, names a port or leaves the loopback interface; every wait has an end. Nothing here uses the
//! crate under test: what it signs is checked by other code over the bytes that really arrived.

pub mod client;
pub mod collector;
pub mod gate;
pub mod metrics;
pub mod post;
pub mod process;
pub mod proxy;
pub mod recorded;
pub mod refusing;
pub mod reply;
pub mod tls;
pub mod upstream;
pub mod wire;

pub use client::{Answer, Client};
pub use gate::Gate;
pub use metrics::Metrics;
pub use post::Post;
pub use process::{Ended, Process};
pub use proxy::{Builder, Proxy};
pub use recorded::Recorded;
pub use refusing::Refusing;
pub use reply::Reply;
pub use upstream::{Cut, Upstream};

use std::time::Duration;

/// How long anything may take that should happen at once. Generous, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The secret of nearly every test. It is searched for in all that the program prints.
pub const SECRET: &[u8] = b"canary-secret-8d1f6c0b5a7e4f29";

/// The username that goes with [`SECRET`].
pub const USERNAME: &str = "acme";

/// The path of the one route that is on by default.
pub const SESSIONS: &str = "/api/v1/sessions/point-in-time/plugin";

/// A JSON object of exactly `size` bytes.
pub fn json_of(size: usize) -> Vec<u8> {
    const FRAME: usize = br#"{"a":""}"#.len();
    match size {
        2 => b"{}".to_vec(),
        _ => {
            let filling = size.checked_sub(FRAME).expect("2 bytes, or 8 and more");
            // A pattern that does not repeat at a power of two, so that a lost or doubled block shows.
            let filling: String = (0..filling)
                .map(|i| char::from(b'a' + (i % 23) as u8))
                .collect();
            format!(r#"{{"a":"{filling}"}}"#).into_bytes()
        }
    }
}

/// A session request of the participant `id`.
pub fn session(id: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "participant_unique_id1": id,
        "recipient_information": { "first_name": "Jane", "last_name": "Doe" },
    }))
    .expect("a JSON value can be written")
}

/// Whether `needle` stands anywhere in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|w| w == needle)
}

/// A small generator of pseudo-random numbers, so that what a test does by chance it does again next time.
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same numbers for the same `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// A number below `bound` (xorshift64*).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
