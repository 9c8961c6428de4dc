//! Eight lanes: AVX-512 rotates by one instruction, and has each function of three bits as one.

use std::{
    arch::x86_64::{
        __m512i, _mm_set_epi64x, _mm512_add_epi64, _mm512_broadcast_i32x4, _mm512_ror_epi64,
        _mm512_set_epi64, _mm512_set1_epi64, _mm512_shuffle_epi8, _mm512_srli_epi64,
        _mm512_ternarylogic_epi64,
    },
    array,
    mem::transmute,
};

use super::super::{
    Block,
    x86_64::{CHOOSE, CONSTANTS, XOR},
};

pub(in crate::signing::sha512) const LANES: usize = 8;
/// As [`CHOOSE`]: what most of them are.
const MAJORITY: i32 = 0xe8;

type Vector = __m512i;

/// Whether this processor has what it takes.
pub(in crate::signing::sha512) fn can() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

compression!("avx512f,avx512bw");

/// A word of each lane, the first one's lowest.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(words: [u64; LANES]) -> Vector {
    let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn in_each(word: u64) -> Vector {
    _mm512_set1_epi64(word.cast_signed())
}

/// Words that were read as they stand in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(words: Vector) -> Vector {
    let order = _mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<XOR>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn ch(e: Vector, f: Vector, g: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<CHOOSE>(e, f, g)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn maj(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<MAJORITY>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum0(a: Vector) -> Vector {
    xor3(
        _mm512_ror_epi64::<28>(a),
        _mm512_ror_epi64::<34>(a),
        _mm512_ror_epi64::<39>(a),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum1(e: Vector) -> Vector {
    xor3(
        _mm512_ror_epi64::<14>(e),
        _mm512_ror_epi64::<18>(e),
        _mm512_ror_epi64::<41>(e),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sigma0(w: Vector) -> Vector {
    xor3(
        _mm512_ror_epi64::<1>(w),
        _mm512_ror_epi64::<8>(w),
        _mm512_srli_epi64::<7>(w),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sigma1(w: Vector) -> Vector {
    xor3(
        _mm512_ror_epi64::<19>(w),
        _mm512_ror_epi64::<61>(w),
        _mm512_srli_epi64::<6>(w),
    )
}
