//! The section `tracing`: whether spans are sent, where, and of how many traces.
//!
//! One place for each value, as everywhere: the variables `OTEL_…` of other programs are not read.

use std::fmt;

use super::{
    Collector, Tracing, listeners::file_path, origin::base_url, quantity::Expected, reader::Reader,
};

const ENDPOINT: &str = "tracing.otlp_endpoint";
/// Where a collector takes traces, unless the URL says otherwise (OTLP specification, "OTLP/HTTP Request").
const USUAL_PATH: &str = "/v1/traces";
const LONGEST_NAME: usize = 100;

/// Reads the section. The outer `None`: a mistake.
pub(super) fn read(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<Option<Tracing>> {
    let collector = reader.optional(ENDPOINT, collector);
    let sample_ratio = reader.required("tracing.sample_ratio", ratio);
    let service_name = reader.required("tracing.service_name", service_name);
    let headers_file = reader.optional("tracing.headers_file", file_path);
    let (collector, headers_file) = (collector?, headers_file?);
    let (sample_ratio, service_name) = (sample_ratio?, service_name?);
    let Some(collector) = collector else {
        return Some(None);
    };
    if cfg!(not(feature = "otlp")) {
        reader.reject(
            ENDPOINT,
            "is set, and this build cannot send spans; leave it out, or build with the feature otlp",
        );
        return None;
    }
    if headers_file.is_some() && !collector.origin.tls && !collector.origin.is_loopback() {
        warnings.push(
            "what is in tracing.headers_file goes to the collector in cleartext and can be read on the way; use https:// in tracing.otlp_endpoint"
                .to_owned(),
        );
    }
    Some(Some(Tracing {
        collector,
        sample_ratio,
        service_name,
        headers_file,
    }))
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

fn collector(text: &str) -> Result<Collector, Expected> {
    // A scheme has two slashes of its own.
    let authority = text.find("://").map_or(0, |at| at + "://".len());
    let path = text[authority..]
        .find('/')
        .map_or(text.len(), |at| authority + at);
    let (base, path) = text.split_at(path);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b);
    if !path.bytes().all(plain) {
        return Err(
            "must end with a path such as /v1/traces, without a query; credentials for the collector are set by tracing.headers_file"
                .to_owned(),
        );
    }
    let origin = base_url(base).map_err(|expected| {
        if base.contains('@') {
            "must not hold a user name or password; credentials for the collector are set by tracing.headers_file"
                .to_owned()
        } else {
            expected
        }
    })?;
    let path = if matches!(path, "" | "/") {
        USUAL_PATH
    } else {
        path
    };
    Ok(Collector {
        origin,
        path: path.to_owned(),
    })
}

fn ratio(text: &str) -> Result<f64, Expected> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: Option<f64> = text.parse().ok().filter(|_| plain);
    number
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| "must be a number from 0 to 1, such as 0.1".to_owned())
}

fn service_name(text: &str) -> Result<String, Expected> {
    let fits = (1..=LONGEST_NAME).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1 to {LONGEST_NAME} visible ASCII characters"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_whose_path_may_be_left_out() {
        for (text, shown) in [
            (
                "http://127.0.0.1:4318/v1/traces",
                "http://127.0.0.1:4318/v1/traces",
            ),
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            (
                "https://Collector.example.com/",
                "https://collector.example.com/v1/traces",
            ),
            (
                "https://[2001:db8::1]/otlp/v1/traces",
                "https://[2001:db8::1]/otlp/v1/traces",
            ),
        ] {
            assert_eq!(collector(text).map(|c| c.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn both_schemes_of_a_collector_are_named_to_who_writes_another() {
        let refused = collector("ftp://host").expect_err("no scheme of a collector");
        assert_eq!(refused, "must begin with https:// or http://");
    }

    #[test]
    fn what_is_no_url_of_a_collector_is_refused_without_repeating_it() {
        for text in [
            "",
            "canary",
            "canary:4318",
            "grpc://host:4317",
            "https://user:canary@host/v1/traces",
            "https://host/v1/traces?key=canary",
            "https://host/v1/traces#canary",
            "https://host?key=canary",
            "https://host:0/v1/traces",
            "https:///canary",
        ] {
            let error = collector(text).expect_err(text);
            assert!(!error.contains("canary"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_ratio_is_a_plain_number_from_0_to_1() {
        assert_eq!(ratio("0"), Ok(0.0));
        assert_eq!(ratio("0.05"), Ok(0.05));
        assert_eq!(ratio("1"), Ok(1.0));
        for bad in ["", "-0", "1.1", "1e-3", "NaN", "inf", "10%"] {
            assert!(ratio(bad).is_err(), "{bad:?}");
        }
    }
}
