//! One request's way through Ingo: Kong's door first, then the service behind the path.
//!
//! Pure but for what is remembered: bytes and a time go in, an answer comes out. Work is begun and finished in two steps,
//! between which a fault may hold it. Sockets, faults and the ledger are not known here.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    answer::{Answer, Messages, Time},
    calls::{self, Calls},
    fields,
    kong::{Kong, Refusal},
    sessions::{self, Begun, SessionEnd, SessionState, Sessions, Visit},
    wire::Head,
};
use crate::{
    ingo::{
        Members, Route,
        contract::{Profile, origin},
    },
    signing::verify::{Captured, Finding},
};

/// The longest `Idempotency-Key` (protocol.md §3, "Idempotency").
const KEY_CHARS: usize = 250;
/// The path of an authorized URL, as in Ingo's examples; the host there is another.
const SESSION_PATH: &str = "/session/";

/// How the emulator answers where Ingo's documents leave it open.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The HTTP status of Kong's refusals: 401, or 403 as older versions of Kong (protocol.md §1).
    pub(super) refusal_status: u16,
    /// The HTTP status of bodies that report an error: undocumented (protocol.md §3).
    pub(super) error_status: u16,
    /// The origins that `host_uri` may name; `None` for any.
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// By which of Ingo's documents fields are checked.
    pub(super) profile: Profile,
    /// The participant in the message of 13723.
    pub(super) participant_id: String,
}

/// Ingo.
#[derive(Debug)]
pub(super) struct Gateway {
    kong: Kong,
    settings: Settings,
    /// Where authorized URLs lead.
    origin: String,
    sessions: Mutex<Sessions>,
    calls: Mutex<Calls>,
}

/// A request on its way.
#[derive(Debug)]
pub(super) enum Work {
    /// The answer is known.
    Answered(Answer),
    /// A session is to be made.
    Session(sessions::Ticket, Instant),
    /// A call is to be processed.
    Call(calls::Ticket, Instant),
}

/// A request whose signature was judged.
#[derive(Debug)]
pub(super) struct Judged {
    /// Why it is refused; `None` if it is not.
    pub(super) refusal: Option<Refusal>,
    /// What is wrong with it.
    pub(super) findings: Vec<Finding>,
    head: Head,
    body: Vec<u8>,
}

impl Gateway {
    /// Remembers at most `capacity` sessions, keys and transactions each.
    pub(super) fn new(kong: Kong, settings: Settings, origin: String, capacity: usize) -> Self {
        Self {
            kong,
            settings,
            origin,
            sessions: Mutex::new(Sessions::new(capacity)),
            calls: Mutex::new(Calls::new(capacity)),
        }
    }

    /// Judges a request's signature. Every POST is; what a browser GETs is not signed.
    pub(super) fn judge(&self, head: Head, body: Vec<u8>, now: SystemTime) -> Judged {
        if head.method != "POST" {
            return Judged {
                refusal: None,
                findings: Vec::new(),
                head,
                body,
            };
        }
        let captured = Captured {
            method: head.method,
            target: head.target,
            version: head.version,
            headers: head.headers,
            body,
        };
        let (refusal, findings) = self.kong.judge(&captured, now).unzip();
        Judged {
            refusal,
            findings: findings.unwrap_or_default(),
            head: Head {
                method: captured.method,
                target: captured.target,
                version: captured.version,
                headers: captured.headers,
            },
            body: captured.body,
        }
    }

    /// Whose signatures are accepted.
    pub(super) fn kong(&self) -> &Kong {
        &self.kong
    }

    /// Begins to process a request.
    pub(super) fn begin(&self, judged: &Judged, now: SystemTime) -> Work {
        let began = Instant::now();
        if let Some(refusal) = judged.refusal {
            return Work::Answered(Answer::refusal(self.settings.refusal_status, refusal));
        }
        let head = &judged.head;
        let Some(route) = route(head) else {
            return Work::Answered(self.elsewhere(head, now));
        };
        if head.method != "POST" {
            let mut answer = Answer::kong(405, "Method not allowed");
            answer.fields.push(("Allow", "POST".to_owned()));
            return Work::Answered(answer);
        }
        match (route, object(&judged.body)) {
            (Route::CreateSession, body) => self.begin_session(judged, body, began, now),
            (_, None) => {
                let why = "the body is not a JSON object";
                Work::Answered(calls::unusable(
                    self.settings.error_status,
                    why,
                    began.elapsed(),
                ))
            }
            (route, Some(body)) => match self.calls.lock().begin(route, head.path(), &body, now) {
                Ok(ticket) => Work::Call(ticket, began),
                Err(name) => Work::Answered(calls::unusable(
                    self.settings.error_status,
                    &format!("{name} is required"),
                    began.elapsed(),
                )),
            },
        }
    }

