//! What can be made to go wrong, and how it is asked for: as `--fault` text or as JSON, with the same names.
//!
//! A specification is checked whole before it is armed: a parameter that the fault does not know is refused, so that no
//! test passes because its fault never applied.

use std::{fmt, str::FromStr};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::kind::FaultKind;

/// Which requests a fault applies to, of those that match its path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extent {
    /// This many.
    Next(u64),
    /// This share of them, between 0 and 1; which ones follows from the seed.
    Share(f64, u64),
    /// All of them, until the faults are cleared.
    UntilCleared,
}

/// A checked specification.
///
/// As text: `NAME[,parameter=value…]`, such as `status_503,next=3,path=/gateway/verify`; as JSON the same names. Beside the
/// parameters of the single faults: one of `next=N` (1 if nothing is said), `share=0.2` with `seed=N`, `until=cleared`; and
/// `path`, which ends in `/` to mean all below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub(super) kind: FaultKind,
    pub(super) extent: Extent,
    pub(super) path: Option<String>,
    pub(super) parameters: Parameters,
}

/// The parameters that single faults take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Parameters {
    pub(super) milliseconds: Option<u64>,
    pub(super) seconds: Option<i64>,
    pub(super) bytes: Option<usize>,
    pub(super) retry_after: Option<u32>,
    pub(super) processed: Option<bool>,
}

/// A specification that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(pub(super) String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FaultError {}

/// What is written, each of its own type, before it is looked at together.
struct Raw {
    fault: String,
    next: Option<u64>,
    share: Option<f64>,
    until: Option<String>,
    seed: Option<u64>,
    path: Option<String>,
    milliseconds: Option<u64>,
    seconds: Option<i64>,
    bytes: Option<usize>,
    retry_after: Option<u32>,
    processed: Option<bool>,
}

const NO_FAULT: &str = r#"a fault is a JSON object, such as {"fault":"reset_after_body","next":3}"#;

/// An hour: longer than any time-out under test.
const MAX_MILLISECONDS: u64 = 3_600_000;
/// 100 years.
const MAX_SECONDS: u64 = 3_155_760_000;
/// An answer of this size is made in memory.
const MAX_BYTES: usize = 64 * 1024 * 1024;

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut parts = text.split(',');
        let mut object = Map::new();
        object.insert("fault".to_owned(), parts.next().unwrap_or_default().into());
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                FaultError("after the fault's name, parameters are written name=value and separated by commas".to_owned())
            })?;
            // Numbers and booleans as in JSON; anything else is text.
            let value = serde_json::from_str(value)
                .ok()
                .filter(|value: &Value| value.is_number() || value.is_boolean())
                .unwrap_or_else(|| value.into());
            if object.insert(name.to_owned(), value).is_some() {
                return Err(FaultError("a parameter stands twice".to_owned()));
            }
        }
        Self::from_json(Value::Object(object))
    }
}

impl Fault {
    /// What goes wrong.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Reads a specification in JSON.
    ///
    /// # Errors
    /// [`FaultError`], which says what to write instead.
    pub fn from_json(json: Value) -> Result<Self, FaultError> {
        let raw = Raw::read(json)?;
        let kind = FaultKind::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == raw.fault);
        let kind = kind.ok_or_else(|| {
            let names: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.as_str()).collect();
            FaultError(format!(
                "there is no such fault; there are {}",
                names.join(", ")
            ))
        })?;
        let extent = raw.extent()?;
        raw.check_parameters(kind)?;
        if let Some(path) = &raw.path {
            if !path.starts_with('/') {
                return Err(FaultError("a path begins with /".to_owned()));
            }
            if path.contains('?') {
                return Err(FaultError("a path has no query".to_owned()));
            }
            if kind == FaultKind::ResetBeforeReading {
                return Err(FaultError(format!(
                    "{kind} takes no path: it acts before the path is known"
                )));
            }
        }
        Ok(Self {
            kind,
            extent,
            path: raw.path,
            parameters: Parameters {
                milliseconds: raw.milliseconds,
                seconds: raw.seconds,
                bytes: raw.bytes,
                retry_after: raw.retry_after,
                processed: raw.processed,
            },
        })
    }

    /// The specification in JSON, to show it again.
    pub(super) fn to_json(&self) -> Value {
        let mut json = json!({"fault": self.kind.as_str()});
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                json[name] = value;
            }
        };
        match self.extent {
            Extent::Next(count) => put("next", Some(count.into())),
            Extent::Share(share, seed) => {
                put("share", Some(share.into()));
                put("seed", Some(seed.into()));
            }
            Extent::UntilCleared => put("until", Some("cleared".into())),
        }
        put("path", self.path.clone().map(Value::from));
        put(
            "milliseconds",
            self.parameters.milliseconds.map(Value::from),
        );
        put("seconds", self.parameters.seconds.map(Value::from));
        put("bytes", self.parameters.bytes.map(Value::from));
        put("retry_after", self.parameters.retry_after.map(Value::from));
        put("processed", self.parameters.processed.map(Value::from));
        json
    }

    /// Whether the request is processed though the fault takes its answer. Where a document leaves it open, the worse for a
    /// client that repeats: 502 and 504 come from a gateway that has passed the request on.
    pub(super) fn processes(&self) -> bool {
        let usually = !matches!(
            self.kind,
            FaultKind::Status401Unauthorized
                | FaultKind::Status401Date
                | FaultKind::Status401CannotBeVerified
                | FaultKind::Status401DoesNotMatch
                | FaultKind::Status403
                | FaultKind::Status429
                | FaultKind::Status503
                | FaultKind::BodyStatus104
                | FaultKind::BodyStatus500
        );
        self.parameters.processed.unwrap_or(usually)
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.path.as_ref().is_none_or(|own| {
            own.as_bytes() == path || own.ends_with('/') && path.starts_with(own.as_bytes())
        })
    }
}

