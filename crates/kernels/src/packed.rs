//! The cells of one row, gathered once, and sums over them.
//!
//! ```text
//! for blocks of 256 cells:                          each block's sums start at 0
//!     for pieces of 32 cells:
//!         gather f, a, b                            once, where the whole row fits the buffer
//!         for groups of 8 cells:                    then of 4, 2 and 1
//!             t = f · p + p_bias
//!             start:   r += (b − a t) f,   d += a f²
//!             apply:   y += a t f
//! ```
//!
//! 1. The buffer holds 512 KiB, so that a row of ordinary length is read from the fixed side once and from
//!    the second cache afterwards. A longer row is gathered anew for every pass, a piece at a time.
//! 2. A group's rows are read for the dot products and are in the first cache when they are read again for
//!    the sums; p and the sums are loaded once for a group.
//! 3. Rows are padded with zeros to whole vectors; the constant 1 of the bias costs no column.
//!
//! Error of a sum over n cells, with unit roundoff ε, relative to the sum of the absolute terms:
//! (256 + n / 256 + 4) · ε to first order.

use std::ops::Range;

use crate::accumulate::Source;
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::parallel::Run;
use crate::score::dots;
use crate::simd::{Element, MOST_LANES, Simd};
use crate::tile::prefetch;

/// Cells after which a sum is put aside.
const BLOCK: usize = 256;
/// Cells that are gathered and used while they are in the first cache.
const PIECE: usize = 32;
/// Bytes of gathered rows.
const BYTES: usize = 512 << 10;

/// K elements in whole vectors (zeros beyond K), and one for the bias.
pub struct Vector<T> {
    pub factors: Buffer<T>,
    pub bias: T,
}

impl<T: Element> Vector<T> {
    /// Zeros.
    pub fn zeros(rank: usize) -> Self {
        Vector { factors: Buffer::zeros(rank.next_multiple_of(MOST_LANES)), bias: T::ZERO }
    }

    /// Set to 0.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.factors.fill(T::ZERO);
        self.bias = T::ZERO;
    }

    /// self += c · other.
    #[inline(always)]
    pub fn add(&mut self, c: T, other: &Self) {
        for (own, &other) in self.factors.iter_mut().zip(other.factors.iter()) {
            *own += c * other;
        }
        self.bias += c * other.bias;
    }

    /// self · other in float64.
    #[inline(always)]
    pub fn dot(&self, other: &Self) -> f64 {
        let mut sums = [0.0_f64; 8];
        for (a, b) in self.factors.chunks_exact(8).zip(other.factors.chunks_exact(8)) {
            for lane in 0..8 {
                sums[lane] += a[lane].to_f64() * b[lane].to_f64();
            }
        }
        let [a, b, c, d, e, f, g, h] = sums;
        ((a + e) + (c + g)) + ((b + f) + (d + h)) + self.bias.to_f64() * other.bias.to_f64()
    }
}

/// What the first pass over a row sums.
pub struct Start<T> {
    /// Σ (b − a (f·x)) f
    pub r: Vector<T>,
    /// Σ a f²
    pub d: Vector<T>,
}

impl<T: Element> Start<T> {
    /// Zeros.
    pub fn zeros(rank: usize) -> Self {
        Start { r: Vector::zeros(rank), d: Vector::zeros(rank) }
    }

    /// Set to 0.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.r.clear();
        self.d.clear();
    }

    /// self += other.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) {
        self.r.add(T::ONE, &other.r);
        self.d.add(T::ONE, &other.d);
    }
}

/// The gathered cells of one row after the other.
pub struct Packed<T> {
    rank: usize,
    stride: usize,
    bias: T,
    capacity: usize,
    rows: Buffer<T>,
    /// (b, a)
    terms: Vec<[T; 2]>,
}

impl<T: Element> Packed<T> {
    /// For rows of up to `longest` cells of K = `rank` factors, lengthened by a 1 where there is a `bias`.
    pub fn new(rank: usize, bias: bool, longest: usize) -> Self {
        let stride = rank.next_multiple_of(MOST_LANES);
        let most = (BYTES / (stride * size_of::<T>())).max(PIECE);
        let capacity = longest.clamp(PIECE, most);
        Packed {
            rank,
            stride,
            bias: if bias { T::ONE } else { T::ZERO },
            capacity,
            rows: Buffer::zeros(capacity * stride),
            terms: vec![[T::ZERO; 2]; capacity],
        }
    }

