//! SHA-512's compression of eight messages at once by AVX-512, each in a lane of its own.

#![allow(
    unsafe_code,
    reason = "instructions that not every processor has can be used no other way"
)]

use std::{
    arch::x86_64::{
        __m512i, _mm_set_epi64x, _mm512_add_epi64, _mm512_broadcast_i32x4, _mm512_ror_epi64,
        _mm512_set_epi64, _mm512_set1_epi64, _mm512_shuffle_epi8, _mm512_srli_epi64,
        _mm512_ternarylogic_epi64,
    },
    array,
    mem::transmute,
};

use super::{
    each::{Block, LANES},
    x86_64::{CHOOSE, CONSTANTS, XOR},
};

/// As [`CHOOSE`]: what most of them are.
const MAJORITY: i32 = 0xe8;

/// Whether this processor has what it takes.
pub(super) fn can() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Takes `blocks`, of which there are as many in each lane, into `states`. `false` where this processor lacks what it takes: then nothing was
/// done.
pub(super) fn compress(states: &mut [[u64; 8]; LANES], blocks: [&[Block]; LANES]) -> bool {
    let can = can();
    if can {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { take_in(states, blocks) };
    }
    can
}

/// One of the 80 rounds (FIPS 180-4 §6.4.2), with the state's words by the names that they have in it.
macro_rules! round {
    ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $wk:expr) => {
        let sum1 = xor3(
            _mm512_ror_epi64::<14>($e),
            _mm512_ror_epi64::<18>($e),
            _mm512_ror_epi64::<41>($e),
        );
        let ch = _mm512_ternarylogic_epi64::<CHOOSE>($e, $f, $g);
        let t1 = add(add($h, $wk), add(sum1, ch));
        let sum0 = xor3(
            _mm512_ror_epi64::<28>($a),
            _mm512_ror_epi64::<34>($a),
            _mm512_ror_epi64::<39>($a),
        );
        let maj = _mm512_ternarylogic_epi64::<MAJORITY>($a, $b, $c);
        $d = add($d, t1);
        $h = add(t1, add(sum0, maj));
    };
}

#[target_feature(enable = "avx512f,avx512bw")]
fn take_in(states: &mut [[u64; 8]; LANES], blocks: [&[Block]; LANES]) {
    let mut state: [__m512i; 8] = array::from_fn(|i| lanes(array::from_fn(|lane| states[lane][i])));
    let big_endian =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
    let length = blocks[0].len();
    for at in 0..length {
        let block = blocks.map(|lane| lane[at].as_chunks::<8>().0);
        // The last 16 words of the schedule.
        let mut w: [__m512i; 16] = array::from_fn(|i| {
            let word = lanes(block.map(|words| u64::from_ne_bytes(words[i])));
            _mm512_shuffle_epi8(word, big_endian)
        });
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for sixteen in 0..5 {
            macro_rules! step {
                ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                    let constant = CONSTANTS[4 * sixteen + $i / 4][$i % 4];
                    let wk = add(w[$i], _mm512_set1_epi64(constant.cast_signed()));
                    round!($a, $b, $c, $d, $e, $f, $g, $h, wk);
                    if sixteen < 4 {
                        let (w1, w9, w14) = (w[($i + 1) % 16], w[($i + 9) % 16], w[($i + 14) % 16]);
                        w[$i] = add(add(w[$i], w9), add(sigma0(w1), sigma1(w14)));
                    }
                };
            }
            macro_rules! eight_steps {
                ($($i:literal)*) => {
                    eight_steps!(@ a, b, c, d, e, f, g, h; $($i)*);
                };
                (@ $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident; $i:literal $($more:literal)*) => {
                    step!($i, $a, $b, $c, $d, $e, $f, $g, $h);
                    eight_steps!(@ $h, $a, $b, $c, $d, $e, $f, $g; $($more)*);
                };
                (@ $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident;) => {};
            }
            eight_steps!(0 1 2 3 4 5 6 7);
            eight_steps!(8 9 10 11 12 13 14 15);
        }
        for (word, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = add(*word, new);
        }
    }
    for (i, word) in state.into_iter().enumerate() {
        // SAFETY: both are 64 bytes, of which every value is one.
        let words: [u64; LANES] = unsafe { transmute(word) };
        for (lane, word) in words.into_iter().enumerate() {
            states[lane][i] = word;
        }
    }
}

/// A word of each lane, the first one's lowest.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(words: [u64; LANES]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sigma0(w: __m512i) -> __m512i {
    xor3(
        _mm512_ror_epi64::<1>(w),
        _mm512_ror_epi64::<8>(w),
        _mm512_srli_epi64::<7>(w),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sigma1(w: __m512i) -> __m512i {
    xor3(
        _mm512_ror_epi64::<19>(w),
        _mm512_ror_epi64::<61>(w),
        _mm512_srli_epi64::<6>(w),
    )
}