/// Takes a parameter out of what is written; null is none.
fn take<T: DeserializeOwned>(
    written: &mut Map<String, Value>,
    name: &str,
    what: &str,
) -> Result<Option<T>, FaultError> {
    let value = written.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|_| FaultError(format!("{name} must be {what}")))
}

impl Raw {
    fn read(json: Value) -> Result<Self, FaultError> {
        const COUNT: &str = "a whole number, not negative";
        let Value::Object(mut written) = json else {
            return Err(FaultError(NO_FAULT.to_owned()));
        };
        let written = &mut written;
        let raw = Self {
            fault: take(written, "fault", "a name")?
                .ok_or_else(|| FaultError(NO_FAULT.to_owned()))?,
            next: take(written, "next", COUNT)?,
            share: take(written, "share", "a number")?,
            until: take(written, "until", "`cleared`")?,
            seed: take(written, "seed", COUNT)?,
            path: take(written, "path", "text")?,
            milliseconds: take(written, "milliseconds", COUNT)?,
            seconds: take(written, "seconds", "a whole number")?,
            bytes: take(written, "bytes", COUNT)?,
            retry_after: take(written, "retry_after", COUNT)?,
            processed: take(written, "processed", "true or false")?,
        };
        match written.keys().next() {
            None => Ok(raw),
            Some(name) => Err(FaultError(format!(
                "there is no parameter {name}; there are next, share, until, seed, path, milliseconds, seconds, bytes, retry_after, processed"
            ))),
        }
    }

    fn extent(&self) -> Result<Extent, FaultError> {
        let error = |what: &str| Err(FaultError(what.to_owned()));
        if self.seed.is_some() && self.share.is_none() {
            return error("a seed goes with a share");
        }
        match (self.next, self.share, self.until.as_deref()) {
            (None, None, None) => Ok(Extent::Next(1)),
            (Some(0), None, None) => error("next must be at least 1"),
            (Some(count), None, None) => Ok(Extent::Next(count)),
            (None, Some(share), None) if share > 0.0 && share <= 1.0 => {
                Ok(Extent::Share(share, self.seed.unwrap_or(0)))
            }
            (None, Some(_), None) => error("share must be more than 0 and at most 1"),
            (None, None, Some("cleared")) => Ok(Extent::UntilCleared),
            (None, None, Some(_)) => error("until must be `cleared`"),
            _ => error("only one of next, share and until can be said"),
        }
    }

