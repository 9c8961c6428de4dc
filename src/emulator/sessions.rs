//! Create Session and what becomes of a session (protocol.md §3): idempotency keys, authorized URLs, states.
//!
//! A request is begun and finished in two steps, so that a repeat can come while the first is still being processed.
//! Failures are not kept: what comes here is well. Of a body only the two participant ids and a fingerprint are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{fingerprint::Fingerprint, store::Bounded};
use crate::signing::imf_fixdate;

/// How long an `Idempotency-Key` is active (protocol.md §3, "Idempotency").
const KEY_LIFETIME: Duration = Duration::from_secs(2 * 3600);
/// How long an `authorized_url` may be used (protocol.md §3).
const URL_LIFETIME: Duration = Duration::from_secs(30);
/// Where `authorized_url_expiration_utc` lies in the guide's example: 15 minutes after the signed date (protocol.md §3).
const STATED_URL_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a session is remembered. Invented: longer than any key, so that a repeat finds its session.
const SESSION_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a session has come to. `Mounted` is invented: the documents do not name the state between a URL's use and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Its URL can be used.
    Active,
    /// Its URL was used.
    Mounted,
    /// Its URL was not used within 30 s; an idempotent repeat refreshes it.
    Expired,
    /// An account was captured.
    Completed,
    /// Cancelled or terminated.
    Cancelled,
    /// Verification was tried too often.
    AttemptsExceeded,
}

impl SessionState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Active,
        Self::Mounted,
        Self::Expired,
        Self::Completed,
        Self::Cancelled,
        Self::AttemptsExceeded,
    ];

    /// The name in `GET /sessions`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Mounted => "mounted",
            Self::Expired => "expired",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::AttemptsExceeded => "attempts_exceeded",
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// An account was captured.
    Completed,
    /// Cancelled or terminated.
    Cancelled,
    /// Verification was tried too often.
    AttemptsExceeded,
}

/// Everything that is remembered of sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: Bounded<Uuid, Session>,
    keys: Bounded<String, Keyed>,
    urls: Bounded<Uuid, Url>,
    created: u64,
}

#[derive(Debug)]
struct Session {
    ids: [String; 2],
    url_issued: SystemTime,
    mounted: bool,
    end: Option<SessionEnd>,
}

/// What an `Idempotency-Key` stands for.
#[derive(Debug)]
struct Keyed {
    parameters: Fingerprint,
    /// `None` while the first request is being processed.
    session: Option<Uuid>,
}

#[derive(Debug)]
struct Url {
    session: Uuid,
    issued: SystemTime,
}

/// What a Create Session request comes to before it is processed.
#[derive(Debug)]
pub(super) enum Begun {
    /// It can be processed.
    Accepted(Ticket),
    /// Its key is being processed with the same parameters: 104. Documented for payments; for sessions it is invented.
    Pending,
    /// Its key was used with other parameters: 13723.
    OtherParameters,
}

/// A request that is being processed.
#[derive(Debug)]
pub(super) struct Ticket {
    key: Option<String>,
    known: Option<Uuid>,
    parameters: Fingerprint,
    ids: [String; 2],
}

/// What a processed request made. It holds an authorized URL, so it has no `Debug`.
pub(super) struct Issued {
    /// Whether the session was there already: 101.
    pub(super) repeated: bool,
    pub(super) data: Data,
}

/// The `data` of an answer (protocol.md §3), in the order of the documents.
#[derive(Serialize)]
pub(super) struct Data {
    session_identifier: String,
    authorized_url: String,
    authorized_url_expiration_utc: String,
    participant_unique_id1: String,
    participant_unique_id2: String,
}

/// What a GET of an authorized URL comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Live,
    Dead,
    Unknown,
}

