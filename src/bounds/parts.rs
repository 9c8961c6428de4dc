//! A body in the making.

use bytes::{Bytes, BytesMut};

/// The parts of a body, joined; most bodies come in one part, which is then kept without a copy.
#[derive(Debug, Default)]
pub struct Parts {
    first: Bytes,
    joined: BytesMut,
}

impl Parts {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a part at the end.
    pub fn push(&mut self, part: Bytes) {
        if self.is_empty() {
            self.first = part;
            return;
        }
        self.joined
            .extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&part);
    }

    /// All of them.
    pub fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_their_order_and_empty_ones_do_no_harm() {
        let mut parts = Parts::default();
        for part in ["", "a", "", "bc", "d"] {
            parts.push(Bytes::from_static(part.as_bytes()));
        }
        assert_eq!(
            (parts.len(), parts.into_bytes().as_ref()),
            (4, b"abcd".as_slice())
        );
        assert!(Parts::default().into_bytes().is_empty());
    }
}
