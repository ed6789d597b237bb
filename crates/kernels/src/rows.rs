//! The row problem, for every row u of a set of cells:
//!
//! ```text
//! (P + Σ a f fᵀ + s_u diag(d)) x = q + Σ b f
//! a = c (a0 + a1 v),   b = c (b0 + b1 v) − a · offset[i],   f = fixed[i] (and a 1 for the bias)
//!
//! G ← P;  G += Σ a f fᵀ, with Σ b f and Σ a f as border rows      accumulate.rs
//! G += s diag(d);  Σ b f += q
//! factor, eliminate the bias as the corner of the border, substitute back     cholesky.rs
//! ```
//!
//! 1. The bias column and the right-hand side are border rows: K = 64 with biases has 64 columns, not 65
//!    padded to 80.
//! 2. Rows are grouped into chunks of about equal work, the heaviest first.
//! 3. Nothing is allocated per row. A thread's scratch, in elements: G of K + 2 rows of S = K + 8 rounded
//!    up to 16 (twice where a row has more than 65,536 cells), two blocks of at most 256 · S, and
//!    16 · S + 18 · K for the solution.
//!
//! A row's bits depend on its own cells, the fixed side and the instruction set alone.

use std::ops::Range;

use crate::accumulate::{Accumulator, Source};
use crate::cells::Cells;
use crate::cholesky::{self, Corner, Workspace};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::Layout;

/// How a value v of weight c becomes a and b.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// a = c (a0 + a1 v).
    pub a0: f64,
    /// a = c (a0 + a1 v).
    pub a1: f64,
    /// b = c (b0 + b1 v) − a · offset.
    pub b0: f64,
    /// b = c (b0 + b1 v) − a · offset.
    pub b1: f64,
}

/// Every row's problem; see the head of the file. N = K, or K + 1 with a bias.
#[derive(Clone, Copy)]
pub struct RowProblem<'a, T> {
    /// The observed cells.
    pub cells: Cells<'a>,
    /// F: columns × K, row-major.
    pub fixed: &'a [T],
    /// K.
    pub rank: usize,
    /// One per row of F.
    pub offset: Option<&'a [T]>,
    /// How values become terms.
    pub terms: Terms,
    /// P: N × N.
    pub prior: Option<&'a [T]>,
    /// q: N for all rows, or rows × N.
    pub linear: Option<&'a [T]>,
    /// d: N.
    pub ridge: &'a [T],
    /// s: one per row.
    pub scale: Option<&'a [T]>,
}

impl<T: Element> RowProblem<'_, T> {
    /// The number of rows, where all arrays fit together and to outputs of these lengths.
    pub(crate) fn check(&self, out: usize, out_bias: Option<usize>) -> Result<usize> {
        let p = self;
        p.cells.check()?;
        let rows = p.cells.rows();
        let unknowns = p.rank + usize::from(out_bias.is_some());
        let fixed_rows = p.fixed.len().checked_div(p.rank).unwrap_or(0);
        let shapes = [
            ("rank", p.rank >= 1),
            ("fixed", p.rank >= 1 && p.fixed.len().is_multiple_of(p.rank)),
            ("offset", p.offset.is_none_or(|o| o.len() == fixed_rows)),
            ("prior", p.prior.is_none_or(|m| m.len() == unknowns * unknowns)),
            ("linear", p.linear.is_none_or(|q| q.len() == unknowns || q.len() == rows * unknowns)),
            ("ridge", p.ridge.len() == unknowns),
            ("scale", p.scale.is_none_or(|s| s.len() == rows)),
            ("out", out == rows * p.rank),
            ("out_bias", out_bias.is_none_or(|b| b == rows)),
        ];
        match shapes.iter().find(|(_, fits)| !fits) {
            Some((name, _)) => Err(Error::contract(format!("{name} has a wrong shape"))),
            None => Ok(rows),
        }
    }

    /// q of a row, where there is one.
    #[inline(always)]
    pub(crate) fn linear_of(&self, u: usize) -> Option<&[T]> {
        let unknowns = self.ridge.len();
        self.linear.map(|q| if q.len() == unknowns { q } else { &q[u * unknowns..(u + 1) * unknowns] })
    }
}

struct Scratch<T> {
    accumulator: Accumulator<T>,
    workspace: Workspace<T>,
}

/// Solve every row's problem into `out` (rows × K) and `out_bias` (rows; its presence lengthens every f by
/// a constant 1).
///
/// # Errors
/// `Error::Singular` with the smallest row that has no unique solution; `Error::Contract`;
/// `Error::Cancelled`.
pub fn solve_rows<T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'_, T>,
    out: &mut [T],
    out_bias: Option<&mut [T]>,
) -> Result<()> {
    let p = *problem;
    let rows = p.check(out.len(), out_bias.as_ref().map(|b| b.len()))?;

    let k = p.rank as f64;
    let cost = |u: usize| p.cells.row(u).len() as f64 * k * (k + 8.0) + k * k * (k / 3.0 + 16.0);
    let chunks = chunks_by_cost(rows, run.threads(), cost);
    let bias = out_bias.is_some();
    let layout = Layout::new::<T>(p.rank, 1 + usize::from(bias));
    let longest = (0..rows).map(|u| p.cells.row(u).len()).max().unwrap_or(0);
    let out = Shared::new(out);
    let out_bias = out_bias.map(Shared::new);
    run.for_each(
        &chunks,
        || Scratch { accumulator: Accumulator::new(layout, longest), workspace: Workspace::new(layout) },
        |scratch, chunk| {
            // SAFETY: chunks are disjoint ranges of rows.
            let (x, b) = unsafe {
                let x = out.range(chunk.start * p.rank..chunk.end * p.rank);
                (x, out_bias.as_ref().map(|b| b.range(chunk.clone())))
            };
            T::run(isa, Chunk { p: &p, run, scratch, rows: chunk.clone(), x, b })
        },
    )
}