impl Sessions {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            sessions: Bounded::new(capacity, SESSION_LIFETIME),
            keys: Bounded::new(capacity, KEY_LIFETIME),
            urls: Bounded::new(capacity, SESSION_LIFETIME),
            created: 0,
        }
    }

    /// Claims the key of a request whose parameters are well.
    pub(super) fn begin(
        &mut self,
        key: Option<&str>,
        body: &Map<String, Value>,
        now: SystemTime,
    ) -> Begun {
        let parameters = Fingerprint::of(&Value::Object(body.clone()));
        let mut known = None;
        if let Some(key) = key {
            match self.keys.find(&key.to_owned(), now) {
                Some(keyed) if keyed.parameters != parameters => return Begun::OtherParameters,
                Some(Keyed { session: None, .. }) => return Begun::Pending,
                Some(keyed) => known = keyed.session,
                None => {
                    let claimed = Keyed {
                        parameters,
                        session: None,
                    };
                    self.keys.put(key.to_owned(), claimed, now);
                }
            }
        }
        let text = |name: &str| {
            let text = body.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        Begun::Accepted(Ticket {
            key: key.map(str::to_owned),
            known,
            parameters,
            ids: [
                text("participant_unique_id1"),
                text("participant_unique_id2"),
            ],
        })
    }

    /// Makes the session, or finds it again; either way its URL is fresh. `origin` is where the emulator can be reached.
    pub(super) fn finish(&mut self, ticket: Ticket, origin: &str, now: SystemTime) -> Issued {
        let live = ticket
            .known
            .filter(|id| self.sessions.find(id, now).is_some());
        let id = live.unwrap_or_else(|| self.create(&ticket, now));
        let token = Uuid::new_v4();
        let url = Url {
            session: id,
            issued: now,
        };
        self.urls.put(token, url, now);
        let mut ids = ticket.ids;
        if let Some(session) = self.sessions.find(&id, now) {
            session.url_issued = now;
            ids = session.ids.clone();
        }
        let [participant_unique_id1, participant_unique_id2] = ids;
        Issued {
            repeated: live.is_some(),
            data: Data {
                session_identifier: id.to_string(),
                authorized_url: format!(
                    "{origin}/session/{id}?t={}&h={}",
                    ticks(now),
                    token.simple()
                ),
                authorized_url_expiration_utc: iso_8601(now + STATED_URL_LIFETIME),
                participant_unique_id1,
                participant_unique_id2,
            },
        }
    }

    fn create(&mut self, ticket: &Ticket, now: SystemTime) -> Uuid {
        let id = Uuid::new_v4();
        let session = Session {
            ids: ticket.ids.clone(),
            url_issued: now,
            mounted: false,
            end: None,
        };
        self.sessions.put(id, session, now);
        self.created += 1;
        if let Some(key) = &ticket.key {
            match self.keys.find(key, now) {
                // The two hours began with the first request.
                Some(keyed) => keyed.session = Some(id),
                None => {
                    let keyed = Keyed {
                        parameters: ticket.parameters,
                        session: Some(id),
                    };
                    self.keys.put(key.clone(), keyed, now);
                }
            }
        }
        id
    }

    /// A browser mounts the URL with this session and token.
    pub(super) fn visit(&mut self, session: Uuid, token: Uuid, now: SystemTime) -> Visit {
        let Some(url) = self
            .urls
            .find(&token, now)
            .filter(|url| url.session == session)
        else {
            return Visit::Unknown;
        };
        let in_time = is_younger(url.issued, now, URL_LIFETIME);
        match self.sessions.find(&session, now) {
            Some(session) if in_time && session.end.is_none() => {
                session.mounted = true;
                Visit::Live
            }
            _ => Visit::Dead,
        }
    }

    /// Ends a session; `false` if there is none of that name.
    pub(super) fn end(&mut self, session: Uuid, end: SessionEnd, now: SystemTime) -> bool {
        let found = self.sessions.find(&session, now);
        found.map(|session| session.end = Some(end)).is_some()
    }

    /// The state of a session.
    pub(super) fn state(&mut self, session: Uuid, now: SystemTime) -> Option<SessionState> {
        self.sessions.find(&session, now).map(|it| it.state(now))
    }

    /// Counts, for `GET /sessions`.
    pub(super) fn counts(&self, now: SystemTime) -> Value {
        let states: Vec<_> = self.sessions.live(now).map(|it| it.state(now)).collect();
        let by_state: Map<_, _> = SessionState::ALL
            .iter()
            .map(|state| {
                let count = states.iter().filter(|other| *other == state).count();
                (state.as_str().to_owned(), Value::from(count))
            })
            .collect();
        json!({
            "created": self.created,
            "held": states.len(),
            "by_state": by_state,
            "idempotency_keys": self.keys.live(now).count(),
        })
    }
}

