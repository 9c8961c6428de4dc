//! Whether Ingo accepts the credentials: a signed Create Session with a body that is none.
//!
//! Ingo checks the signature first and the fields then, so its refusal of the fields (13400) proves that the signature was
//! accepted, and nothing was created. It is asked on no other route: none is as harmless.

use std::borrow::Cow;

use uuid::Uuid;

use super::{
    network::{PATIENCE, unanswered},
    report::Step,
};
use crate::{
    clock::Clock,
    config::Config,
    ingo::{Facts, KongRefusal, Pattern, Route},
    signing::{BodyDigest, Signer, Unsigned},
    upstream::{Answer, Request, Unanswered, Upstream},
};

const STEP: &str = "credentials";
/// A JSON object without one of the required fields.
const BODY: &[u8] = b"{}";
/// What Ingo says of a body that lacks what is required (protocol.md §5).
const VALIDATION_FAILED: &str = "13400";

pub(super) async fn examine(
    config: &Config,
    upstream: &Upstream,
    signer: &Signer,
    clock: &Clock,
) -> Step {
    let mut used = 0;
    let mut answer = ask(upstream, signer, clock).await;
    // What `serve` does, too: with a date that Ingo accepts it shows whether the rest is right.
    if let (Ok(first), Some(bound)) = (&answer, config.safety.max_clock_correction)
        && refusal(first) == Some(KongRefusal::Skew)
        && let Some(skew) = upstream.compare_clocks(first, first.head_at.elapsed(), clock.now())
        && let Some(seconds) = upstream.correct_clock(bound, skew, used)
    {
        used = seconds;
        answer = ask(upstream, signer, clock).await;
    }
    match answer {
        Ok(answer) => judge(config, &answer, used),
        Err(why) => {
            let (what, remedy) = unanswered(upstream, why);
            Step::wrong(STEP, what, remedy)
        }
    }
}

async fn ask(upstream: &Upstream, signer: &Signer, clock: &Clock) -> Result<Answer, Unanswered> {
    let Pattern::Exact(target) = Route::CreateSession.pattern() else {
        unreachable!("the path of Create Session is one path");
    };
    let digest = BodyDigest::of(BODY);
    let unsigned = Unsigned {
        method: "POST",
        target: target.as_bytes(),
        digest: &digest,
    };
    let signed = signer.sign(unsigned, upstream.corrected(clock.now()));
    let key = Uuid::new_v4().to_string();
    let mut fields = signed.fields().to_vec();
    fields.push(("Idempotency-Key", &key));
    fields.push(("User-Agent", super::USER_AGENT));
    let request = Request {
        method: unsigned.method,
        target,
        fields: &fields,
        body: BODY,
        limit: PATIENCE,
    };
    upstream.ask(request).await
}

fn refusal(answer: &Answer) -> Option<KongRefusal> {
    KongRefusal::read(answer.status.as_u16(), &answer.body)
}

fn judge(config: &Config, answer: &Answer, corrected: i64) -> Step {
    let http = answer.status.as_u16();
    let username = &config.credentials.username;
    if let Some(refusal) = refusal(answer) {
        let (what, remedy): (_, Cow<'_, str>) = match refusal {
            KongRefusal::DoesNotMatch => (
                "the signature is wrong: the secret is not the one that goes with this username",
                "put the secret there that Ingo issued for this username and environment".into(),
            ),
            KongRefusal::CannotBeVerified => (
                "the username is unknown, or may not use this algorithm",
                format!(
                    "check credentials.username ({username}), credentials.algorithm, and that both are of this environment"
                )
                .into(),
            ),
            KongRefusal::Skew => (
                "the date of the request is too far off",
                "set this host's clock right (NTP)".into(),
            ),
            KongRefusal::Unauthorized => (
                "the gateway saw no Authorization header",
                "something on the way removes it: check proxies that inspect TLS".into(),
            ),
        };
        return Step::wrong(STEP, format!("{http}: {what}"), remedy);
    }
    let facts = Facts::read(&answer.body);
    let clock = match corrected {
        0 => String::new(),
        seconds => format!(", with the date corrected by {seconds} s as serve does"),
    };
    match facts.status.as_deref() {
        Some(VALIDATION_FAILED) => Step::well(
            STEP,
            format!(
                "the signature of {username} was accepted{clock}, and the empty Create Session refused (13400): nothing was created"
            ),
        ),
        Some(status) if !matches!(http, 401 | 403) => Step::well(
            STEP,
            format!(
                "the signature of {username} was accepted{clock}: Ingo answered {http} with status {}",
                shown(status)
            ),
        ),
        _ => Step::wrong(
            STEP,
            format!(
                "{http}, and neither the gateway's nor Ingo's words: nothing is known of the credentials"
            ),
            "check that this is Ingo's host, and ask Ingo whether this integration may create sessions",
        ),
    }
}

/// A status of Ingo's is a number.
fn shown(status: &str) -> &str {
    if status.len() <= 6 && status.bytes().all(|b| b.is_ascii_digit()) {
        status
    } else {
        "unknown"
    }
}
