//! What happens when something fails: one table, from which the tests and docs/failures.md are made.
//!
//! A row is a fault that meets every attempt of an exchange; a cell says what the upstream has received in the end and what
//! the caller gets. Where a cell makes more than one attempt, the same fault met by the first attempt only is made good by
//! the second: that follows, and is tested for each cell too.

/// A fault, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// For people.
    pub what: &'static str,
    /// What the upstream does.
    pub fault: Fault,
    /// `create_session` and `verify`: Ingo recognises a repeat.
    pub recognised: Cell,
    /// `process` and `debit`.
    pub money: Cell,
    /// `process` with `danger_repeat_after_write`.
    pub danger: Cell,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The name has no address.
    Resolve,
    /// Nothing listens.
    Refused,
    /// No TLS is spoken there.
    Tls,
    /// A request arrives and the connection is reset before a byte of it is read.
    ResetUnread,
    /// Reset when the head is read.
    ResetAfterHead,
    /// Reset when all is read.
    ResetAfterBody,
    /// Reset in the middle of the answer.
    ResetInAnswer,
    /// All is read and nothing is answered.
    Stall,
    /// An answer of this status, and how many seconds its `Retry-After` asks for.
    Status(u16, Option<u64>),
    /// An answer of this status, which says that it is the last on its connection.
    LastStatus(u16),
    /// The connection ends in the middle of the answer.
    Truncated,
    /// The answer is no HTTP.
    Garbage,
    /// A pooled connection is reset when it is used again. It can meet no second attempt.
    DeadPooled,
    /// A pooled connection was closed while nobody used it. It meets no attempt at all.
    ClosedIdle,
    /// HTTP 200 whose body has this status.
    BodyStatus(u32),
}

/// What comes of a fault on a kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub attempts: Attempts,
    pub arrives: Arrives,
    pub answer: Gets,
}

/// How many attempts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    One,
    /// As many as the route's `attempts` allows.
    All,
}

/// What the upstream reads of each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrives {
    /// No byte was ever written.
    Nothing,
    /// Bytes arrived and none was read.
    Unread,
    /// The head, to its last byte, and nothing of the body.
    Head,
    /// All of it.
    Whole,
}

/// What the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gets {
    /// The proxy's own answer: status, code, `sent`.
    Problem(u16, &'static str, &'static str),
    /// The last answer that came, byte for byte.
    IngosLast,
    /// The answer as if nothing had happened.
    Success,
}

use Arrives::{Head, Nothing, Unread, Whole};
use Attempts::{All, One};
use Gets::{IngosLast, Problem, Success};

const fn cell(attempts: Attempts, arrives: Arrives, answer: Gets) -> Cell {
    Cell {
        attempts,
        arrives,
        answer,
    }
}

/// Nothing was written, so every route tries again.
const fn unconnected(what: &'static str, fault: Fault, code: &'static str) -> Row {
    let cell = cell(All, Nothing, Problem(502, code, "no"));
    Row {
        what,
        fault,
        recognised: cell,
        money: cell,
        danger: cell,
    }
}

/// Something was written and no answer came whole.
const fn unanswered(what: &'static str, fault: Fault, arrives: Arrives, code: &'static str) -> Row {
    let answer = Problem(502, code, "maybe");
    Row {
        what,
        fault,
        recognised: cell(All, arrives, answer),
        money: cell(One, arrives, answer),
        danger: cell(All, arrives, answer),
    }
}

/// An answer came that says that nothing is final.
const fn answered(what: &'static str, fault: Fault) -> Row {
    Row {
        what,
        fault,
        recognised: cell(All, Whole, IngosLast),
        money: cell(One, Whole, IngosLast),
        danger: cell(All, Whole, IngosLast),
    }
}

macro_rules! rows {
    ($($name:ident = $row:expr;)+) => {
        /// Every row, with the name of its test.
        pub const ROWS: &[(&str, Row)] = &[$((stringify!($name), $row),)+];

        /// One test for each row: every column, with all that is wrong in it.
        mod rows {
            $(#[test] fn $name() { crate::cells::hold(stringify!($name)); })+
        }
    };
}

rows! {
    the_name_does_not_resolve =
        unconnected("the upstream's name does not resolve", Fault::Resolve, "upstream_unreachable");
    the_connection_is_refused =
        unconnected("the connection is refused", Fault::Refused, "upstream_unreachable");
    the_tls_handshake_fails =
        unconnected("the TLS handshake fails", Fault::Tls, "upstream_tls");
    reset_before_a_byte_is_read =
        unanswered("reset before a byte of the request is read", Fault::ResetUnread, Unread, "upstream_reset");
    reset_after_the_head =
        unanswered("reset when the request's head is read", Fault::ResetAfterHead, Head, "upstream_reset");
    reset_after_the_body =
        unanswered("reset when the whole request is read", Fault::ResetAfterBody, Whole, "upstream_reset");
    reset_during_the_answer =
        unanswered("reset in the middle of the answer", Fault::ResetInAnswer, Whole, "upstream_reset");
    no_answer_comes = Row {
        what: "no answer comes in time",
        fault: Fault::Stall,
        recognised: cell(All, Whole, Problem(504, "upstream_timeout", "maybe")),
        money: cell(One, Whole, Problem(504, "upstream_timeout", "maybe")),
        // The caller's deadline ended the first attempt: no time is left for another.
        danger: cell(One, Whole, Problem(504, "upstream_timeout", "maybe")),
    };
    too_many_requests =
        answered("429 with `Retry-After: 1`", Fault::Status(429, Some(1)));
    bad_gateway = answered("502", Fault::Status(502, None));
    service_unavailable = answered("503", Fault::Status(503, None));
    gateway_timeout = answered("504", Fault::Status(504, None));
    the_answer_is_cut_short =
        unanswered("the connection ends in the middle of the answer", Fault::Truncated, Whole, "upstream_reset");
    the_answer_is_garbage =
        unanswered("the answer is no HTTP", Fault::Garbage, Whole, "upstream_bad_response");
    a_pooled_connection_is_dead_when_used =
        unanswered("a pooled connection is reset when it is used again", Fault::DeadPooled, Unread, "upstream_reset");
    a_pooled_connection_was_closed_while_idle = Row {
        what: "a pooled connection was closed while nobody used it",
        fault: Fault::ClosedIdle,
        recognised: cell(One, Whole, Success),
        money: cell(One, Whole, Success),
        danger: cell(One, Whole, Success),
    };
    ingo_has_a_system_failure =
        answered("HTTP 200 and status 500 in the body", Fault::BodyStatus(500));
    the_first_is_still_being_processed =
        answered("HTTP 200 and status 104 in the body", Fault::BodyStatus(104));
}

impl Fault {
    /// Whether it can meet more than one attempt of an exchange.
    pub fn recurs(self) -> bool {
        !matches!(self, Self::DeadPooled | Self::ClosedIdle)
    }
}

/// A kind of route, as the columns of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Recognised,
    Money,
    Danger,
}

impl Row {
    pub fn cell(&self, kind: Kind) -> Cell {
        match kind {
            Kind::Recognised => self.recognised,
            Kind::Money => self.money,
            Kind::Danger => self.danger,
        }
    }
}
