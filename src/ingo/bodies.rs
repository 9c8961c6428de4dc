//! A table of Create Session bodies, good and bad, made from both of Ingo's documents (protocol.md §3), and what each profile
//! says of each. The emulator is asked the same in its own tests.

use super::contract::{Profile, check};

/// A whole request in which the recipient's `field` is `value`, or is left out where that is empty.
fn recipient(field: &str, value: &str) -> String {
    let whole = [
        ("first_name", r#""Ada""#),
        ("last_name", r#""Lovelace""#),
        ("address_line1", r#""1 Main St""#),
        ("city", r#""Atlanta""#),
        ("state", r#""GA""#),
        ("zip_code", r#""30313""#),
    ];
    let mut members: Vec<String> = whole
        .iter()
        .filter(|(name, _)| *name != field)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    if !value.is_empty() {
        members.push(format!("\"{field}\":{value}"));
    }
    let members = members.join(",");
    format!(r#"{{"participant_unique_id1":"p","recipient_information":{{{members}}}}}"#)
}

/// A whole request in which the `field` at the top is `value`, or is left out where that is empty.
fn top(field: &str, value: &str) -> String {
    let whole = recipient("none", "");
    let body = match field {
        "participant_unique_id1" => whole.replace(r#""participant_unique_id1":"p","#, ""),
        "recipient_information" => r#"{"participant_unique_id1":"p"}"#.to_owned(),
        _ => whole,
    };
    if value.is_empty() {
        return body;
    }
    body.replacen('{', &format!("{{\"{field}\":{value},"), 1)
        .replace(",}", "}")
}

fn text(characters: usize) -> String {
    format!("\"{}\"", "é".repeat(characters))
}

/// Body, and `field rule` of what the newer document finds, and what the older finds besides.
pub(crate) fn table() -> Vec<(String, Vec<&'static str>, Vec<&'static str>)> {
    const ID1: &str = "participant_unique_id1";
    let mut rows = vec![
        // Whole requests, and what each document knows that the other does not.
        (recipient("none", ""), vec![], vec![]),
        (recipient("business_name", r#""Acme""#), vec![], vec![]),
        (recipient("business_name", &text(500)), vec![], vec![]),
        (
            recipient("open_banking", r#"{"mobus_customer_id":"9999"}"#),
            vec![],
            vec![],
        ),
        (
            recipient("a_field_of_tomorrow", r#"[{"x":1e999}]"#),
            vec![],
            vec![],
        ),
        (top("a_field_of_tomorrow", "-1e-999"), vec![], vec![]),
        (
            top(
                "deep",
                &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
            ),
            vec![],
            vec![],
        ),
        // The whole.
        ("[]".to_owned(), vec!["body object"], vec![]),
        ("\"text\"".to_owned(), vec!["body object"], vec![]),
        ("1e999999".to_owned(), vec!["body object"], vec![]),
        (
            "{}".to_owned(),
            vec![
                "participant_unique_id1 required",
                "recipient_information required",
            ],
            vec![],
        ),
        // participant_unique_id1: required, a string, at most 100.
        (
            top(ID1, ""),
            vec!["participant_unique_id1 required"],
            vec![],
        ),
        (
            top(ID1, "null"),
            vec!["participant_unique_id1 required"],
            vec![],
        ),
        (
            top(ID1, r#""""#),
            vec!["participant_unique_id1 required"],
            vec![],
        ),
        (top(ID1, "7"), vec!["participant_unique_id1 text"], vec![]),
        (
            top(ID1, "1e999999"),
            vec!["participant_unique_id1 text"],
            vec![],
        ),
        (
            top(ID1, r#"["p"]"#),
            vec!["participant_unique_id1 text"],
            vec![],
        ),
        (top(ID1, &text(100)), vec![], vec![]),
        (
            top(ID1, &text(101)),
            vec!["participant_unique_id1 length"],
            vec![],
        ),
        (top(ID1, r#""\ud800""#), vec![], vec![]),
        (
            top(ID1, r#""p","participant_unique_id1":"q""#),
            vec!["participant_unique_id1 repeated"],
            vec![],
        ),
        // participant_unique_id2: optional, at most 100.
        (top("participant_unique_id2", r#""""#), vec![], vec![]),
        (top("participant_unique_id2", "null"), vec![], vec![]),
        (
            top("participant_unique_id2", &text(101)),
            vec!["participant_unique_id2 length"],
            vec![],
        ),
        (
            top("participant_unique_id2", "false"),
            vec!["participant_unique_id2 text"],
            vec![],
        ),
        // host_uri: scheme and host, at most 200.
        (
            top("host_uri", r#""https://digitalpay.example:8443""#),
            vec![],
            vec![],
        ),
        (
            top("host_uri", r#""HTTP://[2001:db8::1]/""#),
            vec![],
            vec![],
        ),
        (
            top("host_uri", r#""https://digital_pay.example.:443""#),
            vec![],
            vec![],
        ),
        (top("host_uri", r#""http://127.0.0.1:""#), vec![], vec![]),
        (
            top("host_uri", r#""https://:443""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""https://[[[""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""https://a..b""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""https://digitalpay.example:99999""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""https://[digitalpay]""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""digitalpay.example""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""https://digitalpay.example/path""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (
            top("host_uri", r#""ftp://digitalpay.example""#),
            vec!["host_uri host_uri"],
            vec![],
        ),
        (top("host_uri", &text(201)), vec!["host_uri length"], vec![]),
        (top("host_uri", "{}"), vec!["host_uri text"], vec![]),
        // language_locale_code: of the list, which rules over the documented maximum of 5.
        (top("language_locale_code", r#""en-US""#), vec![], vec![]),
        (top("language_locale_code", r#""hmn-Latn""#), vec![], vec![]),
        (top("language_locale_code", r#""zh-Hans""#), vec![], vec![]),
        (
            top("language_locale_code", r#""en-us""#),
            vec!["language_locale_code locale"],
            vec![],
        ),
        (
            top("language_locale_code", r#""en-XX""#),
            vec!["language_locale_code locale"],
            vec![],
        ),
        (top("language_locale_code", r#""""#), vec![], vec![]),
        // recipient_information: a required object.
        (
            top("recipient_information", ""),
            vec!["recipient_information required"],
            vec![],
        ),
        (
            top("recipient_information", "null"),
            vec!["recipient_information required"],
            vec![],
        ),
        (
            top("recipient_information", "[]"),
            vec!["recipient_information object"],
            vec![],
        ),
        (
            top("recipient_information", r#""text""#),
            vec!["recipient_information object"],
            vec![],
        ),
        // Of the recipient.
        (
            recipient("state", r#""Georgia""#),
            vec!["recipient_information.state length"],
            vec![],
        ),
        (
            recipient("state", r#""ZZ""#),
            vec!["recipient_information.state state"],
            vec![],
        ),
        (
            recipient("state", r#""ga""#),
            vec!["recipient_information.state state"],
            vec![],
        ),
        (recipient("state", r#""PR""#), vec![], vec![]),
        (recipient("zip_code", r#""30313-1234""#), vec![], vec![]),
        (
            recipient("zip_code", r#""3031""#),
            vec!["recipient_information.zip_code zip_code"],
            vec![],
        ),
        (
            recipient("zip_code", r#""303131234""#),
            vec!["recipient_information.zip_code zip_code"],
            vec![],
        ),
        (
            recipient("zip_code", r#""30313-12345""#),
            vec!["recipient_information.zip_code length"],
            vec![],
        ),
        (
            recipient("zip_code", "30313"),
            vec!["recipient_information.zip_code text"],
            vec![],
        ),
        (recipient("email_address", &text(150)), vec![], vec![]),
        (
            recipient("email_address", &text(151)),
            vec!["recipient_information.email_address length"],
            vec![],
        ),
        (recipient("phone_number", r#""4045550100""#), vec![], vec![]),
        (
            recipient("phone_number", r#""404-555-01""#),
            vec!["recipient_information.phone_number digits"],
            vec![],
        ),
        (
            recipient("phone_number", r#""14045550100""#),
            vec!["recipient_information.phone_number length"],
            vec![],
        ),
        (recipient("mobile_number", r#""""#), vec![], vec![]),
        (
            recipient("mobile_number", r#""+140455501""#),
            vec!["recipient_information.mobile_number digits"],
            vec![],
        ),
        (
            recipient("mobile_number", "4045550100"),
            vec!["recipient_information.mobile_number text"],
            vec![],
        ),
        (recipient("address_line2", r#""""#), vec![], vec![]),
        (
            recipient("address_line2", &text(151)),
            vec!["recipient_information.address_line2 length"],
            vec![],
        ),
        (
            recipient("city", r#""a","city":"b""#),
            vec!["recipient_information.city repeated"],
            vec![],
        ),
    ];
    // What the older document requires and the newer does not.
    for (field, missing, too_long) in [
        (
            "first_name",
            "recipient_information.first_name required",
            "recipient_information.first_name length",
        ),
        (
            "last_name",
            "recipient_information.last_name required",
            "recipient_information.last_name length",
        ),
        (
            "address_line1",
            "recipient_information.address_line1 required",
            "recipient_information.address_line1 length",
        ),
        (
            "city",
            "recipient_information.city required",
            "recipient_information.city length",
        ),
    ] {
        rows.push((recipient(field, ""), vec![], vec![missing]));
        rows.push((recipient(field, r#""""#), vec![], vec![missing]));
        rows.push((recipient(field, &text(150)), vec![], vec![]));
        rows.push((recipient(field, &text(151)), vec![too_long], vec![]));
    }
    for (field, missing) in [
        ("state", "recipient_information.state required"),
        ("zip_code", "recipient_information.zip_code required"),
    ] {
        rows.push((recipient(field, "null"), vec![], vec![missing]));
    }
    rows
}

fn found(body: &str, profile: Profile) -> Vec<String> {
    let findings = check(body.as_bytes(), profile);
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.field, finding.rule.as_str()))
        .collect()
}

#[test]
fn each_profile_says_of_each_body_what_its_document_says() {
    let rows = table();
    assert!(rows.len() >= 60, "{}", rows.len());
    for (body, newer, besides) in rows {
        let shown: String = body.chars().take(300).collect();
        assert_eq!(found(&body, Profile::Newer), newer, "{shown}");
        let mut older: Vec<_> = newer.iter().chain(&besides).copied().collect();
        older.sort_unstable();
        let mut told = found(&body, Profile::Older);
        told.sort();
        assert_eq!(told, older, "{shown}");
    }
}

#[test]
fn a_body_does_not_decide_how_much_is_said_of_it() {
    let repeated = "\"city\":1,".repeat(10_000);
    let body = format!(
        "{{\"participant_unique_id1\":\"p\",\"recipient_information\":{{{repeated}\"state\":1}}}}"
    );
    let expected = [
        "recipient_information.city text",
        "recipient_information.city repeated",
        "recipient_information.state text",
    ];
    assert_eq!(found(&body, Profile::Newer), expected);
}

#[test]
fn whatever_a_body_holds_is_read_without_a_panic() {
    proptest::proptest!(|(body: Vec<u8>)| {
        check(&body, Profile::Newer);
    });
    for body in [
        "{\"\\ud800\":1}",
        "{\"recipient_information\":{\"\\udc00\":{}}}",
    ] {
        check(body.as_bytes(), Profile::Older);
    }
}

#[test]
fn a_finding_names_a_field_and_a_rule_and_never_a_value() {
    for (body, _, _) in table() {
        for finding in check(body.as_bytes(), Profile::Older) {
            let told = format!("{finding:?} {finding}");
            for value in ["Lovelace", "Atlanta", "é", "404", "303", "digitalpay"] {
                assert!(!told.contains(value), "{told}");
            }
        }
    }
}
