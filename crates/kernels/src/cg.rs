//! The row problem by conjugate gradients: a few steps from the row's current value.
//!
//! ```text
//! A = P + Σ a f fᵀ + s diag(d),   h = q + Σ b f,   D = the diagonal of A       (Jacobi preconditioner)
//!
//! r ← h − A x;  p ← D⁻¹ r;  ρ ← r·p                  one pass, with D              packed.rs
//! repeat `steps` times, while ρ > tol² · ρ at the start:
//!     y ← A p                                        one pass
//!     x += (ρ / p·y) p;  r −= (ρ / p·y) y
//!     ρ' ← r·D⁻¹r;  p ← D⁻¹ r + (ρ' / ρ) p;  ρ ← ρ'
//! ```
//!
//! Every step lowers ½ xᵀAx − hᵀx, which is J as a function of this row, up to a constant. A step is
//! 4 K operations a cell, where the exact system is K² (Hestenes and Stiefel 1952; for matrix
//! factorization Takács, Pilászy and Tikk 2011, «Applications of the Conjugate Gradient Method for
//! Implicit Feedback Collaborative Filtering»).
//!
//! 1. A is never formed: y = Σ a (f·p) f + P p + s d p.
//! 2. The scalars are summed in float64, so that tiny factors do not vanish in their squares.
//! 3. A residual whose square is below the range of the type is 0.
//! 4. Nothing is allocated per row. A thread's scratch: the gathered cells (at most 512 KiB, or 32 cells),
//!    P with padded rows, and nine vectors.

use crate::each_row::{RowSolver, each_row};
use crate::error::Result;
use crate::packed::{Packed, Start, Vector, add_rows};
use crate::parallel::{Run, chunks_by_cost};
use crate::rows::{Prior, RowCells, RowProblem};
use crate::score::dot;
use crate::simd::{Element, Isa, MOST_LANES, Simd};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Cg {
    /// The most steps for a row.
    pub steps: usize,
    /// Stop where the residual, in the norm of D⁻¹, is below this share of that at the start.
    pub tol: f64,
}

struct Scratch<T> {
    packed: Packed<T>,
    /// P, where it is dense, without its bias column, rows padded; then its bias row.
    prior: Vec<T>,
    sums: Start<T>,
    part: Start<T>,
    x: Vector<T>,
    p: Vector<T>,
    y: Vector<T>,
    z: Vector<T>,
    y_part: Vector<T>,
}

/// Improve every row of `out` (rows × K) and `out_bias` (rows; see [`crate::solve_rows`]), which hold the
/// start on entry, by conjugate gradients.
///
/// # Errors
/// `Error::Singular` with the smallest row whose matrix is not positive definite along a step, or whose
/// solution is not finite; `Error::Contract`; `Error::Cancelled`.
pub fn solve_rows_cg<T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'_, T>,
    cg: Cg,
    out: &mut [T],
    out_bias: Option<&mut [T]>,
) -> Result<()> {
    let p = *problem;
    let rows = p.check(out.len(), out_bias.as_ref().map(|b| b.len()))?;
    let k = p.rank as f64;
    let own = if p.dense_prior().is_some() { k / 2.0 + 16.0 } else { 16.0 };
    let cost = |u: usize| (p.cells.row(u).len() as f64 + own) * (k + 8.0);
    let chunks = chunks_by_cost(rows, run.threads(), cost);
    let longest = (0..rows).map(|u| p.cells.row(u).len()).max().unwrap_or(0);
    let bias = out_bias.is_some();
    let prior = p.dense_prior().map_or(Vec::new(), |prior| padded(prior, p.rank, bias));
    let solver =
        || Solver { p: &p, cg, run, scratch: Scratch::new(p.rank, bias, longest, prior.clone()) };
    each_row(isa, run, &p, &chunks, solver, (out, out_bias))
}

/// The first K columns of P's rows, each padded with zeros.
fn padded<T: Element>(prior: &[T], rank: usize, bias: bool) -> Vec<T> {
    let stride = rank.next_multiple_of(MOST_LANES);
    let unknowns = rank + usize::from(bias);
    let mut rows = vec![T::ZERO; unknowns * stride];
    for (to, from) in rows.chunks_exact_mut(stride).zip(prior.chunks_exact(unknowns)) {
        to[..rank].copy_from_slice(&from[..rank]);
    }
    rows
}

impl<T: Element> Scratch<T> {
    fn new(rank: usize, bias: bool, longest: usize, prior: Vec<T>) -> Self {
        let vector = || Vector::zeros(rank);
        Scratch {
            packed: Packed::new(rank, bias, longest),
            prior,
            sums: Start::zeros(rank),
            part: Start::zeros(rank),
            x: vector(),
            p: vector(),
            y: vector(),
            z: vector(),
            y_part: vector(),
        }
    }
}

struct Solver<'a, 'p, T> {
    p: &'a RowProblem<'p, T>,
    cg: Cg,
    run: Run<'a>,
    scratch: Scratch<T>,
}

impl<T: Element> RowSolver<T> for Solver<'_, '_, T> {
    #[inline(always)]
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        u: usize,
        x: &mut [T],
        bias: &mut Option<T>,
    ) -> Result<bool> {
        let own = &mut self.scratch.x;
        let (factors, padding) = own.factors.split_at_mut(x.len());
        factors.copy_from_slice(x);
        padding.fill(T::ZERO); // a row that failed may have left NaN there
        own.bias = bias.unwrap_or(T::ZERO);
        if !improve(simd, self.p, self.cg, bias.is_some(), self.run, &mut self.scratch, u)? {
            return Ok(false);
        }
        x.copy_from_slice(&self.scratch.x.factors[..x.len()]);
        *bias = bias.map(|_| self.scratch.x.bias);
        Ok(true)
    }
}

