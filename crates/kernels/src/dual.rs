//! Rows of few cells by their dual system, one unknown for each cell instead of K.
//!
//! ```text
//! (D + Σ_i a_i f_i f_iᵀ) x = Σ_i b_i f_i          D = diag(P) + s diag(d) > 0,   a > 0   (f_i with a 1 for the bias)
//! B = diag(√a) F D^−½;    (B Bᵀ + I) α = b / √a;    x = D^−½ Bᵀ α
//! ```
//!
//! For n cells K n (n + 1) + n³ / 3 operations instead of n K (K + 1) + K³ / 3 (Golub and Van Loan, «Matrix
//! Computations», 2.1.4: the Woodbury formula). It needs a diagonal P and q = 0. Where a = 1, P = 0 and one d
//! serves all factors, nothing is scaled:
//!
//! ```text
//! (F Fᵀ + (d / d_β) 1 1ᵀ + s d I) α = b;    x = Fᵀ α,   β = (d / d_β) Σ α
//! ```
//!
//! 1. Bᵀ (or Fᵀ) is gathered by blocks turned around in registers; the bias is one more row of it.
//! 2. The system is summed and factored by the code of the primal one.
//! 3. A row with an a ≤ 0 or an entry of D ≤ 0 is left to the primal system, and so is one whose dual is singular.

use crate::accumulate::{Accumulator, Source};
use crate::buffer::Buffer;
use crate::cholesky::{self, Workspace};
use crate::error::Result;
use crate::rows::RowProblem;
use crate::simd::{Element, MOST_LANES, Simd};
use crate::tile::{Into, Layout, Operands, RankUpdate, Soon};

/// What all rows of a problem share, where they have duals.
#[derive(Clone, Copy)]
pub struct Terms<T> {
    /// None where cells or unknowns are to be scaled.
    plain: Option<Plain<T>>,
    /// The most cells for which the dual is faster.
    pub most: usize,
}

/// Where a = 1, P = 0 and one d serves all factors.
#[derive(Clone, Copy)]
struct Plain<T> {
    d: T,
    /// √(d / d_β), or 0 without a bias.
    bias: T,
}

/// One row of them.
#[derive(Clone, Copy)]
pub struct Row<'a, 'p, T> {
    pub p: &'a RowProblem<'p, T>,
    pub scale: T,
    pub terms: Terms<T>,
}

impl<T: Element> Terms<T> {
    pub fn of(p: &RowProblem<'_, T>) -> Option<Self> {
        if p.linear.is_some() || p.dense_prior().is_some() {
            return None;
        }
        let (factors, bias) = p.ridge.split_at(p.rank);
        let d = factors[0];
        let uniform = factors.iter().all(|&other| other == d) && d > T::ZERO && d.is_finite();
        let bias = bias.first().map_or(T::ZERO, |&own| (d / own).sqrt());
        // About where the two take the same time, in whole vectors (with scales the dual is still a little faster).
        let most = p.rank.next_multiple_of(MOST_LANES) * 3 / 4 / MOST_LANES * MOST_LANES;
        let plain = p.prior.is_none() && p.unit() && uniform && bias.is_finite();
        Some(Self { plain: plain.then_some(Plain { d, bias }), most })
    }
}

/// Scratch for rows of up to `Terms::most` cells.
pub struct Dual<T> {
    rows: Vec<*const T>,
    soon: Vec<*const T>,
    /// (b, a); where they are scaled, (b / √a, √a).
    terms: Vec<[T; 2]>,
    /// D^−½: K entries, then that of the bias; rounded up to 16, with zeros.
    roots: Buffer<T>,
    /// Bᵀ or Fᵀ: K rows rounded up to 16, then the bias.
    turned: Buffer<T>,
    g: Buffer<T>,
    /// The factors of the row solved last.
    pub x: Buffer<T>,
}

