//! The digests of several messages, side by side.
//!
//! Each round of SHA-512 waits for the one before it, so that one message fills two words of a vector at most. Several messages at once, one
//! in each lane of registers, take two to two and a half times as long as one of them alone: eight by AVX-512, four by AVX2.

#[cfg(target_arch = "x86_64")]
use super::lanes::{avx2, avx512};
use super::{BEGIN, Block, compress, ended};

/// Fewer take less time one after the other: of 64 KiB one takes 82 µs on a Xeon, and any number up to eight together 205; on an EPYC
/// one takes 90, and up to four 190.
const WORTH: usize = 3;

/// How many messages this processor takes side by side. Where that is one, their digests are made one after the other.
pub(in crate::signing) fn at_once() -> usize {
    #[cfg(target_arch = "x86_64")]
    if avx512::can() {
        return avx512::LANES;
    } else if avx2::can() {
        return avx2::LANES;
    }
    1
}

/// The digest of each of `messages`, in their order.
pub(in crate::signing) fn digest_each(messages: &[&[u8]]) -> Vec<[u8; 64]> {
    let mut digests = vec![[0; 64]; messages.len()];
    let mut waiting = messages.iter().zip(&mut digests);
    let most = at_once();
    let mut lanes = Vec::with_capacity(most);
    loop {
        let free = most - lanes.len();
        let more = waiting.by_ref().take(free);
        lanes.extend(more.map(|(message, digest)| Lane::of(message, digest)));
        let Some(blocks) = lanes.iter().map(|lane| lane.ahead().len()).min() else {
            break;
        };
        if lanes.len() < WORTH || !side_by_side(&mut lanes, blocks) {
            lanes.iter_mut().for_each(|lane| lane.alone(blocks));
        }
        lanes.retain_mut(|lane| !lane.is_done());
    }
    digests
}

/// Takes the next `blocks` of each lane in. `false` where this processor cannot: then nothing was done.
#[cfg(target_arch = "x86_64")]
fn side_by_side(lanes: &mut [Lane<'_>], blocks: usize) -> bool {
    all_by(avx512::compress, lanes, blocks) || all_by(avx2::compress, lanes, blocks)
}

#[cfg(not(target_arch = "x86_64"))]
fn side_by_side(_: &mut [Lane<'_>], _: usize) -> bool {
    false
}

/// By a function that is for `N` lanes.
#[cfg(target_arch = "x86_64")]
fn all_by<const N: usize>(
    compress: impl FnOnce(&mut [[u64; 8]; N], [&[Block]; N]) -> bool,
    lanes: &mut [Lane<'_>],
    blocks: usize,
) -> bool {
    use std::array;

    // A lane that has no message takes the first one's along, in vain.
    let lane = |i| lanes.get(i).unwrap_or(&lanes[0]);
    let mut states: [[u64; 8]; N] = array::from_fn(|i| lane(i).state);
    let ahead: [&[Block]; N] = array::from_fn(|i| &lane(i).ahead()[..blocks]);
    let did = compress(&mut states, ahead);
    if did {
        for (lane, state) in lanes.iter_mut().zip(states) {
            lane.pass(blocks, state);
        }
    }
    did
}

/// A message, as far as it was not taken in yet.
struct Lane<'m> {
    state: [u64; 8],
    /// Its whole blocks.
    whole: &'m [Block],
    /// What is behind them, at the end of two blocks: the rest of it and the padding (FIPS 180-4 §5.1.2).
    end: [Block; 2],
    /// How many blocks of `end` there are.
    left: usize,
    digest: &'m mut [u8; 64],
}

impl<'m> Lane<'m> {
    fn of(message: &'m [u8], digest: &'m mut [u8; 64]) -> Self {
        let (whole, rest) = message.as_chunks::<128>();
        let (end, left) = ended(rest, message.len() as u128);
        Self {
            state: BEGIN,
            whole,
            end,
            left,
            digest,
        }
    }

    /// What can be taken in next without a break.
    fn ahead(&self) -> &[Block] {
        match self.whole {
            [] => &self.end[2 - self.left..],
            whole => whole,
        }
    }

    fn alone(&mut self, blocks: usize) {
        let mut state = self.state;
        compress(&mut state, &self.ahead()[..blocks]);
        self.pass(blocks, state);
    }

    /// `blocks` of what is ahead were taken in, which led to `state`.
    fn pass(&mut self, blocks: usize, state: [u64; 8]) {
        self.state = state;
        match self.whole {
            [] => self.left -= blocks,
            whole => self.whole = &whole[blocks..],
        }
    }

    /// Whether all of it was taken in; then the digest is written.
    fn is_done(&mut self) -> bool {
        let done = self.ahead().is_empty();
        if done {
            *self.digest = super::bytes(self.state);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use sha2::Digest as _;

    use super::*;

    proptest! {
        #[test]
        fn messages_of_any_lengths_are_digested_as_sha2_does(messages in vec(vec(any::<u8>(), 0..1_500), 0..40)) {
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let expected: Vec<[u8; 64]> = messages.iter().map(|m| sha2::Sha512::digest(m).into()).collect();
            prop_assert_eq!(digest_each(&messages), expected);
        }
    }

    #[test]
    fn a_message_of_every_length_around_a_block_has_its_digest_among_others() {
        let bytes: Vec<u8> = (0..600).map(|i| (i % 251) as u8).collect();
        let messages: Vec<&[u8]> = (0..bytes.len()).map(|length| &bytes[..length]).collect();
        for (message, digest) in messages.iter().zip(digest_each(&messages)) {
            assert_eq!(
                digest[..],
                sha2::Sha512::digest(message)[..],
                "{} bytes",
                message.len()
            );
        }
    }
}
