//! The rounds by vectors of two words, of which one is what FIPS 180-4 §6.4.2 calls a, and the other what it calls e. A round does much
//! the same with both: three rotations, and a choice among three words. Scalar instructions would be nearly twice as many, and more
//! than a processor can begin in the time.
//!
//! Where Aₙ and Eₙ are what round n makes, and W and K the schedule's word and the constant,
//!
//! ```text
//! Eₙ = Aₙ₋₄ + Eₙ₋₄ + Wₙ + Kₙ + Σ₁(Eₙ₋₁) + Ch(Eₙ₋₁, Eₙ₋₂, Eₙ₋₃)
//! Aₙ = Eₙ − Aₙ₋₄ + Σ₀(Aₙ₋₁) + Maj(Aₙ₋₁, Aₙ₋₂, Aₙ₋₃)
//! ```
//!
//! The a's are two rounds behind: vector n is Vₙ = (Aₙ₋₂, Eₙ). What Vₙ takes from the other lane is then Eₙ₋₂ and Aₙ₋₄, which are Vₙ₋₂
//! with its lanes changed about, and known long before it is needed:
//!
//! ```text
//! Vₙ = swapped(Vₙ₋₂) ± (Vₙ₋₄ + (0, Wₙ + Kₙ)) + Σ(Vₙ₋₁) + chosen(Vₙ₋₁, Vₙ₋₂, Vₙ₋₃), less for a and more for e
//! ```

use std::{
    arch::{
        asm,
        x86_64::{
            __m128i, _mm_add_epi64, _mm_blend_epi32, _mm_cvtsi128_si64, _mm_extract_epi64,
            _mm_mask_add_epi64, _mm_rorv_epi64, _mm_set_epi64x, _mm_set1_epi64x, _mm_shuffle_epi32,
            _mm_sub_epi64, _mm_ternarylogic_epi64,
        },
    },
    array,
};

use super::{CHOOSE, Schedules, XOR};

/// Whether this processor has what it takes.
pub(super) fn can() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
}

/// Takes `blocks` into `state`.
#[target_feature(enable = "avx2,avx512f,avx512vl")]
pub(super) fn compress(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    let rounds = Rounds::new();
    let mut schedules = Schedules::new();
    // Word by word: the compiler would gather them in vectors of 512 bits, for which the processor has one unit less.
    let mut sum = State::of(state.map(|word| as_it_is!(reg, word)));
    for pair in blocks.chunks(2) {
        let mut w = array::from_fn(|i| super::loaded(pair, i));
        for (i, w) in w.into_iter().enumerate() {
            schedules.set(i, super::with_constants(w, i));
        }
        // SAFETY: the first eight were set above.
        let &[first, second, ..] = unsafe { schedules.get(0) };
        let mut v = rounds.first_two(&sum, first, second);
        for eight in 0..4 {
            macro_rules! two_rounds {
                ($($i:literal)*) => {$(
                    // SAFETY: the first eight were set above, and of the others each by the pair of rounds seven before it.
                    v = rounds.one(v, unsafe { schedules.get(8 * eight + 1 + $i) }[0]);
                    super::go_on(&mut schedules, &mut w, eight + 1, $i);
                    // SAFETY: as above.
                    v = rounds.one(v, unsafe { schedules.get(8 * eight + 1 + $i) }[1]);
                )*};
            }
            two_rounds!(0 1 2 3 4 5 6 7);
        }
        // SAFETY: all have been set by now.
        let all = unsafe { schedules.all() };
        for &[first, second, ..] in &all[33..] {
            v = rounds.one(rounds.one(v, first), second);
        }
        sum.add(&rounds, v);
        if pair.len() == 2 {
            v = rounds.first_two(&sum, all[0][2], all[0][3]);
            for &[.., first, second] in &all[1..] {
                v = rounds.one(rounds.one(v, first), second);
            }
            sum.add(&rounds, v);
        }
    }
    *state = sum.words().map(|word| as_it_is!(reg, word));
}

/// The vectors of the last four rounds, the last of them first.
type Last = [__m128i; 4];

/// What is the same in all rounds.
struct Rounds {
    /// By how much each lane is rotated.
    rotations: [__m128i; 3],
    /// All bits of the lane of a's.
    of_a: __m128i,
    /// The mask of the lane of e's.
    of_e: u8,
}

