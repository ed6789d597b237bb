//! Vectors of one instruction set behind one trait, and the choice of the set at run time.
//!
//! A kernel is written once, generic over [`Simd`], with every function `#[inline(always)]`. It is
//! entered through [`Isa::run`], which calls it inside a function compiled for the instruction set, so
//! that all of it is inlined there and compiled with that set's instructions.
//!
//! The choice is made once, by what the processor has, and can be pinned by `HALFSTEP_ISA`.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, Neg, Sub, SubAssign};
use std::sync::OnceLock;

/// The element types of factors.
pub trait Element:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + SubAssign
    + Mul<Output = Self>
    + Div<Output = Self>
    + DivAssign
    + Neg<Output = Self>
    + Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The distance from 1 to the next larger value.
    const EPSILON: Self;
    /// From float32, exact.
    fn from_f32(x: f32) -> Self;
    /// From float64, rounded.
    fn from_f64(x: f64) -> Self;
    /// To float64, exact.
    fn to_f64(self) -> f64;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Run a kernel with this element type's vectors of an instruction set.
    fn run<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output;
}

/// A piece of work that [`Element::run`] compiles for every instruction set.
pub trait Kernel<T: Element> {
    /// What it returns.
    type Output;
    /// The work; must be `#[inline(always)]`.
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Self::Output;
}

/// Vectors of one instruction set: `LANES` elements in a register.
///
/// A value of the type is a proof that the processor has the set: only [`Element::run`] makes one.
pub trait Simd: Copy {
    /// The element type.
    type Elem: Element;
    /// The vector type.
    type V: Copy;
    /// Vectors of half the lanes, where their operations take half the time on some processors.
    type Half: Simd<Elem = Self::Elem>;
    /// Whether there is such a half; else it is this type.
    const HALVES: bool;
    /// Elements in a vector.
    const LANES: usize;
    /// Rows of a register tile.
    const TILE_ROWS: usize;
    /// The most vectors of a row of a register tile: 2 or 3. Sums, vectors and a coefficient fill the registers.
    const TILE_VECTORS: usize;
    /// Rows of a panel of the factorization: one or two vectors.
    const PANEL: usize;
    /// The half's operations.
    fn half(self) -> Self::Half;
    /// All lanes `x`.
    fn splat(self, x: Self::Elem) -> Self::V;
    /// Load `LANES` elements.
    ///
    /// # Safety
    /// `p` must be valid for reading `LANES` elements.
    unsafe fn load(self, p: *const Self::Elem) -> Self::V;
    /// Store `LANES` elements.
    ///
    /// # Safety
    /// `p` must be valid for writing `LANES` elements.
    unsafe fn store(self, p: *mut Self::Elem, v: Self::V);
    /// a · b + c.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c − a · b.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a / b.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// Lane `lane` of v in all lanes.
    #[inline(always)]
    fn broadcast(self, v: Self::V, lane: usize) -> Self::V {
        let mut lanes = [Self::Elem::ZERO; MOST_LANES];
        // SAFETY: no instruction set has more lanes than that.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        self.splat(lanes[lane])
    }
    /// Lane 0.
    #[inline(always)]
    fn first(self, v: Self::V) -> Self::Elem {
        let mut lanes = [Self::Elem::ZERO; MOST_LANES];
        // SAFETY: no instruction set has more lanes than that.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        lanes[0]
    }
    /// Turn the first `LANES` vectors around: lane j of vector i becomes lane i of vector j.
    #[inline(always)]
    fn transpose(self, vectors: &mut [Self::V; MOST_LANES]) {
        let mut square = [[Self::Elem::ZERO; MOST_LANES]; MOST_LANES];
        for (row, &vector) in square.iter_mut().zip(&*vectors) {
            // SAFETY: no instruction set has more lanes than that.
            unsafe { self.store(row.as_mut_ptr(), vector) };
        }
        for (j, vector) in vectors.iter_mut().enumerate().take(Self::LANES) {
            let mut column = [Self::Elem::ZERO; MOST_LANES];
            for i in 0..Self::LANES {
                column[i] = square[i][j];
            }
            // SAFETY: as above.
            *vector = unsafe { self.load(column.as_ptr()) };
        }
    }
    /// The sum of the lanes: the upper half is added to the lower half until one lane is left.
    #[inline(always)]
    fn sum(self, v: Self::V) -> Self::Elem {
        let mut lanes = [Self::Elem::ZERO; MOST_LANES];
        // SAFETY: no instruction set has more lanes than that.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        let mut half = Self::LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }
    /// Load `n` < `LANES` elements; the other lanes are 0.
    ///
    /// # Safety
    /// `p` must be valid for reading `n` elements.
    #[inline(always)]
    unsafe fn load_first(self, p: *const Self::Elem, n: usize) -> Self::V {
        let mut lanes = [Self::Elem::ZERO; MOST_LANES];
        for (lane, x) in lanes.iter_mut().enumerate().take(n) {
            // SAFETY: the caller promises n elements.
            *x = unsafe { *p.add(lane) };
        }
        // SAFETY: no instruction set has more lanes than that.
        unsafe { self.load(lanes.as_ptr()) }
    }
}

/// The most lanes of any instruction set.
pub const MOST_LANES: usize = 16;

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 F.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// NEON (every 64-bit Arm).
    Neon,
    /// No assumption about the processor.
    Portable,
}

