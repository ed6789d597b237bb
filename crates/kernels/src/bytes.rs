//! Dot products of rows rounded to eight bits: a tile of queries against a tile of items, in registers.
//!
//! ```text
//! x  =  s x̂ + e         x̂ integers of at most 127, s one number for the row, e what rounding left
//! for queries r, items i of a tile:   v = s_r s_i Σ_k q̂_rk ẑ_ik + b_i        does v reach the bar of r?
//! ```
//!
//! The integer sum is exact, so how far v may be from q·z_i + b_i follows from norms alone
//! (`topk/filter.rs`), and one instruction multiplies four times as many eight-bit numbers as floats.
//!
//! 1. Items lie in lanes, four of their K numbers to a lane, so that a step is one load per vector of
//!    items, one broadcast per query and one `dot4` for each pair of them.
//! 2. `dot4` wants one side unsigned: items are stored as ẑ + 128 and a sum starts at −128 Σ q̂.
//! 3. Before VNNI two neighbouring products are added in 16 bits: there |q̂| stays within 64, so that
//!    2 · 255 · 64 fits.
//! 4. Where no item of a tile reaches its bar, which is nearly always, nothing is stored.

use crate::score::dot;
use crate::simd::{Element, Isa, MOST_LANES, Simd};

/// The most queries of a tile.
pub const MOST_ROWS: usize = 6;

/// The most items of a tile.
pub const MOST_ITEMS: usize = 64;

/// The largest K whose sums fit 32 bits: 255 · 127 · K < 2³¹.
pub const MOST_RANK: usize = 1 << 16;

/// The largest |x̂| of an item.
pub const ITEM_LIMIT: f32 = 127.0;

/// The longest row that is rounded, so that no product of two of them overflows.
const LONGEST: f64 = 1e15;

/// What is known of a row after rounding: x = s x̂ + e.
#[derive(Clone, Copy, Default)]
pub struct Rounded {
    /// s.
    pub scale: f32,
    /// ‖x‖, rounded up.
    pub norm: f64,
    /// ‖e‖, rounded up.
    pub error: f64,
}

impl Rounded {
    /// Whether the rest means anything: not for rows that are too long or not finite.
    #[inline(always)]
    pub fn sane(&self) -> bool {
        is_sane(self.norm)
    }
}

/// Whether a row of this norm may be rounded.
#[inline(always)]
pub fn is_sane(norm: f64) -> bool {
    norm <= LONGEST // not NaN
}

/// ‖x‖, rounded up.
#[inline(always)]
pub fn norm_of<S: Simd>(simd: S, row: &[S::Elem]) -> f64 {
    length_of(dot(simd, row, row), row.len())
}

/// The root of a sum of `k` squares, up by what they may have lost in rounding and to underflow.
#[inline(always)]
fn length_of<T: Element>(squares: T, k: usize) -> f64 {
    let k = k as f64;
    (squares.to_f64() + k * f64::from(f32::MIN_POSITIVE)).sqrt() * (1.0 + (k + 8.0) * EPSILON)
}

const EPSILON: f64 = f32::EPSILON as f64;

/// Round a row to integers of at most `limit`; what of `out` is beyond it becomes 0.
#[inline(always)]
pub fn round_row<S: Simd>(simd: S, row: &[S::Elem], limit: f32, out: &mut [i8]) -> Rounded {
    let norm = norm_of(simd, row);
    // Floats without their sign are in the order of their bits.
    let bits = row.iter().map(|x| (x.to_f64() as f32).to_bits() & 0x7fff_ffff).max();
    let most = f32::from_bits(bits.unwrap_or(0));
    out.fill(0);
    // Smaller rows are all error: their scale could not be inverted.
    if !is_sane(norm) || most <= 1e-30 {
        return Rounded { scale: 0.0, norm, error: norm };
    }
    let scale = most / limit;
    let inverse = simd.splat(S::Elem::ONE / S::Elem::from_f32(scale));
    let back = simd.splat(-S::Elem::from_f32(scale));
    // A sum with 1.5 / ε is rounded to an integer.
    let magic = S::Elem::from_f64(1.5) / S::Elem::EPSILON;
    let (up, down) = (simd.splat(magic), simd.splat(-magic));
    let mut squares = simd.splat(S::Elem::ZERO);
    for (part, out) in row.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
        let mut lanes = [S::Elem::ZERO; MOST_LANES];
        // SAFETY: a part has at most LANES elements, and no set has more than MOST_LANES.
        unsafe {
            let x = if part.len() == S::LANES {
                simd.load(part.as_ptr())
            } else {
                simd.load_first(part.as_ptr(), part.len())
            };
            let whole = simd.add(simd.fma(x, inverse, up), down);
            let left = simd.fma(whole, back, x);
            squares = simd.fma(left, left, squares);
            simd.store(lanes.as_mut_ptr(), whole);
        }
        for (out, whole) in out.iter_mut().zip(lanes) {
            // The same in float32, whose low bits are the integer.
            *out = (whole.to_f64() as f32 + 12_582_912.0).to_bits() as i8;
        }
    }
    // `left` is off by 2⁻²³ |x| at most.
    Rounded { scale, norm, error: length_of(simd.sum(squares), row.len()) + 2.0 * EPSILON * norm }
}

