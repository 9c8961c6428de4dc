//! `traceparent` of W3C Trace Context level 1: which trace a request belongs to, and which span of the caller's it is part of.
//!
//! Pure: identifiers are given, not made up here. What is not exactly of the form is none: a trace that is continued by guess
//! would be somebody else's.

use std::fmt;

/// Names a trace across all who take part in it. Never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Names a span within its trace. Never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// A `traceparent`: the trace, the sender's span, and whether the sender records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace_id: TraceId,
    /// The sender's span, parent of the receiver's.
    pub parent_id: SpanId,
    /// Whether the sender records its part of the trace.
    pub sampled: bool,
}

/// Version, trace, span and flags in hexadecimal digits, with a hyphen between two (§3.2.2).
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
/// The one flag that level 1 defines (§3.2.2.5); all others are sent as zero.
const SAMPLED: u8 = 1;

impl TraceId {
    /// The identifier of these bytes; `None` where they are all zero.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Whether a trace that begins here is recorded, of which `ratio` (0 to 1) shall be. It is decided by the last 56 bits of
    /// the identifier (those that level 2 asks to be random), so that everybody with the same ratio decides alike.
    pub fn is_sampled(self, ratio: f64) -> bool {
        const BITS: u32 = 56;
        let bytes = self.0;
        let last = [
            0, bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15],
        ];
        // Whole numbers below 2^57 only, so that a ratio of 1 is all and one of 0 is none.
        let threshold = ((1.0 - ratio.clamp(0.0, 1.0)) * (1_u64 << BITS) as f64) as u64;
        u64::from_be_bytes(last) >= threshold
    }
}

impl SpanId {
    /// The identifier of these bytes; `None` where they are all zero.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }
}

impl Traceparent {
    /// Reads the value of the field; `None` where it is not valid. Of a version that is not known yet, what is known of it is
    /// read (§3.2.4 "Versioning of traceparent").
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version] = hex(&known[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => return None,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        let hyphens = [known[2], known[35], known[52]];
        if !is_whole || hyphens != [b'-'; 3] {
            return None;
        }
        let [flags] = hex(&known[53..])?;
        Some(Self {
            trace_id: TraceId::new(hex(&known[3..35])?)?,
            parent_id: SpanId::new(hex(&known[36..52])?)?,
            sampled: flags & SAMPLED != 0,
        })
    }
}

/// As the value of the field, of version 00.
impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{}-{}-{flags:02x}", self.trace_id, self.parent_id)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of lower-case hexadecimal digits, twice as many as bytes; capitals are not valid (§3.2.2).
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The specification's own example.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<Traceparent> {
        Traceparent::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written_as_it_is() {
        let read = parse(EXAMPLE).expect("valid");
        assert_eq!(
            read.trace_id.to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(read.parent_id.to_string(), "00f067aa0ba902b7");
        assert!(read.sampled);
        assert_eq!(read.to_string(), EXAMPLE);
    }

    #[test]
    fn flags_that_are_not_known_are_neither_understood_nor_passed_on() {
        let with = |flags: &str| parse(&EXAMPLE.replace("-01", flags)).expect("valid");
        assert!(!with("-00").sampled);
        assert!(!with("-fe").sampled);
        assert!(with("-ff").sampled);
        assert_eq!(with("-ff").to_string(), EXAMPLE);
    }

    #[test]
    fn of_a_version_to_come_what_is_known_is_read() {
        for text in ["cc-", "01-"] {
            let later = EXAMPLE.replacen("00-", text, 1);
            assert_eq!(parse(&later), parse(EXAMPLE));
            assert_eq!(parse(&format!("{later}-what-comes")), parse(EXAMPLE));
            assert_eq!(parse(&format!("{later}.what-comes")), None);
        }
    }

    #[test]
    fn what_is_not_of_the_form_is_none() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1g",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_ratio_is_kept_and_its_ends_are_none_and_all() {
        let ids = |n: u64| (0..n).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let trace = |i: u64| TraceId((u128::from(i) << 64 | u128::from(i)).max(1).to_be_bytes());
        let share = |ratio: f64| ids(10_000).filter(|i| trace(*i).is_sampled(ratio)).count();
        assert_eq!(share(0.0), 0);
        assert_eq!(share(1.0), 10_000);
        assert!((900..1_100).contains(&share(0.1)), "{}", share(0.1));
        let most = TraceId([0xff; 16]);
        assert!(!most.is_sampled(0.0) && most.is_sampled(1e-9));
        let least = TraceId([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(least.is_sampled(1.0) && !least.is_sampled(0.999));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            trace in 1..=u128::MAX, span in 1..=u64::MAX, sampled in any::<bool>(),
        ) {
            let written = Traceparent {
                trace_id: TraceId(trace.to_be_bytes()),
                parent_id: SpanId(span.to_be_bytes()),
                sampled,
            };
            prop_assert_eq!(parse(&written.to_string()), Some(written));
        }

        #[test]
        fn what_is_read_is_what_stands_there(text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}") {
            if let Some(read) = parse(&text) {
                prop_assert_eq!(&read.to_string()[3..52], &text[3..52]);
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Traceparent::parse(&bytes);
        }

        #[test]
        fn a_trace_that_is_recorded_at_one_ratio_is_at_every_greater_one(
            trace in 1..=u128::MAX, a in 0.0..=1.0, b in 0.0..=1.0,
        ) {
            let id = TraceId(trace.to_be_bytes());
            let (less, more) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(!id.is_sampled(less) || id.is_sampled(more));
        }
    }
}
