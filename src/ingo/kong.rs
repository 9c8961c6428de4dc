//! What Ingo's gateway says when it refuses a request before it reaches Ingo (protocol.md §1, "Kong's answers").
//!
//! Such an answer proves that nothing was done. It is recognised by status and message together: a 401 alone proves
//! nothing, since a caller can provoke one with a `host_uri` that is not allow-listed (protocol.md §3).

use std::collections::HashMap;

use serde_json::value::RawValue;

/// A refusal of Kong's hmac-auth plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KongRefusal {
    /// No `Authorization` was seen.
    Unauthorized,
    /// The date is missing or too far off.
    Skew,
    /// The username is unknown, the algorithm not allowed, or a required header not signed.
    CannotBeVerified,
    /// The signature or the digest is wrong.
    DoesNotMatch,
}

const SKEW: &str = "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
const CANNOT_BE_VERIFIED: &str = "HMAC signature cannot be verified";
const DOES_NOT_MATCH: &str = "HMAC signature does not match";
const UNAUTHORIZED: &str = "Unauthorized";

impl KongRefusal {
    /// What `http` and `body` say together; `None` where it is not Kong that speaks. Older versions answer 403.
    pub fn read(http: u16, body: &[u8]) -> Option<Self> {
        if !matches!(http, 401 | 403) {
            return None;
        }
        // One message and, in newer versions, a request id.
        let members: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
        let message: String = serde_json::from_str(members.get("message")?.get()).ok()?;
        match message.as_str() {
            SKEW => Some(Self::Skew),
            CANNOT_BE_VERIFIED => Some(Self::CannotBeVerified),
            DOES_NOT_MATCH => Some(Self::DoesNotMatch),
            UNAUTHORIZED => Some(Self::Unauthorized),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kong_is_recognised_by_status_and_message_together() {
        let skew = format!(r#"{{"message":"{SKEW}"}}"#);
        assert_eq!(
            KongRefusal::read(401, skew.as_bytes()),
            Some(KongRefusal::Skew)
        );
        assert_eq!(
            KongRefusal::read(403, skew.as_bytes()),
            Some(KongRefusal::Skew)
        );
        assert_eq!(KongRefusal::read(400, skew.as_bytes()), None);
        assert_eq!(KongRefusal::read(500, skew.as_bytes()), None);
        let newer = br#"{"message":"HMAC signature does not match","request_id":"8b"}"#;
        assert_eq!(
            KongRefusal::read(401, newer),
            Some(KongRefusal::DoesNotMatch)
        );
        for other in [
            br#"{"status":401,"client_message":"Unauthorized"}"#.as_slice(),
            b"",
            b"Unauthorized",
            br#"{"message":["x"]}"#,
        ] {
            assert_eq!(KongRefusal::read(401, other), None);
        }
    }
}
