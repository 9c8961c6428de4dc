//! SHA-512's compression of several messages at once, each in a lane of its own: eight by AVX-512, four by AVX2.

#![allow(
    unsafe_code,
    reason = "instructions that not every processor has can be used no other way"
)]

/// Makes the function that takes blocks into the states of as many messages as a vector has lanes. Its module has what it is made of:
/// `LANES`, `Vector`, and the functions of FIPS 180-4 §4.1.3 on vectors.
macro_rules! compression {
    ($features:literal) => {
        /// Takes `blocks`, of which there are as many in each lane, into `states`. `false` where this processor lacks what it takes: then
        /// nothing was done.
        pub(in crate::signing::sha512) fn compress(
            states: &mut [[u64; 8]; LANES],
            blocks: [&[Block]; LANES],
        ) -> bool {
            let can = can();
            if can {
                // SAFETY: the processor has the features that the function is compiled for.
                unsafe { take_in(states, blocks) };
            }
            can
        }

        #[target_feature(enable = $features)]
        pub(super) fn take_in(
            states: &mut [[u64; 8]; LANES],
            blocks: [&[Block]; LANES],
        ) {
            let mut state: [Vector; 8] =
                array::from_fn(|i| lanes(array::from_fn(|lane| states[lane][i])));
            let length = blocks[0].len();
            for at in 0..length {
                let block = blocks.map(|lane| lane[at].as_chunks::<8>().0);
                // The last 16 words of the schedule.
                let mut w: [Vector; 16] = array::from_fn(|i| {
                    big_endian(lanes(block.map(|words| u64::from_ne_bytes(words[i]))))
                });
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                for sixteen in 0..5 {
                    // One of the 80 rounds (§6.4.2), with the state's words by the names that they have in it.
                    macro_rules! step {
                        ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                            let constant = CONSTANTS[4 * sixteen + $i / 4][$i % 4];
                            let wk = add(w[$i], in_each(constant));
                            let t1 = add(add($h, wk), add(sum1($e), ch($e, $f, $g)));
                            $d = add($d, t1);
                            $h = add(t1, add(sum0($a), maj($a, $b, $c)));
                            if sixteen < 4 {
                                let (w1, w9, w14) =
                                    (w[($i + 1) % 16], w[($i + 9) % 16], w[($i + 14) % 16]);
                                w[$i] = add(add(w[$i], w9), add(sigma0(w1), sigma1(w14)));
                            }
                        };
                    }
                    step!(0, a, b, c, d, e, f, g, h);
                    step!(1, h, a, b, c, d, e, f, g);
                    step!(2, g, h, a, b, c, d, e, f);
                    step!(3, f, g, h, a, b, c, d, e);
                    step!(4, e, f, g, h, a, b, c, d);
                    step!(5, d, e, f, g, h, a, b, c);
                    step!(6, c, d, e, f, g, h, a, b);
                    step!(7, b, c, d, e, f, g, h, a);
                    step!(8, a, b, c, d, e, f, g, h);
                    step!(9, h, a, b, c, d, e, f, g);
                    step!(10, g, h, a, b, c, d, e, f);
                    step!(11, f, g, h, a, b, c, d, e);
                    step!(12, e, f, g, h, a, b, c, d);
                    step!(13, d, e, f, g, h, a, b, c);
                    step!(14, c, d, e, f, g, h, a, b);
                    step!(15, b, c, d, e, f, g, h, a);
                }
                for (word, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                    *word = add(*word, new);
                }
            }
            for (i, word) in state.into_iter().enumerate() {
                // SAFETY: both are as many bytes, of which every value is one.
                let words: [u64; LANES] = unsafe { transmute(word) };
                for (lane, word) in words.into_iter().enumerate() {
                    states[lane][i] = word;
                }
            }
        }
    };
}

pub(super) mod avx2;
pub(super) mod avx512;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use sha2::block_api::compress512;

    use super::{super::Block, *};

    /// Holds a kind of lanes against `sha2`, where this processor has what it takes, be it faster so or not.
    #[expect(clippy::print_stderr, reason = "what was not tested is told")]
    fn each_lane_is_compressed_as_by_sha2<const N: usize>(
        kind: &str,
        can: bool,
        compress: impl Fn(&mut [[u64; 8]; N], [&[Block]; N]),
    ) {
        if !can {
            eprintln!("SKIPPED: SHA-512 in lanes of {kind}, which this processor does not have");
            return;
        }
        let states = vec(any::<[u64; 8]>(), N);
        let blocks =
            (1..6_usize).prop_flat_map(|blocks| vec(vec(any::<[u8; 32]>(), 4 * blocks), N));
        proptest!(|(states in states, bytes in blocks)| {
            let bytes: Vec<Vec<u8>> = bytes.iter().map(|lane| lane.concat()).collect();
            let blocks: [&[Block]; N] = std::array::from_fn(|lane| bytes[lane].as_chunks().0);
            let mut ours: [[u64; 8]; N] = std::array::from_fn(|lane| states[lane]);
            let mut theirs = ours;
            compress(&mut ours, blocks);
            for (state, blocks) in theirs.iter_mut().zip(blocks) {
                compress512(state, blocks);
            }
            prop_assert_eq!(ours, theirs);
        });
    }

    #[test]
    fn eight_lanes_are_compressed_as_by_sha2() {
        each_lane_is_compressed_as_by_sha2("AVX-512", avx512::can(), |states, blocks| {
            // SAFETY: it is called only where the processor has the features that the function is compiled for.
            unsafe { avx512::take_in(states, blocks) }
        });
    }

    #[test]
    fn four_lanes_are_compressed_as_by_sha2() {
        let can = is_x86_feature_detected!("avx2");
        each_lane_is_compressed_as_by_sha2("AVX2", can, |states, blocks| {
            // SAFETY: as above.
            unsafe { avx2::take_in(states, blocks) }
        });
    }
}
