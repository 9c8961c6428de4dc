//! An HTTP Archive (HAR 1.2): the JSON in which browsers and debugging proxies export what they sent.
//!
//! It holds the body as text, so bytes that are no UTF-8 were lost before; and the URL as the tool writes it, which is not
//! always what was on the wire. Only one request is read; no response, cookie or timing is even looked at.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{BodyFound, Broken, Message, chosen, framing, head::Head};
use crate::framing::is_token;

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    http_version: String,
    headers: Vec<Field>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    text: Option<String>,
    /// Not in the standard; tools that keep bytes write `base64`, as in a response's content.
    encoding: Option<String>,
}

/// Reads the request that is meant, or the `entry`th.
pub(super) fn read(input: &[u8], entry: Option<usize>) -> Result<Message, Broken> {
    let har: Har = serde_json::from_slice(input).map_err(|error| broken(input, &error))?;
    let (entry, note) = chosen(
        &har.log.entries,
        |entry| entry.request.method.as_bytes(),
        entry,
    )
    .map_err(|problem| Broken::at(0, problem))?;
    let mut notes: Vec<String> = note.into_iter().collect();
    let head = head(&entry.request, &mut notes)?;

    let data = entry.request.post_data.as_ref();
    let text = data.and_then(|data| data.text.as_deref()).unwrap_or("");
    let encoded = data
        .and_then(|data| data.encoding.as_deref())
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"));
    let body = if encoded {
        STANDARD
            .decode(text)
            .map_err(|_| Broken::at(0, "the request's postData says base64 and is not"))?
    } else {
        text.as_bytes().to_vec()
    };
    // The archive states the body; Content-Length is asked only whether an empty one is meant.
    let found = match framing::body(&head, &body).1 {
        BodyFound::Nowhere => BodyFound::Nowhere,
        _ if !encoded && text.contains(char::REPLACEMENT_CHARACTER) => BodyFound::Blurred,
        _ => BodyFound::Rest,
    };
    Ok(Message {
        head,
        body,
        found,
        notes,
    })
}

fn head(request: &Request, notes: &mut Vec<String>) -> Result<Head, Broken> {
    let pseudo = |name: &str| {
        let field = request.headers.iter().find(|field| field.name == name)?;
        Some(field.value.as_str())
    };
    let target = pseudo(":path").map_or_else(|| target(&request.url), Cow::from);
    let named = request.http_version.to_ascii_uppercase();
    // Chrome writes http/2.0 or h2, Firefox HTTP/2; a tool that does not know writes nothing or `unknown`.
    let version = match named.as_str() {
        "H2" | "H2C" => "HTTP/2",
        "H3" => "HTTP/3",
        other if other.starts_with("HTTP/") => other,
        _ if pseudo(":path").is_some() => "HTTP/2",
        _ => {
            notes.push(
                "the HAR does not say which HTTP version was used: HTTP/1.1 is taken".to_owned(),
            );
            "HTTP/1.1"
        }
    };
    let headers: Vec<(String, Vec<u8>)> = request
        .headers
        .iter()
        .filter(|field| !field.name.starts_with(':'))
        .map(|field| (field.name.clone(), field.value.clone().into_bytes()))
        .collect();
    let length = headers.iter().fold(target.len(), |sum, (name, value)| {
        sum + name.len() + value.len()
    });
    if length > super::MAX_HEAD {
        return Err(Broken::at(
            0,
            "the request's url and headers are beyond 256 KiB",
        ));
    }
    if !is_token(request.method.as_bytes())
        || headers.iter().any(|(name, _)| !is_token(name.as_bytes()))
    {
        return Err(Broken::at(
            0,
            "the request's method or a header's name has characters that neither can have",
        ));
    }
    Ok(Head {
        method: request.method.clone(),
        target: target.as_bytes().to_vec(),
        version: version.to_owned(),
        headers,
    })
}

