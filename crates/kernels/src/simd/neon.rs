//! NEON of aarch64: 32 registers of 128 bits.

use super::{Kernel, Simd};
use std::arch::aarch64::*;

macro_rules! neon {
    (
        $(#[$doc:meta])* $name:ident, $t:ident, $v:ident, $lanes:literal,
        $splat:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $fms:ident, $load:ident, $store:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(());

        impl Simd for $name {
            type Elem = $t;
            type V = $v;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = 8;

            #[inline(always)]
            unsafe fn assume() -> Self {
                Self(())
            }
            #[inline]
            fn call<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                #[target_feature(enable = "neon")]
                fn compiled_for<K: Kernel<$t>>(simd: $name, kernel: K) -> K::Output {
                    kernel.run(simd)
                }
                // SAFETY: `self` proves that the CPU has NEON.
                unsafe { compiled_for(self, kernel) }
            }
            #[inline(always)]
            fn splat(self, x: $t) -> $v {
                // SAFETY: `self` proves that the CPU has NEON.
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
                unsafe { $fma(c, a, b) }
            }
            #[inline(always)]
            fn fnma(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as in `splat`.
                unsafe { $fms(c, a, b) }
            }
            #[inline(always)]
            fn sum(self, v: $v) -> $t {
                let mut lanes = [0.0; $lanes];
                // SAFETY: as in `splat`; `lanes` has LANES elements.
                unsafe { $store(lanes.as_mut_ptr(), v) };
                let mut half = $lanes / 2;
                while half > 0 {
                    for lane in 0..half {
                        lanes[lane] += lanes[lane + half];
                    }
                    half /= 2;
                }
                lanes[0]
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $v {
                // SAFETY: as in `splat`; the caller vouches for LANES elements.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> $v {
                let mut lanes = [0.0; $lanes];
                for (lane, x) in lanes.iter_mut().enumerate().take(n) {
                    // SAFETY: the caller vouches for n elements.
                    *x = unsafe { *p.add(lane) };
                }
                // SAFETY: as in `splat`; `lanes` has LANES elements.
                unsafe { $load(lanes.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $v) {
                // SAFETY: as in `splat`; the caller vouches for LANES elements.
                unsafe { $store(p, v) }
            }
        }
    };
}

neon!(
    /// 4 lanes of float32.
    NeonF32, f32, float32x4_t, 4,
    vdupq_n_f32, vaddq_f32, vsubq_f32, vmulq_f32, vfmaq_f32, vfmsq_f32, vld1q_f32, vst1q_f32
);
neon!(
    /// 2 lanes of float64.
    NeonF64, f64, float64x2_t, 2,
    vdupq_n_f64, vaddq_f64, vsubq_f64, vmulq_f64, vfmaq_f64, vfmsq_f64, vld1q_f64, vst1q_f64
);
