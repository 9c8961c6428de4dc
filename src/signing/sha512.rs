//! SHA-512 (FIPS 180-4) at the speed of the processor: `sha2`, with compression functions of our own where AVX2 and BMI2 or AVX-512
//! are, and others for several messages at once where they are faster.
//!
//! Half of what a body of 64 KiB costs is its digest. The crates that there are (`sha2`, `ring`, `aws-lc-rs`, `graviola`) take a third
//! longer than OpenSSL, which the proxies do that this one is measured against (docs/performance.md). To be deleted once one of
//! them does as well as ours: <https://github.com/RustCrypto/hashes/issues/640>. A digest is verified by `sha2`
//! itself, so that ours is not its own judge.

mod each;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::fmt;

use sha2::{
    block_api::compress512,
    digest::{
        HashMarker, Output,
        array::Array,
        block_api::{
            self, AlgorithmName, BlockSizeUser, Buffer, BufferKindUser, Eager, FixedOutputCore,
            OutputSizeUser, UpdateCore,
        },
        consts::{U64, U128},
    },
};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

pub(super) use self::each::{at_once, digest_each};

sha2::digest::buffer_fixed!(
    /// SHA-512, for the traits of `digest` and for `hmac`.
    pub struct Sha512(Core);
    impl: BaseFixedTraits AlgorithmName Default Clone HashMarker;
);

/// SHA-512 block by block.
#[derive(Clone)]
pub struct Core {
    state: [u64; 8],
    blocks: u128,
}

/// What the state begins with (FIPS 180-4 §5.3.5).
const BEGIN: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// A part of a message that is taken in at once.
type Block = [u8; 128];

/// Takes `blocks` into `state`.
fn compress(state: &mut [u64; 8], blocks: &[Block]) {
    #[cfg(target_arch = "x86_64")]
    if x86_64::compress(state, blocks) {
        return;
    }
    compress512(state, blocks);
}

/// What a message of `length` bytes ends with, whose last bytes, less than a block, are `rest`: these and the padding (FIPS 180-4 §5.1.2),
/// at the end of two blocks; and how many of the two it takes.
fn ended(rest: &[u8], length: u128) -> ([Block; 2], usize) {
    let taken = if rest.len() < 128 - 16 { 1 } else { 2 };
    let mut end = [[0; 128]; 2];
    let bytes = end[2 - taken..].as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    bytes[128 * taken - 16..].copy_from_slice(&(8 * length).to_be_bytes());
    (end, taken)
}

/// The digest that a message's last state is.
fn bytes(state: [u64; 8]) -> [u8; 64] {
    let mut digest = [0; 64];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

impl Default for Core {
    fn default() -> Self {
        Self {
            state: BEGIN,
            blocks: 0,
        }
    }
}

impl HashMarker for Core {}

impl BlockSizeUser for Core {
    type BlockSize = U128;
}

impl BufferKindUser for Core {
    type BufferKind = Eager;
}

impl OutputSizeUser for Core {
    type OutputSize = U64;
}

impl UpdateCore for Core {
    fn update_blocks(&mut self, blocks: &[block_api::Block<Self>]) {
        self.blocks += blocks.len() as u128;
        compress(&mut self.state, Array::cast_slice_to_core(blocks));
    }
}

impl FixedOutputCore for Core {
    fn finalize_fixed_core(&mut self, buffer: &mut Buffer<Self>, out: &mut Output<Self>) {
        let rest = buffer.get_data();
        // Both at once, if there are two: it is quicker.
        let (end, taken) = ended(rest, rest.len() as u128 + 128 * self.blocks);
        compress(&mut self.state, &end[2 - taken..]);
        buffer.reset();
        out.copy_from_slice(&bytes(self.state));
    }
}

impl AlgorithmName for Core {
    fn write_alg_name(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha512")
    }
}

// The state of a keyed MAC is as good as its key. What compressing leaves of it on the stack is not wiped, nor is the end of a message there,
// which of a key of more than a block are its last bytes.
impl Drop for Core {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}

impl ZeroizeOnDrop for Core {}

// Of its two fields the core does it here, and the buffer in `block-buffer`.
impl ZeroizeOnDrop for Sha512 {}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use proptest::{collection::vec, prelude::*};
    use sha2::Digest as _;

    use super::*;

    proptest! {
        #[test]
        fn it_digests_as_sha2_does_whatever_the_pieces(
            bytes in vec(any::<u8>(), 0..2_000),
            cuts in vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut ours = Sha512::default();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            for piece in cuts.windows(2) {
                ours.update(&bytes[piece[0]..piece[1]]);
            }
            prop_assert!(ours.finalize()[..] == sha2::Sha512::digest(&bytes)[..]);
        }

        #[test]
        fn it_keys_an_hmac_as_sha2_does(key in vec(any::<u8>(), 0..300), text in vec(any::<u8>(), 0..600)) {
            let ours = Hmac::<Sha512>::new_from_slice(&key).expect("of any length").chain_update(&text);
            let theirs = Hmac::<sha2::Sha512>::new_from_slice(&key).expect("of any length").chain_update(&text);
            prop_assert!(ours.finalize().into_bytes()[..] == theirs.finalize().into_bytes()[..]);
        }

        #[test]
        fn every_state_is_compressed_as_sha2_does(state: [u64; 8], bytes in vec(any::<[u8; 32]>(), 0..40)) {
            let bytes = bytes.concat();
            let blocks = bytes.as_chunks().0;
            let (mut ours, mut theirs) = (state, state);
            compress(&mut ours, blocks);
            compress512(&mut theirs, blocks);
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_long_message_of_the_standard_has_the_digest_that_it_gives() {
        // NIST's example of a million times "a", whose blocks come in one call.
        let expected = "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
                        de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b";
        let digest = Sha512::digest(vec![b'a'; 1_000_000]);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }
}
