//! The rounds by scalar instructions, with BMI2's rotations, which do not overwrite what they rotate.

use std::{arch::asm, array};

use super::Schedules;

/// Whether this processor has what it takes.
pub(super) fn can() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
}

/// One of the 80 rounds (FIPS 180-4 §6.4.2), with the state's words by the names that they have in it. `$wk` is the schedule's word and
/// the round's constant. `$b_xor_c` is carried from round to round, because this round's a and b are the next one's b and c.
macro_rules! round {
    ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $wk:expr, $b_xor_c:ident) => {
        let h_wk_ch = $h
            .wrapping_add($wk)
            .wrapping_add($e & $f)
            .wrapping_add(!$e & $g);
        let sum1 = $e.rotate_right(14) ^ $e.rotate_right(18) ^ $e.rotate_right(41);
        // What is the same for d and h is made once, and what the next round waits for first: d.
        let t1 = as_it_is!(reg, h_wk_ch.wrapping_add(sum1));
        $d = $d.wrapping_add(t1);
        let a_xor_b = $a ^ $b;
        let maj = $b ^ (a_xor_b & $b_xor_c);
        $b_xor_c = a_xor_b;
        let sum0 = $a.rotate_right(28) ^ $a.rotate_right(34) ^ $a.rotate_right(39);
        $h = as_it_is!(reg, t1.wrapping_add(maj)).wrapping_add(sum0);
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

/// Takes `blocks` into `state`.
#[target_feature(enable = "avx2,bmi1,bmi2")]
pub(super) fn compress(state: &mut [u64; 8], blocks: &[[u8; 128]]) {
    let mut schedules = Schedules::new();
    for pair in blocks.chunks(2) {
        let mut w = array::from_fn(|i| super::loaded(pair, i));
        for (i, w) in w.into_iter().enumerate() {
            schedules.set(i, super::with_constants(w, i));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        let mut b_xor_c = b ^ c;
        for eight in 0..4 {
            macro_rules! two_rounds {
                ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                    // SAFETY: the first eight were set above, and of the others each by the pair of rounds eight before it.
                    let &[first, second, ..] = unsafe { schedules.get(8 * eight + $i) };
                    round!($a, $b, $c, $d, $e, $f, $g, $h, first, b_xor_c);
                    super::go_on(&mut schedules, &mut w, eight + 1, $i);
                    round!($h, $a, $b, $c, $d, $e, $f, $g, second, b_xor_c);
                };
            }
            sixteen_rounds!(two_rounds; a, b, c, d, e, f, g, h);
        }
        macro_rules! last_rounds {
            ($i:literal, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                // SAFETY: all have been set by now.
                let &[first, second, ..] = unsafe { schedules.get(32 + $i) };
                round!($a, $b, $c, $d, $e, $f, $g, $h, first, b_xor_c);
                round!($h, $a, $b, $c, $d, $e, $f, $g, second, b_xor_c);
            };
        }
        sixteen_rounds!(last_rounds; a, b, c, d, e, f, g, h);
        let _last = b_xor_c;
        add(state, [a, b, c, d, e, f, g, h]);
        if pair.len() == 2 {
            [a, b, c, d, e, f, g, h] = *state;
            b_xor_c = b ^ c;
            // SAFETY: as above.
            let all = unsafe { schedules.all() };
            for wk in all.as_chunks::<8>().0 {
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
