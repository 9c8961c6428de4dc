//! What to do about each finding, in one sentence for the person who writes the client.
//!
//! The finding's detail says what is wrong with this request; the remedy is the same for every request.

use crate::signing::verify::FindingCode;

/// How to mend what `code` names: lower case, without full stop.
pub(super) const fn remedy(code: FindingCode) -> &'static str {
    match code {
        FindingCode::ChunkedBody => {
            "give the HTTP client the whole body at once, not a stream, so that it sends Content-Length"
        }
        FindingCode::MissingHeader => {
            "send all five: X-Date, Content-Type: application/json, Content-sha512, Content-Length, Authorization"
        }
        FindingCode::RepeatedHeader => {
            "set the header instead of adding it; a client or proxy may add its own beside yours"
        }
        FindingCode::WrongParameterName => {
            "name the parameters username, algorithm, headers, signature, in lower case"
        }
        FindingCode::AuthorizationSyntax => {
            "write it as: hmac username=\"…\", algorithm=\"hmac-sha512\", headers=\"…\", signature=\"…\""
        }
        FindingCode::Algorithm => "compute HMAC-SHA512 and name it hmac-sha512",
        FindingCode::HeaderNameCase => {
            "write header names in lower case in the signing string and in the headers parameter"
        }
        FindingCode::HeaderList => {
            "list what was signed, in the order it was signed: request-line x-date content-type content-sha512 content-length"
        }
        FindingCode::SignatureIsBase64OfHex => {
            "take the raw 64 bytes from the HMAC (digest(), not hexdigest()) and encode those in base64"
        }
        FindingCode::SigningStringTrailingNewline => {
            "join the lines with a line feed, and put none after the last"
        }
        FindingCode::SecretTrailingNewline => {
            "strip the line end where the client reads its secret; write secret files with printf, not echo"
        }
        FindingCode::Http2RequestLine => {
            "sign POST <target> HTTP/1.1, and switch HTTP/2 off in the client (curl: --http1.1)"
        }
        FindingCode::QueryMissing => "put ? and the query into the signed request line",
        FindingCode::TargetReencoded => {
            "sign the target exactly as it goes out in the request line, taken after the URL library is done with it"
        }
        FindingCode::DigestIsSha256 => {
            "use SHA-512 for the body's digest: 64 bytes, 88 characters in base64"
        }
        FindingCode::DigestMismatch => {
            "serialise the body once, digest those bytes, and send those bytes"
        }
        FindingCode::LengthMismatch => {
            "count the bytes that are sent, not the characters, and let nothing change the body afterwards"
        }
        FindingCode::DateFormat => {
            "write the date as IMF-fixdate in GMT, in English whatever the locale: Fri, 17 Jan 2020 19:59:29 GMT"
        }
        FindingCode::Username => {
            "use the username that was issued together with this secret, or verify with the other secret"
        }
        FindingCode::DateStale => {
            "sign each request when it is sent, each repeat anew, and keep the host's clock synchronised"
        }
        FindingCode::SignatureMismatch => {
            "compare the two signing strings below; where they are the same, compare the secrets' lengths and sources"
        }
    }
}
