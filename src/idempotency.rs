//! An `Idempotency-Key` derived from what is asked, so that the same request has the same key on every replica, without a
//! store.
//!
//! Pure. The derivation is versioned: a key made by another version is another key, and two hours of keys in flight would be
//! lost by changing it silently. So the version changes only together with what is hashed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::{Builder, Uuid};

use crate::{ingo::Route, secret::Secret};

/// Which derivation this is; it is part of what is hashed.
const VERSION: &[u8] = b"ingo-signing-proxy idempotency 1";

/// Derives keys for one tenant. Its secret must never change: with another secret every key is another.
#[derive(Clone)]
pub struct Deriver {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for Deriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deriver(redacted)")
    }
}

/// What makes two requests the same request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whose credentials sign it.
    pub tenant: &'a str,
    /// Where it goes: the environment's name, or the upstream where there is none.
    pub environment: &'a str,
    /// The route.
    pub route: Route,
    /// The body's bytes. Other bytes that mean the same JSON are another request here.
    pub body: &'a [u8],
}

impl Deriver {
    /// A deriver keyed with `secret`.
    pub fn new(secret: &Secret) -> Self {
        let keyed = Hmac::new_from_slice(secret.expose())
            .expect("HMAC takes a key of any length (RFC 2104 §2)");
        Self { keyed }
    }

    /// The key: HMAC-SHA-256 over version, tenant, environment, route and body, each with its length before it, shaped as a
    /// UUIDv8 (RFC 9562 §5.8).
    pub fn derive(&self, asked: Asked<'_>) -> Uuid {
        let mut mac = self.keyed.clone();
        let parts = [
            VERSION,
            asked.tenant.as_bytes(),
            asked.environment.as_bytes(),
            asked.route.name().as_bytes(),
            asked.body,
        ];
        for part in parts {
            // Lengths keep "ab" + "c" and "a" + "bc" apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let digest = mac.finalize().into_bytes();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Builder::from_custom_bytes(first).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(secret: &[u8], tenant: &str, environment: &str, route: Route, body: &[u8]) -> Uuid {
        Deriver::new(&Secret::new(secret.to_vec())).derive(Asked {
            tenant,
            environment,
            route,
            body,
        })
    }

    #[test]
    fn the_same_request_has_the_same_key_and_every_part_counts() {
        let key = derived(b"s", "t", "sandbox", Route::CreateSession, b"{}");
        assert_eq!(
            key,
            derived(b"s", "t", "sandbox", Route::CreateSession, b"{}")
        );
        for other in [
            derived(b"S", "t", "sandbox", Route::CreateSession, b"{}"),
            derived(b"s", "u", "sandbox", Route::CreateSession, b"{}"),
            derived(b"s", "t", "production", Route::CreateSession, b"{}"),
            derived(b"s", "t", "sandbox", Route::Verify, b"{}"),
            derived(b"s", "t", "sandbox", Route::CreateSession, b"{ }"),
            derived(b"s", "tsandbox", "", Route::CreateSession, b"{}"),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn it_is_a_uuid_of_version_8() {
        let key = derived(b"s", "t", "sandbox", Route::CreateSession, b"{}");
        assert_eq!(
            (key.get_version_num(), key.get_variant()),
            (8, uuid::Variant::RFC4122)
        );
    }

    /// Computed by Python: hmac.new(b"s", framed, "sha256"), then the version and variant bits set.
    #[test]
    fn the_derivation_is_the_one_that_is_written_down() {
        let key = derived(
            b"s",
            "default",
            "sandbox",
            Route::CreateSession,
            br#"{"participant_unique_id1":"p"}"#,
        );
        assert_eq!(
            key.as_hyphenated().to_string(),
            "c710d0bb-be1d-87f0-b7c5-883948d617b8"
        );
    }
}