impl<T: Element> Dual<T> {
    pub fn new(rank: usize, most: usize) -> Self {
        let layout = Layout::new::<T>(most, 1);
        let padded = rank.next_multiple_of(MOST_LANES);
        // A shorter row may have the longer stride, by one step of 16.
        let stride = layout.stride + MOST_LANES;
        Self {
            rows: Vec::with_capacity(most),
            soon: Vec::with_capacity(most),
            terms: vec![[T::ZERO; 2]; most],
            roots: Buffer::zeros(padded + MOST_LANES),
            turned: Buffer::zeros((padded + 1) * stride),
            g: Buffer::zeros((most + 1) * stride),
            x: Buffer::zeros(padded),
        }
    }

    /// Solve a row of 1 to `most` cells into `x` and return its bias; None where it has no dual, or a singular one.
    #[inline(always)]
    pub fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        source: &impl Source<T>,
        accumulator: &Accumulator<'_, T>,
        row: Row<'_, '_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Option<T>> {
        let n = source.len();
        let rank = accumulator.layout.rank;
        let layout = Layout::new::<T>(n, 1);
        let stride = layout.stride;
        self.rows.clear();
        for cell in 0..n {
            self.rows.push(accumulator.row(source.index(cell))?);
        }
        source.terms(0, &mut self.terms[..n]);
        self.soon.clear();
        for &index in source.ahead(n, n) {
            self.soon.push(accumulator.row(index as usize).unwrap_or(std::ptr::null()));
        }

        let bias = row.p.ridge.len() > rank;
        let own = rank * stride..rank * stride + n;
        let added = if let Some(plain) = row.terms.plain {
            if !(row.scale > T::ZERO && row.scale.is_finite()) {
                return Ok(None);
            }
            self.turn::<S, false>(simd, rank, stride);
            if bias {
                self.turned[own].fill(plain.bias);
            }
            row.scale * plain.d
        } else {
            if !self.scale(row, n) {
                return Ok(None);
            }
            self.turn::<S, true>(simd, rank, stride);
            if bias {
                for (to, [_, root]) in self.turned[own].iter_mut().zip(&self.terms) {
                    *to = *root * self.roots[rank];
                }
            }
            T::ONE
        };
        let turned = self.turned.as_mut_ptr();
        RankUpdate {
            layout: Layout { border: 0, ..layout },
            operands: Turned { rows: turned, stride },
            depth: rank + usize::from(bias),
            g: &mut self.g,
            first_row: 0,
            into: Into::Set,
            soon: Soon::new(&self.soon, rank),
        }
        .run(simd);
        for i in 0..n {
            self.g[i * stride + i] += added;
            self.g[n * stride + i] = self.terms[i][0];
        }
        if cholesky::solve(simd, layout, &mut self.g, None, workspace).is_err() {
            return Ok(None);
        }
        let alpha = &mut workspace.x[..n];
        if row.terms.plain.is_none() {
            for (alpha, [_, root]) in alpha.iter_mut().zip(&self.terms) {
                *alpha = *alpha * *root;
            }
        }
        self.combine(simd, alpha);
        let mut sum = T::ZERO;
        for &alpha in &*alpha {
            sum += alpha;
        }
        let root = row.terms.plain.map_or(self.roots[rank], |plain| plain.bias);
        let own_bias = if bias { root * root * sum } else { T::ZERO };
        if row.terms.plain.is_none() {
            for (x, &root) in self.x[..rank].iter_mut().zip(self.roots.iter()) {
                *x = *x * root * root;
            }
        }
        let finite = own_bias.is_finite() && self.x[..rank].iter().all(|x| x.is_finite());
        Ok(finite.then_some(own_bias))
    }

