//! The row problem with factors ≥ 0 (the bias, where there is one, is free):
//!
//! ```text
//! min ½ xᵀ A x − hᵀ x,  x_k ≥ 0 for k < K      A, h: the system of rows.rs
//!
//! S ← all factors
//! repeat:
//!     x_S (and the bias) ← A_SS⁻¹ h_S, the other factors 0;   y ← A x − h                cholesky.rs
//!     V ← { k in S: x_k < 0 } ∪ { k not in S: y_k < 0 }
//!     end where V is empty: the conditions of Karush, Kuhn and Tucker hold
//!     exchange all of V between S and the rest, if V has become smaller, or has not done so three times at most;
//!     else its last member alone
//! ```
//!
//! Block principal pivoting with its backup rule (Kim and Park 2011, «Fast Nonnegative Matrix Factorization: An
//! Active-Set-Like Method and Comparisons», algorithm 1), which ends for every positive definite A.
//!
//! 1. The first S is always the same, so that a row's bits depend on its own system and not on where a fit was:
//!    folding in a row gives what the fit gave.
//! 2. y_k < 0 means below rounding: less than −N ε √A_kk (Σ_j √A_jj |x_j|), the error that the solution leaves in
//!    it. So a factor that is 0 to rounding is not put in and out forever.
//! 3. A_SS is copied from A and factored anew in each step: K³ / 3 at most, and few steps.
//! 4. After 50 + 10 K steps the signs are decided by rounding: the row has no unique solution in this precision.

use crate::accumulate::Sum;
use crate::buffer::Buffer;
use crate::cholesky::{self, Corner, Workspace};
use crate::each_row::RowSolver;
use crate::error::Result;
use crate::parallel::Run;
use crate::rows::{RowProblem, System, each_system};
use crate::score::dot;
use crate::simd::{Element, Isa, Simd};
use crate::tile::Layout;

/// Steps without fewer members of V before they are exchanged one by one.
const PATIENCE: usize = 3;

/// Solve every row's problem with factors ≥ 0 into `out` (rows × K) and `out_bias` (rows; see
/// [`crate::solve_rows`]).
///
/// # Errors
/// `Error::Singular` with the smallest row that has no unique solution; `Error::Contract`;
/// `Error::Cancelled`.
pub fn solve_rows_nonnegative<T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'_, T>,
    out: &mut [T],
    out_bias: Option<&mut [T]>,
) -> Result<()> {
    let p = *problem;
    p.check(out.len(), out_bias.as_ref().map(|b| b.len()))?;
    let layout = Layout::new::<T>(p.rank, 1 + usize::from(out_bias.is_some()));
    let k = p.rank as f64;
    let cost = |u: usize| {
        let n = p.cells.row(u).len() as f64;
        n * k * (k + 8.0) + 4.0 * k * k * (k / 3.0 + 16.0)
    };
    let solver = |given: Option<&Sum<T>>| Nonnegative {
        system: System::new(&p, run, layout, given),
        pivoting: Pivoting::new(layout),
    };
    each_system(isa, run, &p, (layout, |_| true, cost), solver, (out, out_bias))
}

/// One thread's scratch.
struct Nonnegative<'a, 'p, T> {
    system: System<'a, 'p, T>,
    pivoting: Pivoting<T>,
}

impl<T: Element> RowSolver<T> for Nonnegative<'_, '_, T> {
    #[inline(always)]
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        u: usize,
        x: &mut [T],
        bias: &mut Option<T>,
    ) -> Result<bool> {
        if self.system.elsewhere(u) {
            return Ok(true);
        }
        let corner = self.system.assemble(simd, u)?;
        let sum = &self.system.accumulator.sum;
        let Some(own) = self.pivoting.solve(simd, &sum.g, corner, self.system.run)? else {
            return Ok(false);
        };
        x.copy_from_slice(&self.pivoting.x);
        *bias = bias.map(|_| own);
        Ok(true)
    }
}

struct Pivoting<T> {
    layout: Layout,
    /// A_SS with its border rows.
    g: Buffer<T>,
    workspace: Workspace<T>,
    /// Whether a factor is in S, and S as a list.
    inside: Vec<bool>,
    set: Vec<usize>,
    x: Vec<T>,
    y: Vec<T>,
    /// √A_kk
    roots: Vec<T>,
}

impl<T: Element> Pivoting<T> {
    fn new(layout: Layout) -> Self {
        let rank = layout.rank;
        Pivoting {
            layout,
            g: Buffer::zeros(layout.len()),
            workspace: Workspace::new(layout),
            inside: vec![true; rank],
            set: Vec::with_capacity(rank),
            x: vec![T::ZERO; rank],
            y: vec![T::ZERO; rank],
            roots: vec![T::ZERO; rank],
        }
    }