/// The queries of a tile.
pub struct Rows {
    /// Their `steps` × 4 numbers q̂.
    pub bytes: [*const i8; MOST_ROWS],
    /// −128 Σ q̂.
    pub start: [i32; MOST_ROWS],
    pub scale: [f32; MOST_ROWS],
    /// v of at least this is reported.
    pub bar: [f32; MOST_ROWS],
}

/// What reached the bar.
pub struct Reached {
    /// One bit for each item, for each query.
    pub items: [u64; MOST_ROWS],
    /// Their v, where a bit is set.
    pub value: [[f32; MOST_ITEMS]; MOST_ROWS],
}

/// One tile of items, its arrays as long as the tile.
#[derive(Clone, Copy)]
pub struct Items {
    /// `steps` × items × 4 numbers ẑ + 128.
    pub bytes: *const u8,
    pub scale: *const f32,
    pub bias: *const f32,
    pub steps: usize,
}

type TileFn = unsafe fn(&Rows, Items, &mut Reached) -> bool;

/// The tile of an instruction set.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Queries of a tile.
    pub rows: usize,
    /// Items of a tile.
    pub items: usize,
    /// The largest |q̂| of a query.
    pub query_limit: f32,
    run: TileFn,
}

impl Tile {
    /// The best tile of an instruction set, where eight-bit products are faster than floats.
    pub fn of(isa: Isa) -> Option<Tile> {
        assert!(isa.is_available(), "this processor has no {}", isa.name());
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if is_x86_feature_detected!("avx512vnni") => {
                Some(Tile { rows: 6, items: 64, query_limit: 127.0, run: x86::tile_vnni })
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => {
                Some(Tile { rows: 4, items: 16, query_limit: 64.0, run: x86::tile_avx2 })
            }
            _ => None,
        }
    }

    /// Whether any item reaches any bar, and which.
    ///
    /// # Safety
    /// The pointers of `rows` (the first `self.rows` of them) and of `items` must be valid for what
    /// their fields say.
    #[inline(always)]
    pub unsafe fn run(&self, rows: &Rows, items: Items, reached: &mut Reached) -> bool {
        // SAFETY: `of` has checked the processor, the caller promises the pointers.
        unsafe { (self.run)(rows, items, reached) }
    }
}

