//! Vectors of one instruction set, and the one place that chooses the instruction set.
//!
//! ```text
//! isa = HALFSTEP_ISA, or the best of avx512, avx2, neon, portable that this CPU has
//! isa.run(kernel):  S = the vectors of isa;  inside a function compiled for isa: kernel.run::<S>()
//! ```
//!
//! 1. Kernels are written once, generic over [`Simd`], and compiled once for each instruction set:
//!    everything below [`Simd::call`] is `#[inline(always)]`, so that it takes on the features of
//!    the function it ends in.
//! 2. A value of a `Simd` type is a proof that the CPU has the instructions: it is made only by
//!    [`Isa::run`], and an [`Isa`] is made only after asking the CPU. So the arithmetic is safe to
//!    call and only memory access is `unsafe`.
//! 3. Every operation is one IEEE operation per lane, and [`Simd::sum`] adds lanes in a fixed order,
//!    so that results depend on the instruction set and on nothing else.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt::Debug;
use std::sync::OnceLock;

/// A factor type: `f32` or `f64`.
pub trait Elem: Copy + Send + Sync + PartialOrd + Debug + Default + 'static {
    /// Its AVX-512 vectors.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Simd<Elem = Self>;
    /// Its AVX2 + FMA vectors.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Simd<Elem = Self>;
    /// Its NEON vectors.
    #[cfg(target_arch = "aarch64")]
    type Neon: Simd<Elem = Self>;
    /// Its vectors for any CPU.
    type Portable: Simd<Elem = Self>;

    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Not a number.
    const NAN: Self;
    /// The distance from 1 to the next number.
    const EPSILON: Self;
    /// numpy's name of the type.
    const NAME: &'static str;

    /// Exact.
    fn from_f32(x: f32) -> Self;
    /// Rounded to nearest.
    fn from_f64(x: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Neither infinite nor NaN.
    fn finite(self) -> bool;
    /// a + b
    fn plus(self, b: Self) -> Self;
    /// a − b
    fn minus(self, b: Self) -> Self;
    /// a · b
    fn times(self, b: Self) -> Self;
    /// a / b
    fn over(self, b: Self) -> Self;
}

macro_rules! elem {
    ($t:ident, $avx512:ident, $avx2:ident, $neon:ident, $portable:ident, $name:literal) => {
        impl Elem for $t {
            #[cfg(target_arch = "x86_64")]
            type Avx512 = x86::$avx512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = x86::$avx2;
            #[cfg(target_arch = "aarch64")]
            type Neon = neon::$neon;
            type Portable = portable::$portable;

            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $t::NAN;
            const EPSILON: Self = $t::EPSILON;
            const NAME: &'static str = $name;

            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x as $t
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn plus(self, b: Self) -> Self {
                self + b
            }
            #[inline(always)]
            fn minus(self, b: Self) -> Self {
                self - b
            }
            #[inline(always)]
            fn times(self, b: Self) -> Self {
                self * b
            }
            #[inline(always)]
            fn over(self, b: Self) -> Self {
                self / b
            }
        }
    };
}
elem!(f32, Avx512F32, Avx2F32, NeonF32, PortableF32, "float32");
elem!(f64, Avx512F64, Avx2F64, NeonF64, PortableF64, "float64");

/// The vectors of one instruction set and one element type. A value is a proof that the CPU has it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// What a lane holds.
    type Elem: Elem;
    /// A vector.
    type V: Copy;
    /// Lanes of a vector: a power of two, at most 16.
    const LANES: usize;
    /// Rows of the largest tile whose accumulators stay in registers (with 3 vectors a row): 4 or 8.
    const TILE_ROWS: usize;

    /// The proof.
    ///
    /// # Safety
    /// The CPU has this instruction set.
    unsafe fn assume() -> Self;

    /// Run `kernel` inside a function compiled for this instruction set.
    fn call<K: Kernel<Self::Elem>>(self, kernel: K) -> K::Output;

    /// All lanes `x`.
    fn splat(self, x: Self::Elem) -> Self::V;
    /// a + b
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a − b
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once (twice on the portable set)
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c − a · b, rounded once (twice on the portable set)
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The sum of the lanes: the upper half is added to the lower half until one lane is left.
    fn sum(self, v: Self::V) -> Self::Elem;

    /// `LANES` elements from `p`, at any alignment of the element type.
    ///
    /// # Safety
    /// `p` is valid for reading `LANES` elements.
    unsafe fn load(self, p: *const Self::Elem) -> Self::V;
    /// `n` < `LANES` elements from `p`; the other lanes are 0.
    ///
    /// # Safety
    /// `p` is valid for reading `n` elements.
    unsafe fn load_first(self, p: *const Self::Elem, n: usize) -> Self::V;
    /// Write `LANES` elements to `p`.
    ///
    /// # Safety
    /// `p` is valid for writing `LANES` elements.
    unsafe fn store(self, p: *mut Self::Elem, v: Self::V);

    /// 0 in all lanes.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(Self::Elem::ZERO)
    }
}

