//! AVX-512 and AVX2 + FMA.
//!
//! 1. Tiles of 8 × 3 vectors fit the 32 registers of AVX-512 (24 accumulators, 3 right vectors, one
//!    broadcast), tiles of 4 × 3 the 16 of AVX2.
//! 2. Partial vectors are masked loads, so that a row's end is never overrun.

use super::{Kernel, Simd};
use std::arch::x86_64::*;

macro_rules! x86 {
    (
        $(#[$doc:meta])* $name:ident, $t:ident, $v:ident, $lanes:literal, $rows:literal, $features:literal,
        $splat:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $fnma:ident,
        $load:ident, $store:ident, $first:ident, $sum:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(());

        impl Simd for $name {
            type Elem = $t;
            type V = $v;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;

            #[inline(always)]
            unsafe fn assume() -> Self {
                Self(())
            }
            #[inline]
            fn call<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                #[target_feature(enable = $features)]
                fn compiled_for<K: Kernel<$t>>(simd: $name, kernel: K) -> K::Output {
                    kernel.run(simd)
                }
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { compiled_for(self, kernel) }
            }
            #[inline(always)]
            fn splat(self, x: $t) -> $v {
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            fn add(self, a: $v, b: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn sub(self, a: $v, b: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: $v, b: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn fma(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            fn fnma(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $fnma(a, b, c) }
            }
            #[inline(always)]
            fn sum(self, v: $v) -> $t {
                // SAFETY: as in `splat`.
                unsafe { $sum(v) }
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $v {
                // SAFETY: as in `splat`; the caller vouches for LANES elements.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> $v {
                // SAFETY: as in `splat`; the caller vouches for n elements, no other is touched.
                unsafe { $first(p, n) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $v) {
                // SAFETY: as in `splat`; the caller vouches for LANES elements.
                unsafe { $store(p, v) }
            }
        }
    };
}

x86!(
    /// 16 lanes of float32.
    Avx512F32, f32, __m512, 16, 8, "avx512f,avx2,fma",
    _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_storeu_ps, first_512_ps, sum_512_ps
);
x86!(
    /// 8 lanes of float64.
    Avx512F64, f64, __m512d, 8, 8, "avx512f,avx2,fma",
    _mm512_set1_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_fmadd_pd, _mm512_fnmadd_pd,
    _mm512_loadu_pd, _mm512_storeu_pd, first_512_pd, sum_512_pd
);
x86!(
    /// 8 lanes of float32.
    Avx2F32, f32, __m256, 8, 4, "avx2,fma",
    _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps,
    _mm256_loadu_ps, _mm256_storeu_ps, first_256_ps, sum_256_ps
);
x86!(
    /// 4 lanes of float64.
    Avx2F64, f64, __m256d, 4, 4, "avx2,fma",
    _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd, _mm256_fnmadd_pd,
    _mm256_loadu_pd, _mm256_storeu_pd, first_256_pd, sum_256_pd
);

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn first_512_ps(p: *const f32, n: usize) -> __m512 {
    // SAFETY: masked lanes are not read, and the caller vouches for the first n.
    unsafe { _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, p) }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn first_512_pd(p: *const f64, n: usize) -> __m512d {
    // SAFETY: masked lanes are not read, and the caller vouches for the first n.
    unsafe { _mm512_maskz_loadu_pd(((1u32 << n) - 1) as __mmask8, p) }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn first_256_ps(p: *const f32, n: usize) -> __m256 {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane);
    // SAFETY: masked lanes are not read, and the caller vouches for the first n.
    unsafe { _mm256_maskload_ps(p, mask) }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn first_256_pd(p: *const f64, n: usize) -> __m256d {
    let mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3));
    // SAFETY: masked lanes are not read, and the caller vouches for the first n.
    unsafe { _mm256_maskload_pd(p, mask) }
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum_512_ps(v: __m512) -> f32 {
    let upper = _mm512_shuffle_f32x4::<0b11_10_11_10>(v, v);
    sum_256_ps(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_castps512_ps256(upper)))
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum_512_pd(v: __m512d) -> f64 {
    let upper = _mm512_extractf64x4_pd::<1>(v);
    sum_256_pd(_mm256_add_pd(_mm512_castpd512_pd256(v), upper))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_256_ps(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_256_pd(v: __m256d) -> f64 {
    let two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
    _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
}
