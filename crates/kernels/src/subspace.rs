//! The row problem by blocks of unknowns: block coordinate descent from the row's current value.
//!
//! ```text
//! t ← F x (and the bias)                                          one number a cell
//! for blocks π of the K unknowns:
//!     A_ππ = P_ππ + Σ a f_π f_πᵀ + s diag(d_π)
//!     g_π  = q_π − (P x)_π − s d_π x_π + Σ (b − a t) f_π
//!     δ ← A_ππ⁻¹ g_π;   x_π += δ;   t += f_π·δ
//! ```
//!
//! Each block is the exact minimum over its unknowns, so J never rises; one block of all K is the exact
//! solution (Rendle, Krichene, Zhang and Koren 2021, «iALS++: Speeding up Matrix Factorization with
//! Subspace Optimization»). The bias is in every block.
//!
//! 1. The fixed side is copied once per call, block after block, so that a block's columns of a row are
//!    contiguous: n · K elements.
//! 2. The block's system is summed and factored by the code of the exact solver, with b − a t in place of b.
//! 3. Nothing is allocated per row, but for rows of more than 65,536 cells, whose sums are put aside. A
//!    thread's scratch is a sum for each block, and two numbers for each cell of the longest row.

use std::ops::Range;

use crate::accumulate::{Accumulator, SUPER, Source, Sum};
use crate::cholesky::{self, Corner, Workspace};
use crate::each_row::{RowSolver, each_row};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::rows::{RowCells, RowProblem};
use crate::score::dot;
use crate::simd::{Element, Isa, Simd};
use crate::tile::Layout;

/// Rows of the fixed side that are copied, and cells of a row, between two looks at the flag to stop.
const PART: usize = 1 << 14;

/// The columns of a block, of all rows of the fixed side, and how its system lies in memory.
struct Block<T> {
    columns: Range<usize>,
    fixed: Vec<T>,
    layout: Layout,
}

struct Scratch<'a, T> {
    /// One for each block.
    accumulators: Vec<Accumulator<'a, T>>,
    /// For the widest block.
    workspace: Workspace<T>,
    /// (b − a t, a) of the row's cells.
    terms: Vec<[T; 2]>,
}

/// Improve every row of `out` (rows × K) and `out_bias` (rows; see [`crate::solve_rows`]), which hold the
/// start on entry, by one pass over blocks of `block` unknowns.
///
/// # Errors
/// `Error::Singular` with the smallest row one of whose blocks has no unique solution; `Error::Contract`;
/// `Error::Cancelled`.
pub fn solve_rows_subspace<T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'_, T>,
    block: usize,
    out: &mut [T],
    out_bias: Option<&mut [T]>,
) -> Result<()> {
    let p = *problem;
    let rows = p.check(out.len(), out_bias.as_ref().map(|b| b.len()))?;
    if block == 0 {
        return Err(Error::contract("a block must hold at least one unknown"));
    }
    let bias = out_bias.is_some();
    let width = block.min(p.rank);
    let blocks = blocks_of(run, p.fixed, p.rank, width, bias)?;
    let (b, k) = (width as f64, p.rank as f64);
    let cost = |u: usize| p.cells.row(u).len() as f64 * k * (b + 16.0) + k * b * (b / 3.0 + 16.0);
    let chunks = chunks_by_cost(rows, run.threads(), cost);
    let longest = (0..rows).map(|u| p.cells.row(u).len()).max().unwrap_or(0);
    let scratch = || Scratch {
        accumulators: blocks.iter().map(|block| Accumulator::new(block.layout, &block.fixed)).collect(),
        workspace: Workspace::new(blocks[0].layout),
        terms: vec![[T::ZERO; 2]; longest],
    };
    let solver = || Solver { p: &p, blocks: &blocks, run, scratch: scratch() };
    each_row(isa, run, &p, &chunks, solver, (out, out_bias))
}