impl Isa {
    const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// The name that `HALFSTEP_ISA` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }

    /// Whether this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            Isa::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The sets that this processor has, the best first.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The set in use: `HALFSTEP_ISA`, else the best that the processor has.
    ///
    /// # Errors
    /// The value of `HALFSTEP_ISA`, where it names no set of this processor.
    pub fn chosen() -> Result<Isa, String> {
        static CHOSEN: OnceLock<Result<Isa, String>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| {
                let available = Isa::available();
                let wanted = std::env::var_os("HALFSTEP_ISA")
                    .map(|name| name.to_string_lossy().into_owned())
                    .filter(|name| !name.is_empty());
                let Some(name) = wanted else { return Ok(available[0]) };
                available.into_iter().find(|isa| isa.name() == name).ok_or(name)
            })
            .clone()
    }
}

/// Plain arrays of eight: compiled for whatever the target guarantees.
#[derive(Clone, Copy)]
pub struct Portable<T>(std::marker::PhantomData<T>);

impl<T: Element> Simd for Portable<T> {
    type Elem = T;
    type V = [T; 8];
    type Half = Self;
    const HALVES: bool = false;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 2;
    const TILE_VECTORS: usize = 2;
    const PANEL: usize = 8;
    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: T) -> [T; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const T) -> [T; 8] {
        // SAFETY: the caller promises 8 readable elements; an array has no stricter alignment.
        unsafe { p.cast::<[T; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut T, v: [T; 8]) {
        // SAFETY: the caller promises 8 writable elements.
        unsafe { p.cast::<[T; 8]>().write(v) }
    }
    #[inline(always)]
    fn fma(self, a: [T; 8], b: [T; 8], c: [T; 8]) -> [T; 8] {
        std::array::from_fn(|l| a[l] * b[l] + c[l])
    }
    #[inline(always)]
    fn fnma(self, a: [T; 8], b: [T; 8], c: [T; 8]) -> [T; 8] {
        std::array::from_fn(|l| c[l] - a[l] * b[l])
    }
    #[inline(always)]
    fn add(self, a: [T; 8], b: [T; 8]) -> [T; 8] {
        std::array::from_fn(|l| a[l] + b[l])
    }
    #[inline(always)]
    fn mul(self, a: [T; 8], b: [T; 8]) -> [T; 8] {
        std::array::from_fn(|l| a[l] * b[l])
    }
    #[inline(always)]
    fn div(self, a: [T; 8], b: [T; 8]) -> [T; 8] {
        std::array::from_fn(|l| a[l] / b[l])
    }
}

/// One `Simd` type over intrinsics: name, half, element, vector, lanes, rows and vectors of a tile,
/// rows of a panel, and the operations.
macro_rules! simd {
    ($name:ident, $half:ident, $elem:ty, $vector:ty, $lanes:expr, $rows:expr, $vectors:expr, $panel:expr,
     $splat:ident, $load:ident, $store:ident, $fma:expr, $fnma:expr, $add:ident, $mul:ident, $div:ident
     $(, $sum:ident, $first:ident, $broadcast:ident $(, $transpose:ident)?)?) => {
        #[doc = concat!("Vectors of ", stringify!($vector), ".")]
        #[derive(Clone, Copy)]
        pub struct $name(());
        impl Simd for $name {
            type Elem = $elem;
            type V = $vector;
            type Half = $half;
            const HALVES: bool = <$half as Simd>::LANES < $lanes;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;
            const TILE_VECTORS: usize = $vectors;
            const PANEL: usize = $panel;
            #[inline(always)]
            fn half(self) -> $half {
                $half(())
            }
            #[inline(always)]
            fn splat(self, x: $elem) -> $vector {
                // SAFETY: a value of this type proves that the processor has the instructions.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $elem) -> $vector {
                // SAFETY: as above; the caller promises readable memory; the load is unaligned.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem, v: $vector) {
                // SAFETY: as above; the caller promises writable memory; the store is unaligned.
                unsafe { $store(p, v) }
            }
            #[inline(always)]
            fn fma(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: a value of this type proves that the processor has the instructions.
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            fn fnma(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: a value of this type proves that the processor has the instructions.
                unsafe { $fnma(a, b, c) }
            }
            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: a value of this type proves that the processor has the instructions.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: a value of this type proves that the processor has the instructions.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn div(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: a value of this type proves that the processor has the instructions.
                unsafe { $div(a, b) }
            }
            $(
                $(
                    #[inline(always)]
                    fn transpose(self, vectors: &mut [$vector; MOST_LANES]) {
                        // SAFETY: a value of this type proves that the processor has the instructions.
                        unsafe { $transpose(vectors) }
                    }
                )?
                #[inline(always)]
                fn broadcast(self, v: $vector, lane: usize) -> $vector {
                    // SAFETY: a value of this type proves that the processor has the instructions.
                    unsafe { $broadcast(v, lane) }
                }
                #[inline(always)]
                fn sum(self, v: $vector) -> $elem {
                    // SAFETY: a value of this type proves that the processor has the instructions.
                    unsafe { $sum(v) }
                }
                #[inline(always)]
                unsafe fn load_first(self, p: *const $elem, n: usize) -> $vector {
                    // SAFETY: as above; only the first n elements are read.
                    unsafe { $first(p, n) }
                }
            )?
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{MOST_LANES, Simd};
    use std::arch::x86_64::*;
    simd!(
        Avx512F32,
        Avx2F32,
        f32,
        __m512,
        16,
        8,
        3,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_fnmadd_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_div_ps,
        sum_512_ps,
        first_512_ps,
        broadcast_512_ps,
        transpose_512_ps
    );
    simd!(
        Avx512F64,
        Avx512F64,
        f64,
        __m512d,
        8,
        8,
        3,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_fnmadd_pd,
        _mm512_add_pd,
        _mm512_mul_pd,
        _mm512_div_pd,
        sum_512_pd,
        first_512_pd,
        broadcast_512_pd
    );
    simd!(
        Avx2F32,
        Avx2F32,
        f32,
        __m256,
        8,
        4,
        2,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_fnmadd_ps,
        _mm256_add_ps,
        _mm256_mul_ps,
        _mm256_div_ps,
        sum_256_ps,
        first_256_ps,
        broadcast_256_ps,
        transpose_256_ps
    );
    simd!(
        Avx2F64,
        Avx2F64,
        f64,
        __m256d,
        4,
        4,
        2,
        8,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        _mm256_fnmadd_pd,
        _mm256_add_pd,
        _mm256_mul_pd,
        _mm256_div_pd,
        sum_256_pd,
        first_256_pd,
        broadcast_256_pd
    );

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transpose_512_ps(v: &mut [__m512; MOST_LANES]) {
        let mut four = [_mm512_setzero_ps(); 16]; // lane block l of vector 4 q + j: column 4 l + j of rows 4 q …
        for q in 0..4 {
            let [a, b, c, d] = [v[4 * q], v[4 * q + 1], v[4 * q + 2], v[4 * q + 3]];
            let low = [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)];
            let high = [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)];
            four[4 * q] = _mm512_shuffle_ps::<0x44>(low[0], low[1]);
            four[4 * q + 1] = _mm512_shuffle_ps::<0xee>(low[0], low[1]);
            four[4 * q + 2] = _mm512_shuffle_ps::<0x44>(high[0], high[1]);
            four[4 * q + 3] = _mm512_shuffle_ps::<0xee>(high[0], high[1]);
        }
        for j in 0..4 {
            let even = _mm512_shuffle_f32x4::<0x88>(four[j], four[j + 4]);
            let odd = _mm512_shuffle_f32x4::<0xdd>(four[j], four[j + 4]);
            let even_below = _mm512_shuffle_f32x4::<0x88>(four[j + 8], four[j + 12]);
            let odd_below = _mm512_shuffle_f32x4::<0xdd>(four[j + 8], four[j + 12]);
            v[j] = _mm512_shuffle_f32x4::<0x88>(even, even_below);
            v[j + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd_below);
            v[j + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even_below);
            v[j + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_below);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose_256_ps(v: &mut [__m256; MOST_LANES]) {
        let mut four = [_mm256_setzero_ps(); 8]; // lane block l of vector 4 q + j: column 4 l + j of rows 4 q …
        for q in 0..2 {
            let [a, b, c, d] = [v[4 * q], v[4 * q + 1], v[4 * q + 2], v[4 * q + 3]];
            let low = [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)];
            let high = [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)];
            four[4 * q] = _mm256_shuffle_ps::<0x44>(low[0], low[1]);
            four[4 * q + 1] = _mm256_shuffle_ps::<0xee>(low[0], low[1]);
            four[4 * q + 2] = _mm256_shuffle_ps::<0x44>(high[0], high[1]);
            four[4 * q + 3] = _mm256_shuffle_ps::<0xee>(high[0], high[1]);
        }
        for j in 0..4 {
            v[j] = _mm256_permute2f128_ps::<0x20>(four[j], four[j + 4]);
            v[j + 4] = _mm256_permute2f128_ps::<0x31>(four[j], four[j + 4]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn broadcast_512_ps(v: __m512, lane: usize) -> __m512 {
        _mm512_permutexvar_ps(_mm512_set1_epi32(lane as i32), v)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn broadcast_512_pd(v: __m512d, lane: usize) -> __m512d {
        _mm512_permutexvar_pd(_mm512_set1_epi64(lane as i64), v)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn broadcast_256_ps(v: __m256, lane: usize) -> __m256 {
        _mm256_permutevar8x32_ps(v, _mm256_set1_epi32(lane as i32))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn broadcast_256_pd(v: __m256d, lane: usize) -> __m256d {
        let (low, high) = (2 * lane as i64, 2 * lane as i64 + 1);
        let halves = _mm256_set1_epi64x(low | high << 32);
        _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(v), halves))
    }

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

    /// # Safety
    /// The processor must have AVX-512 F (and so AVX2 and FMA).
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub unsafe fn avx512_f32<K: super::Kernel<f32>>(kernel: K) -> K::Output {
        kernel.call(Avx512F32(()))
    }
    /// # Safety
    /// The processor must have AVX-512 F (and so AVX2 and FMA).
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub unsafe fn avx512_f64<K: super::Kernel<f64>>(kernel: K) -> K::Output {
        kernel.call(Avx512F64(()))
    }
    /// # Safety
    /// The processor must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2_f32<K: super::Kernel<f32>>(kernel: K) -> K::Output {
        kernel.call(Avx2F32(()))
    }
    /// # Safety
    /// The processor must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2_f64<K: super::Kernel<f64>>(kernel: K) -> K::Output {
        kernel.call(Avx2F64(()))
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Simd;
    use std::arch::aarch64::*;
    simd!(
        NeonF32,
        NeonF32,
        f32,
        float32x4_t,
        4,
        4,
        3,
        8,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        |a, b, c| vfmaq_f32(c, a, b),
        |a, b, c| vfmsq_f32(c, a, b),
        vaddq_f32,
        vmulq_f32,
        vdivq_f32
    );
    simd!(
        NeonF64,
        NeonF64,
        f64,
        float64x2_t,
        2,
        4,
        3,
        4,
        vdupq_n_f64,
        vld1q_f64,
        vst1q_f64,
        |a, b, c| vfmaq_f64(c, a, b),
        |a, b, c| vfmsq_f64(c, a, b),
        vaddq_f64,
        vmulq_f64,
        vdivq_f64
    );
    #[inline(never)]
    pub fn neon_f32<K: super::Kernel<f32>>(kernel: K) -> K::Output {
        kernel.call(NeonF32(()))
    }
    #[inline(never)]
    pub fn neon_f64<K: super::Kernel<f64>>(kernel: K) -> K::Output {
        kernel.call(NeonF64(()))
    }
}

macro_rules! element {
    ($elem:ident, $avx512:ident, $avx2:ident, $neon:ident) => {
        impl Element for $elem {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const EPSILON: Self = $elem::EPSILON;
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x.into()
            }
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation)]
            fn from_f64(x: f64) -> Self {
                x as $elem
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            fn run<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output {
                assert!(isa.is_available(), "this processor has no {}", isa.name());
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: just checked that the processor has it.
                    Isa::Avx512 => unsafe { x86::$avx512(kernel) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: just checked that the processor has it.
                    Isa::Avx2 => unsafe { x86::$avx2(kernel) },
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => arm::$neon(kernel),
                    _ => kernel.call(Portable(std::marker::PhantomData)),
                }
            }
        }
    };
}
element!(f32, avx512_f32, avx2_f32, neon_f32);
element!(f64, avx512_f64, avx2_f64, neon_f64);