impl Session {
    fn state(&self, now: SystemTime) -> SessionState {
        match self.end {
            Some(SessionEnd::Completed) => SessionState::Completed,
            Some(SessionEnd::Cancelled) => SessionState::Cancelled,
            Some(SessionEnd::AttemptsExceeded) => SessionState::AttemptsExceeded,
            None if self.mounted => SessionState::Mounted,
            None if is_younger(self.url_issued, now, URL_LIFETIME) => SessionState::Active,
            None => SessionState::Expired,
        }
    }
}

fn is_younger(since: SystemTime, now: SystemTime, age: Duration) -> bool {
    now.duration_since(since).map_or(true, |it| it < age)
}

/// `2019-12-10T20:14:19.763941Z`, as in Ingo's examples. Made of the IMF-fixdate, so that there is one calendar here.
fn iso_8601(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // `Tue, 10 Dec 2019 20:14:19 GMT`: every part has its fixed place (RFC 9110 §5.6.7).
    let date = imf_fixdate(time);
    let month = MONTHS.find(&date[8..11]).map_or(0, |at| at / 3 + 1);
    let micros = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_micros());
    let (day, year, clock) = (&date[5..7], &date[12..16], &date[17..25]);
    format!("{year}-{month:02}-{day}T{clock}.{micros:06}Z")
}

