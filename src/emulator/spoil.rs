//! Answers gone wrong: what stands in place of Ingo's, and what is made of it.
//!
//! Pure. When an answer is written, and whether the request is processed first, is decided elsewhere.

use std::time::Duration;

use serde_json::Value;

use super::{
    answer::{Answer, Messages, Time},
    fault::Fault,
    kind::FaultKind,
    kong::Refusal,
};

/// The answer that stands in place of Ingo's, for the faults that have one. The messages of 4xx and 5xx are Kong's.
pub(super) fn instead(fault: &Fault) -> Option<Answer> {
    let retry_after = |answer: Answer, seconds: Option<u32>| {
        let field = seconds.map(|seconds| ("Retry-After", seconds.to_string()));
        Answer {
            fields: answer.fields.into_iter().chain(field).collect(),
            ..answer
        }
    };
    let asked = fault.parameters.retry_after;
    let time = Time::Number(Duration::ZERO);
    let null = Value::Null;
    Some(match fault.kind {
        FaultKind::Status401Unauthorized => Answer::refusal(401, Refusal::Unauthorized),
        FaultKind::Status401Date => Answer::refusal(401, Refusal::Date),
        FaultKind::Status401CannotBeVerified => Answer::refusal(401, Refusal::CannotBeVerified),
        FaultKind::Status401DoesNotMatch => Answer::refusal(401, Refusal::DoesNotMatch),
        FaultKind::Status403 => Answer::refusal(403, Refusal::DoesNotMatch),
        FaultKind::Status429 => {
            let answer = Answer::kong(429, "API rate limit exceeded");
            retry_after(answer, Some(asked.unwrap_or(1)))
        }
        FaultKind::Status502 => Answer::kong(
            502,
            "An invalid response was received from the upstream server",
        ),
        FaultKind::Status503 => {
            let answer = Answer::kong(503, "The upstream server is currently unavailable");
            retry_after(answer, asked)
        }
        FaultKind::Status504 => Answer::kong(504, "The upstream server is timing out"),
        FaultKind::BodyStatus104 => {
            Answer::success(104, "In Progress - Idempotent Response", &null, time)
        }
        FaultKind::BodyStatus500 => {
            let messages = Messages {
                client: "System Failure",
                developer: "a fault of the emulator",
            };
            Answer::failure(200, 500, messages, &null, time)
        }
        _ => return None,
    })
}

/// Ingo's answer, made worse.
pub(super) fn spoilt(mut answer: Answer, fault: &Fault) -> Answer {
    let succeeded = matches!(answer.ingo_status, Some(100 | 101));
    match fault.kind {
        // What these say is a success: a refusal stays one.
        FaultKind::GarbageJson
        | FaultKind::Xml
        | FaultKind::OversizedAnswer
        | FaultKind::BodyStatus102
            if !succeeded => {}
        FaultKind::TruncatedJson => {
            answer.body.truncate(answer.body.len() / 2);
            answer.ingo_status = None;
        }
        FaultKind::GarbageJson => {
            answer.body =
                br#"{"status":100,"client_message":"Success","data":{]"time":0.8,}"#.to_vec();
            answer.ingo_status = None;
        }
        FaultKind::Xml => {
            answer.content_type = "application/xml";
            answer.body = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<response><status>100</status><client_message>Success</client_message></response>\n".to_vec();
            answer.ingo_status = None;
        }
        FaultKind::OversizedAnswer => {
            let size = fault.parameters.bytes.unwrap_or(2 * 1024 * 1024);
            let (before, after) = (
                br#"{"status":100,"client_message":"Success","data":{"padding":""#,
                br#""},"time":0.8}"#,
            );
            let padding = size.saturating_sub(before.len() + after.len());
            answer.body = [before, vec![b'x'; padding].as_slice(), after].concat();
            answer.ingo_status = Some(100);
        }
        FaultKind::SkewedDate => answer.date_skew = fault.parameters.seconds.unwrap_or(3600),
        FaultKind::BodyStatus102 => {
            // The wording is that of Ingo's list of response codes.
            answer.restate(102, "Success - Pending Issuer Response");
        }
        _ => {}
    }
    answer
}