struct Chunk<'a, 'p, T> {
    p: &'a RowProblem<'p, T>,
    run: Run<'a>,
    scratch: &'a mut Scratch<T>,
    rows: Range<usize>,
    x: &'a mut [T],
    b: Option<&'a mut [T]>,
}

impl<T: Element> Kernel<T> for Chunk<'_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(mut self, simd: S) -> Result<()> {
        let rank = self.p.rank;
        for (place, u) in self.rows.clone().enumerate() {
            let x = &mut self.x[place * rank..(place + 1) * rank];
            let own_bias = if self.p.cells.row(u).is_empty() && self.p.linear.is_none() {
                x.fill(T::ZERO); // nothing is known of this row
                T::ZERO
            } else if let Some(own_bias) = solve_row(simd, self.p, self.run, self.scratch, u)? {
                x.copy_from_slice(&self.scratch.workspace.x[..rank]);
                own_bias
            } else {
                return Err(Error::Singular { row: u });
            };
            if let Some(b) = &mut self.b {
                b[place] = own_bias;
            }
        }
        Ok(())
    }
}

/// Solve one row into the workspace and return its bias; None where its system is singular.
#[inline(always)]
fn solve_row<S: Simd>(
    simd: S,
    p: &RowProblem<'_, S::Elem>,
    run: Run<'_>,
    scratch: &mut Scratch<S::Elem>,
    u: usize,
) -> Result<Option<S::Elem>> {
    let Scratch { accumulator, workspace } = scratch;
    let layout = accumulator.layout;
    let Layout { rank, border, stride } = layout;
    let bias = border == 2;
    let unknowns = rank + usize::from(bias);

    if let Some(prior) = p.prior {
        let g = &mut accumulator.g;
        for (k, row) in g.chunks_exact_mut(stride).take(rank).enumerate() {
            let first = k / S::LANES * S::LANES;
            row[first..rank].copy_from_slice(&prior[k * unknowns + first..k * unknowns + rank]);
            row[rank..].fill(S::Elem::ZERO);
        }
        g[rank * stride..].fill(S::Elem::ZERO);
        if bias {
            let column = &prior[rank * unknowns..rank * unknowns + rank];
            g[(rank + 1) * stride..][..rank].copy_from_slice(column);
        }
    }
    let source = RowCells::new(p, u);
    accumulator.sum(simd, p.fixed, &source, p.prior.is_some(), run)?;

    let s = p.scale.map_or(S::Elem::ONE, |s| s[u]);
    let q = p.linear_of(u);
    let g = &mut accumulator.g;
    for k in 0..rank {
        g[k * stride + k] += s * p.ridge[k];
    }
    if let Some(q) = q {
        for (sum, &q) in g[rank * stride..][..rank].iter_mut().zip(q) {
            *sum += q;
        }
    }
    let corner = bias.then(|| {
        let prior = p.prior.map_or(0.0, |prior| prior[rank * unknowns + rank].to_f64());
        let ridge = (s * p.ridge[rank]).to_f64();
        let linear = q.map_or(0.0, |q| q[rank].to_f64());
        Corner {
            sigma: S::Elem::from_f64(accumulator.sum_a + prior + ridge),
            rho: S::Elem::from_f64(accumulator.sum_b + linear),
        }
    });
    Ok(cholesky::solve(simd, layout, g, corner, workspace).ok())
}

/// The cells of one row as terms of its system.
pub(crate) struct RowCells<'a, T> {
    cells: Cells<'a>,
    range: Range<usize>,
    offset: Option<&'a [T]>,
    terms: [T; 4],
    unit: bool,
}

impl<'a, T: Element> RowCells<'a, T> {
    #[inline(always)]
    pub(crate) fn new(p: &RowProblem<'a, T>, u: usize) -> Self {
        let Terms { a0, a1, b0, b1 } = p.terms;
        RowCells {
            cells: p.cells,
            range: p.cells.row(u),
            offset: p.offset,
            terms: [a0, a1, b0, b1].map(T::from_f64),
            unit: p.cells.weights.is_none() && a0 == 1.0 && a1 == 0.0,
        }
    }
}

impl<T: Element> Source<T> for RowCells<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.range.len()
    }
    #[inline(always)]
    fn unit(&self) -> bool {
        self.unit
    }
    #[inline(always)]
    fn index(&self, cell: usize) -> usize {
        self.cells.indices[self.range.start + cell] as usize
    }
    #[inline(always)]
    fn ahead(&self, cell: usize) -> Option<usize> {
        // Beyond the end of this row: the next row's, which this thread most likely solves next.
        self.cells.indices.get(self.range.start + cell + 8).map(|&i| i as usize)
    }
    #[inline(always)]
    fn terms(&self, cell: usize) -> (T, T) {
        let cell = self.range.start + cell;
        let [a0, a1, b0, b1] = self.terms;
        let v = T::from_f32(self.cells.values[cell]);
        let (mut a, mut b) = (a0 + a1 * v, b0 + b1 * v);
        if let Some(weights) = self.cells.weights {
            let c = T::from_f32(weights[cell]);
            (a, b) = (c * a, c * b);
        }
        if let Some(offset) = self.offset {
            b -= a * offset[self.cells.indices[cell] as usize];
        }
        (a, b)
    }
}
