//! Why Ingo said 401 or 403, as far as its answer and what was sent tell.
//!
//! Nothing is guessed: a finding that two causes would give is none, and then the finding is `unknown`.

use super::KongRefusal;

macro_rules! findings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// What a refusal comes from. The names are label values of `diagnoses_total`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Diagnosis {
            $($(#[$doc])* $variant,)+
        }

        impl Diagnosis {
            /// Every finding.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

findings! {
    /// The date was missing or too far off.
    ClockSkew = "clock_skew";
    /// The secret is not the one that goes with the username; or something on the way changed the request.
    SignatureMismatch = "signature_mismatch";
    /// The username is unknown to the gateway, or may not use this algorithm.
    CredentialUnknown = "credential_unknown";
    /// Something on the way removed `Authorization`.
    AuthorizationMissing = "authorization_missing";
    /// It cannot be known.
    Unknown = "unknown";
}

impl Diagnosis {
    /// What an answer with this status and body comes from; `None` where it is no refusal. `has_host_uri` says whether the
    /// request has a `host_uri`: one that is not allow-listed at Ingo is Unauthorized as well (protocol.md §3).
    pub fn of(http: u16, body: &[u8], has_host_uri: bool) -> Option<Self> {
        if !matches!(http, 401 | 403) {
            return None;
        }
        Some(match KongRefusal::read(http, body) {
            Some(KongRefusal::Skew) => Self::ClockSkew,
            Some(KongRefusal::DoesNotMatch) => Self::SignatureMismatch,
            Some(KongRefusal::CannotBeVerified) => Self::CredentialUnknown,
            Some(KongRefusal::Unauthorized) if !has_host_uri => Self::AuthorizationMissing,
            Some(KongRefusal::Unauthorized) | None => Self::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_two_causes_would_give_is_unknown() {
        let unauthorized = br#"{"message":"Unauthorized"}"#;
        let of = |http, body: &[u8], has_host_uri| Diagnosis::of(http, body, has_host_uri);
        assert_eq!(
            of(401, unauthorized, false),
            Some(Diagnosis::AuthorizationMissing)
        );
        assert_eq!(of(401, unauthorized, true), Some(Diagnosis::Unknown));
        assert_eq!(of(403, b"<html>", false), Some(Diagnosis::Unknown));
        assert_eq!(of(200, unauthorized, false), None);
        assert_eq!(
            of(401, br#"{"message":"HMAC signature does not match"}"#, true),
            Some(Diagnosis::SignatureMismatch)
        );
    }
}