/// The time as .NET counts it, in 100 ns since the year 1: the `t` of Ingo's example URLs.
fn ticks(time: SystemTime) -> u128 {
    const UNIX_EPOCH_IN_TICKS: u128 = 621_355_968_000_000_000;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH_IN_TICKS + since.as_nanos() / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "http://127.0.0.1:1";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_579_291_169 + seconds)
    }

    fn parameters(id: &str) -> Map<String, Value> {
        let body = json!({"participant_unique_id1": id, "recipient_information": {}});
        body.as_object().expect("an object").clone()
    }

    fn created(sessions: &mut Sessions, key: Option<&str>, id: &str, now: SystemTime) -> Issued {
        match sessions.begin(key, &parameters(id), now) {
            Begun::Accepted(ticket) => sessions.finish(ticket, ORIGIN, now),
            other => panic!("{other:?}"),
        }
    }

    fn id(issued: &Issued) -> Uuid {
        issued.data.session_identifier.parse().expect("a UUID")
    }

    fn token(issued: &Issued) -> Uuid {
        let url = &issued.data.authorized_url;
        let (_, token) = url.split_once("&h=").expect("a token");
        token.parse().expect("a UUID")
    }

    #[test]
    fn a_repeat_finds_the_session_and_gets_a_fresh_url() {
        let mut sessions = Sessions::new(10);
        let first = created(&mut sessions, Some("k"), "a", at(0));
        let second = created(&mut sessions, Some("k"), "a", at(1));
        assert!(!first.repeated && second.repeated);
        assert_eq!(id(&first), id(&second));
        assert_ne!(first.data.authorized_url, second.data.authorized_url);
        assert_eq!(sessions.counts(at(1))["created"], 1);
    }

    #[test]
    fn without_a_key_each_request_makes_a_session() {
        let mut sessions = Sessions::new(10);
        let first = created(&mut sessions, None, "a", at(0));
        let second = created(&mut sessions, None, "a", at(0));
        assert!(!second.repeated);
        assert_ne!(id(&first), id(&second));
    }

    #[test]
    fn a_key_belongs_to_its_parameters() {
        let mut sessions = Sessions::new(10);
        created(&mut sessions, Some("k"), "a", at(0));
        let other = sessions.begin(Some("k"), &parameters("b"), at(1));
        assert!(matches!(other, Begun::OtherParameters));
    }

    #[test]
    fn a_key_lives_two_hours_from_its_first_use() {
        let mut sessions = Sessions::new(10);
        let first = created(&mut sessions, Some("k"), "a", at(0));
        let late = created(&mut sessions, Some("k"), "a", at(7199));
        assert_eq!(id(&first), id(&late));
        let later = created(&mut sessions, Some("k"), "b", at(7200));
        assert!(!later.repeated);
        assert_ne!(id(&first), id(&later));
    }

    #[test]
    fn a_repeat_while_the_first_is_processed_is_pending() {
        let mut sessions = Sessions::new(10);
        let Begun::Accepted(ticket) = sessions.begin(Some("k"), &parameters("a"), at(0)) else {
            panic!("accepted");
        };
        let repeat = sessions.begin(Some("k"), &parameters("a"), at(1));
        assert!(matches!(repeat, Begun::Pending));
        let other = sessions.begin(Some("k"), &parameters("b"), at(1));
        assert!(matches!(other, Begun::OtherParameters));
        let first = sessions.finish(ticket, ORIGIN, at(2));
        let repeat = created(&mut sessions, Some("k"), "a", at(3));
        assert_eq!(id(&first), id(&repeat));
    }

    #[test]
    fn a_url_dies_after_30_seconds_and_a_repeat_refreshes_the_session() {
        let mut sessions = Sessions::new(10);
        let first = created(&mut sessions, Some("k"), "a", at(0));
        let session = id(&first);
        assert_eq!(sessions.state(session, at(29)), Some(SessionState::Active));
        assert_eq!(sessions.state(session, at(30)), Some(SessionState::Expired));
        assert_eq!(sessions.visit(session, token(&first), at(30)), Visit::Dead);

        let second = created(&mut sessions, Some("k"), "a", at(40));
        assert_eq!(sessions.state(session, at(40)), Some(SessionState::Active));
        assert_eq!(sessions.visit(session, token(&first), at(41)), Visit::Dead);
        assert_eq!(sessions.visit(session, token(&second), at(41)), Visit::Live);
        // Once it is mounted, the session no longer depends on the URL.
        assert_eq!(
            sessions.state(session, at(999)),
            Some(SessionState::Mounted)
        );
        assert_eq!(sessions.visit(session, Uuid::nil(), at(41)), Visit::Unknown);
        assert_eq!(
            sessions.visit(Uuid::nil(), token(&second), at(41)),
            Visit::Unknown
        );
    }

    #[test]
    fn an_ended_session_stays_ended() {
        for (end, state) in [
            (SessionEnd::Completed, SessionState::Completed),
            (SessionEnd::Cancelled, SessionState::Cancelled),
            (SessionEnd::AttemptsExceeded, SessionState::AttemptsExceeded),
        ] {
            let mut sessions = Sessions::new(10);
            let issued = created(&mut sessions, None, "a", at(0));
            assert!(sessions.end(id(&issued), end, at(1)));
            assert_eq!(sessions.state(id(&issued), at(2)), Some(state));
            assert_eq!(
                sessions.visit(id(&issued), token(&issued), at(2)),
                Visit::Dead
            );
            assert_eq!(sessions.counts(at(2))["by_state"][state.as_str()], 1);
        }
        assert!(!Sessions::new(1).end(Uuid::nil(), SessionEnd::Completed, at(0)));
    }

    #[test]
    fn data_has_the_documented_fields() {
        let mut sessions = Sessions::new(10);
        let data = created(&mut sessions, None, "a", at(0)).data;
        assert_eq!(
            data.authorized_url_expiration_utc,
            "2020-01-17T20:14:29.000000Z"
        );
        let text = serde_json::to_string(&data).expect("JSON");
        let ids = r#""participant_unique_id1":"a","participant_unique_id2":""}"#;
        assert!(text.starts_with(r#"{"session_identifier":""#), "{text}");
        assert!(text.ends_with(ids), "{text}");
    }

    #[test]
    fn no_more_is_remembered_than_the_bound_says() {
        let mut sessions = Sessions::new(3);
        for index in 0..20 {
            created(&mut sessions, Some(&format!("k{index}")), "a", at(0));
        }
        let counts = sessions.counts(at(0));
        assert_eq!(
            (&counts["created"], &counts["held"]),
            (&json!(20), &json!(3))
        );
        assert_eq!(counts["idempotency_keys"], 3);
    }
}
