//! Vectors for any CPU: small arrays that the compiler may or may not turn into vectors.

use super::{Kernel, Simd};

macro_rules! portable {
    ($(#[$doc:meta])* $name:ident, $t:ident, $lanes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(());

        impl $name {
            #[inline(always)]
            fn map2(a: [$t; $lanes], b: [$t; $lanes], f: impl Fn($t, $t) -> $t) -> [$t; $lanes] {
                std::array::from_fn(|lane| f(a[lane], b[lane]))
            }
        }

        impl Simd for $name {
            type Elem = $t;
            type V = [$t; $lanes];
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = 4;

            #[inline(always)]
            unsafe fn assume() -> Self {
                Self(())
            }
            #[inline]
            fn call<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                kernel.run(self)
            }
            #[inline(always)]
            fn splat(self, x: $t) -> Self::V {
                [x; $lanes]
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                Self::map2(a, b, |x, y| x + y)
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                Self::map2(a, b, |x, y| x - y)
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                Self::map2(a, b, |x, y| x * y)
            }
            #[inline(always)]
            fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                self.add(c, self.mul(a, b))
            }
            #[inline(always)]
            fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                self.sub(c, self.mul(a, b))
            }
            #[inline(always)]
            fn sum(self, mut v: Self::V) -> $t {
                let mut half = $lanes / 2;
                while half > 0 {
                    for lane in 0..half {
                        v[lane] += v[lane + half];
                    }
                    half /= 2;
                }
                v[0]
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> Self::V {
                // SAFETY: the caller vouches for LANES elements.
                unsafe { p.cast::<Self::V>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> Self::V {
                // SAFETY: the caller vouches for n elements.
                std::array::from_fn(|lane| if lane < n { unsafe { *p.add(lane) } } else { 0.0 })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: Self::V) {
                // SAFETY: the caller vouches for LANES elements.
                unsafe { p.cast::<Self::V>().write_unaligned(v) }
            }
        }
    };
}

portable!(
    /// 4 lanes of float32.
    PortableF32, f32, 4
);
portable!(
    /// 2 lanes of float64.
    PortableF64, f64, 2
);