    /// Finishes what was begun. `now` is the time of the answer, from which an authorized URL lives.
    pub(super) fn finish(&self, work: Work, now: SystemTime) -> Answer {
        match work {
            Work::Answered(answer) => answer,
            Work::Call(ticket, began) => self.calls.lock().finish(ticket, began.elapsed(), now),
            Work::Session(ticket, began) => {
                let issued = self.sessions.lock().finish(ticket, &self.origin, now);
                let (status, message) = if issued.repeated {
                    (101, "Success - Idempotent")
                } else {
                    (100, "Success")
                };
                Answer::success(status, message, &issued.data, Time::Number(began.elapsed()))
            }
        }
    }

    fn begin_session(
        &self,
        judged: &Judged,
        body: Option<Map<String, Value>>,
        began: Instant,
        now: SystemTime,
    ) -> Work {
        let keys: Vec<_> = judged
            .head
            .values("idempotency-key")
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect();
        // RFC 9110 §5.3: a field that stands more than once is one list. What Ingo does is unknown.
        let key = (!keys.is_empty()).then(|| keys.join(", "));
        if key
            .as_ref()
            .is_some_and(|key| key.chars().count() > KEY_CHARS)
        {
            let message = format!(
                "The field IdempotencyKey must be a string with a maximum length of {KEY_CHARS}."
            );
            let data = json!({"idempotency_key": [message]});
            return Work::Answered(self.invalid_fields(&data, began.elapsed()));
        }
        // One that is no object has nothing to look at, and is refused for that below.
        let body = body.unwrap_or_default();
        if let Some(refused) = self.refuse_host(&body, began.elapsed()) {
            return Work::Answered(refused);
        }
        let findings = fields::check(&judged.body, self.settings.profile);
        if !findings.is_empty() {
            return Work::Answered(self.invalid_fields(&json!(findings), began.elapsed()));
        }
        match self.sessions.lock().begin(key.as_deref(), &body, now) {
            Begun::Accepted(ticket) => Work::Session(ticket, began),
            Begun::Pending => Work::Answered(Answer::success(
                104,
                "In Progress - Idempotent",
                &Value::Null,
                Time::Number(began.elapsed()),
            )),
            Begun::OtherParameters => {
                // The documented message (protocol.md §3). Which of the two messages it is, is not documented.
                let developer = format!(
                    "Idempotency Key {} for ParticipantId {} does not match the original request",
                    key.unwrap_or_default(),
                    self.settings.participant_id
                );
                let messages = Messages {
                    client: "invalid_idempotent_request",
                    developer: &developer,
                };
                Work::Answered(self.failure(13723, messages, &Value::Null, began.elapsed()))
            }
        }
    }

    /// A `host_uri` that is not allow-listed is unauthorized, whatever the signature (protocol.md §3). The body is invented,
    /// and it is the service's and not Kong's: no `WWW-Authenticate`.
    fn refuse_host(&self, body: &Map<String, Value>, took: Duration) -> Option<Answer> {
        let allowed = self.settings.allowed_hosts.as_ref()?;
        let asked = body
            .get("host_uri")
            .and_then(Value::as_str)
            .and_then(origin)?;
        let listed = allowed
            .iter()
            .any(|listed| origin(listed).is_some_and(|listed| listed == asked));
        let messages = Messages {
            client: "Unauthorized",
            developer: "host_uri is not allow-listed",
        };
        (!listed).then(|| Answer::failure(401, 401, messages, &Value::Null, Time::Number(took)))
    }

    fn invalid_fields(&self, data: &Value, took: Duration) -> Answer {
        let messages = Messages {
            client: "invalid_request_fields",
            developer: "one or more fields are invalid; data has the messages",
        };
        self.failure(13400, messages, data, took)
    }

    fn failure(&self, status: u64, messages: Messages<'_>, data: &Value, took: Duration) -> Answer {
        let http_status = self.settings.error_status;
        Answer::failure(http_status, status, messages, data, Time::Number(took))
    }

    /// Anything but Ingo's calls: an authorized URL, or nothing.
    fn elsewhere(&self, head: &Head, now: SystemTime) -> Answer {
        let Some((session, token)) = session_and_token(head).filter(|_| head.method == "GET")
        else {
            // What Kong says of a path that it has no route for.
            return Answer::kong(404, "no Route matched with those values");
        };
        // All three answers are invented: what Ingo's plugin host says to a browser is not documented.
        match self.sessions.lock().visit(session, token, now) {
            Visit::Live => {
                let mut answer = Answer::kong(200, "");
                answer.content_type = "text/html; charset=utf-8";
                answer.body = b"<!doctype html><title>Emulated Ingo session</title><p>This stands in for Ingo's plugin. The session is mounted.\n".to_vec();
                answer
            }
            Visit::Dead => Answer::kong(
                410,
                "the authorized_url has expired, or its session has ended",
            ),
            Visit::Unknown => Answer::kong(404, "there is no such authorized_url"),
        }
    }