    /// D^−½, and b / √a and √a of n cells; false where one of them is not there.
    #[inline(always)]
    fn scale(&mut self, Row { p, scale, .. }: Row<'_, '_, T>, n: usize) -> bool {
        let roots = &mut self.roots[..p.ridge.len()];
        for (root, &d) in roots.iter_mut().zip(p.ridge) {
            *root = scale * d;
        }
        if let Some(prior) = p.diagonal_prior() {
            for (root, &prior) in roots.iter_mut().zip(prior) {
                *root += prior;
            }
        }
        // Written so that NaN fails.
        let mut positive = true;
        for root in roots {
            positive &= *root > T::ZERO && root.is_finite();
            *root = T::ONE / root.sqrt();
        }
        for [b, a] in &mut self.terms[..n] {
            positive &= *a > T::ZERO && a.is_finite();
            *a = a.sqrt();
            *b /= *a;
        }
        positive
    }

    /// Fᵀ from the rows; with scales Bᵀ.
    #[inline(always)]
    fn turn<S: Simd<Elem = T>, const SCALED: bool>(&mut self, simd: S, rank: usize, stride: usize) {
        let padded = rank.next_multiple_of(MOST_LANES);
        assert!(
            self.turned.len() >= padded * stride
                && self.rows.len().next_multiple_of(MOST_LANES) <= stride
        );
        assert!(self.roots.len() >= padded && self.terms.len() >= self.rows.len());
        for first in (0..self.rows.len()).step_by(S::LANES) {
            for k in (0..rank).step_by(S::LANES) {
                let mut square = [simd.splat(T::ZERO); MOST_LANES];
                // SAFETY: rows and `roots` are readable up to K rounded up to 16; `turned` has as many rows, each
                // of the number of cells rounded up to 16.
                unsafe {
                    let roots = simd.load(self.roots.as_ptr().add(k));
                    for i in 0..S::LANES {
                        if let Some(row) = self.rows.get(first + i) {
                            square[i] = simd.load(row.add(k));
                            if SCALED {
                                let own = simd.mul(simd.splat(self.terms[first + i][1]), roots);
                                square[i] = simd.mul(own, square[i]);
                            }
                        }
                    }
                    simd.transpose(&mut square);
                    for i in 0..S::LANES {
                        simd.store(self.turned.as_mut_ptr().add((k + i) * stride + first), square[i]);
                    }
                }
            }
        }
    }

    /// x = Fᵀ α.
    #[inline(always)]
    fn combine<S: Simd<Elem = T>>(&mut self, simd: S, alpha: &[T]) {
        for k in (0..self.x.len()).step_by(4 * S::LANES) {
            let width = ((self.x.len() - k) / S::LANES).min(4);
            let mut sums = [simd.splat(T::ZERO); 4];
            for (&row, &alpha) in self.rows.iter().zip(alpha) {
                let alpha = simd.splat(alpha);
                for c in 0..width {
                    // SAFETY: rows are readable as far as x is long: K rounded up to 16.
                    let f = unsafe { simd.load(row.add(k + c * S::LANES)) };
                    sums[c] = simd.fma(alpha, f, sums[c]);
                }
            }
            for c in 0..width {
                // SAFETY: k + (c + 1) vectors are within x.
                unsafe { simd.store(self.x.as_mut_ptr().add(k + c * S::LANES), sums[c]) };
            }
        }
    }
}

/// The rows of Fᵀ.
#[derive(Clone, Copy)]
struct Turned<T> {
    rows: *const T,
    stride: usize,
}

// SAFETY: `solve` sums over rows that `turned` has, each of the stride of a layout for as many cells.
unsafe impl<T: Element> Operands<T> for Turned<T> {
    const SCALED: bool = false;
    #[inline(always)]
    fn left(self, k: usize) -> *const T {
        self.rows.wrapping_add(k * self.stride)
    }
    #[inline(always)]
    fn border(self, k: usize) -> *const T {
        self.left(k)
    }
    #[inline(always)]
    fn right(self, k: usize) -> *const T {
        self.left(k)
    }
    #[inline(always)]
    fn scale(self, _: usize) -> T {
        T::ONE
    }
}
