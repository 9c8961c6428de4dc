//! SHA-512's compression on x86-64: the message schedules of two blocks at once by AVX2, and beside them the rounds of the first, as
//! OpenSSL has it. The rounds are of two kinds, as the processor has AVX-512 or not.
//!
//! A schedule's words go to the rounds through memory. Taken out of vector registers, each would cost two instructions of those that the
//! rounds need themselves.

#![allow(
    unsafe_code,
    reason = "instructions that not every processor has can be used no other way"
)]

/// A value that the compiler takes as it is, in a register of the class: it does not know where it comes from, and so neither orders a sum
/// anew of which it is a part, nor makes it in another way.
macro_rules! as_it_is {
    ($class:ident, $value:expr) => {{
        let mut value = $value;
        // SAFETY: there is no instruction in it.
        unsafe {
            asm!("/* {0} */", inout($class) value, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }};
}

mod avx2;
mod avx512;

use std::{
    arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_alignr_epi8, _mm256_or_si256, _mm256_set_epi64x,
        _mm256_shuffle_epi8, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
    },
    mem::{MaybeUninit, transmute},
};

/// Takes `blocks` into `state`. `false` where this processor lacks what it takes: then nothing was done.
pub(super) fn compress(state: &mut [u64; 8], blocks: &[[u8; 128]]) -> bool {
    if avx512::can() {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { avx512::compress(state, blocks) };
        true
    } else if avx2::can() {
        // SAFETY: as above.
        unsafe { avx2::compress(state, blocks) };
        true
    } else {
        false
    }
}

/// The words of the schedules of two blocks with the constants of their rounds, by pairs of rounds: two of the first block, two of the
/// second. Not filled with zeros at first, because that takes a tenth of a block's time; and aligned, because 32 bytes that lie in two
/// lines of the cache are stored more slowly.
#[repr(align(64))]
struct Schedules([MaybeUninit<[u64; 4]>; 40]);

impl Schedules {
    fn new() -> Self {
        Self([MaybeUninit::uninit(); 40])
    }

    fn set(&mut self, pair: usize, words: [u64; 4]) {
        self.0[pair].write(words);
    }

    /// # Safety
    /// The pair has been set.
    unsafe fn get(&self, pair: usize) -> &[u64; 4] {
        // SAFETY: the caller says that it has been set.
        unsafe { self.0[pair].assume_init_ref() }
    }

    /// # Safety
    /// All have been set.
    unsafe fn all(&self) -> &[[u64; 4]; 40] {
        // SAFETY: the caller says that there is such an array there.
        unsafe { &*(&raw const self.0).cast() }
    }
}

/// The `i`th two words of one or two blocks. Where there is no second block, the first stands for it.
#[inline]
#[target_feature(enable = "avx2")]
fn loaded(blocks: &[[u8; 128]], i: usize) -> __m256i {
    let [first, second] =
        [&blocks[0], &blocks[blocks.len() - 1]].map(|block| block.as_chunks::<8>().0);
    let words = [
        first[2 * i],
        first[2 * i + 1],
        second[2 * i],
        second[2 * i + 1],
    ];
    big_endian(four(words.map(u64::from_ne_bytes)))
}

/// Goes on with the schedules of which `w` is the last 16 words, by the words of the pair of rounds `8 * eight + i`. `i` is less than 8.
///
/// To be a part of its caller, as all that it calls, and so compiled for the processor that the caller is for: with AVX-512 a rotation is one
/// instruction, without it three.
#[inline]
#[target_feature(enable = "avx2")]
fn go_on(schedules: &mut Schedules, w: &mut [__m256i; 8], eight: usize, i: usize) {
    w[i] = scheduled(
        w[i],
        w[(i + 1) % 8],
        w[(i + 4) % 8],
        w[(i + 5) % 8],
        w[(i + 7) % 8],
    );
    schedules.set(8 * eight + i, with_constants(w[i], 8 * eight + i));
}

/// Four words, the first of them lowest.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn four(words: [u64; 4]) -> __m256i {
    let [first, second, third, fourth] = words.map(u64::cast_signed);
    _mm256_set_epi64x(fourth, third, second, first)
}

