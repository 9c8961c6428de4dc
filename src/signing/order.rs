//! The order in which the five parts are signed: the `headers` parameter of `Authorization`.
//!
//! Ingo's pages show two orders; the verifier rebuilds the text in the order the request names, so any is valid
//! (protocol.md §1). What must not happen is that a part is left unsigned: a [`HeaderOrder`] holds each exactly once.

use std::{fmt, str::FromStr};

/// One line of the signing string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `METHOD target HTTP/1.1`.
    RequestLine,
    /// `x-date: …`.
    XDate,
    /// `content-type: …`.
    ContentType,
    /// `content-sha512: …`.
    ContentSha512,
    /// `content-length: …`.
    ContentLength,
}

impl Part {
    /// Every part, in the default order.
    pub(super) const ALL: [Self; 5] = [
        Self::RequestLine,
        Self::XDate,
        Self::ContentType,
        Self::ContentSha512,
        Self::ContentLength,
    ];

    /// The name in the `headers` parameter and, but for the request line, before the colon of the line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RequestLine => "request-line",
            Self::XDate => "x-date",
            Self::ContentType => "content-type",
            Self::ContentSha512 => "content-sha512",
            Self::ContentLength => "content-length",
        }
    }
}

/// The order in which the five parts are signed; each stands in it exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderOrder([Part; 5]);

impl HeaderOrder {
    /// `request-line x-date content-type content-sha512 content-length`: the default, in most of Ingo's pages.
    pub const ORDER_A: Self = Self(Part::ALL);

    /// `request-line x-date content-type content-length content-sha512`: what a newer page shows.
    pub const ORDER_B: Self = Self([
        Part::RequestLine,
        Part::XDate,
        Part::ContentType,
        Part::ContentLength,
        Part::ContentSha512,
    ]);

    /// The parts, in order.
    pub(super) const fn parts(&self) -> &[Part; 5] {
        &self.0
    }
}

impl Default for HeaderOrder {
    fn default() -> Self {
        Self::ORDER_A
    }
}

impl fmt::Display for HeaderOrder {
    /// The names separated by single spaces, as they stand in the `headers` parameter of `Authorization`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(part.name())?;
        }
        Ok(())
    }
}

impl FromStr for HeaderOrder {
    /// A message that names the part that is missing, repeated or misspelt in case; other input is never repeated.
    type Err = String;

    /// Reads the five names in any order, separated by white space.
    ///
    /// # Errors
    /// A name that is missing, stands twice, is not in lower case, or is none of the five.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut order = Vec::with_capacity(Part::ALL.len());
        for name in text.split_ascii_whitespace() {
            let Some(part) = Part::ALL
                .into_iter()
                .find(|part| part.name().eq_ignore_ascii_case(name))
            else {
                return Err(format!(
                    "only these can be signed, each exactly once: {}",
                    Self::ORDER_A
                ));
            };
            if part.name() != name {
                return Err(format!("`{}` must be written in lower case", part.name()));
            }
            if order.contains(&part) {
                return Err(format!("`{name}` stands more than once"));
            }
            order.push(part);
        }
        order.try_into().map(Self).map_err(|order: Vec<Part>| {
            let missing: Vec<&str> = Part::ALL
                .iter()
                .filter(|part| !order.contains(part))
                .map(|part| part.name())
                .collect();
            format!("missing: {}", missing.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documented_orders_are_read_and_shown() {
        let a = "request-line x-date content-type content-sha512 content-length";
        let b = "request-line x-date content-type content-length content-sha512";
        assert_eq!(a.parse(), Ok(HeaderOrder::ORDER_A));
        assert_eq!(b.parse(), Ok(HeaderOrder::ORDER_B));
        assert_eq!(HeaderOrder::default().to_string(), a);
        assert_eq!(HeaderOrder::ORDER_B.to_string(), b);
    }

    #[test]
    fn any_permutation_is_accepted() {
        let text = "content-length content-sha512 content-type x-date request-line";
        assert_eq!(
            text.parse::<HeaderOrder>()
                .expect("a permutation")
                .to_string(),
            text
        );
    }

    #[test]
    fn a_missing_name_is_named() {
        let message = "request-line x-date content-type content-length"
            .parse::<HeaderOrder>()
            .expect_err("four");
        assert_eq!(message, "missing: content-sha512");
        let message = "".parse::<HeaderOrder>().expect_err("none");
        assert_eq!(
            message,
            "missing: request-line, x-date, content-type, content-sha512, content-length"
        );
    }

    #[test]
    fn a_repeated_name_is_named() {
        let text = "request-line x-date x-date content-sha512 content-length";
        assert_eq!(
            text.parse::<HeaderOrder>().expect_err("twice"),
            "`x-date` stands more than once"
        );
    }

    #[test]
    fn upper_case_and_strangers_are_refused() {
        let text = "request-line X-Date content-type content-sha512 content-length";
        assert_eq!(
            text.parse::<HeaderOrder>().expect_err("case"),
            "`x-date` must be written in lower case"
        );
        let text = "request-line x-date content-type content-sha512 content-length hunter2";
        assert!(
            !text
                .parse::<HeaderOrder>()
                .expect_err("stranger")
                .contains("hunter2")
        );
    }
}