impl Rounds {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn new() -> Self {
        Self {
            rotations: [two(28, 14), two(34, 18), two(39, 41)],
            of_a: two(!0, 0),
            // Did the compiler know it, it would make each sum of one lane a sum of both and a mixture.
            of_e: as_it_is!(reg_byte, 0b10),
        }
    }

    /// One round, after which `wk` is in the state: the schedule's word and the round's constant.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn one(&self, [v1, v2, v3, v4]: Last, wk: u64) -> Last {
        let other = _mm_shuffle_epi32::<0b01_00_11_10>(v2);
        let own = _mm_mask_add_epi64(v4, self.of_e, v4, _mm_set1_epi64x(wk.cast_signed()));
        let known = as_it_is!(xmm_reg, _mm_sub_epi64(other, own));
        let known = _mm_mask_add_epi64(known, self.of_e, other, own);
        let [by1, by2, by3] = self.rotations;
        let rotated = _mm_ternarylogic_epi64::<XOR>(
            _mm_rorv_epi64(v1, by1),
            _mm_rorv_epi64(v1, by2),
            _mm_rorv_epi64(v1, by3),
        );
        // Of e's the choice between the two before, by the last; of a's what most of three are, which is such a choice too: of what
        // one of the two before has, or both of them.
        let either = _mm_ternarylogic_epi64::<OR_IN>(v2, v3, self.of_a);
        let both = _mm_ternarylogic_epi64::<AND_IN>(v3, v2, self.of_a);
        let chosen = _mm_ternarylogic_epi64::<CHOOSE>(v1, either, both);
        // The rotations are what is waited for longest.
        let sum = as_it_is!(xmm_reg, _mm_add_epi64(known, chosen));
        let v = _mm_add_epi64(sum, rotated);
        [v, v1, v2, v3]
    }

    /// The first two rounds of a block. The a's that they give are known: those of the two rounds before the first.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn first_two(&self, state: &State, first: u64, second: u64) -> Last {
        let with_a = |[v, v1, v2, v3]: Last, a| [_mm_blend_epi32::<0b1100>(a, v), v1, v2, v3];
        let v = with_a(self.one(state.last, first), state.b);
        with_a(self.one(v, second), state.a)
    }
}

/// The state between blocks, as rounds take it.
struct State {
    /// (a, –): what the second round of a block gives beside its e.
    a: __m128i,
    /// (b, –), as of the first round.
    b: __m128i,
    /// (c, e), (d, f), (–, g) and (–, h).
    last: Last,
}

impl State {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn of([a, b, c, d, e, f, g, h]: [u64; 8]) -> Self {
        Self {
            a: two(a, 0),
            b: two(b, 0),
            last: [two(c, e), two(d, f), two(0, g), two(0, h)],
        }
    }

    /// Adds what the rounds of a block have made (FIPS 180-4 §6.4.2, step 4).
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn add(&mut self, rounds: &Rounds, last: Last) {
        // The a's of the last two rounds come with e's of two more, which nobody needs.
        let [a, b, ..] = rounds.one(rounds.one(last, 0), 0);
        self.a = _mm_add_epi64(self.a, a);
        self.b = _mm_add_epi64(self.b, b);
        for (sum, last) in self.last.iter_mut().zip(last) {
            *sum = _mm_add_epi64(*sum, last);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn words(&self) -> [u64; 8] {
        let a = |v| _mm_cvtsi128_si64(v).cast_unsigned();
        let e = |v| _mm_extract_epi64::<1>(v).cast_unsigned();
        let [v1, v2, v3, v4] = self.last;
        [
            a(self.a),
            a(self.b),
            a(v1),
            a(v2),
            e(v1),
            e(v2),
            e(v3),
            e(v4),
        ]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn two(a: u64, e: u64) -> __m128i {
    _mm_set_epi64x(e.cast_signed(), a.cast_signed())
}

/// As [`CHOOSE`]: `if z { x | y } else { x }`.
const OR_IN: i32 = 0xf8;
/// `if z { x & y } else { x }`.
const AND_IN: i32 = 0xd0;
