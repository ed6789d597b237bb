//! Rows of few cells by their dual system, one unknown for each cell instead of K.
//!
//! ```text
//! min ½ Σ_i (t_i − f_i·x − β)² + ½ s d ‖x‖² + ½ s d_β β²          (β where there is a bias)
//! (F Fᵀ + (d / d_β) 1 1ᵀ + s d I) α = t;    x = Fᵀ α,   β = (d / d_β) Σ α
//! ```
//!
//! For n cells K n (n + 1) + n³ / 3 operations instead of n K (K + 1) + K³ / 3. It needs a = 1, P = 0, q = 0 and
//! one d > 0 for all factors (Golub and Van Loan, «Matrix Computations», 2.1.4: the Woodbury formula).
//!
//! 1. Fᵀ is gathered by blocks turned around in registers; the bias is one more row of it, √(d / d_β).
//! 2. The system is summed and factored by the code of the primal one.

use crate::accumulate::{Accumulator, Source};
use crate::buffer::Buffer;
use crate::cholesky::{self, Workspace};
use crate::error::Result;
use crate::rows::RowProblem;
use crate::simd::{Element, MOST_LANES, Simd};
use crate::tile::{Into, Layout, Operands, RankUpdate, Soon};

/// What all rows of a problem share, where their duals are systems of this kind.
#[derive(Clone, Copy)]
pub struct Terms<T> {
    d: T,
    /// √(d / d_β), or 0 without a bias.
    bias: T,
    /// The most cells for which the dual is faster.
    pub most: usize,
}

impl<T: Element> Terms<T> {
    pub fn of(p: &RowProblem<'_, T>) -> Option<Self> {
        let plain = p.prior.is_none() && p.linear.is_none() && p.unit();
        let (factors, bias) = p.ridge.split_at(p.rank);
        let d = factors[0];
        let uniform = factors.iter().all(|&other| other == d) && d > T::ZERO && d.is_finite();
        let bias = bias.first().map_or(T::ZERO, |&own| (d / own).sqrt());
        // About where the two take the same time, in whole vectors.
        let most = p.rank.next_multiple_of(MOST_LANES) * 3 / 4 / MOST_LANES * MOST_LANES;
        (plain && uniform && bias.is_finite()).then_some(Self { d, bias, most })
    }
}

/// Scratch for rows of up to `Terms::most` cells.
pub struct Dual<T> {
    rows: Vec<*const T>,
    soon: Vec<*const T>,
    terms: Vec<[T; 2]>,
    /// Fᵀ: K rows rounded up to 16, then the bias.
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
            turned: Buffer::zeros((padded + 1) * stride),
            g: Buffer::zeros((most + 1) * stride),
            x: Buffer::zeros(padded),
        }
    }

    /// Solve a row of 1 to `most` cells into `x` and return its bias; None where the system is singular.
    #[inline(always)]
    pub fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        source: &impl Source<T>,
        accumulator: &Accumulator<'_, T>,
        (terms, scale): (Terms<T>, T),
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

        self.turn(simd, rank, stride);
        let turned = self.turned.as_mut_ptr();
        let bias = terms.bias != T::ZERO;
        if bias {
            self.turned[rank * stride..rank * stride + n].fill(terms.bias);
        }
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
            self.g[i * stride + i] += scale * terms.d;
            self.g[n * stride + i] = self.terms[i][0];
        }
        if cholesky::solve(simd, layout, &mut self.g, None, workspace).is_err() {
            return Ok(None);
        }
        let alpha = &workspace.x[..n];
        self.combine(simd, alpha);
        let mut sum = T::ZERO;
        for &alpha in alpha {
            sum += alpha;
        }
        let own_bias = terms.bias * terms.bias * sum;
        let finite = own_bias.is_finite() && self.x[..rank].iter().all(|x| x.is_finite());
        Ok(finite.then_some(own_bias))
    }

    /// Fᵀ from the rows.
    #[inline(always)]
    fn turn<S: Simd<Elem = T>>(&mut self, simd: S, rank: usize, stride: usize) {
        let padded = rank.next_multiple_of(MOST_LANES);
        assert!(
            self.turned.len() >= padded * stride
                && self.rows.len().next_multiple_of(MOST_LANES) <= stride
        );
        for first in (0..self.rows.len()).step_by(S::LANES) {
            for k in (0..rank).step_by(S::LANES) {
                let mut square = [simd.splat(T::ZERO); MOST_LANES];
                // SAFETY: rows are readable up to K rounded up to 16; `turned` has as many rows, each of the
                // number of cells rounded up to 16.
                unsafe {
                    for i in 0..S::LANES {
                        if let Some(row) = self.rows.get(first + i) {
                            square[i] = simd.load(row.add(k));
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
