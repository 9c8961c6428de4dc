//! Four lanes: AVX2 has a rotation as three instructions, so that it takes a processor with many places for them.

use std::{
    arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_set1_epi64x, _mm256_xor_si256,
    },
    array,
    mem::transmute,
};

use super::super::{
    Block,
    x86_64::{CONSTANTS, big_endian, four as lanes, rotated, sigma0, sigma1, xor3},
};

pub(in crate::signing::sha512) const LANES: usize = 4;

type Vector = __m256i;

/// Whether this processor has what it takes, and is faster so. AMD's, which alone have SSE4a, take half as long from Zen 3 on, which VAES
/// tells from those before: the first did a vector in two halves, and Zen 2 was not measured. Intel's gain nothing (docs/performance.md).
pub(in crate::signing::sha512) fn can() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("sse4a")
        && is_x86_feature_detected!("vaes")
}

compression!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn in_each(word: u64) -> Vector {
    _mm256_set1_epi64x(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn ch(e: Vector, f: Vector, g: Vector) -> Vector {
    _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)))
}

/// As what of it is the next round's is made once: the exclusive or of a and b, which are b and c then.
#[inline]
#[target_feature(enable = "avx2")]
fn maj(a: Vector, b: Vector, c: Vector) -> Vector {
    let differ = _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c));
    _mm256_xor_si256(b, differ)
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum0(a: Vector) -> Vector {
    xor3(
        rotated::<28, 36>(a),
        rotated::<34, 30>(a),
        rotated::<39, 25>(a),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum1(e: Vector) -> Vector {
    xor3(
        rotated::<14, 50>(e),
        rotated::<18, 46>(e),
        rotated::<41, 23>(e),
    )
}
