//! The field rules of Create Session (protocol.md §3), and the messages of 13400.
//!
//! Permissive where Ingo's two documents contradict each other: what only one of them requires may be missing. The message
//! of a missing field is Ingo's own; the wording of all others, and dotted names for nested fields, are invented in the
//! style of the framework that words its messages so (ASP.NET's data annotations).

use serde_json::{Map, Value};

/// Messages by field, as they stand in `data` of a 13400.
pub(super) type Findings = Map<String, Value>;

/// The documented list; it has two names of more than the documented five characters.
const LOCALES: [&str; 28] = [
    "ar-SA", "cs-CZ", "da-DK", "de-DE", "en-GB", "en-US", "es-ES", "es-US", "fa-IR", "fi-FI",
    "fr-FR", "hmn-Latn", "it-IT", "ja-JP", "km-KH", "ko-KR", "nb-NO", "nl-NL", "pl-PL", "pt-BR",
    "ru-RU", "sv-SE", "tl-PH", "tr-TR", "vi-VN", "zh-CN", "zh-Hans", "zh-TW",
];

/// The states, the District, the territories and the military mail states (USPS Publication 28, appendix B).
const STATES: [&str; 62] = [
    "AL", "AK", "AS", "AZ", "AR", "CA", "CO", "CT", "DE", "DC", "FM", "FL", "GA", "GU", "HI", "ID",
    "IL", "IN", "IA", "KS", "KY", "LA", "ME", "MH", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE",
    "NV", "NH", "NJ", "NM", "NY", "NC", "ND", "MP", "OH", "OK", "OR", "PW", "PA", "PR", "RI", "SC",
    "SD", "TN", "TX", "UT", "VT", "VI", "VA", "WA", "WV", "WI", "WY", "AA", "AE", "AP",
];

/// What a text field must be beyond not being too long.
#[derive(Clone, Copy)]
enum Form {
    Any,
    Locale,
    Origin,
    State,
    Zip,
    Digits,
}

/// Name, longest, form: the optional text fields at the top.
const TOP: [(&str, usize, Form); 3] = [
    ("participant_unique_id2", 100, Form::Any),
    ("host_uri", 200, Form::Origin),
    // The documented maximum of 5 contradicts the list, and the list rules.
    ("language_locale_code", usize::MAX, Form::Locale),
];

/// The text fields of `recipient_information`; none is required in both documents.
const RECIPIENT: [(&str, usize, Form); 11] = [
    ("first_name", 150, Form::Any),
    ("last_name", 150, Form::Any),
    // Newer document only, without a length.
    ("business_name", usize::MAX, Form::Any),
    ("address_line1", 150, Form::Any),
    ("address_line2", 150, Form::Any),
    ("city", 150, Form::Any),
    ("state", 2, Form::State),
    ("zip_code", 10, Form::Zip),
    ("email_address", 150, Form::Any),
    ("phone_number", 10, Form::Digits),
    ("mobile_number", 10, Form::Digits),
];

/// Checks the parameters of Create Session; empty if there is nothing to say.
pub(super) fn check(body: &Map<String, Value>) -> Findings {
    let mut findings = Findings::new();
    match body.get("participant_unique_id1") {
        None | Some(Value::Null) => require(&mut findings, "participant_unique_id1"),
        Some(Value::String(text)) if text.is_empty() => {
            require(&mut findings, "participant_unique_id1");
        }
        value => check_text(
            &mut findings,
            "",
            "participant_unique_id1",
            value,
            100,
            Form::Any,
        ),
    }
    for (name, longest, form) in TOP {
        check_text(&mut findings, "", name, body.get(name), longest, form);
    }
    match body.get("recipient_information") {
        None | Some(Value::Null) => require(&mut findings, "recipient_information"),
        Some(Value::Object(recipient)) => {
            for (name, longest, form) in RECIPIENT {
                let value = recipient.get(name);
                let within = "recipient_information.";
                check_text(&mut findings, within, name, value, longest, form);
            }
        }
        Some(_) => add(
            &mut findings,
            "recipient_information".to_owned(),
            "The field RecipientInformation must be an object.".to_owned(),
        ),
    }
    findings
}

fn check_text(
    findings: &mut Findings,
    within: &str,
    name: &str,
    value: Option<&Value>,
    longest: usize,
    form: Form,
) {
    let shown = pascal_case(name);
    let message = match value {
        None | Some(Value::Null) => return,
        Some(Value::String(text)) if text.is_empty() => return,
        Some(Value::String(text)) if text.chars().count() > longest => {
            format!("The field {shown} must be a string with a maximum length of {longest}.")
        }
        Some(Value::String(text)) if form.fits(text) => return,
        Some(Value::String(_)) => format!("The field {shown} is invalid."),
        Some(_) => format!("The field {shown} must be a string."),
    };
    add(findings, format!("{within}{name}"), message);
}

fn require(findings: &mut Findings, name: &str) {
    // Ingo's own wording (protocol.md §3).
    let message = format!("The {} field is required.", pascal_case(name));
    add(findings, name.to_owned(), message);
}

