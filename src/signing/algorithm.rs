//! Which MAC signs: HMAC-SHA512, or HMAC-SHA256 for a legacy integration.
//!
//! The names are those of the `algorithm` parameter in `Authorization`. Kong knows more of them; Ingo refuses
//! MD5 and SHA-1 (protocol.md §1), so no value here stands for either.

use std::{fmt, str::FromStr};

/// Which MAC signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `hmac-sha512`, for every new integration.
    #[default]
    HmacSha512,
    /// `hmac-sha256`, for legacy integrations only.
    HmacSha256,
}

impl Algorithm {
    /// The name as it stands in the `algorithm` parameter of `Authorization`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha512 => "hmac-sha512",
            Self::HmacSha256 => "hmac-sha256",
        }
    }

    /// The length of a raw, undecorated MAC in bytes.
    pub(super) const fn mac_length(self) -> usize {
        match self {
            Self::HmacSha512 => 64,
            Self::HmacSha256 => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    /// A message that tells what is allowed. It never repeats the input, which may be a secret in the wrong field.
    type Err = String;

    /// Reads exactly one of the two names, in lower case, with nothing around it.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hmac-sha512" => Ok(Self::HmacSha512),
            "hmac-sha256" => Ok(Self::HmacSha256),
            _ => Err("not a supported algorithm: use hmac-sha512, or hmac-sha256 for a legacy integration \
                      (MD5 and SHA-1 are refused)"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_read_back_as_itself() {
        for algorithm in [Algorithm::HmacSha512, Algorithm::HmacSha256] {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!(Algorithm::default(), Algorithm::HmacSha512);
    }

    #[test]
    fn anything_else_is_refused_without_being_repeated() {
        for text in [
            "",
            "hmac-md5",
            "md5",
            "hmac-sha1",
            "sha-1",
            "HMAC-SHA512",
            " hmac-sha512",
            "hmac-sha512\n",
            "hmac-sha384",
            "hunter2",
        ] {
            let message = text.parse::<Algorithm>().expect_err(text);
            assert!(message.contains("hmac-sha512"));
            assert!(!message.contains("hunter2"));
        }
    }
}