    pub(super) fn end_session(&self, session: Uuid, end: SessionEnd, now: SystemTime) -> bool {
        self.sessions.lock().end(session, end, now)
    }

    pub(super) fn session_state(&self, session: Uuid, now: SystemTime) -> Option<SessionState> {
        self.sessions.lock().state(session, now)
    }

    /// Counts of sessions and transactions.
    pub(super) fn counts(&self, now: SystemTime) -> Value {
        let mut counts = self.sessions.lock().counts(now);
        counts["transactions"] = self.calls.lock().transactions().into();
        counts
    }
}

impl Judged {
    /// The value by which the request says what it is about, as it may be shown.
    pub(super) fn identifying_value(&self) -> Option<String> {
        let route = route(&self.head)?;
        let body = object(&self.body)?;
        let value = match route {
            Route::CreateSession => body.get("participant_unique_id1"),
            route => calls::identity(route, &body),
        };
        match value? {
            Value::String(text) => Some(text.clone()),
            Value::Object(ids) => ids
                .get("participant_unique_id1")
                .and_then(Value::as_str)
                .map(str::to_owned),
            _ => None,
        }
    }
}

/// The route that a request's path belongs to.
pub(super) fn route(head: &Head) -> Option<Route> {
    Route::ALL
        .into_iter()
        .find(|route| route.matches(head.path()))
}

/// Whether the target is a bearer capability and must not be shown.
pub(super) fn is_authorized_url(head: &Head) -> bool {
    head.path().starts_with(SESSION_PATH.as_bytes())
}

fn session_and_token(head: &Head) -> Option<(Uuid, Uuid)> {
    let target = std::str::from_utf8(&head.target).ok()?;
    let (path, query) = target.split_once('?')?;
    let session = path.strip_prefix(SESSION_PATH)?;
    let token = query.split('&').find_map(|pair| pair.strip_prefix("h="))?;
    Some((session.parse().ok()?, token.parse().ok()?))
}

/// The members of a body; of those of one name the last. What no [`Value`] holds, such as 1e999, a lone surrogate or 200 levels, is JSON
/// all the same, and stands there as it is written.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    let members = Members::of_json(body, |_| true).ok()?;
    members.are_of_an_object.then(|| {
        let held = |(name, json): (&[u8], &str)| {
            let value = serde_json::from_str(json).unwrap_or_else(|_| json.into());
            (String::from_utf8_lossy(name).into_owned(), value)
        };
        members.iter().map(held).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// What is refused of the body of a Create Session whose signature was judged to be well.
    fn refused(body: &str, profile: Profile) -> Vec<String> {
        let settings = Settings {
            refusal_status: 401,
            error_status: 400,
            allowed_hosts: None,
            profile,
            participant_id: String::new(),
        };
        let gateway = Gateway::new(Kong::accepting([]), settings, String::new(), 1);
        let judged = Judged {
            refusal: None,
            findings: Vec::new(),
            head: Head {
                method: "POST".to_owned(),
                target: b"/api/v1/sessions/point-in-time/plugin".to_vec(),
                version: "HTTP/1.1".to_owned(),
                headers: Vec::new(),
            },
            body: body.as_bytes().to_vec(),
        };
        let answer = gateway.finish(gateway.begin(&judged, UNIX_EPOCH), UNIX_EPOCH);
        let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        match answer.ingo_status {
            Some(13400) => told["data"]
                .as_object()
                .expect("fields")
                .keys()
                .cloned()
                .collect(),
            status => {
                assert_eq!(status, Some(100), "{body}");
                Vec::new()
            }
        }
    }

    #[test]
    fn what_validation_finds_is_what_is_refused_by_either_document() {
        for (body, newer, besides) in crate::ingo::bodies::table() {
            let older = [&*newer, &*besides].concat();
            for (profile, found) in [(Profile::Newer, newer), (Profile::Older, older)] {
                let mut named: Vec<&str> = found
                    .iter()
                    .filter_map(|found| Some(found.split_once(' ')?.0))
                    .collect();
                named.sort_unstable();
                assert_eq!(refused(&body, profile), named, "{profile:?}: {body}");
            }
        }
    }
}