    fn check_parameters(&self, kind: FaultKind) -> Result<(), FaultError> {
        use FaultKind as K;
        let given = [
            (
                "milliseconds",
                self.milliseconds.is_some(),
                matches!(kind, K::Delay | K::CloseIdle | K::Dribble),
            ),
            ("seconds", self.seconds.is_some(), kind == K::SkewedDate),
            (
                "bytes",
                self.bytes.is_some(),
                matches!(kind, K::ResetInAnswer | K::OversizedAnswer),
            ),
            (
                "retry_after",
                self.retry_after.is_some(),
                matches!(kind, K::Status429 | K::Status503),
            ),
            (
                "processed",
                self.processed.is_some(),
                matches!(
                    kind,
                    K::ResetAfterBody
                        | K::Status429
                        | K::Status502
                        | K::Status503
                        | K::Status504
                        | K::BodyStatus104
                        | K::BodyStatus500
                ),
            ),
        ];
        for (name, is_given, is_known) in given {
            if is_given && !is_known {
                return Err(FaultError(format!("{kind} takes no {name}")));
            }
        }
        if self.milliseconds.is_some_and(|it| it > MAX_MILLISECONDS) {
            return Err(FaultError(format!(
                "milliseconds must be at most {MAX_MILLISECONDS}"
            )));
        }
        if self
            .seconds
            .is_some_and(|it| it.unsigned_abs() > MAX_SECONDS)
        {
            return Err(FaultError(format!(
                "seconds must be at most {MAX_SECONDS} either way"
            )));
        }
        if self.bytes.is_some_and(|it| it > MAX_BYTES) {
            return Err(FaultError(format!("bytes must be at most {MAX_BYTES}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Fault, String> {
        text.parse().map_err(|error: FaultError| error.to_string())
    }

    #[test]
    fn text_and_json_say_the_same() {
        for (text, json) in [
            ("delay", json!({"fault": "delay", "next": 1})),
            (
                "delay,milliseconds=5,next=3",
                json!({"fault": "delay", "next": 3, "milliseconds": 5}),
            ),
            (
                "status_503,share=0.2,seed=7,path=/gateway/verify,retry_after=2",
                json!({"fault": "status_503", "share": 0.2, "seed": 7, "path": "/gateway/verify", "retry_after": 2}),
            ),
            (
                "reset_after_body,until=cleared,processed=false",
                json!({"fault": "reset_after_body", "until": "cleared", "processed": false}),
            ),
            (
                "skewed_date,seconds=-10",
                json!({"fault": "skewed_date", "next": 1, "seconds": -10}),
            ),
        ] {
            let fault = parsed(text).expect(text);
            assert_eq!(fault.to_json(), json);
            assert_eq!(Fault::from_json(json), Ok(fault));
        }
    }

    #[test]
    fn every_fault_can_be_asked_for_by_its_name() {
        for kind in FaultKind::ALL {
            assert_eq!(parsed(kind.as_str()).map(|fault| fault.kind), Ok(*kind));
        }
    }

    #[test]
    fn what_would_not_apply_is_refused() {
        for text in [
            "",
            "status_418",
            "delay,",
            "delay,5",
            "delay,next=0",
            "delay,next=-1",
            "delay,next=x",
            "delay,next=1,next=1",
            "delay,next=1,share=0.5",
            "delay,share=0",
            "delay,share=1.1",
            "delay,until=tomorrow",
            "delay,seed=1",
            "delay,path=gateway",
            "delay,path=/gateway/verify?a=b",
            "delay,milliseconds=3600001",
            "delay,bytes=1",
            "delay,retry_after=1",
            "xml,milliseconds=1",
            "xml,processed=true",
            "status_401_date,retry_after=1",
            "oversized_answer,bytes=99999999999",
            "reset_before_reading,path=/gateway/verify",
            "delay,colour=blue",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_name_and_in_plain_words() {
        let told = |json| Fault::from_json(json).map_err(|error| error.to_string());
        for (json, message) in [
            (
                json!([]),
                r#"a fault is a JSON object, such as {"fault":"reset_after_body","next":3}"#,
            ),
            (
                json!({"next": 3}),
                r#"a fault is a JSON object, such as {"fault":"reset_after_body","next":3}"#,
            ),
            (json!({"fault": 1}), "fault must be a name"),
            (
                json!({"fault": "delay", "milliseconds": "5"}),
                "milliseconds must be a whole number, not negative",
            ),
            (
                json!({"fault": "delay", "milliseconds": -1}),
                "milliseconds must be a whole number, not negative",
            ),
            (
                json!({"fault": "skewed_date", "seconds": 0.5}),
                "seconds must be a whole number",
            ),
            (
                json!({"fault": "status_503", "processed": "yes"}),
                "processed must be true or false",
            ),
            (
                json!({"fault": "delay", "until": 1}),
                "until must be `cleared`",
            ),
            (
                json!({"fault": "delay", "nxt": 3}),
                "there is no parameter nxt; there are next, share, until, seed, path, milliseconds, seconds, bytes, retry_after, processed",
            ),
        ] {
            assert_eq!(told(json), Err(message.to_owned()));
        }
        let none = json!({"fault": "delay", "next": 2, "share": null});
        assert_eq!(told(none).map(|fault| fault.extent), Ok(Extent::Next(2)));
    }

    #[test]
    fn a_path_is_whole_or_a_beginning() {
        let fault = parsed("delay,path=/gateway/verify").expect("a fault");
        assert!(fault.matches(b"/gateway/verify"));
        assert!(!fault.matches(b"/gateway/verify--open-banking"));
        let fault = parsed("delay,path=/api/v4/").expect("a fault");
        assert!(fault.matches(b"/api/v4/accounts"));
        assert!(!fault.matches(b"/api/v1/sessions"));
    }
}
