//! Create Session as types: what is asked and what is answered, for a service that signs for itself. Fields, lengths and words are those
//! of Ingo's API reference and integration guide as collected in `docs/protocol.md` §3, statuses those of its §4.
//!
//! The proxy itself never makes a body of these: what a caller sent is what is digested and sent.

use std::fmt;

use serde::{
    de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor},
    ser::{Serialize, SerializeMap as _, Serializer},
};
use serde_json::Value;

/// Defines a type whose members are left out where they are `None`. By hand, because serde's derive is as many crates again as all
/// else that the library needs.
macro_rules! members {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Option<$type>,)+
        }

        impl fmt::Debug for $name {
            /// Names the members that are there and shows none of their values.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(if self.$field.is_some() {
                    shown.field(stringify!($field), &format_args!("…"));
                })+
                shown.finish()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(if let Some(value) = &self.$field {
                    map.serialize_entry(stringify!($field), value)?;
                })+
                map.end()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// Members that are not known are passed over: Ingo adds some over time. Of one that is repeated the last counts.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> Visitor<'de> for Members {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut read = $name::default();
                        while let Some(name) = map.next_key::<String>()? {
                            match name.as_str() {
                                $(stringify!($field) => read.$field = map.next_value()?,)+
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(read)
                    }
                }

                deserializer.deserialize_map(Members)
            }
        }
    };
}

members! {
    /// What is asked of `POST /api/v1/sessions/point-in-time/plugin`. [`check`](super::contract::check) says what is wrong with it.
    CreateSession {
        /// Required, at most 100 characters. Who the recipient is to the participant.
        participant_unique_id1: String,
        /// At most 100 characters.
        participant_unique_id2: String,
        /// Scheme and host of the page that shows the plugin, at most 200 characters. It must be allow-listed at Ingo, or the call is
        /// Unauthorized.
        host_uri: String,
        /// One of Ingo's locales, such as `en-US`.
        language_locale_code: String,
        /// Required.
        recipient_information: RecipientInformation,
    }
}

members! {
    /// Who gets the money. The older of Ingo's documents requires name and address, the newer nothing.
    RecipientInformation {
        /// At most 150 characters.
        first_name: String,
        /// At most 150 characters.
        last_name: String,
        /// Newer document only.
        business_name: String,
        /// At most 150 characters.
        address_line1: String,
        /// At most 150 characters; may be empty.
        address_line2: String,
        /// At most 150 characters.
        city: String,
        /// A US state of two capital letters.
        state: String,
        /// `NNNNN` or `NNNNN-NNNN`.
        zip_code: String,
        /// At most 150 characters; required for PayPal-enabled participants.
        email_address: String,
        /// At most 10 digits.
        phone_number: String,
        /// At most 10 digits.
        mobile_number: String,
        /// Newer document only.
        open_banking: OpenBanking,
    }
}

members! {
    /// Whose account it is in open banking. Newer document only.
    OpenBanking {
        /// The customer's id at Mobus.
        mobus_customer_id: String,
    }
}

/// What Ingo answered. Go by `status`, never by the HTTP status alone: which goes with which is not documented.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// 100 a session was made, 101 it had been made before, 13400 fields are invalid, 13723 the `Idempotency-Key` was used for another
    /// request; see protocol.md §4 for the families.
    pub status: u32,
    /// For the service.
    pub client_message: String,
    /// For its developers.
    pub developer_message: String,
    /// The session, where there is one.
    pub session: Option<Session>,
    /// By field what is wrong with it, where the status is 13400.
    pub errors: Vec<(String, Vec<String>)>,
    /// How long Ingo says that it took, in seconds.
    pub time: Option<f64>,
}