fn blocks_of<T: Element>(
    run: Run<'_>,
    fixed: &[T],
    rank: usize,
    width: usize,
    bias: bool,
) -> Result<Vec<Block<T>>> {
    let fixed_rows = fixed.len() / rank;
    let empty = |first: usize| {
        let columns = first..(first + width).min(rank);
        Block {
            fixed: vec![T::ZERO; fixed_rows * columns.len()],
            layout: Layout::new::<T>(columns.len(), 1 + usize::from(bias)),
            columns,
        }
    };
    let mut blocks: Vec<_> = (0..rank).step_by(width).map(empty).collect();
    let parts: Vec<_> = (0..fixed_rows).step_by(PART).map(|a| a..(a + PART).min(fixed_rows)).collect();
    for Block { columns, fixed: copy, .. } in &mut blocks {
        let (width, copy) = (columns.len(), Shared::new(copy));
        run.for_each(
            &parts,
            || (),
            |(), part| {
                // SAFETY: parts are disjoint ranges of rows.
                let copy = unsafe { copy.range(part.start * width..part.end * width) };
                let rows = fixed[part.start * rank..part.end * rank].chunks_exact(rank);
                for (to, from) in copy.chunks_exact_mut(width).zip(rows) {
                    to.copy_from_slice(&from[columns.clone()]);
                }
                Ok(())
            },
        )?;
    }
    Ok(blocks)
}

struct Solver<'a, 'p, 'f, T> {
    p: &'a RowProblem<'p, T>,
    blocks: &'a [Block<T>],
    run: Run<'a>,
    scratch: Scratch<'f, T>,
}

impl<T: Element> RowSolver<T> for Solver<'_, '_, '_, T> {
    #[inline(always)]
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        u: usize,
        x: &mut [T],
        bias: &mut Option<T>,
    ) -> Result<bool> {
        Row { p: self.p, u, x, bias }.improve(simd, self.blocks, self.run, &mut self.scratch)
    }
}

/// One row and its value.
struct Row<'a, 'p, T> {
    p: &'a RowProblem<'p, T>,
    u: usize,
    x: &'a mut [T],
    bias: &'a mut Option<T>,
}

