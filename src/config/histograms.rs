//! The section `histograms`: the upper bounds of histograms, in seconds as Prometheus has them.

use super::{Buckets, quantity::Expected, reader::Reader};

/// More buckets are more series than anybody looks at, for each label.
const MOST: usize = 40;
/// The longest that anything here can take, in seconds: the longest deadline.
const LONGEST: f64 = 600.0;

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Buckets> {
    let own = buckets(reader, "histograms.own_buckets");
    let ingo = buckets(reader, "histograms.ingo_buckets");
    Some(Buckets {
        own: own?,
        ingo: ingo?,
    })
}

fn buckets(reader: &mut Reader<'_>, path: &str) -> Option<Vec<f64>> {
    let bounds = reader.list(path, bound)?;
    if !(1..=MOST).contains(&bounds.len()) || !bounds.is_sorted_by(|a, b| a < b) {
        reader.reject(
            path,
            format!("must be 1 to {MOST} numbers of seconds, each greater than the one before"),
        );
        return None;
    }
    Some(bounds)
}

fn bound(text: &str) -> Result<f64, Expected> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: Option<f64> = text.parse().ok().filter(|_| plain);
    number
        .filter(|seconds| (0.000_001..=LONGEST).contains(seconds))
        .ok_or_else(|| {
            format!("must be a number of seconds from 0.000001 to {LONGEST}, such as 0.0005")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_plain_number_of_seconds() {
        assert_eq!(bound("0.00001"), Ok(0.000_01));
        assert_eq!(bound("90"), Ok(90.0));
        for bad in ["", "0", "-1", "1e3", "inf", "NaN", "1s", "601", "0.0000001"] {
            assert!(bound(bad).is_err(), "{bad:?}");
        }
    }
}
