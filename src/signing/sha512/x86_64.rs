//! SHA-512's compression by AVX2 and BMI2: rounds by scalar instructions, of which rotations do not overwrite what they rotate; the
//! message schedules of two blocks beside the rounds of the first, as OpenSSL has it.
//!
//! A schedule's words go to the rounds through memory, because both are made in loops. Taken out of vector registers, each would cost
//! two instructions of those that the rounds need themselves.

#![allow(
    unsafe_code,
    reason = "instructions that not every processor has can be used no other way"
)]

use std::{
    arch::{
        asm,
        x86_64::{
            __m256i, _mm256_add_epi64, _mm256_alignr_epi8, _mm256_or_si256, _mm256_set_epi64x,
            _mm256_shuffle_epi8, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
        },
    },
    array,
    mem::transmute,
};

/// Whether this processor has what it takes.
fn can() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
}

/// Takes `blocks` into `state`. `false` where this processor lacks what it takes: then nothing was done.
pub(super) fn compress(state: &mut [u64; 8], blocks: &[[u8; 128]]) -> bool {
    let can = can();
    if can && is_x86_feature_detected!("avx512vl") {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { by_avx512(state, blocks) };
    } else if can {
        // SAFETY: as above.
        unsafe { by_avx2(state, blocks) };
    }
    can
}

#[target_feature(enable = "avx2,bmi1,bmi2")]
fn by_avx2(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    take_in::<false>(state, blocks);
}

/// The same code for a processor that rotates the schedule's words by one instruction instead of three: 6 % faster.
#[target_feature(enable = "avx2,bmi1,bmi2,avx512vl")]
fn by_avx512(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    take_in::<true>(state, blocks);
}

/// One of the 80 rounds (FIPS 180-4 §6.4.2), with the state's words by the names that they have in it. `$wk` is the schedule's word and
/// the round's constant. `$b_xor_c` is carried from round to round, because this round's a and b are the next one's b and c.
macro_rules! round {
    ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $wk:expr, $b_xor_c:ident) => {
        let h_wk = $h.wrapping_add($wk);
        let ch = ($e & $f) ^ (!$e & $g);
        let sum1 = $e.rotate_right(14) ^ $e.rotate_right(18) ^ $e.rotate_right(41);
        // The chain from e to e is what a round waits for: all that can be added to d before is.
        $d = summed(summed($d.wrapping_add(h_wk)).wrapping_add(ch)).wrapping_add(sum1);
        let a_xor_b = $a ^ $b;
        let maj = $b ^ (a_xor_b & $b_xor_c);
        $b_xor_c = a_xor_b;
        let sum0 = $a.rotate_right(28) ^ $a.rotate_right(34) ^ $a.rotate_right(39);
        $h = summed(h_wk.wrapping_add(ch))
            .wrapping_add(sum1)
            .wrapping_add(maj.wrapping_add(sum0));
    };
}

/// Sixteen rounds by eight pairs of them, for which `$two` is told which they are.
macro_rules! sixteen_rounds {
    ($two:ident; $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
        $two!(0, $a, $b, $c, $d, $e, $f, $g, $h);
        $two!(1, $g, $h, $a, $b, $c, $d, $e, $f);
        $two!(2, $e, $f, $g, $h, $a, $b, $c, $d);
        $two!(3, $c, $d, $e, $f, $g, $h, $a, $b);
        $two!(4, $a, $b, $c, $d, $e, $f, $g, $h);
        $two!(5, $g, $h, $a, $b, $c, $d, $e, $f);
        $two!(6, $e, $f, $g, $h, $a, $b, $c, $d);
        $two!(7, $c, $d, $e, $f, $g, $h, $a, $b);
    };
}

