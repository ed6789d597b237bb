//! Random numbers by counter: each has its own place, whoever asks for it and in whatever order.
//!
//! ```text
//! words 4b … 4b + 3 of row u in step t  =  Philox4x32-10(counter (b, u mod 2³², u div 2³², t), key = seed)
//! uniform = (word + ½) / 2³²            normal = Φ⁻¹(uniform)
//! ```
//!
//! Philox4x32-10: Salmon, Moraes, Dror and Shaw, «Parallel random numbers: as easy as 1, 2, 3» (2011). Φ⁻¹: Wichura,
//! «Algorithm AS 241: the percentage points of the normal distribution» (1988), to 1e-16 relative. Of 2³² uniforms the
//! largest normal is 6.3.

use crate::simd::Element;

/// The random numbers of one step (a half-step of a sweep) of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Chooses the chain.
    pub seed: u64,
    /// Chooses the step.
    pub step: u32,
}

/// Counters, and words, that are made together: eight products of 64 bits fill the vectors of any instruction set, and
/// few words are made in vain where a rank is a multiple of 32 and has a bias.
pub(crate) const COUNTERS: usize = 8;
const WORDS: usize = 4 * COUNTERS;

impl Noise {
    /// Independent standard normal numbers of a row.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // a counter and a key of two halves
    pub fn normals<T: Element>(&self, row: usize, out: &mut [T]) {
        let (low, high) = (row as u32, (row as u64 >> 32) as u32);
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        for (first, out) in (0_u32..).step_by(COUNTERS).zip(out.chunks_mut(WORDS)) {
            let mut counters = [[0; COUNTERS], [low; COUNTERS], [high; COUNTERS], [self.step; COUNTERS]];
            for (number, counter) in (first..).zip(&mut counters[0]) {
                *counter = number;
            }
            let words = philox(counters, key);
            // The middle of the distribution for all, without a branch; then the tails, one in seven.
            let mut normals = [[0.0; COUNTERS]; 4];
            for (normals, words) in normals.iter_mut().zip(&words) {
                for (normal, &word) in normals.iter_mut().zip(words) {
                    *normal = middle(uniform(word) - 0.5);
                }
            }
            let (mut far, mut count) = ([0; WORDS], 0);
            for (place, out) in out.iter_mut().enumerate() {
                let (counter, word) = (place / 4, place % 4);
                *out = T::from_f64(normals[word][counter]);
                far[count] = place; // kept where the count goes on
                count += usize::from((uniform(words[word][counter]) - 0.5).abs() > MIDDLE);
            }
            for &place in &far[..count] {
                out[place] = T::from_f64(tail(uniform(words[place % 4][place / 4])));
            }
        }
    }
}

/// (word + ½) / 2³².
#[inline(always)]
fn uniform(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

/// Philox4x32 of ten rounds for every counter: word w of counter c is `[w][c]`, before and after.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // the halves of a product
pub(crate) fn philox(mut words: [[u32; COUNTERS]; 4], mut key: [u32; 2]) -> [[u32; COUNTERS]; 4] {
    for _ in 0..10 {
        for c in 0..COUNTERS {
            let a = 0xD251_1F53_u64 * u64::from(words[0][c]);
            let b = 0xCD9E_8D57_u64 * u64::from(words[2][c]);
            words[0][c] = (b >> 32) as u32 ^ words[1][c] ^ key[0];
            words[1][c] = b as u32;
            words[2][c] = (a >> 32) as u32 ^ words[3][c] ^ key[1];
            words[3][c] = a as u32;
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    words
}

const MIDDLE: f64 = 0.425;

/// Φ⁻¹(½ + q) for |q| ≤ 0.425.
#[inline(always)]
fn middle(q: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ];
    const B: [f64; 8] = [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ];
    let r = MIDDLE * MIDDLE - q * q;
    q * polynomial(&A, r) / polynomial(&B, r)
}

/// Φ⁻¹(p) for p outside the middle.
fn tail(p: f64) -> f64 {
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let size = if r <= 5.0 {
        polynomial(&C, r - 1.6) / polynomial(&D, r - 1.6)
    } else {
        polynomial(&E, r - 5.0) / polynomial(&F, r - 5.0)
    };
    if p < 0.5 { -size } else { size }
}

/// Σ c_k x^k.
#[inline(always)]
fn polynomial(c: &[f64; 8], x: f64) -> f64 {
    let mut sum = c[7];
    for k in (0..7).rev() {
        sum = sum * x + c[k];
    }
    sum
}