/// A session. It has no `Debug` of its URL: that is a bearer capability, to be used once, within 30 seconds, and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it in the plugin's events.
    pub session_identifier: String,
    /// What the plugin mounts.
    pub authorized_url: String,
    /// When that expires, as Ingo writes it.
    pub authorized_url_expiration_utc: Option<String>,
    /// As it was asked.
    pub participant_unique_id1: Option<String>,
    /// As it was asked.
    pub participant_unique_id2: Option<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("session_identifier", &self.session_identifier)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// Reads the body of an answer; `None` where it is no envelope of Ingo's: Kong's refusals are not, for which see
    /// [`Diagnosis`](super::Diagnosis). Numbers may be strings, as on some endpoints they are.
    pub fn read(body: &[u8]) -> Option<Self> {
        let envelope: Value = serde_json::from_slice(body).ok()?;
        let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
        let status = match envelope.get("status")? {
            Value::String(text) => text.parse().ok()?,
            number => u32::try_from(number.as_u64()?).ok()?,
        };
        let data = envelope.get("data").unwrap_or(&Value::Null);
        let session = text(data, "session_identifier").zip(text(data, "authorized_url"));
        let errors = data.as_object().filter(|_| session.is_none());
        let messages = |value: &Value| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Some(Self {
            status,
            client_message: text(&envelope, "client_message").unwrap_or_default(),
            developer_message: text(&envelope, "developer_message").unwrap_or_default(),
            errors: (errors.into_iter().flatten())
                .map(|(field, value)| (field.clone(), messages(value)))
                .collect(),
            time: match envelope.get("time") {
                Some(Value::String(text)) => text.parse().ok(),
                other => other.and_then(Value::as_f64),
            },
            session: session.map(|(session_identifier, authorized_url)| Session {
                session_identifier,
                authorized_url,
                authorized_url_expiration_utc: text(data, "authorized_url_expiration_utc"),
                participant_unique_id1: text(data, "participant_unique_id1"),
                participant_unique_id2: text(data, "participant_unique_id2"),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingo::contract::{Profile, check};

    #[test]
    fn what_is_not_set_is_left_out_and_the_whole_is_well_by_both_documents() {
        let text = |text: &str| Some(text.to_owned());
        let asked = CreateSession {
            participant_unique_id1: text("p-1"),
            recipient_information: Some(RecipientInformation {
                first_name: text("Ada"),
                last_name: text("Lovelace"),
                address_line1: text("1 Main St"),
                city: text("Atlanta"),
                state: text("GA"),
                zip_code: text("30313"),
                ..RecipientInformation::default()
            }),
            ..CreateSession::default()
        };
        let body = serde_json::to_string(&asked).expect("text only");
        assert_eq!(
            body,
            r#"{"participant_unique_id1":"p-1","recipient_information":{"first_name":"Ada","last_name":"Lovelace","address_line1":"1 Main St","city":"Atlanta","state":"GA","zip_code":"30313"}}"#
        );
        assert_eq!(check(body.as_bytes(), Profile::Older), []);
        let with_more = body.replacen('{', r#"{"a_field_of_tomorrow":[1],"host_uri":null,"#, 1);
        let read: CreateSession = serde_json::from_str(&with_more).expect("an object");
        assert_eq!(read, asked);
        assert!(serde_json::from_str::<CreateSession>("[]").is_err());
    }

    #[test]
    fn debug_shows_which_members_are_there_and_nothing_of_them() {
        let asked: CreateSession = serde_json::from_str(
            r#"{"participant_unique_id1":"canary","recipient_information":{"first_name":"canary"}}"#,
        )
        .expect("an object");
        assert_eq!(
            format!("{asked:?}"),
            "CreateSession { participant_unique_id1: …, recipient_information: … }"
        );
        assert_eq!(
            format!("{:?}", asked.recipient_information),
            "Some(RecipientInformation { first_name: … })"
        );
    }

    #[test]
    fn an_answer_is_read_whatever_form_its_numbers_have() {
        let made = Answer::read(
            br#"{"status":"101","client_message":"Success - Idempotent","data":{"session_identifier":"s","authorized_url":"https://x.example/canary","authorized_url_expiration_utc":"2026-11-20T14:05:00Z"},"time":"0.8"}"#,
        )
        .expect("an envelope");
        assert_eq!((made.status, made.time), (101, Some(0.8)));
        let session = made.session.clone().expect("a session");
        assert_eq!(session.authorized_url, "https://x.example/canary");
        assert!(!format!("{made:?}").contains("canary"));

        let refused = Answer::read(
            br#"{"status":13400,"client_message":"invalid_request_fields","data":{"participant_unique_id1":["The ParticipantUniqueId1 field is required."]}}"#,
        )
        .expect("an envelope");
        assert_eq!(refused.session, None);
        assert_eq!(refused.errors[0].0, "participant_unique_id1");
        for no_envelope in [r#"{"message":"Unauthorized"}"#, "[]", "<x/>", ""] {
            assert_eq!(Answer::read(no_envelope.as_bytes()), None);
        }
    }
}
