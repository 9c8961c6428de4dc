//! The faults by name. What each does stands at its name and nowhere else; the numbers in brackets are what a parameter is
//! when it is not given.

use std::fmt;

/// Declares the faults with their names, so that no list of them can lack one.
macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What goes wrong with a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultKind { $($(#[$doc])* $variant,)+ }

        impl FaultKind {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in specifications and in the ledger.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

faults! {
    /// Processing takes `milliseconds` more (1,000); clearing the faults ends the wait.
    Delay = "delay",
    /// A TCP reset once the client has begun to send, with nothing read.
    ResetBeforeReading = "reset_before_reading",
    /// A TCP reset once the head is read, with nothing of the body.
    ResetAfterHeaders = "reset_after_headers",
    /// A TCP reset once the request is read and processed, with nothing answered.
    ResetAfterBody = "reset_after_body",
    /// A TCP reset after the first `bytes` of the answer (its head and half of its body), the request processed.
    ResetInAnswer = "reset_in_answer",
    /// The answer says keep-alive; the connection is closed all the same, `milliseconds` after it (0).
    CloseIdle = "close_idle",
    /// 401 `Unauthorized`.
    Status401Unauthorized = "status_401_unauthorized",
    /// 401 with the message about the date.
    Status401Date = "status_401_date",
    /// 401 `HMAC signature cannot be verified`.
    Status401CannotBeVerified = "status_401_cannot_be_verified",
    /// 401 `HMAC signature does not match`.
    Status401DoesNotMatch = "status_401_does_not_match",
    /// 403 `HMAC signature does not match`, as older versions of Kong.
    Status403 = "status_403",
    /// 429 with `Retry-After: retry_after` (1).
    Status429 = "status_429",
    /// 502; what was asked for is done all the same.
    Status502 = "status_502",
    /// 503, with `Retry-After` where `retry_after` is given.
    Status503 = "status_503",
    /// 504; what was asked for is done all the same.
    Status504 = "status_504",
    /// The whole answer, with JSON cut in the middle.
    TruncatedJson = "truncated_json",
    /// A body that calls itself JSON and is none.
    GarbageJson = "garbage_json",
    /// XML, as older endpoints may answer.
    Xml = "xml",
    /// A success of `bytes` (2 MiB).
    OversizedAnswer = "oversized_answer",
    /// A `Date` that is `seconds` ahead of the clock (3,600; less than 0 for behind).
    SkewedDate = "skewed_date",
    /// The answer comes byte by byte, each `milliseconds` after the one before (10).
    Dribble = "dribble",
    /// The stand-in for an issuer that does not answer: success pending, the request processed.
    BodyStatus102 = "body_status_102",
    /// The first of the same id is still being processed.
    BodyStatus104 = "body_status_104",
    /// A system failure of Ingo's.
    BodyStatus500 = "body_status_500",
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
