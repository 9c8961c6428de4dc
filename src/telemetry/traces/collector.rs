//! One request to the collector. Blocking: the exporter's thread has nothing else to do.
//!
//! It is asked directly, whatever proxy the way to Ingo takes, and no redirect is followed: header fields of a file may be
//! credentials.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, header};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{TracingError, otlp::rejected};
use crate::{config::Tracing, secret::Secret, tls::provider};

/// No header fields are this long, in bytes; a log file named by mistake may be.
const LARGEST_FILE: usize = 64 * 1024;
/// An answer is a few words; of a longer one no more is read.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Where spans go.
#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    url: String,
    headers_file: Option<PathBuf>,
}

/// Why spans did not get through.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Sending them again does not help.
    Final(String),
    /// It may, after this time where the collector says so.
    ForNow(String, Option<Duration>),
}

impl Collector {
    /// Prepares what `tracing` says. Connects to nothing.
    ///
    /// # Errors
    /// [`TracingError`] where the header fields cannot be used, or there is nothing to verify the collector with.
    pub(super) fn new(tracing: &Tracing) -> Result<Self, TracingError> {
        let mut tls = TlsConfig::builder();
        if tracing.collector.origin.tls {
            let _installed = provider();
            tls = tls.root_certs(roots()?);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("ingo-signing-proxy/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(1)
            .tls_config(tls.build())
            .build();
        let collector = Self {
            agent: config.into(),
            url: tracing.collector.to_string(),
            headers_file: tracing.headers_file.clone(),
        };
        // It is read anew for each batch; where it cannot be read at all, this is the time to say so.
        collector.header_fields().map_err(TracingError)?;
        Ok(collector)
    }

    /// Sends `body` within `limit`. Answers how many of its spans were not taken.
    pub(super) fn export(&self, body: &[u8], limit: Duration) -> Result<u64, Refusal> {
        let fields = self
            .header_fields()
            .map_err(|why| Refusal::ForNow(why, None))?;
        let mut request = self.agent.post(&self.url);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let sent = request
            .config()
            .timeout_global(Some(limit))
            .build()
            .header(header::CONTENT_TYPE, "application/json")
            .send(body);
        let mut answer = sent.map_err(|error| Refusal::ForNow(error.to_string(), None))?;
        let status = answer.status();
        let asked = answer.headers().get(header::RETRY_AFTER);
        let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // Read whole, so that the connection can be used again; and one that cannot be read says no more than its status.
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER);
        let text = text.read_to_vec().unwrap_or_default();
        if status.is_success() {
            return Ok(rejected(&text));
        }
        let why = format!("the collector answered with status {}", status.as_u16());
        // OTLP specification, "Failures": these may be repeated, and no others.
        match status.as_u16() {
            429 | 502 | 503 | 504 => Err(Refusal::ForNow(why, asked.map(Duration::from_secs))),
            _ => Err(Refusal::Final(why)),
        }
    }

    fn header_fields(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let Some(file) = &self.headers_file else {
            return Ok(Vec::new());
        };
        let told = |why: String| format!("tracing.headers_file: {}: {why}", file.display());
        let text = read(file).map_err(|error| told(format!("cannot be read: {error}")))?;
        if text.expose().len() > LARGEST_FILE {
            return Err(told("is larger than 64 KiB".to_owned()));
        }
        let mut fields = Vec::new();
        for (index, line) in text.expose().split(|b| *b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            fields.push(field(line).ok_or_else(|| {
                told(format!(
                    "line {} is no header field that may be set; write Name: value, such as Authorization: Bearer …",
                    index + 1
                ))
            })?);
        }
        Ok(fields)
    }
}

/// Not more than tells that it is too large.
fn read(file: &Path) -> io::Result<Secret> {
    let mut text = Vec::with_capacity(LARGEST_FILE + 1);
    File::open(file)?
        .take(LARGEST_FILE as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(Secret::new(text))
}

/// A field of one line; none that frames the request or says what it is.
fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let own = [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING];
    if own.contains(&name) || name.as_str().starts_with("content-") {
        return None;
    }
    let mut value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// The system's, those of SSL_CERT_FILE where that is set.
fn roots() -> Result<RootCerts, TracingError> {
    let found = rustls_native_certs::load_native_certs().unwrap_or_default();
    if found.is_empty() {
        return Err(TracingError(
            "no root certificates were found on this system, so the collector of tracing.otlp_endpoint cannot be verified; install the package ca-certificates, or name a PEM file with the environment variable SSL_CERT_FILE"
                .to_owned(),
        ));
    }
    let certificates = found
        .iter()
        .map(|der| Certificate::from_der(der).to_owned());
    Ok(RootCerts::Specific(Arc::new(certificates.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_field_unless_it_frames_the_request() {
        let (name, value) = field(b"Authorization:  Bearer t:0 \r").expect("a field");
        assert_eq!(name, "authorization");
        assert_eq!(value.as_bytes(), b"Bearer t:0");
        assert!(value.is_sensitive());
        for bad in [
            "no colon",
            ": value",
            "a name: value",
            "Content-Type: text/plain",
            "Content-Length: 0",
            "Host: elsewhere",
            "Transfer-Encoding: chunked",
            "X: a\u{0}b",
        ] {
            assert!(field(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