/// A sum that the compiler takes as it is. It would move what is waited for longest to the front of a longer sum.
#[inline(always)]
fn summed(mut sum: u64) -> u64 {
    // SAFETY: there is no instruction in it.
    unsafe {
        asm!("/* {0} */", inout(reg) sum, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// One for each caller, told apart by a parameter that nothing reads: what is called once is compiled as a part of its caller, and so for
/// the processor that the caller is for.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn take_in<const AVX512: bool>(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    // The words of the schedules with the constants of their rounds: two of the first block, two of the second.
    let mut wk = [[0; 4]; 40];
    for pair in blocks.chunks(2) {
        // Where there is no second block, the first stands for it.
        let [first, second] =
            [&pair[0], &pair[pair.len() - 1]].map(|block| block.as_chunks::<8>().0);
        // The last 16 words of both schedules.
        let mut w: [__m256i; 8] = array::from_fn(|i| {
            let words = [
                first[2 * i],
                first[2 * i + 1],
                second[2 * i],
                second[2 * i + 1],
            ];
            big_endian(four(words.map(u64::from_ne_bytes)))
        });
        for (i, (wk, w)) in wk.iter_mut().zip(w).enumerate() {
            *wk = with_constants(w, i);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        let mut b_xor_c = b ^ c;
        for eight in 0..4 {
            macro_rules! two_rounds {
                ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                    let [first, second, ..] = wk[8 * eight + $i];
                    round!($a, $b, $c, $d, $e, $f, $g, $h, first, b_xor_c);
                    w[$i] = scheduled(
                        w[$i],
                        w[($i + 1) % 8],
                        w[($i + 4) % 8],
                        w[($i + 5) % 8],
                        w[($i + 7) % 8],
                    );
                    round!($h, $a, $b, $c, $d, $e, $f, $g, second, b_xor_c);
                    wk[8 * eight + 8 + $i] = with_constants(w[$i], 8 * eight + 8 + $i);
                };
            }
            sixteen_rounds!(two_rounds; a, b, c, d, e, f, g, h);
        }
        macro_rules! last_rounds {
            ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                round!($a, $b, $c, $d, $e, $f, $g, $h, wk[32 + $i][0], b_xor_c);
                round!($h, $a, $b, $c, $d, $e, $f, $g, wk[32 + $i][1], b_xor_c);
            };
        }
        sixteen_rounds!(last_rounds; a, b, c, d, e, f, g, h);
        let _last = b_xor_c;
        add(state, [a, b, c, d, e, f, g, h]);
        if pair.len() == 2 {
            [a, b, c, d, e, f, g, h] = *state;
            b_xor_c = b ^ c;
            for wk in wk.as_chunks::<8>().0 {
                macro_rules! two_rounds {
                    ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                        round!($a, $b, $c, $d, $e, $f, $g, $h, wk[$i][2], b_xor_c);
                        round!($h, $a, $b, $c, $d, $e, $f, $g, wk[$i][3], b_xor_c);
                    };
                }
                sixteen_rounds!(two_rounds; a, b, c, d, e, f, g, h);
            }
            let _last = b_xor_c;
            add(state, [a, b, c, d, e, f, g, h]);
        }
    }
}

fn add(state: &mut [u64; 8], new: [u64; 8]) {
    for (word, new) in state.iter_mut().zip(new) {
        *word = word.wrapping_add(new);
    }
}

/// Four words, the first of them lowest.
#[inline]
#[target_feature(enable = "avx2")]
fn four(words: [u64; 4]) -> __m256i {
    let [first, second, third, fourth] = words.map(u64::cast_signed);
    _mm256_set_epi64x(fourth, third, second, first)
}

/// Words that were read as they stand in memory.
#[inline]
#[target_feature(enable = "avx2")]
fn big_endian(words: __m256i) -> __m256i {
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
    let sigma0 = xor3(
        rotated::<1, 63>(w1),
        rotated::<8, 56>(w1),
        _mm256_srli_epi64::<7>(w1),
    );
    let sigma1 = xor3(
        rotated::<19, 45>(w14),
        rotated::<61, 3>(w14),
        _mm256_srli_epi64::<6>(w14),
    );
    let sum = _mm256_add_epi64(_mm256_add_epi64(w0, w9), sigma0);
    _mm256_add_epi64(sum, sigma1)
}

/// Rotated right by `BY`; `REST` is 64 less that.
#[inline]
#[target_feature(enable = "avx2")]
fn rotated<const BY: i32, const REST: i32>(w: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi64::<BY>(w), _mm256_slli_epi64::<REST>(w))
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

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

    proptest! {
        #[test]
        fn a_processor_without_avx512_compresses_as_sha2_does(state: [u64; 8], bytes in vec(any::<[u8; 32]>(), 0..40)) {
            let bytes = bytes.concat();
            let blocks = bytes.as_chunks().0;
            let (mut ours, mut theirs) = (state, state);
            compress512(&mut theirs, blocks);
            if can() {
                // SAFETY: the processor has the features that the function is compiled for.
                unsafe { by_avx2(&mut ours, blocks) };
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