/// Improve the row's value in `scratch.x`; false where its matrix is not positive definite.
#[inline(always)]
fn improve<S: Simd>(
    simd: S,
    p: &RowProblem<'_, S::Elem>,
    cg: Cg,
    bias: bool,
    run: Run<'_>,
    scratch: &mut Scratch<S::Elem>,
    u: usize,
) -> Result<bool> {
    let (zero, one) = (S::Elem::ZERO, S::Elem::ONE);
    let rank = p.rank;
    let source = RowCells::new(p, p.cells.row(u));
    let scale = p.scale.map_or(one, |s| s[u]);
    let Scratch { packed, prior, sums, part, x, p: direction, y, z, y_part } = scratch;
    let corner = p.prior.map_or(zero, Prior::corner);
    let diagonal = p.diagonal_prior().unwrap_or(&[]);
    let matrix = Rest { prior, diagonal, corner, ridge: p.ridge, scale, rank, bias };

    let row = (p.fixed, &source);
    packed.start(simd, row, x, (sums, part), run)?;
    let Start { r, d } = sums;
    y.clear();
    matrix.apply(simd, x, y);
    r.add(-one, y);
    if let Some(q) = p.linear_of(u) {
        for k in 0..rank {
            r.factors[k] += q[k];
        }
        if bias {
            r.bias += q[rank];
        }
    }
    matrix.add_diagonal(d);
    // From here on d holds D⁻¹, 0 beyond K.
    let mut positive = true;
    for d in &mut d.factors[..rank] {
        positive &= *d > zero;
        *d = one / *d;
    }
    if bias {
        positive &= d.bias > zero;
        d.bias = one / d.bias;
    }
    if !positive {
        return Ok(false);
    }

    multiply(d, r, direction);
    let mut rho = r.dot(direction);
    if !rho.is_finite() {
        return Ok(false); // else it would seem to be small enough
    }
    let tol = cg.tol.max(S::Elem::EPSILON.to_f64());
    let nothing = if size_of::<S::Elem>() == 4 { 1e-70 } else { 1e-290 };
    let enough = (tol * tol * rho).max(nothing);
    for step in 0..cg.steps {
        if rho <= enough {
            break;
        }
        run.check()?;
        packed.apply(simd, row, direction, (y, y_part), run)?;
        matrix.apply(simd, direction, y);
        let curvature = direction.dot(y);
        // Written so that NaN fails.
        let curved = curvature > 0.0 && rho.is_finite();
        if !curved {
            return Ok(false);
        }
        let alpha = S::Elem::from_f64(rho / curvature);
        x.add(alpha, direction);
        if step + 1 == cg.steps {
            break;
        }
        r.add(-alpha, y);
        multiply(d, r, z);
        let next = r.dot(z);
        let beta = S::Elem::from_f64(next / rho);
        for (p, &z) in direction.factors.iter_mut().zip(z.factors.iter()) {
            *p = z + beta * *p;
        }
        direction.bias = z.bias + beta * direction.bias;
        rho = next;
    }
    Ok(x.factors.iter().all(|x| x.is_finite()) && x.bias.is_finite())
}

/// out = a ∘ b.
#[inline(always)]
fn multiply<T: Element>(a: &Vector<T>, b: &Vector<T>, out: &mut Vector<T>) {
    for (out, (&a, &b)) in out.factors.iter_mut().zip(a.factors.iter().zip(b.factors.iter())) {
        *out = a * b;
    }
    out.bias = a.bias * b.bias;
}

/// The part of A that is not a sum over cells: P + s diag(d).
struct Rest<'a, T> {
    /// Of a dense P; else empty.
    prior: &'a [T],
    /// Of a diagonal P; else empty.
    diagonal: &'a [T],
    /// P's last diagonal entry.
    corner: T,
    ridge: &'a [T],
    scale: T,
    rank: usize,
    bias: bool,
}

impl<T: Element> Rest<'_, T> {
    /// y += (P + s diag(d)) p.
    #[inline(always)]
    fn apply<S: Simd<Elem = T>>(&self, s: S, p: &Vector<T>, y: &mut Vector<T>) {
        let rank = self.rank;
        for k in 0..rank {
            y.factors[k] += self.scale * self.ridge[k] * p.factors[k];
        }
        if self.bias {
            y.bias += self.scale * self.ridge[rank] * p.bias;
        }
        if !self.diagonal.is_empty() {
            for k in 0..rank {
                y.factors[k] += self.diagonal[k] * p.factors[k];
            }
            if self.bias {
                y.bias += self.corner * p.bias;
            }
        }
        if !self.prior.is_empty() {
            let stride = y.factors.len();
            add_rows(s, self.prior, &p.factors[..rank], &mut y.factors);
            if self.bias {
                let row = &self.prior[rank * stride..(rank + 1) * stride];
                add_rows(s, row, &[p.bias], &mut y.factors);
                y.bias += dot(s, row, &p.factors) + self.corner * p.bias;
            }
        }
    }

    /// d += the diagonal of P + s diag(d).
    #[inline(always)]
    fn add_diagonal(&self, d: &mut Vector<T>) {
        let stride = d.factors.len();
        for k in 0..self.rank {
            d.factors[k] += self.scale * self.ridge[k];
            if !self.prior.is_empty() {
                d.factors[k] += self.prior[k * stride + k];
            }
            if !self.diagonal.is_empty() {
                d.factors[k] += self.diagonal[k];
            }
        }
        if self.bias {
            d.bias += self.scale * self.ridge[self.rank] + self.corner;
        }
    }
}
