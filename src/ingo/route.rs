//! The paths that may be forwarded, and what kind of call each is (protocol.md §3 and §4).
//!
//! A path is matched by its raw bytes: nothing is decoded or normalised, because what is matched, what is signed and
//! what is sent must be the same bytes.

use std::time::Duration;

use super::Product;

/// A path that may be forwarded. The names are those of configuration, logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// Create Session of Embedded Account Capture.
    CreateSession,
    /// Verify an account or card.
    Verify,
    /// Push money.
    Process,
    /// Pull money.
    Debit,
    /// Notify, version 3.
    NotifyV3,
    /// Notify, version 4.
    NotifyV4,
    /// Cancel a notification, version 3.
    NotifyCancel,
    /// Open banking account, coming soon.
    OpenBankingAccount,
    /// Open banking verification, under development at Ingo.
    VerifyOpenBanking,
    /// The Banking Platform, all paths below `/api/v4/`.
    Banking,
}

/// How a [`Route`] recognises its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The path must equal these bytes.
    Exact(&'static str),
    /// The path must begin with these bytes and hold nothing that another server could resolve differently.
    Prefix(&'static str),
}

/// What a lost answer means on a route, and so what may be repeated (protocol.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Ingo recognises a repeat by the `Idempotency-Key` header.
    KeyedByHeader,
    /// Ingo recognises a repeat by a value in the body.
    KeyedByBody,
    /// Pushes money: without an answer, success is to be assumed.
    PushMoney,
    /// Pulls money: without an answer, failure is to be assumed.
    PullMoney,
    /// Ingo documents no way to recognise a repeat.
    Unkeyed,
}

impl Class {
    /// Whether a call of this class moves money.
    pub const fn moves_money(self) -> bool {
        matches!(self, Self::PushMoney | Self::PullMoney)
    }

    /// For how long the network may hold a call of this class before Ingo answers (protocol.md §4). Whoever waits for less does not learn
    /// what became of it.
    pub const fn held_for(self) -> Duration {
        if self.moves_money() {
            Duration::from_secs(60)
        } else {
            Duration::ZERO
        }
    }
}

impl Route {
    /// Every route, in the order of product.md.
    pub const ALL: [Self; 10] = [
        Self::CreateSession,
        Self::Verify,
        Self::Process,
        Self::Debit,
        Self::NotifyV3,
        Self::NotifyV4,
        Self::NotifyCancel,
        Self::OpenBankingAccount,
        Self::VerifyOpenBanking,
        Self::Banking,
    ];

    /// The name used in configuration, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateSession => "create_session",
            Self::Verify => "verify",
            Self::Process => "process",
            Self::Debit => "debit",
            Self::NotifyV3 => "notify_v3",
            Self::NotifyV4 => "notify_v4",
            Self::NotifyCancel => "notify_cancel",
            Self::OpenBankingAccount => "open_banking_account",
            Self::VerifyOpenBanking => "verify_open_banking",
            Self::Banking => "banking",
        }
    }

    /// The route of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }

    /// The path or prefix of this route.
    pub const fn pattern(self) -> Pattern {
        match self {
            Self::CreateSession => Pattern::Exact("/api/v1/sessions/point-in-time/plugin"),
            Self::Verify => Pattern::Exact("/gateway/verify"),
            Self::Process => Pattern::Exact("/gateway/process"),
            Self::Debit => Pattern::Exact("/gateway/v12/debit/process"),
            Self::NotifyV3 => Pattern::Exact("/gateway/v3/notify"),
            Self::NotifyV4 => Pattern::Exact("/gateway/v4/notify"),
            Self::NotifyCancel => Pattern::Exact("/gateway/v3/notifycancel"),
            Self::OpenBankingAccount => Pattern::Exact("/gateway/v1/open-banking-account"),
            Self::VerifyOpenBanking => Pattern::Exact("/gateway/verify--open-banking"),
            Self::Banking => Pattern::Prefix("/api/v4/"),
        }
    }

    /// The product whose host serves this route.
    pub const fn product(self) -> Product {
        match self {
            Self::CreateSession => Product::SessionManagement,
            Self::Verify
            | Self::Process
            | Self::Debit
            | Self::NotifyV3
            | Self::NotifyV4
            | Self::NotifyCancel => Product::Gateway,
            Self::OpenBankingAccount | Self::VerifyOpenBanking => Product::OpenBanking,
            Self::Banking => Product::Banking,
        }
    }

    /// What a repeat and a lost answer mean on this route.
    pub const fn class(self) -> Class {
        match self {
            Self::CreateSession => Class::KeyedByHeader,
            Self::Verify | Self::Banking => Class::KeyedByBody,
            Self::Process => Class::PushMoney,
            Self::Debit => Class::PullMoney,
            // v3 names `participant_unique_id1`, but what no answer means is "ask the integration manager".
            Self::NotifyV3
            | Self::NotifyV4
            | Self::NotifyCancel
            | Self::OpenBankingAccount
            | Self::VerifyOpenBanking => Class::Unkeyed,
        }
    }

    /// Whether `path` (raw bytes, without query) belongs to this route.
    pub fn matches(self, path: &[u8]) -> bool {
        match self.pattern() {
            Pattern::Exact(exact) => path == exact.as_bytes(),
            Pattern::Prefix(prefix) => {
                path.strip_prefix(prefix.as_bytes())
                    .is_some_and(|rest| !rest.is_empty())
                    && is_unambiguous(path)
            }
        }
    }
}

