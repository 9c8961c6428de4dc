//! The door of Ingo's gateway: Kong's hmac-auth, as protocol.md §1 describes it.
//!
//! The judgement is `signing::verify::verify` and nothing else. This file only puts it into Kong's words, and it must not
//! decide about acceptance: a request without findings is let in, any other is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use parking_lot::Mutex;

use crate::{
    secret::Secret,
    signing::{
        Algorithm, HeaderOrder,
        verify::{Captured, Finding, FindingCode, verify},
    },
};

/// Whose signatures are accepted.
#[derive(Debug)]
pub(super) struct Kong(Mutex<Arc<[Accepted]>>);

/// A credential, and how many requests it signed.
#[derive(Debug)]
struct Accepted {
    username: String,
    secret: Secret,
    signed: AtomicU64,
}

/// Kong's four messages (protocol.md §1, "Kong's answers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no `Authorization`.
    Unauthorized,
    /// The date is missing, cannot be read, or is more than 300 s off.
    Date,
    /// An unknown user, a bad algorithm, a required header that is absent, repeated or unsigned.
    CannotBeVerified,
    /// A wrong signature or digest.
    DoesNotMatch,
}

impl Refusal {
    /// Each of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [
        Self::Unauthorized,
        Self::Date,
        Self::CannotBeVerified,
        Self::DoesNotMatch,
    ];

    /// What Kong says.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::Date => {
                "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication"
            }
            Self::CannotBeVerified => "HMAC signature cannot be verified",
            Self::DoesNotMatch => "HMAC signature does not match",
        }
    }
}

impl Kong {
    /// One that accepts the signatures of `credentials`, each a username and its secret.
    pub(super) fn accepting(credentials: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self(Mutex::new(list(credentials)))
    }

    /// Accepts the signatures of `credentials` from now on, and of no other. Counting begins anew.
    pub(super) fn accept(&self, credentials: impl IntoIterator<Item = (String, Secret)>) {
        *self.0.lock() = list(credentials);
    }

    /// How many requests each of the accepted credentials signed, in the order in which they were given.
    pub(super) fn signed(&self) -> Vec<u64> {
        let accepted = self.0.lock().clone();
        let counts = accepted.iter().map(|a| a.signed.load(Ordering::Relaxed));
        counts.collect()
    }

    /// Why `request` is refused as of `at`, with what was found; `None` if it is accepted. Where several credentials are
    /// accepted, what is found is told with regard to the one whose name the request bears, or else to the first.
    pub(super) fn judge(
        &self,
        request: &Captured,
        at: SystemTime,
    ) -> Option<(Refusal, Vec<Finding>)> {
        let mut told: Option<Vec<Finding>> = None;
        // Not judged under the lock: connections are judged beside each other.
        let accepted = self.0.lock().clone();
        for accepted in accepted.iter() {
            let verdict = verify(request, &accepted.secret, Some(&accepted.username), at);
            if verdict.accepted {
                accepted.signed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let named =
                |findings: &[Finding]| !findings.iter().any(|f| f.code == FindingCode::Username);
            let nearer = named(&verdict.findings) && told.as_deref().is_some_and(|t| !named(t));
            if told.is_none() || nearer {
                told = Some(verdict.findings);
            }
        }
        let findings = told.unwrap_or_default();
        Some((refusal(request, &findings), findings))
    }
}

fn list(credentials: impl IntoIterator<Item = (String, Secret)>) -> Arc<[Accepted]> {
    let accepted = |(username, secret)| Accepted {
        username,
        secret,
        signed: AtomicU64::new(0),
    };
    credentials.into_iter().map(accepted).collect()
}

/// Which message goes with `findings`, in the order in which Kong's plugin looks.
fn refusal(request: &Captured, findings: &[Finding]) -> Refusal {
    let values = |name: &str| {
        let of_that_name = request
            .headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice());
        of_that_name.collect::<Vec<_>>()
    };
    let authorization = values("authorization");
    let Some(authorization) = authorization.first() else {
        return Refusal::Unauthorized;
    };
    let dateless = values("x-date").is_empty();
    let found = |code| findings.iter().any(|finding| finding.code == code);
    if dateless || found(FindingCode::DateFormat) || found(FindingCode::DateStale) {
        return Refusal::Date;
    }
    let authorization = String::from_utf8_lossy(authorization);
    let unverifiable = findings.iter().any(|finding| match finding.code {
        FindingCode::MissingHeader
        | FindingCode::RepeatedHeader
        | FindingCode::WrongParameterName
        | FindingCode::AuthorizationSyntax
        | FindingCode::Username => true,
        // Found in what the header says, or found by what the signature turned out to be: only the first is refused
        // before the signature is looked at.
        FindingCode::Algorithm => parameter(&authorization, "algorithm")
            .is_none_or(|name| name.parse::<Algorithm>().is_err()),
        FindingCode::HeaderList | FindingCode::HeaderNameCase => {
            !parameter(&authorization, "headers").is_some_and(names_the_five_once)
        }
        _ => false,
    });
    if unverifiable {
        Refusal::CannotBeVerified
    } else {
        Refusal::DoesNotMatch
    }
}

