//! What can be wrong with a signed request, as a fixed list: public API, and the label values of a metric.
//!
//! A detail is a sentence for a person. It may name lengths, dates and the body's digest, never a secret, a signature,
//! a part of the body, or anything else of the request that was not compared with a fixed list first.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which kind of mistake.
    pub code: FindingCode,
    /// What exactly, for a person: lower case, without full stop.
    pub detail: String,
}

impl Finding {
    pub(super) fn new(code: FindingCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// Declares the codes with their names, so that no list of them can lack one.
macro_rules! finding_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The kinds of mistakes, declared from the most to the least specific: `Ord` is the order of findings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingCode { $($(#[$doc])* $variant,)+ }

        impl FindingCode {
            /// Every code, the most specific first.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The code as it stands in JSON and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

finding_codes! {
    /// The request has a `Transfer-Encoding`.
    ChunkedBody = "chunked_body",
    /// One of the five headers is missing, or `Content-Type` is not `application/json`.
    MissingHeader = "missing_header",
    /// One of the five headers stands more than once.
    RepeatedHeader = "repeated_header",
    /// A parameter of `Authorization` is called something else than Ingo calls it.
    WrongParameterName = "wrong_parameter_name",
    /// `Authorization` is not of the documented form.
    AuthorizationSyntax = "authorization_syntax",
    /// The algorithm is not allowed, or not the one that made the signature.
    Algorithm = "algorithm",
    /// Header names were signed in another case than the verifier uses: lower.
    HeaderNameCase = "header_name_case",
    /// The `headers` parameter does not name each of the five parts once, or not in the order that was signed.
    HeaderList = "header_list",
    /// The signature is the base64 of a hex digest, or a hex digest.
    SignatureIsBase64OfHex = "signature_is_base64_of_hex",
    /// A newline was signed after the last line.
    SigningStringTrailingNewline = "signing_string_trailing_newline",
    /// The MAC was keyed with a newline too many or too few at the secret's end.
    SecretTrailingNewline = "secret_trailing_newline",
    /// The request line's HTTP version is not HTTP/1.1, in what was signed or in what was sent.
    Http2RequestLine = "http2_request_line",
    /// The query was left out of the signed target.
    QueryMissing = "query_missing",
    /// The signed target is another spelling of the one that was sent.
    TargetReencoded = "target_reencoded",
    /// `Content-sha512` holds a SHA-256.
    DigestIsSha256 = "digest_is_sha256",
    /// `Content-sha512` is not the body's digest.
    DigestMismatch = "digest_mismatch",
    /// `Content-Length` is not the body's length.
    LengthMismatch = "length_mismatch",
    /// `X-Date` is not an IMF-fixdate.
    DateFormat = "date_format",
    /// The username is not the one given.
    Username = "username",
    /// `X-Date` is too far from the time judged at.
    DateStale = "date_stale",
    /// The signature is not that of this request under this secret.
    SignatureMismatch = "signature_mismatch",
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
