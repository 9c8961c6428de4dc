//! The field rules of Create Session (protocol.md §3): what Ingo says no to, said before Ingo does.
//!
//! Ingo publishes two documents that do not agree. Each is a [`Profile`]; what only one of them says is a rule in that one
//! only. Unknown fields are nobody's business: Ingo adds fields over time. A body is read once, no tree is built of it, and a
//! finding names a field and a rule, never a value.

use std::fmt;

use super::json::{Members, text};

/// Which of Ingo's documents is gone by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The API reference: of the recipient it requires nothing.
    #[default]
    Newer,
    /// The integration guide: name and address of the recipient are required.
    Older,
}

impl Profile {
    /// By its name in the configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "newer" => Some(Self::Newer),
            "older" => Some(Self::Older),
            _ => None,
        }
    }
}

words! {
    /// What a field breaks. The names are label values of `validation_findings_total`.
    Rule {
        /// It is missing, null or empty, and must not be.
        Required = "required";
        /// It is no string.
        Text = "text";
        /// It is no object.
        Object = "object";
        /// It has too many characters.
        Length = "length";
        /// It is none of the documented locales.
        Locale = "locale";
        /// It is no scheme and host.
        HostUri = "host_uri";
        /// It is no US state, territory or military mail state, as two capital letters.
        State = "state";
        /// It is neither `NNNNN` nor `NNNNN-NNNN`.
        ZipCode = "zip_code";
        /// It has something other than digits.
        Digits = "digits";
        /// It stands there more than once, and which one Ingo takes is not known.
        Repeated = "repeated";
    }
}

/// A field that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field, dotted where it is one of an object; `body` where it is the whole.
    pub field: &'static str,
    /// What it breaks.
    pub rule: Rule,
    /// The most characters that it may have, where it has more.
    pub longest: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Required => f.write_str("is required"),
            Rule::Text => f.write_str("must be a string"),
            Rule::Object => f.write_str("must be an object"),
            Rule::Length => write!(f, "must have at most {} characters", self.longest),
            Rule::Locale => {
                f.write_str("must be one of the locales that Ingo documents, such as en-US")
            }
            Rule::HostUri => {
                f.write_str("must be a scheme and a host, such as https://www.example.com")
            }
            Rule::State => f.write_str("must be a US state of two capital letters, such as GA"),
            Rule::ZipCode => f.write_str("must be NNNNN or NNNNN-NNNN"),
            Rule::Digits => f.write_str("must be digits only"),
            Rule::Repeated => f.write_str("stands there more than once"),
        }
    }
}