/// The text between quotes after `name=`.
fn parameter<'a>(authorization: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = authorization.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn names_the_five_once(list: &str) -> bool {
    let required = HeaderOrder::ORDER_A.to_string();
    let once = |name| list.split(' ').filter(|other| *other == name).count() == 1;
    required.split(' ').all(once)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::signing::{BodyDigest, Signer, Unsigned};

    const NOW: u64 = 1_579_291_169;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn kong() -> Kong {
        Kong::accepting([("acme".to_owned(), Secret::new(b"correct horse".to_vec()))])
    }

    fn signed_by(username: &str, secret: &[u8], seconds: u64) -> Captured {
        let body = b"{}".to_vec();
        let secret = Secret::new(secret.to_vec());
        let signer = Signer::new(
            username,
            &secret,
            Algorithm::HmacSha512,
            HeaderOrder::ORDER_A,
        );
        let digest = BodyDigest::of(&body);
        let request = Unsigned {
            method: "POST",
            target: b"/gateway/verify",
            digest: &digest,
        };
        let headers = signer.sign(request, at(seconds));
        Captured {
            method: "POST".to_owned(),
            target: b"/gateway/verify".to_vec(),
            version: "HTTP/1.1".to_owned(),
            headers: headers
                .fields()
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .to_vec(),
            body,
        }
    }

    fn signed() -> Captured {
        signed_by("acme", b"correct horse", NOW)
    }

    fn judged(request: &Captured) -> Option<Refusal> {
        kong().judge(request, at(NOW)).map(|(refusal, _)| refusal)
    }

    fn rewritten(from: &str, to: &str) -> Captured {
        let mut request = signed();
        for (_, value) in &mut request.headers {
            let text = String::from_utf8(value.clone()).expect("ASCII");
            *value = text.replace(from, to).into_bytes();
        }
        request
    }

    fn without(name: &str) -> Captured {
        let mut request = signed();
        request.headers.retain(|(other, _)| other != name);
        request
    }

    #[test]
    fn a_right_request_is_let_in_within_300_seconds_either_way() {
        assert_eq!(judged(&signed()), None);
        for (skew, refused) in [
            (300_i64, None),
            (-300, None),
            (301, Some(Refusal::Date)),
            (-301, Some(Refusal::Date)),
        ] {
            let then = NOW.checked_add_signed(skew).expect("a time");
            let request = signed_by("acme", b"correct horse", then);
            assert_eq!(judged(&request), refused, "{skew}");
        }
    }

    #[test]
    fn each_refusal_has_kongs_message() {
        assert_eq!(
            judged(&without("Authorization")),
            Some(Refusal::Unauthorized)
        );
        for request in [without("X-Date"), rewritten("GMT", "UTC")] {
            assert_eq!(judged(&request), Some(Refusal::Date));
        }
        for request in [
            signed_by("other", b"correct horse", NOW),
            rewritten("hmac-sha512", "hmac-sha1"),
            rewritten(" content-length\"", "\""),
            rewritten("x-date content-type", "X-Date content-type"),
            rewritten("headers=", "request_headers="),
            rewritten("hmac username", "Bearer username"),
            rewritten("application/json", "application/json; charset=utf-8"),
            without("Content-sha512"),
            without("Content-Length"),
            without("Content-Type"),
        ] {
            assert_eq!(
                judged(&request),
                Some(Refusal::CannotBeVerified),
                "{:?}",
                request.headers
            );
        }
        let mut other_body = signed();
        other_body.body = b"{ }".to_vec();
        for request in [
            signed_by("acme", b"another secret", NOW),
            rewritten("signature=\"", "signature=\"AAAA"),
            rewritten(
                "content-sha512 content-length",
                "content-length content-sha512",
            ),
            other_body,
        ] {
            assert_eq!(judged(&request), Some(Refusal::DoesNotMatch));
        }
    }

    #[test]
    fn a_repeated_header_is_refused() {
        for index in 0..5 {
            let mut request = signed();
            let twice = request.headers[index].clone();
            request.headers.push(twice);
            assert_eq!(judged(&request), Some(Refusal::CannotBeVerified), "{index}");
        }
    }

    #[test]
    fn several_credentials_are_accepted_and_counted_until_they_are_not() {
        let kong = kong();
        let secret = |bytes: &[u8]| Secret::new(bytes.to_vec());
        let accepted = |username, signed_with: &[u8]| {
            let judged = kong.judge(&signed_by(username, signed_with, NOW), at(NOW));
            judged.map(|(refusal, _)| refusal)
        };
        kong.accept([
            ("acme".to_owned(), secret(b"one")),
            ("acme-2".to_owned(), secret(b"two")),
        ]);
        assert_eq!(accepted("acme", b"one"), None);
        assert_eq!(accepted("acme-2", b"two"), None);
        assert_eq!(accepted("acme-2", b"two"), None);
        assert_eq!(accepted("acme-2", b"one"), Some(Refusal::DoesNotMatch));
        assert_eq!(accepted("acme-3", b"two"), Some(Refusal::CannotBeVerified));
        assert_eq!(kong.signed(), [1, 2]);
        kong.accept([("acme-2".to_owned(), secret(b"two"))]);
        assert_eq!(accepted("acme", b"one"), Some(Refusal::CannotBeVerified));
        assert_eq!(kong.signed(), [0]);
    }

    #[test]
    fn messages_differ() {
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            for other in &Refusal::ALL[index + 1..] {
                assert_ne!(refusal.message(), other.message());
            }
        }
    }
}