/// Words that were read as they stand in memory.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn big_endian(words: __m256i) -> __m256i {
    let order = [0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f];
    _mm256_shuffle_epi8(words, four([order[0], order[1], order[0], order[1]]))
}

/// Two words of each schedule with the constants of the rounds that take them, the pair of rounds of that number.
#[inline]
#[target_feature(enable = "avx2")]
fn with_constants(w: __m256i, pair: usize) -> [u64; 4] {
    let [first, second] = CONSTANTS.as_flattened().as_chunks().0[pair];
    let sum = _mm256_add_epi64(w, four([first, second, first, second]));
    // SAFETY: both are 32 bytes, of which every value is one.
    unsafe { transmute(sum) }
}

/// The next two words of each schedule, from those that stand 16, 14, 8, 6 and 2 before them (FIPS 180-4 §6.4.2, step 1).
#[inline]
#[target_feature(enable = "avx2")]
fn scheduled(w0: __m256i, w2: __m256i, w8: __m256i, w10: __m256i, w14: __m256i) -> __m256i {
    // Those that stand 15 and 7 before them: across two vectors.
    let w1 = _mm256_alignr_epi8::<8>(w2, w0);
    let w9 = _mm256_alignr_epi8::<8>(w10, w8);
    let sum = _mm256_add_epi64(_mm256_add_epi64(w0, w9), sigma0(w1));
    _mm256_add_epi64(sum, sigma1(w14))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sigma0(w: __m256i) -> __m256i {
    xor3(
        rotated::<1, 63>(w),
        rotated::<8, 56>(w),
        _mm256_srli_epi64::<7>(w),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sigma1(w: __m256i) -> __m256i {
    xor3(
        rotated::<19, 45>(w),
        rotated::<61, 3>(w),
        _mm256_srli_epi64::<6>(w),
    )
}

/// Rotated right by `BY`; `REST` is 64 less that.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn rotated<const BY: i32, const REST: i32>(w: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi64::<BY>(w), _mm256_slli_epi64::<REST>(w))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// What `_mm512_ternarylogic_epi64` and its like are to do with three bits: `x ^ y ^ z`.
pub(super) const XOR: i32 = 0x96;
/// `if x { y } else { z }`.
pub(super) const CHOOSE: i32 = 0xca;

/// The rounds' constants (FIPS 180-4 §4.2.3), by four.
#[rustfmt::skip]
pub(super) static CONSTANTS: [[u64; 4]; 20] = [
    [0x428a_2f98_d728_ae22, 0x7137_4491_23ef_65cd, 0xb5c0_fbcf_ec4d_3b2f, 0xe9b5_dba5_8189_dbbc],
    [0x3956_c25b_f348_b538, 0x59f1_11f1_b605_d019, 0x923f_82a4_af19_4f9b, 0xab1c_5ed5_da6d_8118],
    [0xd807_aa98_a303_0242, 0x1283_5b01_4570_6fbe, 0x2431_85be_4ee4_b28c, 0x550c_7dc3_d5ff_b4e2],
    [0x72be_5d74_f27b_896f, 0x80de_b1fe_3b16_96b1, 0x9bdc_06a7_25c7_1235, 0xc19b_f174_cf69_2694],
    [0xe49b_69c1_9ef1_4ad2, 0xefbe_4786_384f_25e3, 0x0fc1_9dc6_8b8c_d5b5, 0x240c_a1cc_77ac_9c65],
    [0x2de9_2c6f_592b_0275, 0x4a74_84aa_6ea6_e483, 0x5cb0_a9dc_bd41_fbd4, 0x76f9_88da_8311_53b5],
    [0x983e_5152_ee66_dfab, 0xa831_c66d_2db4_3210, 0xb003_27c8_98fb_213f, 0xbf59_7fc7_beef_0ee4],
    [0xc6e0_0bf3_3da8_8fc2, 0xd5a7_9147_930a_a725, 0x06ca_6351_e003_826f, 0x1429_2967_0a0e_6e70],
    [0x27b7_0a85_46d2_2ffc, 0x2e1b_2138_5c26_c926, 0x4d2c_6dfc_5ac4_2aed, 0x5338_0d13_9d95_b3df],
    [0x650a_7354_8baf_63de, 0x766a_0abb_3c77_b2a8, 0x81c2_c92e_47ed_aee6, 0x9272_2c85_1482_353b],
    [0xa2bf_e8a1_4cf1_0364, 0xa81a_664b_bc42_3001, 0xc24b_8b70_d0f8_9791, 0xc76c_51a3_0654_be30],
    [0xd192_e819_d6ef_5218, 0xd699_0624_5565_a910, 0xf40e_3585_5771_202a, 0x106a_a070_32bb_d1b8],
    [0x19a4_c116_b8d2_d0c8, 0x1e37_6c08_5141_ab53, 0x2748_774c_df8e_eb99, 0x34b0_bcb5_e19b_48a8],
    [0x391c_0cb3_c5c9_5a63, 0x4ed8_aa4a_e341_8acb, 0x5b9c_ca4f_7763_e373, 0x682e_6ff3_d6b2_b8a3],
    [0x748f_82ee_5def_b2fc, 0x78a5_636f_4317_2f60, 0x84c8_7814_a1f0_ab72, 0x8cc7_0208_1a64_39ec],
    [0x90be_fffa_2363_1e28, 0xa450_6ceb_de82_bde9, 0xbef9_a3f7_b2c6_7915, 0xc671_78f2_e372_532b],
    [0xca27_3ece_ea26_619c, 0xd186_b8c7_21c0_c207, 0xeada_7dd6_cde0_eb1e, 0xf57d_4f7f_ee6e_d178],
    [0x06f0_67aa_7217_6fba, 0x0a63_7dc5_a2c8_98a6, 0x113f_9804_bef9_0dae, 0x1b71_0b35_131c_471b],
    [0x28db_77f5_2304_7d84, 0x32ca_ab7b_40c7_2493, 0x3c9e_be0a_15c9_bebc, 0x431d_67c4_9c10_0d4c],
    [0x4cc5_d4be_cb3e_42b6, 0x597f_299c_fc65_7e2a, 0x5fcb_6fab_3ad6_faec, 0x6c44_198c_4a47_5817],
];

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use sha2::block_api::compress512;

    use super::*;

    /// Holds a kind of rounds against `sha2`, where this processor has what it takes.
    #[expect(clippy::print_stderr, reason = "what was not tested is told")]
    fn compresses_as_sha2_does(
        kind: &str,
        can: bool,
        compress: impl Fn(&mut [u64; 8], &[[u8; 128]]),
    ) {
        if !can {
            eprintln!("SKIPPED: SHA-512 by {kind}, which this processor does not have");
            return;
        }
        proptest!(|(state: [u64; 8], bytes in vec(any::<[u8; 32]>(), 0..40))| {
            let bytes = bytes.concat();
            let blocks = bytes.as_chunks().0;
            let (mut ours, mut theirs) = (state, state);
            compress(&mut ours, blocks);
            compress512(&mut theirs, blocks);
            prop_assert_eq!(ours, theirs);
        });
    }

    #[test]
    fn scalar_rounds_compress_as_sha2_does() {
        compresses_as_sha2_does("AVX2", avx2::can(), |state, blocks| {
            // SAFETY: it is called only where the processor has the features that the function is compiled for.
            unsafe { avx2::compress(state, blocks) }
        });
    }

    #[test]
    fn rounds_in_vectors_compress_as_sha2_does() {
        compresses_as_sha2_does("AVX-512", avx512::can(), |state, blocks| {
            // SAFETY: as above.
            unsafe { avx512::compress(state, blocks) }
        });
    }
}