/// Lanes of 32-bit sums, or of the floats made from them.
///
/// A value of the type is a proof that the processor has the instructions.
trait Lanes: Copy {
    type Bytes: Copy;
    type Sum: Copy;
    type Value: Copy;
    const LANES: usize;
    fn splat(self, x: i32) -> Self::Sum;
    fn zero(self) -> Self::Value;
    /// # Safety
    /// `p` must be valid for reading 4 · `LANES` bytes.
    unsafe fn load(self, p: *const u8) -> Self::Bytes;
    /// In every lane, sum + Σ of four products.
    fn dot4(self, sum: Self::Sum, items: Self::Bytes, query: [i8; 4]) -> Self::Sum;
    /// sum · scale · s + bias.
    ///
    /// # Safety
    /// `scale` and `bias` must be valid for reading `LANES` elements.
    unsafe fn value(self, sum: Self::Sum, scale: *const f32, s: f32, bias: *const f32) -> Self::Value;
    fn max(self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// A bit for every lane of at least `bar`.
    fn reaching(self, v: Self::Value, bar: f32) -> u64;
    /// # Safety
    /// `p` must be valid for writing `LANES` elements.
    unsafe fn store(self, p: *mut f32, v: Self::Value);
}

/// R queries against C vectors of items.
///
/// # Safety
/// As [`Tile::run`], for R queries and C · `LANES` items.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const C: usize>(
    l: L,
    rows: &Rows,
    items: Items,
    reached: &mut Reached,
) -> bool {
    let mut sum = [[l.splat(0); C]; R];
    for r in 0..R {
        for c in 0..C {
            sum[r][c] = l.splat(rows.start[r]);
        }
    }
    let mut bytes = items.bytes;
    for step in 0..items.steps {
        // SAFETY: step < steps, both of the tile's items and of its queries.
        unsafe {
            let mut z = [l.load(bytes); C];
            for c in 1..C {
                z[c] = l.load(bytes.add(4 * L::LANES * c));
            }
            for r in 0..R {
                let query = rows.bytes[r].add(4 * step).cast::<[i8; 4]>().read();
                for c in 0..C {
                    sum[r][c] = l.dot4(sum[r][c], z[c], query);
                }
            }
            bytes = bytes.add(4 * L::LANES * C);
        }
    }
    // Nothing here but values: a branch inside would send the sums through memory.
    let mut value = [[l.zero(); C]; R];
    let mut any = 0;
    for r in 0..R {
        for c in 0..C {
            let at = c * L::LANES;
            // SAFETY: the tile has C · LANES items.
            value[r][c] =
                unsafe { l.value(sum[r][c], items.scale.add(at), rows.scale[r], items.bias.add(at)) };
        }
        let mut most = value[r][0];
        for c in 1..C {
            most = l.max(most, value[r][c]);
        }
        any |= l.reaching(most, rows.bar[r]);
    }
    if any == 0 {
        return false;
    }
    for r in 0..R {
        reached.items[r] = 0;
        for c in 0..C {
            reached.items[r] |= l.reaching(value[r][c], rows.bar[r]) << (c * L::LANES);
            // SAFETY: C · LANES are at most MOST_ITEMS.
            unsafe { l.store(reached.value[r].as_mut_ptr().add(c * L::LANES), value[r][c]) };
        }
    }
    true
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Items, Lanes, Reached, Rows, tile};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    struct Vnni(());

    // SAFETY of all that is unsafe in here: a value of the type proves that the processor has the
    // instructions, and callers promise the memory.
    impl Lanes for Vnni {
        type Bytes = __m512i;
        type Sum = __m512i;
        type Value = __m512;
        const LANES: usize = 16;
        #[inline(always)]
        fn splat(self, x: i32) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_set1_epi32(x) }
        }
        #[inline(always)]
        fn zero(self) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const u8) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        fn dot4(self, sum: __m512i, items: __m512i, query: [i8; 4]) -> __m512i {
            let query = i32::from_ne_bytes(query.map(|byte| byte as u8));
            // SAFETY: see above.
            unsafe { _mm512_dpbusd_epi32(sum, items, _mm512_set1_epi32(query)) }
        }
        #[inline(always)]
        unsafe fn value(self, sum: __m512i, scale: *const f32, s: f32, bias: *const f32) -> __m512 {
            // SAFETY: see above.
            unsafe {
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scale));
                _mm512_fmadd_ps(scaled, _mm512_set1_ps(s), _mm512_loadu_ps(bias))
            }
        }
        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn reaching(self, v: __m512, bar: f32) -> u64 {
            // SAFETY: see above.
            unsafe { u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(v, _mm512_set1_ps(bar))) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: __m512) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(p, v) }
        }
    }

    #[derive(Clone, Copy)]
    struct Avx2(());

    // SAFETY of all that is unsafe in here: as above.
    impl Lanes for Avx2 {
        type Bytes = __m256i;
        type Sum = __m256i;
        type Value = __m256;
        const LANES: usize = 8;
        #[inline(always)]
        fn splat(self, x: i32) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_set1_epi32(x) }
        }
        #[inline(always)]
        fn zero(self) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const u8) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_loadu_si256(p.cast()) }
        }
        #[inline(always)]
        fn dot4(self, sum: __m256i, items: __m256i, query: [i8; 4]) -> __m256i {
            let query = i32::from_ne_bytes(query.map(|byte| byte as u8));
            // SAFETY: see above.
            unsafe {
                let pairs = _mm256_maddubs_epi16(items, _mm256_set1_epi32(query));
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        }
        #[inline(always)]
        unsafe fn value(self, sum: __m256i, scale: *const f32, s: f32, bias: *const f32) -> __m256 {
            // SAFETY: see above.
            unsafe {
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
                _mm256_fmadd_ps(scaled, _mm256_set1_ps(s), _mm256_loadu_ps(bias))
            }
        }
        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        fn reaching(self, v: __m256, bar: f32) -> u64 {
            // SAFETY: see above.
            unsafe {
                let bits = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(v, _mm256_set1_ps(bar)));
                u64::from(bits.cast_unsigned())
            }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: __m256) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(p, v) }
        }
    }

    /// # Safety
    /// As `Tile::run`; the processor must have AVX-512 F and VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn tile_vnni(rows: &Rows, items: Items, reached: &mut Reached) -> bool {
        // SAFETY: passed on.
        unsafe { tile::<_, 6, 4>(Vnni(()), rows, items, reached) }
    }

    /// # Safety
    /// As `Tile::run`; the processor must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn tile_avx2(rows: &Rows, items: Items, reached: &mut Reached) -> bool {
        // SAFETY: passed on.
        unsafe { tile::<_, 4, 2>(Avx2(()), rows, items, reached) }
    }
}
