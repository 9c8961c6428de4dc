//! What Create Session says of its fields: the messages of 13400. The rules are `ingo::contract`'s, asked of the bytes as they came: what
//! the proxy's validation finds is what is refused here, nothing more and nothing less.
//!
//! Dotted names for nested fields are invented.

use std::collections::BTreeMap;

use crate::ingo::contract::{self, Profile};

/// Messages by field, as they stand in `data` of a 13400.
pub(super) type Findings = BTreeMap<&'static str, Vec<String>>;

/// Checks the body of a Create Session; empty if there is nothing to say.
pub(super) fn check(body: &[u8], profile: Profile) -> Findings {
    let mut findings = Findings::new();
    for finding in contract::check(body, profile) {
        let messages = findings.entry(finding.field).or_default();
        messages.push(finding.in_ingos_words());
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(body: Value) -> Value {
        json!(check(body.to_string().as_bytes(), Profile::Newer))
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
}