    /// The sums of the row's cells at x into `total`; the row is then the one that `apply` works on.
    /// `part` is scratch.
    #[inline(always)]
    pub fn start<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        (fixed, source): (&[T], &impl Source<T>),
        x: &Vector<T>,
        (total, part): (&mut Start<T>, &mut Start<T>),
        run: Run<'_>,
    ) -> Result<()> {
        total.clear();
        for block in cut(0..source.len(), BLOCK) {
            run.check()?;
            let first = block.start == 0;
            let sums = if first { &mut *total } else { &mut *part };
            sums.clear();
            for piece in cut(block, PIECE) {
                let place = self.load(s, fixed, source, piece)?;
                self.start_at(s, place, x, sums);
            }
            if !first {
                total.add(part);
            }
        }
        Ok(())
    }

    /// Σ a (f·p) f over the row's cells into `total`; `part` is scratch.
    #[inline(always)]
    pub fn apply<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        (fixed, source): (&[T], &impl Source<T>),
        p: &Vector<T>,
        (total, part): (&mut Vector<T>, &mut Vector<T>),
        run: Run<'_>,
    ) -> Result<()> {
        total.clear();
        for block in cut(0..source.len(), BLOCK) {
            run.check()?;
            let first = block.start == 0;
            let sums = if first { &mut *total } else { &mut *part };
            sums.clear();
            if self.holds(source.len()) {
                self.apply_at(s, block, p, sums);
            } else {
                for piece in cut(block, PIECE) {
                    let place = self.load(s, fixed, source, piece)?;
                    self.apply_at(s, place, p, sums);
                }
            }
            if !first {
                total.add(T::ONE, part);
            }
        }
        Ok(())
    }

    /// Does a row of `n` cells stay in the buffer?
    #[inline(always)]
    fn holds(&self, n: usize) -> bool {
        n <= self.capacity
    }

    /// Gather a piece of the row; its place in the buffer.
    #[inline(always)]
    fn load<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        fixed: &[T],
        source: &impl Source<T>,
        piece: Range<usize>,
    ) -> Result<Range<usize>> {
        let at = if self.holds(source.len()) { piece.start } else { 0 };
        let place = at..at + piece.len();
        assert!(place.end <= self.capacity && self.rows.len() == self.capacity * self.stride);
        let fixed_rows = fixed.len() / self.rank;
        let (whole, rest) = (self.rank / S::LANES * S::LANES, self.rank % S::LANES);
        for &index in source.ahead(piece.end, piece.len()) {
            let row = fixed.as_ptr().wrapping_add(index as usize * self.rank);
            prefetch(row.cast(), self.rank * size_of::<T>());
        }
        for (slot, cell) in place.clone().zip(piece.clone()) {
            let index = source.index(cell);
            if index >= fixed_rows {
                return Err(Error::contract(format!(
                    "column {index} is outside the {fixed_rows} fixed rows"
                )));
            }
            // SAFETY: `index` is a row of `fixed`, which has `rank` columns, and `slot` one of `rows`,
            // which are `rank` rounded up to whole vectors.
            unsafe {
                let f = fixed.as_ptr().add(index * self.rank);
                let row = self.rows.as_mut_ptr().add(slot * self.stride);
                let mut j = 0;
                while j < whole {
                    s.store(row.add(j), s.load(f.add(j)));
                    j += S::LANES;
                }
                if rest > 0 {
                    s.store(row.add(j), s.load_first(f.add(j), rest));
                }
            }
        }
        source.terms(piece.start, &mut self.terms[place.clone()]);
        Ok(place)
    }

    /// Add what the cells at `place` give at x.
    #[inline(always)]
    fn start_at<S: Simd<Elem = T>>(&self, s: S, place: Range<usize>, x: &Vector<T>, to: &mut Start<T>) {
        self.check(&place, [x, &to.r, &to.d]);
        let mut cell = place.start;
        // SAFETY: just checked; the groups lie inside `place`.
        unsafe {
            while cell + 8 <= place.end {
                self.start_group::<S, 8>(s, cell, x, to);
                cell += 8;
            }
            if cell + 4 <= place.end {
                self.start_group::<S, 4>(s, cell, x, to);
                cell += 4;
            }
            if cell + 2 <= place.end {
                self.start_group::<S, 2>(s, cell, x, to);
                cell += 2;
            }
            if cell < place.end {
                self.start_group::<S, 1>(s, cell, x, to);
            }
        }
    }

    /// y += Σ a (f·p) f over the cells at `place`.
    #[inline(always)]
    fn apply_at<S: Simd<Elem = T>>(&self, s: S, place: Range<usize>, p: &Vector<T>, y: &mut Vector<T>) {
        self.check(&place, [p, y]);
        let mut cell = place.start;
        // SAFETY: just checked; the groups lie inside `place`.
        unsafe {
            while cell + 8 <= place.end {
                self.apply_group::<S, 8>(s, cell, p, y);
                cell += 8;
            }
            if cell + 4 <= place.end {
                self.apply_group::<S, 4>(s, cell, p, y);
                cell += 4;
            }
            if cell + 2 <= place.end {
                self.apply_group::<S, 2>(s, cell, p, y);
                cell += 2;
            }
            if cell < place.end {
                self.apply_group::<S, 1>(s, cell, p, y);
            }
        }
    }

    #[inline(always)]
    fn check<const N: usize>(&self, place: &Range<usize>, vectors: [&Vector<T>; N]) {
        assert!(place.end <= self.capacity && self.rows.len() == self.capacity * self.stride);
        assert!(self.terms.len() == self.capacity);
        for vector in vectors {
            assert!(vector.factors.len() == self.stride);
        }
    }

    /// Elements of whole vectors that hold the K factors.
    #[inline(always)]
    fn width<S: Simd<Elem = T>>(&self) -> usize {
        self.rank.next_multiple_of(S::LANES)
    }

    /// f·p for R cells, the bias included.
    ///
    /// # Safety
    /// As [`Packed::apply_group`].
    #[inline(always)]
    unsafe fn dots<S: Simd<Elem = T>, const R: usize>(
        &self,
        s: S,
        cell: usize,
        p: &Vector<T>,
    ) -> [T; R] {
        // SAFETY: as the caller vouches.
        unsafe {
            let rows = self.rows.as_ptr().add(cell * self.stride);
            let mut f = [rows; R];
            for r in 0..R {
                f[r] = rows.add(r * self.stride);
            }
            let mut t = dots(s, f, p.factors.as_ptr(), self.width::<S>());
            for r in 0..R {
                t[r] += self.bias * p.bias;
            }
            t
        }
    }

    /// # Safety
    /// Cells `cell` to `cell + R` are below the capacity, and the vectors are as long as the stride.
    #[inline(always)]
    unsafe fn apply_group<S: Simd<Elem = T>, const R: usize>(
        &self,
        s: S,
        cell: usize,
        p: &Vector<T>,
        y: &mut Vector<T>,
    ) {
        // SAFETY: as the caller vouches; the width is at most the stride.
        unsafe {
            let t = self.dots::<S, R>(s, cell, p);
            let mut c = [s.splat(T::ZERO); R];
            for r in 0..R {
                let at = self.terms[cell + r][1] * t[r];
                y.bias += self.bias * at;
                c[r] = s.splat(at);
            }
            let rows = self.rows.as_ptr().add(cell * self.stride);
            let to = y.factors.as_mut_ptr();
            for j in (0..self.width::<S>()).step_by(S::LANES) {
                let mut sum = s.load(to.add(j));
                for r in 0..R {
                    sum = s.fma(c[r], s.load(rows.add(r * self.stride + j)), sum);
                }
                s.store(to.add(j), sum);
            }
        }
    }

    /// # Safety
    /// As [`Packed::apply_group`].
    #[inline(always)]
    unsafe fn start_group<S: Simd<Elem = T>, const R: usize>(
        &self,
        s: S,
        cell: usize,
        x: &Vector<T>,
        to: &mut Start<T>,
    ) {
        // SAFETY: as the caller vouches; the width is at most the stride.
        unsafe {
            let t = self.dots::<S, R>(s, cell, x);
            let mut e = [T::ZERO; R];
            for r in 0..R {
                let [b, a] = self.terms[cell + r];
                e[r] = b - a * t[r];
                to.r.bias += self.bias * e[r];
                to.d.bias += self.bias * a;
            }
            let rows = self.rows.as_ptr().add(cell * self.stride);
            let (to_r, to_d) = (to.r.factors.as_mut_ptr(), to.d.factors.as_mut_ptr());
            for j in (0..self.width::<S>()).step_by(S::LANES) {
                let mut sum_r = s.load(to_r.add(j));
                let mut sum_d = s.load(to_d.add(j));
                for r in 0..R {
                    let f = s.load(rows.add(r * self.stride + j));
                    sum_r = s.fma(s.splat(e[r]), f, sum_r);
                    sum_d = s.fma(s.mul(s.splat(self.terms[cell + r][1]), f), f, sum_d);
                }
                s.store(to_r.add(j), sum_r);
                s.store(to_d.add(j), sum_d);
            }
        }
    }
}

/// A range in parts of `size`, the last one shorter.
fn cut(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |first| first..(first + size).min(end))
}

/// Σ_k c_k m_k over the rows m of a matrix whose rows are padded like a [`Vector`], added to `to`.
#[inline(always)]
pub fn add_rows<S: Simd>(s: S, matrix: &[S::Elem], c: &[S::Elem], to: &mut [S::Elem]) {
    let stride = to.len();
    assert!(matrix.len() >= c.len() * stride && stride.is_multiple_of(S::LANES));
    let mut k = 0;
    while k < c.len() {
        let left = (c.len() - k).min(4);
        for j in (0..stride).step_by(S::LANES) {
            // SAFETY: rows k .. k + left of `matrix` and `to` hold `stride` elements.
            unsafe {
                let mut sum = s.load(to.as_ptr().add(j));
                for r in k..k + left {
                    sum = s.fma(s.splat(c[r]), s.load(matrix.as_ptr().add(r * stride + j)), sum);
                }
                s.store(to.as_mut_ptr().add(j), sum);
            }
        }
        k += left;
    }
}
