//! Why Ingo said 401 or 403, as far as its answer and what was sent tell.
//!
//! Nothing is guessed: a finding that two causes would give is none, and then the finding is `unknown`.

use super::{KongRefusal, session::Answer};

words! {
    /// What a refusal comes from. The names are label values of `diagnoses_total`.
    Diagnosis {
        /// The date was missing or too far off.
        ClockSkew = "clock_skew";
        /// The secret is not the one that goes with the username; or something on the way changed the request.
        SignatureMismatch = "signature_mismatch";
        /// The same, less than two minutes after the secret was replaced: Ingo may not know the new one yet, or the file has another.
        CredentialRotated = "credential_rotated";
        /// The username is unknown to the gateway, or may not use this algorithm.
        CredentialUnknown = "credential_unknown";
        /// Something on the way removed `Authorization`.
        AuthorizationMissing = "authorization_missing";
        /// The `host_uri` of the request is not allow-listed at Ingo (protocol.md §3).
        HostUri = "host_uri";
        /// It cannot be known.
        Unknown = "unknown";
    }
}

/// What is known of a request that was refused, besides the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Whether it asked for a session with a `host_uri`: one that is not allow-listed is Unauthorized as well (protocol.md §3).
    pub has_host_uri: bool,
    /// Whether what signed it came in place of another a moment ago.
    pub just_rotated: bool,
    /// Whether its date was further from that of the answer than Ingo accepts (protocol.md §1).
    pub date_is_off: bool,
}

impl Diagnosis {
    /// What an answer with this status and body comes from; `None` where it is no refusal.
    pub fn of(http: u16, body: &[u8], sent: Sent) -> Option<Self> {
        if !matches!(http, 401 | 403) {
            return None;
        }
        Some(match KongRefusal::read(http, body) {
            Some(KongRefusal::Skew) => Self::ClockSkew,
            Some(KongRefusal::DoesNotMatch) if sent.just_rotated => Self::CredentialRotated,
            Some(KongRefusal::DoesNotMatch) => Self::SignatureMismatch,
            Some(KongRefusal::CannotBeVerified) => Self::CredentialUnknown,
            Some(KongRefusal::Unauthorized) if !sent.has_host_uri => Self::AuthorizationMissing,
            Some(KongRefusal::Unauthorized) => Self::Unknown,
            None => Self::of_another(http, body, sent),
        })
    }

    /// What a refusal comes from that is not Kong's: of Ingo's service, which the gateway lets nobody reach whose signature is
    /// wrong, or of whoever stands in between.
    fn of_another(http: u16, body: &[u8], sent: Sent) -> Self {
        let answer = Answer::read(body);
        let status = answer.as_ref().map(|answer| answer.status);
        // Others' refusals have a status, too; both together are Ingo's (protocol.md §3).
        let is_ingos = matches!(status, Some(401 | 403))
            && answer.is_some_and(|answer| !answer.client_message.is_empty());
        if status == Some(402) || sent.date_is_off && (http == 401 || is_ingos) {
            // 402: the signed time is too far off (protocol.md §4).
            Self::ClockSkew
        } else if is_ingos && sent.has_host_uri {
            Self::HostUri
        } else {
            Self::Unknown
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::ClockSkew => "set this host's clock right (NTP)",
            Self::SignatureMismatch => {
                "put the secret there that Ingo issued for this username and environment; if it is that, something on the way changes requests: see doctor and verify"
            }
            Self::CredentialRotated => {
                "the secret was replaced a moment ago: ask Ingo whether the new one is in force, or put the former one back"
            }
            Self::CredentialUnknown => {
                "ask Ingo whether this username is set up in this environment, and for which algorithm"
            }
            Self::AuthorizationMissing => "find what on the way to Ingo removes Authorization",
            Self::HostUri => "have Ingo allow-list the host_uri, or leave it out of the request",
            Self::Unknown => "ask Ingo, with the exchange_id and the time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_two_causes_would_give_is_unknown() {
        let unauthorized = br#"{"message":"Unauthorized"}"#;
        let of = |http, body: &[u8], has_host_uri| {
            let sent = Sent {
                has_host_uri,
                ..Sent::default()
            };
            Diagnosis::of(http, body, sent)
        };
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

    #[test]
    fn what_is_known_of_the_request_tells_causes_apart() {
        let mismatch = br#"{"message":"HMAC signature does not match"}"#;
        let service = br#"{"status":401,"client_message":"Unauthorized"}"#;
        let sent = Sent {
            has_host_uri: true,
            just_rotated: true,
            date_is_off: false,
        };
        let of = |body, sent| Diagnosis::of(401, body, sent);
        assert_eq!(of(mismatch, sent), Some(Diagnosis::CredentialRotated));
        assert_eq!(of(service, sent), Some(Diagnosis::HostUri));
        assert_eq!(of(service, Sent::default()), Some(Diagnosis::Unknown));
        let off = Sent {
            date_is_off: true,
            ..sent
        };
        assert_eq!(of(service, off), Some(Diagnosis::ClockSkew));
        assert_eq!(
            of(mismatch, off),
            Some(Diagnosis::CredentialRotated),
            "Kong looks at the date first"
        );
    }
}