/// A piece of work that is written once for all instruction sets. Mark `run` `#[inline(always)]`.
pub trait Kernel<T> {
    /// What it returns.
    type Output;
    /// The work.
    fn run<S: Simd<Elem = T>>(self, simd: S) -> Self::Output;
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(Set);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// The instruction sets of this CPU, best first.
    pub fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
            {
                sets.push(Isa(Set::Avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            sets.push(Isa(Set::Neon));
        }
        sets.push(Isa(Set::Portable));
        sets
    }

    /// The one that `HALFSTEP_ISA` names, else the best; asked once in the life of the process.
    ///
    /// Where the variable names no instruction set of this CPU, the message lists those it has.
    pub fn chosen() -> Result<Isa, String> {
        static CHOSEN: OnceLock<Result<Isa, String>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| match std::env::var_os("HALFSTEP_ISA") {
                None => Ok(Isa::available()[0]),
                Some(name) => Isa::by_name(&name.to_string_lossy()),
            })
            .clone()
    }

    fn by_name(name: &str) -> Result<Isa, String> {
        let sets = Isa::available();
        sets.iter()
            .copied()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = sets.iter().map(|isa| isa.name()).collect();
                format!(
                    "HALFSTEP_ISA={name:?}: must be an instruction set of this CPU; choose one of \
                     {}, or unset the variable",
                    names.join(", ")
                )
            })
    }

    /// `avx512`, `avx2`, `neon` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }

    /// Run `kernel` with the vectors of this instruction set.
    #[inline]
    pub fn run<T: Elem, K: Kernel<T>>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` asked the CPU before it made this value.
            Set::Avx512 => unsafe { T::Avx512::assume() }.call(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Set::Avx2 => unsafe { T::Avx2::assume() }.call(kernel),
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Set::Neon => unsafe { T::Neon::assume() }.call(kernel),
            // SAFETY: every CPU has it.
            Set::Portable => unsafe { T::Portable::assume() }.call(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Arithmetic<T>(std::marker::PhantomData<T>);

    impl<T: Elem> Kernel<T> for Arithmetic<T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd<Elem = T>>(self, s: S) {
            let of = |x: usize| T::from_f64(x as f64);
            let numbers: Vec<T> = (1..=S::LANES).map(of).collect();
            let mut out = vec![T::ZERO; S::LANES];
            assert!(S::LANES.is_power_of_two() && S::LANES <= 16);
            // SAFETY: both vectors have LANES elements.
            let v = unsafe { s.load(numbers.as_ptr()) };
            assert_eq!(s.sum(v), of(S::LANES * (S::LANES + 1) / 2));
            let w = s.fma(v, s.splat(of(3)), s.splat(T::ONE));
            let w = s.fnma(v, s.splat(T::ONE), s.add(w, s.sub(v, s.mul(v, s.splat(T::ONE)))));
            // SAFETY: as above.
            unsafe { s.store(out.as_mut_ptr(), w) };
            for (lane, &x) in out.iter().enumerate() {
                assert_eq!(x, of(2 * (lane + 1) + 1));
            }
            for n in 0..S::LANES {
                // SAFETY: n < LANES elements are read and LANES are written.
                unsafe { s.store(out.as_mut_ptr(), s.load_first(numbers.as_ptr(), n)) };
                for (lane, &x) in out.iter().enumerate() {
                    assert_eq!(x, if lane < n { numbers[lane] } else { T::ZERO });
                }
            }
        }
    }

    #[test]
    fn every_set_counts_the_same() {
        for isa in Isa::available() {
            isa.run(Arithmetic::<f32>(std::marker::PhantomData));
            isa.run(Arithmetic::<f64>(std::marker::PhantomData));
        }
    }

    #[test]
    fn names() {
        for isa in Isa::available() {
            assert_eq!(Isa::by_name(isa.name()), Ok(isa));
        }
        let message = Isa::by_name("sse9").unwrap_err();
        assert!(message.contains("sse9") && message.contains("portable"), "{message}");
    }
}