impl Finding {
    /// As Ingo words it in `data` of a 13400. The message of a missing field is Ingo's own (protocol.md §3); the wording of all
    /// others is in the style of the framework that words its messages so (ASP.NET's data annotations).
    pub fn in_ingos_words(&self) -> String {
        let name = self.field.rsplit('.').next().unwrap_or_default();
        let shown = pascal_case(name);
        match self.rule {
            Rule::Required => format!("The {shown} field is required."),
            Rule::Text => format!("The field {shown} must be a string."),
            Rule::Object => format!("The field {shown} must be an object."),
            Rule::Length => format!(
                "The field {shown} must be a string with a maximum length of {}.",
                self.longest
            ),
            Rule::Locale
            | Rule::HostUri
            | Rule::State
            | Rule::ZipCode
            | Rule::Digits
            | Rule::Repeated => format!("The field {shown} is invalid."),
        }
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

/// A field and what it must be.
struct Field {
    name: &'static str,
    /// Where it is told of.
    path: &'static str,
    form: Form,
    longest: usize,
    required: Required,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Required {
    No,
    /// In the older document only.
    InOlder,
    Yes,
}

/// What a value must be beyond not being too long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Locale,
    HostUri,
    State,
    ZipCode,
    Digits,
    Recipient,
}

const fn field(
    name: &'static str,
    path: &'static str,
    form: Form,
    longest: usize,
    required: Required,
) -> Field {
    Field {
        name,
        path,
        form,
        longest,
        required,
    }
}

/// The fields at the top, in the order of the document.
const TOP: &[Field] = &[
    field(
        "participant_unique_id1",
        "participant_unique_id1",
        Form::Text,
        100,
        Required::Yes,
    ),
    field(
        "participant_unique_id2",
        "participant_unique_id2",
        Form::Text,
        100,
        Required::No,
    ),
    field("host_uri", "host_uri", Form::HostUri, 200, Required::No),
    // The documented maximum of 5 contradicts the list, and the list rules.
    field(
        "language_locale_code",
        "language_locale_code",
        Form::Locale,
        usize::MAX,
        Required::No,
    ),
    field(
        "recipient_information",
        "recipient_information",
        Form::Recipient,
        usize::MAX,
        Required::Yes,
    ),
];

macro_rules! of_recipient {
    ($name:literal, $form:ident, $longest:expr, $required:ident) => {
        field(
            $name,
            concat!("recipient_information.", $name),
            Form::$form,
            $longest,
            Required::$required,
        )
    };
}

/// Those of `recipient_information`.
const RECIPIENT: &[Field] = &[
    of_recipient!("first_name", Text, 150, InOlder),
    of_recipient!("last_name", Text, 150, InOlder),
    // The newer document only, without a length.
    of_recipient!("business_name", Text, usize::MAX, No),
    of_recipient!("address_line1", Text, 150, InOlder),
    of_recipient!("address_line2", Text, 150, No),
    of_recipient!("city", Text, 150, InOlder),
    of_recipient!("state", State, 2, InOlder),
    of_recipient!("zip_code", ZipCode, 10, InOlder),
    // Required for PayPal-enabled participants, which a body does not tell.
    of_recipient!("email_address", Text, 150, No),
    of_recipient!("phone_number", Digits, 10, No),
    of_recipient!("mobile_number", Digits, 10, No),
];

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

/// Whether a member of a body is one that is checked.
pub(super) fn is_asked_for(name: &[u8]) -> bool {
    position(TOP, name).is_some()
}

/// What the body of a Create Session breaks, in the order of the document; nothing where it is well.
pub fn check(body: &[u8], profile: Profile) -> Vec<Finding> {
    check_members(
        &Members::of_json(body, is_asked_for).unwrap_or_default(),
        profile,
    )
}

/// As [`check`], of a body of which the members are here: at least those that [`is_asked_for`](super::is_asked_for).
pub fn check_members(members: &Members<'_>, profile: Profile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if members.are_of_an_object {
        check_object(TOP, members, profile, &mut findings);
    } else {
        findings.push(Finding {
            field: "body",
            rule: Rule::Object,
            longest: 0,
        });
    }
    let position = |finding: &Finding| {
        let all = TOP.iter().chain(RECIPIENT);
        all.map(|field| field.path)
            .position(|path| path == finding.field)
    };
    findings.sort_by_key(position);
    findings
}

fn position(fields: &[Field], name: &[u8]) -> Option<usize> {
    fields
        .iter()
        .position(|field| field.name.as_bytes() == name)
}

fn check_object(
    fields: &'static [Field],
    members: &Members<'_>,
    profile: Profile,
    findings: &mut Vec<Finding>,
) {
    let mut seen = [false; 16];
    let mut given = [false; 16];
    let mut repeated = [false; 16];
    for (name, json) in members.iter() {
        let Some(index) = position(fields, name) else {
            continue;
        };
        let field = &fields[index];
        if seen[index] {
            // Told once, however often: a body must not decide how much is said of it.
            if !std::mem::replace(&mut repeated[index], true) {
                findings.push(field.breaks(Rule::Repeated));
            }
            continue;
        }
        seen[index] = true;
        given[index] = field.check(json, profile, findings);
    }
    for (field, given) in fields.iter().zip(given) {
        let required = match field.required {
            Required::Yes => true,
            Required::InOlder => profile == Profile::Older,
            Required::No => false,
        };
        if required && !given {
            findings.push(field.breaks(Rule::Required));
        }
    }
}

impl Field {
    fn breaks(&self, rule: Rule) -> Finding {
        Finding {
            field: self.path,
            rule,
            longest: if rule == Rule::Length {
                self.longest
            } else {
                0
            },
        }
    }

    /// Checks a value, given as JSON; whether there is one: null and the empty string are none.
    fn check(&self, json: &str, profile: Profile, findings: &mut Vec<Finding>) -> bool {
        if json == "null" || json == "\"\"" {
            return false;
        }
        if self.form == Form::Recipient {
            let members = Members::of_value(json, |name| position(RECIPIENT, name).is_some());
            if members.are_of_an_object {
                check_object(RECIPIENT, &members, profile, findings);
            } else {
                findings.push(self.breaks(Rule::Object));
            }
            return true;
        }
        if !json.starts_with('"') {
            findings.push(self.breaks(Rule::Text));
            return true;
        }
        // A lone surrogate is grammatical and no text: what Ingo makes of it is Ingo's affair.
        let Some(text) = text(json) else {
            return true;
        };
        // No text has more characters than bytes.
        if text.len() > self.longest && text.chars().count() > self.longest {
            findings.push(self.breaks(Rule::Length));
        } else if let Some(rule) = self.form.broken_by(&text) {
            findings.push(self.breaks(rule));
        }
        true
    }
}

impl Form {
    fn broken_by(self, text: &str) -> Option<Rule> {
        let (fits, rule) = match self {
            Self::Text | Self::Recipient => return None,
            Self::Locale => (LOCALES.contains(&text), Rule::Locale),
            Self::HostUri => (origin(text).is_some(), Rule::HostUri),
            Self::State => (STATES.contains(&text), Rule::State),
            Self::ZipCode => (is_zip(text), Rule::ZipCode),
            Self::Digits => (text.bytes().all(|byte| byte.is_ascii_digit()), Rule::Digits),
        };
        (!fits).then_some(rule)
    }
}

/// Scheme and host of a `host_uri`, in lower case, to compare by; `None` if it has anything else.
pub fn origin(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let well = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") && is_host(host);
    well.then(|| format!("{scheme}://{host}").to_ascii_lowercase())
}

/// A name, an IPv4 address or, in brackets, an IPv6 address, and perhaps a port. What could be one is: Ingo has the last word.
fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (is_host, rest) = match bracketed {
        Some((address, rest)) => {
            let part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (address.contains(':') && address.bytes().all(part), rest)
        }
        None => {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
            let is_label = |label: &str| !label.is_empty() && label.bytes().all(part);
            (labels.all(is_label), rest)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    is_host && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
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