/// Whether every server reads `path` alike: no dot segments (with parameters or without), no empty segments, no `\`, only
/// visible ASCII, and nothing percent-encoded that means another path once it is decoded.
///
/// RFC 3986 §6.2.2 lets a server decode and remove these before it routes, so that a prefix check made here would
/// not hold there.
fn is_unambiguous(path: &[u8]) -> bool {
    let visible = path.iter().all(|b| b.is_ascii_graphic() && *b != b'\\');
    let empty_segment = path.windows(2).any(|w| w == b"//");
    let mut segments = path.split(|b| *b == b'/');
    // Some servers take `..;x` for `..` with a parameter.
    let dot_segment = segments.any(|s| {
        let name = s.split(|b| *b == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    });
    visible && !empty_segment && !dot_segment && escapes(path).all(|e| e.is_some_and(is_harmless))
}

/// What each `%` in `path` stands for; `None` where it is not followed by two hexadecimal digits.
fn escapes(path: &[u8]) -> impl Iterator<Item = Option<u8>> + '_ {
    let digit = |b: u8| (b as char).to_digit(16);
    let percent = path.iter().enumerate().filter(|(_, b)| **b == b'%');
    percent.map(move |(at, _)| {
        let (high, low) = (digit(*path.get(at + 1)?)?, digit(*path.get(at + 2)?)?);
        u8::try_from(high * 16 + low).ok()
    })
}

/// Whether an escaped byte means the same decoded or not: no `.`, `/`, `\`, `;`, `%` (which would be decoded twice), and no
/// control character.
fn is_harmless(byte: u8) -> bool {
    !matches!(byte, b'.' | b'/' | b'\\' | b';' | b'%' | 0..=0x1f | 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_routes_belong_together_one_to_one() {
        for route in Route::ALL {
            assert_eq!(Route::from_name(route.name()), Some(route));
        }
        assert_eq!(Route::from_name("Verify"), None);
    }

    #[test]
    fn no_path_belongs_to_two_routes() {
        for route in Route::ALL {
            let path = match route.pattern() {
                Pattern::Exact(p) => p.to_owned(),
                Pattern::Prefix(p) => format!("{p}accounts"),
            };
            let owners = Route::ALL.iter().filter(|r| r.matches(path.as_bytes()));
            assert_eq!(owners.count(), 1, "{path}");
        }
    }

    #[test]
    fn an_exact_route_matches_nothing_but_its_bytes() {
        let route = Route::Verify;
        assert!(route.matches(b"/gateway/verify"));
        for path in [
            "/gateway/verify/",
            "/gateway//verify",
            "/gateway/%76erify",
            "/Gateway/verify",
            "/gateway/verify ",
            "",
        ] {
            assert!(!route.matches(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_prefix_route_refuses_paths_that_two_servers_could_read_differently() {
        let route = Route::Banking;
        for good in [
            "/api/v4/accounts",
            "/api/v4/accounts/",
            "/api/v4/a.b/c..d",
            "/api/v4/%7Ex",
        ] {
            assert!(route.matches(good.as_bytes()), "{good}");
        }
        for bad in [
            "/api/v4/",
            "/api/v4",
            "/api/v4/../x",
            "/api/v4/a/..",
            "/api/v4/./a",
            "/api/v4//a",
            "/api/v4/a//b",
            "/api/v4/%2e%2e/x",
            "/api/v4/%2E./x",
            "/api/v4/a%2fb",
            "/api/v4/a%2Fb",
            "/api/v4/a%5cb",
            "/api/v4/x/..;/y",
            "/api/v4/x/.;a=b/y",
            "/api/v4/%252e%252e/x",
            "/api/v4/a%00",
            "/api/v4/a%0d%0a",
            "/api/v4/a%3b",
            "/api/v4/a%7f",
            "/api/v4/a%2",
            "/api/v4/a%zz",
            "/api/v4/a\\b",
            "/api/v4/a b",
            "/api/v4/a\tb",
            "/api/v4/\u{e9}",
        ] {
            assert!(!route.matches(bad.as_bytes()), "{bad}");
        }
    }
}