fn add(findings: &mut Findings, field: String, message: String) {
    findings.insert(field, Value::from(vec![message]));
}

impl Form {
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Locale => LOCALES.contains(&text),
            Self::Origin => origin(text).is_some(),
            Self::State => STATES.contains(&text),
            Self::Zip => is_zip(text),
            Self::Digits => text.bytes().all(|byte| byte.is_ascii_digit()),
        }
    }
}

/// Scheme and host of a `host_uri`, in lower case, to compare by; `None` if it has anything else.
pub(super) fn origin(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let well = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https")
        && !host.is_empty()
        && host.bytes().all(plain);
    well.then(|| format!("{scheme}://{host}").to_ascii_lowercase())
}

/// `NNNNN` or `NNNNN-NNNN`.
fn is_zip(text: &str) -> bool {
    let digits =
        |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        None => digits(text, 5),
        Some((five, four)) => digits(five, 5) && digits(four, 4),
    }
}

/// `participant_unique_id1` as Ingo's messages show it: `ParticipantUniqueId1`.
fn pascal_case(name: &str) -> String {
    let capitalised = name.split('_').map(|word| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    });
    capitalised.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(body: Value) -> Value {
        let Value::Object(body) = body else {
            panic!("an object");
        };
        Value::Object(check(&body))
    }

    fn recipient(recipient: Value) -> Value {
        found(json!({"participant_unique_id1": "a", "recipient_information": recipient}))
    }

    #[test]
    fn only_what_both_documents_require_is_required() {
        assert_eq!(recipient(json!({})), json!({}));
        assert_eq!(
            found(json!({})),
            json!({
                "participant_unique_id1": ["The ParticipantUniqueId1 field is required."],
                "recipient_information": ["The RecipientInformation field is required."],
            })
        );
        for nothing in [json!(null), json!("")] {
            let body = json!({"participant_unique_id1": nothing, "recipient_information": {}});
            assert_eq!(
                found(body)["participant_unique_id1"],
                json!(["The ParticipantUniqueId1 field is required."])
            );
        }
    }

    #[test]
    fn a_full_request_and_unknown_fields_are_well() {
        let body = json!({
            "participant_unique_id1": "é".repeat(100), "participant_unique_id2": "",
            "host_uri": "https://digitalpay.example:8443", "language_locale_code": "hmn-Latn",
            "a_field_of_tomorrow": {"x": []},
            "recipient_information": {
                "first_name": "Alex", "last_name": "Rivera", "business_name": "Acme",
                "address_line1": "100 Innovation Way", "address_line2": "", "city": "Anytown",
                "state": "GA", "zip_code": "37233-1234", "email_address": "a@example.com",
                "phone_number": "1231231234", "mobile_number": "", "open_banking": {"mobus_customer_id": "9999"},
            },
        });
        assert_eq!(found(body), json!({}));
    }

    #[test]
    fn each_rule_is_checked() {
        for (field, bad) in [
            ("first_name", json!("x".repeat(151))),
            ("last_name", json!(1)),
            ("address_line1", json!([])),
            ("city", json!("x".repeat(151))),
            ("state", json!("Georgia")),
            ("state", json!("ZZ")),
            ("state", json!("ga")),
            ("zip_code", json!("3723")),
            ("zip_code", json!("37233-12")),
            ("zip_code", json!("372331234")),
            ("zip_code", json!("37233-12345")),
            ("email_address", json!("x".repeat(151))),
            ("phone_number", json!("123-123-12")),
            ("phone_number", json!("12312312345")),
            ("mobile_number", json!("+123123123")),
        ] {
            let name = format!("recipient_information.{field}");
            let findings = recipient(json!({ field: bad }));
            assert!(findings[&name][0].is_string(), "{field} {bad}: {findings}");
        }
        for (field, bad) in [
            ("participant_unique_id1", json!("x".repeat(101))),
            ("participant_unique_id1", json!(7)),
            ("participant_unique_id2", json!("x".repeat(101))),
            ("host_uri", json!("digitalpay.example")),
            ("host_uri", json!("https://digitalpay.example/path")),
            ("host_uri", json!(format!("https://{}", "x".repeat(200)))),
            ("language_locale_code", json!("en-XX")),
            ("recipient_information", json!("text")),
        ] {
            let mut body = json!({"participant_unique_id1": "a", "recipient_information": {}});
            body[field] = bad;
            assert!(found(body.clone())[field][0].is_string(), "{body}");
        }
    }

    #[test]
    fn every_locale_of_the_list_is_accepted() {
        for locale in LOCALES {
            let body = json!({
                "participant_unique_id1": "a", "recipient_information": {}, "language_locale_code": locale,
            });
            assert_eq!(found(body), json!({}), "{locale}");
        }
    }

    #[test]
    fn an_origin_is_compared_without_case_and_final_slash() {
        assert_eq!(origin("HTTPS://A.example/"), origin("https://a.EXAMPLE"));
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_eq!(origin("ftp://a.example"), None);
    }
}
