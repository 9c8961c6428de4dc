//! The proxy's own answer in the making: what the caller is told, and apart from it what the log is told.

use std::borrow::Cow;

use crate::{
    ingo::contract::Finding,
    problem::{Code, Sent},
};

/// An exchange that ends without Ingo's answer.
#[derive(Debug)]
pub struct Rejection {
    /// Why.
    pub code: Code,
    /// Whether Ingo may have received the request.
    pub sent: Sent,
    /// For the caller: what happened, to which thing, what to do. Never a value of the request.
    pub detail: Cow<'static, str>,
    /// When trying again makes sense, in seconds (`Retry-After`, RFC 9110 §10.2.3).
    pub retry_after: Option<u32>,
    /// Whether there is nobody left to answer.
    pub caller_gone: bool,
    /// What is wrong with the fields of the body, where that is why.
    pub invalid: Option<Box<Invalid>>,
}

/// What is wrong with the fields of a body.
#[derive(Debug)]
pub struct Invalid {
    /// Each field that breaks a rule.
    pub findings: Vec<Finding>,
    /// Whether to say it in the form of Ingo's own answer.
    pub in_ingos_form: bool,
}

impl Rejection {
    /// A refusal before anything was sent.
    pub fn unsent(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            sent: Sent::No,
            detail: detail.into(),
            retry_after: None,
            caller_gone: false,
            invalid: None,
        }
    }

    /// A refusal that says when to try again.
    pub fn try_again(code: Code, detail: impl Into<Cow<'static, str>>, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::unsent(code, detail)
        }
    }

    /// The caller closed the connection before its request was complete, or before anything was sent.
    pub fn caller_gone(detail: &'static str) -> Self {
        Self {
            caller_gone: true,
            ..Self::unsent(Code::BadRequest, detail)
        }
    }
}