impl<T: Element> Row<'_, '_, T> {
    /// One pass over the blocks; false where a block has no unique solution.
    #[inline(always)]
    fn improve<S: Simd<Elem = T>>(
        self,
        simd: S,
        blocks: &[Block<T>],
        run: Run<'_>,
        scratch: &mut Scratch<'_, T>,
    ) -> Result<bool> {
        let Row { p, u, x, bias } = self;
        let rank = p.rank;
        let s = p.scale.map_or(T::ONE, |s| s[u]);
        let cells = RowCells::new(p, p.cells.row(u));
        let Scratch { accumulators, workspace, terms } = scratch;
        let terms = &mut terms[..cells.len()];
        let fixed_rows = p.fixed.len() / rank;
        for cell in 0..cells.len() {
            let index = cells.index(cell);
            if index >= fixed_rows {
                return Err(Error::contract(format!(
                    "column {index} is outside the {fixed_rows} fixed rows"
                )));
            }
        }
        cells.terms(0, terms);
        for (cell, [b, a]) in terms.iter_mut().enumerate() {
            if cell.is_multiple_of(PART) {
                run.check()?;
            }
            let index = cells.index(cell);
            let t = dot(simd, x, &p.fixed[index * rank..(index + 1) * rank]) + bias.unwrap_or(T::ZERO);
            *b -= *a * t;
        }

        for (block, accumulator) in blocks.iter().zip(accumulators) {
            let Block { columns, fixed, layout } = block;
            let width = columns.len();
            let Layout { stride, .. } = *layout;
            accumulate(simd, p, u, terms, accumulator, run)?;
            let sum = &mut accumulator.sum;
            let g = &mut sum.g;
            let unknowns = rank + usize::from(bias.is_some());
            for (k, c) in columns.clone().enumerate() {
                g[k * stride + k] += s * p.ridge[c];
                g[width * stride + k] -= s * p.ridge[c] * x[c];
            }
            if let Some(q) = p.linear_of(u) {
                for (k, c) in columns.clone().enumerate() {
                    g[width * stride + k] += q[c];
                }
            }
            if let Some(prior) = p.diagonal_prior() {
                for (k, c) in columns.clone().enumerate() {
                    g[k * stride + k] += prior[c];
                    g[width * stride + k] -= prior[c] * x[c];
                }
            }
            if let Some(prior) = p.dense_prior() {
                for (k, c) in columns.clone().enumerate() {
                    let own = &prior[c * unknowns..(c + 1) * unknowns];
                    for j in k..width {
                        g[k * stride + j] += own[columns.start + j];
                    }
                    let mut px = dot(simd, &own[..rank], x);
                    if let Some(bias) = *bias {
                        px += own[rank] * bias;
                        g[(width + 1) * stride + k] += own[rank];
                    }
                    g[width * stride + k] -= px;
                }
            }
            let corner = bias.map(|bias| {
                let (mut sigma, mut rho) = (sum.a, sum.b);
                let ridge = (s * p.ridge[rank]).to_f64();
                sigma += ridge;
                rho -= ridge * bias.to_f64();
                if let Some(q) = p.linear_of(u) {
                    rho += q[rank].to_f64();
                }
                if let Some(prior) = p.prior {
                    sigma += prior.corner().to_f64();
                    if let Some(prior) = prior.dense() {
                        let own = &prior[rank * unknowns..];
                        rho -= own.iter().zip(&*x).map(|(p, x)| p.to_f64() * x.to_f64()).sum::<f64>();
                    }
                    rho -= prior.corner().to_f64() * bias.to_f64();
                }
                Corner { sigma: T::from_f64(sigma), rho: T::from_f64(rho) }
            });
            let Ok(beta) = cholesky::solve(simd, *layout, &mut sum.g, corner, workspace) else {
                return Ok(false);
            };
            let delta = &workspace.x[..width];
            for (x, &delta) in x[columns.clone()].iter_mut().zip(delta) {
                *x += delta;
            }
            if let Some(bias) = bias {
                *bias += beta;
            }
            if columns.end < rank {
                for (cell, [b, a]) in terms.iter_mut().enumerate() {
                    if cell.is_multiple_of(PART) {
                        run.check()?;
                    }
                    let index = cells.index(cell);
                    let t = dot(simd, delta, &fixed[index * width..(index + 1) * width]) + beta;
                    *b -= *a * t;
                }
            }
        }
        Ok(x.iter().all(|x| x.is_finite()) && bias.is_none_or(|b| b.is_finite()))
    }
}

/// The sums over a row's cells, those of a long row a part after the other.
#[inline(always)]
fn accumulate<S: Simd>(
    simd: S,
    p: &RowProblem<'_, S::Elem>,
    u: usize,
    terms: &[[S::Elem; 2]],
    accumulator: &mut Accumulator<'_, S::Elem>,
    run: Run<'_>,
) -> Result<()> {
    let row = p.cells.row(u);
    let mut total = (terms.len() > SUPER).then(|| Sum::zero(accumulator.layout));
    for first in (0..terms.len().max(1)).step_by(SUPER) {
        let end = (first + SUPER).min(terms.len());
        let cells = RowCells::new(p, row.start + first..row.start + end);
        let part = Residuals { cells: &cells, terms: &terms[first..end] };
        accumulator.accumulate(simd, &part, false, run)?;
        if let Some(total) = &mut total {
            total.add(&accumulator.sum);
        }
    }
    if let Some(total) = total {
        accumulator.sum = total;
    }
    Ok(())
}

/// The cells of a row with b − a t in place of b.
struct Residuals<'a, T> {
    cells: &'a RowCells<'a, T>,
    terms: &'a [[T; 2]],
}

impl<T: Element> Source<T> for Residuals<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.terms.len()
    }
    #[inline(always)]
    fn unit(&self) -> bool {
        self.cells.unit()
    }
    #[inline(always)]
    fn index(&self, cell: usize) -> usize {
        self.cells.index(cell)
    }
    #[inline(always)]
    fn ahead(&self, cell: usize, count: usize) -> &[u32] {
        self.cells.ahead(cell, count)
    }
    #[inline(always)]
    fn terms(&self, cell: usize, into: &mut [[T; 2]]) {
        into.copy_from_slice(&self.terms[cell..cell + into.len()]);
    }
}
