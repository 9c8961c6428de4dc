//! The `signature` parameter: from text to the bytes of a MAC, whatever the client did to them.
//!
//! The form is told by shape alone, before any secret is used: a MAC of 64 bytes is 88 characters of base64, its hex
//! form 128, the base64 of that 172. Nothing of the signature is repeated in a finding.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use super::{Finding, FindingCode};
use crate::signing::Algorithm;

/// The bytes of a MAC, and the algorithm that makes one of their length.
pub(super) struct Mac {
    pub(super) algorithm: Algorithm,
    pub(super) bytes: Vec<u8>,
}

/// Reads `text`; `declared` is the allowed algorithm that the request names, if it does.
///
/// `None` if there is nothing to check against a secret; why not stands in `findings` then.
pub(super) fn read(
    text: &str,
    declared: Option<Algorithm>,
    findings: &mut Vec<Finding>,
) -> Option<Mac> {
    let bytes = undecorated(text, findings)?;
    let by_length = [Algorithm::HmacSha512, Algorithm::HmacSha256]
        .into_iter()
        .find(|algorithm| algorithm.mac_length() == bytes.len());
    match (by_length, declared) {
        (Some(made), Some(named)) if made != named => {
            findings.push(Finding::new(
                FindingCode::Algorithm,
                format!("the signature is as long as one of {made}, but the request names {named}"),
            ));
        }
        (None, Some(named)) => findings.push(Finding::new(
            FindingCode::SignatureMismatch,
            format!(
                "the signature is {} bytes long: one of {named} has {}",
                bytes.len(),
                named.mac_length()
            ),
        )),
        // An algorithm that is not allowed is a finding of its own already.
        _ => {}
    }
    Some(Mac {
        algorithm: by_length?,
        bytes,
    })
}

fn undecorated(text: &str, findings: &mut Vec<Finding>) -> Option<Vec<u8>> {
    if let Some(bytes) = unhexed(text.as_bytes()) {
        findings.push(Finding::new(
            FindingCode::SignatureIsBase64OfHex,
            "the signature is a hex digest: encode the raw bytes of the MAC in base64 instead",
        ));
        return Some(bytes);
    }
    let bytes = match STANDARD.decode(text) {
        Ok(bytes) => bytes,
        Err(_) => {
            let bytes = forgiving(text);
            findings.push(Finding::new(
                FindingCode::AuthorizationSyntax,
                if bytes.is_some() {
                    "the signature is not in padded standard base64: another alphabet, no padding, or white space"
                } else {
                    "the signature is not base64"
                },
            ));
            bytes?
        }
    };
    if let Some(raw) = unhexed(&bytes) {
        findings.push(Finding::new(
            FindingCode::SignatureIsBase64OfHex,
            "the signature is the base64 of a hex digest: encode the raw bytes of the MAC instead",
        ));
        return Some(raw);
    }
    Some(bytes)
}

/// Base64 of either alphabet, with or without padding, white space ignored.
fn forgiving(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    GeneralPurpose::new(&alphabet::STANDARD, config)
        .decode(plain)
        .ok()
}

/// The bytes of a hex digest as long as one of our MACs, in either case; `None` for anything else.
fn unhexed(text: &[u8]) -> Option<Vec<u8>> {
    let as_long = [Algorithm::HmacSha512, Algorithm::HmacSha256]
        .into_iter()
        .any(|algorithm| text.len() == 2 * algorithm.mac_length());
    as_long.then(|| super::reading::unhex(text)).flatten()
}
