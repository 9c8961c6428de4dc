//! Spans as OTLP's JSON (OpenTelemetry protocol, "JSON Protobuf Encoding"): identifiers in hexadecimal digits, 64-bit numbers
//! as text, enumerations as numbers.

use std::{borrow::Cow, fmt::Display};

use serde::{Serialize, Serializer};

use super::spans::{Span, Value};
use crate::traceparent::{SpanId, TraceId};

/// Flags of a span: that it is recorded, that it is known where its parent runs, and that this is elsewhere.
const SAMPLED: u32 = 0x1;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// Who sends: told with each batch.
#[derive(Debug)]
pub(super) struct Sender {
    service_name: String,
    instance: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: [Attribute<'a>; 3],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    trace_id: AsText<TraceId>,
    span_id: AsText<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<AsText<SpanId>>,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: AsText<u64>,
    end_time_unix_nano: AsText<u64>,
    attributes: Vec<Attribute<'a>>,
    status: Status,
}

#[derive(Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    StringValue(Cow<'a, str>),
    IntValue(AsText<u32>),
}

/// Written as its text.
struct AsText<T>(T);

impl<T: Display> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Sender {
    /// A process of that service; `instance` tells it from others.
    pub(super) fn new(service_name: &str, instance: String) -> Self {
        Self {
            service_name: service_name.to_owned(),
            instance,
        }
    }

    /// The body of a request that exports `spans`.
    pub(super) fn encode(&self, spans: &[Span]) -> Vec<u8> {
        fn text<'a>(key: &'a str, text: &'a str) -> Attribute<'a> {
            let value = AnyValue::StringValue(text.into());
            Attribute { key, value }
        }
        let request = Request {
            resource_spans: [ResourceSpans {
                resource: Resource {
                    attributes: [
                        text("service.name", &self.service_name),
                        text("service.version", env!("CARGO_PKG_VERSION")),
                        text("service.instance.id", &self.instance),
                    ],
                },
                scope_spans: [ScopeSpans {
                    scope: Scope {
                        name: env!("CARGO_CRATE_NAME"),
                        version: env!("CARGO_PKG_VERSION"),
                    },
                    spans: spans.iter().map(written).collect(),
                }],
            }],
        };
        serde_json::to_vec(&request).expect("maps with text for keys, and memory takes every byte")
    }
}

fn written(span: &Span) -> Written<'_> {
    let remote = if span.is_entry && span.parent.is_some() {
        IS_REMOTE
    } else {
        0
    };
    let attributes = span.attributes.iter().map(|(key, value)| Attribute {
        key,
        value: match value {
            Value::Word(word) => AnyValue::StringValue((*word).into()),
            Value::Host(host) => AnyValue::StringValue(host.into()),
            Value::Digits(number) => AnyValue::StringValue(number.to_string().into()),
            Value::Id(id) => AnyValue::StringValue(id.as_hyphenated().to_string().into()),
            Value::Number(number) => AnyValue::IntValue(AsText(*number)),
        },
    });
    Written {
        trace_id: AsText(span.trace),
        span_id: AsText(span.id),
        parent_span_id: span.parent.map(AsText),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
        name: span.name,
        kind: span.kind as u8,
        start_time_unix_nano: AsText(span.began),
        end_time_unix_nano: AsText(span.ended),
        attributes: attributes.collect(),
        status: Status {
            code: span.failed.then_some(ERROR),
        },
    }
}

/// How many spans the collector says it did not take, in the body of an answer that is a success otherwise.
pub(super) fn rejected(body: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    let text = rejected.as_str().and_then(|text| text.parse().ok());
    rejected.as_u64().or(text).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::spans::Kind, *};

    #[test]
    fn a_span_is_written_as_the_protocol_has_it() {
        let span = Span {
            trace: TraceId::new([0x4b; 16]).expect("not zero"),
            id: SpanId::new([1; 8]).expect("not zero"),
            parent: SpanId::new([2; 8]),
            is_entry: true,
            name: "create_session",
            kind: Kind::Server,
            began: u64::MAX - 1,
            ended: u64::MAX,
            attributes: vec![
                ("a.text", Value::Word("words")),
                ("a.number", Value::Number(503)),
            ],
            failed: true,
        };
        let sent = Sender::new("a-service", "one".to_owned()).encode(&[span]);
        let sent: serde_json::Value = serde_json::from_slice(&sent).expect("JSON");
        let sent = &sent["resourceSpans"][0];
        assert_eq!(
            sent["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "a-service"}})
        );
        assert_eq!(
            sent["scopeSpans"][0]["spans"],
            json!([{
                "traceId": "4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b",
                "spanId": "0101010101010101",
                "parentSpanId": "0202020202020202",
                "flags": 0x301,
                "name": "create_session",
                "kind": 2,
                "startTimeUnixNano": "18446744073709551614",
                "endTimeUnixNano": "18446744073709551615",
                "attributes": [
                    {"key": "a.text", "value": {"stringValue": "words"}},
                    {"key": "a.number", "value": {"intValue": "503"}},
                ],
                "status": {"code": 2},
            }])
        );
    }

    #[test]
    fn what_a_collector_did_not_take_is_read_in_both_of_the_forms_of_a_number() {
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":"7"}}"#), 7);
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":7}}"#), 7);
        for none in ["{}", "", "not json", r#"{"partialSuccess":{}}"#] {
            assert_eq!(rejected(none.as_bytes()), 0);
        }
    }
}