/// The request target that `url` leads to: all from the path on, as it is written, without a fragment.
fn target(url: &str) -> Cow<'_, str> {
    let url = url.split('#').next().unwrap_or(url);
    // Some proxies write a bare target.
    if url.starts_with('/') {
        return url.into();
    }
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find(['/', '?']).map(|at| &rest[at..]) {
        None => "/".into(),
        Some(query) if query.starts_with('?') => format!("/{query}").into(),
        Some(path) => path.into(),
    }
}

/// Where the JSON is not what it should be. The parser's own message may repeat a value of the request, so it is not used.
fn broken(input: &[u8], error: &serde_json::Error) -> Broken {
    let line_begin: usize = input
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let offset = (line_begin + error.column().saturating_sub(1)).min(input.len());
    Broken::at(
        offset,
        match error.classify() {
            serde_json::error::Category::Eof => "the JSON ends in the middle: is the file whole?",
            serde_json::error::Category::Data => {
                "the JSON is no HAR: log.entries[].request with method, url and headers is expected"
            }
            _ => "this is not JSON",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn har(request: &str) -> String {
        format!(r#"{{"log":{{"version":"1.2","entries":[{{"time":1,"request":{request}}}]}}}}"#)
    }

    fn message(more: &str) -> Message {
        let request = format!(
            r#"{{"method":"POST","url":"https://h:1/a%2Fb?c=d#e","headers":[{{"name":"A","value":"b"}}]{more}}}"#
        );
        read(har(&request).as_bytes(), None)
            .map_err(|broken| broken.problem)
            .expect("readable")
    }

    #[test]
    fn the_target_is_the_url_from_the_path_on_as_it_is_written() {
        assert_eq!(message("").head.target, b"/a%2Fb?c=d");
        for (url, path) in [
            ("https://h", "/"),
            ("https://h#f", "/"),
            ("https://h?a", "/?a"),
            ("/a?b://c", "/a?b://c"),
            ("http://h/a//b", "/a//b"),
        ] {
            assert_eq!(target(url), path, "{url}");
        }
    }

    #[test]
    fn versions_are_named_as_on_the_wire() {
        for (named, version) in [
            ("http/1.1", "HTTP/1.1"),
            ("h2", "HTTP/2"),
            ("http/2.0", "HTTP/2.0"),
            ("h3", "HTTP/3"),
            ("unknown", "HTTP/1.1"),
        ] {
            let message = message(&format!(r#","httpVersion":"{named}""#));
            assert_eq!(message.head.version, version);
            assert_eq!(message.notes.is_empty(), named != "unknown");
        }
    }

    #[test]
    fn a_body_is_text_or_base64_or_not_there() {
        assert_eq!(message("").found, BodyFound::Nowhere);
        assert_eq!(message(r#","postData":null"#).found, BodyFound::Nowhere);
        let text = message(r#","postData":{"mimeType":"x","text":"{\"a\":\"\u00e4\"}"}"#);
        assert_eq!(
            (text.body.as_slice(), text.found),
            ("{\"a\":\"ä\"}".as_bytes(), BodyFound::Rest)
        );
        assert_eq!(
            message(r#","postData":{"text":"eyJ9","encoding":"base64"}"#).body,
            b"{\"}"
        );
        assert_eq!(
            message(r#","postData":{"text":"\ufffd"}"#).found,
            BodyFound::Blurred
        );
    }

    #[test]
    fn what_is_no_har_is_refused_where_it_breaks_and_not_repeated() {
        for (input, offset) in [
            ("{\n \"log\": tru3}", 14),
            (r#"{"log":{"entries":["#, 19),
            (r#"{"log":"hunter2"}"#, 16),
        ] {
            let broken = read(input.as_bytes(), None)
                .map(|it| it.body)
                .expect_err(input);
            assert!(
                broken.offset.abs_diff(offset) <= 2,
                "{input}: {}",
                broken.offset
            );
            assert!(!broken.problem.contains("hunter2"));
        }
        assert!(read(br#"{"log":{"entries":[]}}"#, None).is_err());
        assert!(
            read(
                har(r#"{"method":"P OST","url":"/","headers":[]}"#).as_bytes(),
                None
            )
            .is_err()
        );
    }
}