    /// Solve the system in `a` (the upper triangle, h, and with a corner the bias column) into `x`; its bias, or
    /// None where it has no unique solution.
    #[inline(always)]
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        a: &[T],
        corner: Option<Corner<T>>,
        run: Run<'_>,
    ) -> Result<Option<T>> {
        let Layout { rank, stride, .. } = self.layout;
        self.inside.fill(true);
        for k in 0..rank {
            self.roots[k] = a[k * stride + k].sqrt();
        }
        let (mut fewest, mut chances) = (rank + 1, PATIENCE);
        for _ in 0..50 + 10 * rank {
            run.check()?;
            let Some(bias) = self.on_set(s, a, corner) else {
                return Ok(None);
            };
            self.gradient(s, a, corner.map(|_| bias));
            let allowed = self.rounding(corner, bias);
            let (mut wrong, mut last) = (0, 0);
            for k in 0..rank {
                if self.violates(k, allowed) {
                    (wrong, last) = (wrong + 1, k);
                }
            }
            if wrong == 0 {
                return Ok(Some(bias));
            }
            let fewer = wrong < fewest;
            let all = fewer || chances > 0;
            if fewer {
                (fewest, chances) = (wrong, PATIENCE);
            } else {
                chances = chances.saturating_sub(1);
            }
            let first = if all { 0 } else { last };
            for k in first..rank {
                if self.violates(k, allowed) {
                    self.inside[k] = !self.inside[k];
                }
            }
        }
        Ok(None)
    }

    /// Does factor k break the conditions?
    #[inline(always)]
    fn violates(&self, k: usize, allowed: T) -> bool {
        if self.inside[k] { self.x[k] < T::ZERO } else { self.y[k] < -(allowed * self.roots[k]) }
    }

    /// x_S = A_SS⁻¹ h_S, and the bias; None where A_SS is singular.
    #[inline(always)]
    fn on_set<S: Simd<Elem = T>>(&mut self, s: S, a: &[T], corner: Option<Corner<T>>) -> Option<T> {
        let Layout { rank, border, stride } = self.layout;
        self.set.clear();
        for k in 0..rank {
            if self.inside[k] {
                self.set.push(k);
            }
        }
        let size = self.set.len();
        for (place, &i) in self.set.iter().enumerate() {
            let (to, from) = (&mut self.g[place * stride..], &a[i * stride..]);
            for (to, &j) in to[place..size].iter_mut().zip(&self.set[place..]) {
                *to = from[j];
            }
        }
        for b in 0..border {
            let (to, from) = (&mut self.g[(size + b) * stride..], &a[(rank + b) * stride..]);
            for (to, &j) in to.iter_mut().zip(&self.set) {
                *to = from[j];
            }
        }
        let layout = Layout { rank: size, ..self.layout };
        let bias = cholesky::solve(s, layout, &mut self.g, corner, &mut self.workspace).ok()?;
        self.x.fill(T::ZERO);
        for (&k, &x) in self.set.iter().zip(self.workspace.x.iter()) {
            self.x[k] = x;
        }
        Some(bias)
    }

    /// y = A x − h, of the factors that are not in S.
    #[inline(always)]
    fn gradient<S: Simd<Elem = T>>(&mut self, s: S, a: &[T], bias: Option<T>) {
        let Layout { rank, stride, .. } = self.layout;
        for (y, &h) in self.y.iter_mut().zip(&a[rank * stride..]) {
            *y = -h;
        }
        if let Some(bias) = bias {
            for (y, &column) in self.y.iter_mut().zip(&a[(rank + 1) * stride..]) {
                *y += bias * column;
            }
        }
        for k in 0..rank {
            let row = &a[k * stride + k..k * stride + rank];
            if self.inside[k] {
                let x = self.x[k];
                for (y, &a) in self.y[k..].iter_mut().zip(row) {
                    *y += a * x;
                }
            } else {
                self.y[k] += dot(s, row, &self.x[k..]);
            }
        }
    }

    /// N ε Σ_j √A_jj |x_j|: times √A_kk, what rounding leaves in y_k.
    #[inline(always)]
    fn rounding(&self, corner: Option<Corner<T>>, bias: T) -> T {
        let mut sum = T::ZERO;
        let size = |x: T| if x < T::ZERO { -x } else { x };
        for (&root, &x) in self.roots.iter().zip(&self.x) {
            sum += root * size(x);
        }
        if let Some(corner) = corner {
            sum += corner.sigma.sqrt() * size(bias);
        }
        T::from_f64((self.layout.rank + self.layout.border - 1) as f64) * T::EPSILON * sum
    }
}
