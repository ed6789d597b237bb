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
//! 3. Nothing is allocated per row. A thread's scratch, in elements: G of K + 2 rows of S = K + 2 rounded
//!    up to 16 or 32, and 16 · S + 19 · K for the solution.
//! 4. A row of few cells is solved by its dual (dual.rs).
//! 5. The sum of a row of more than 65,536 cells is split among the threads.
//! 6. Rows that observe every column share one matrix (full.rs).
//!
//! A row's bits depend on its own cells, the fixed side and the instruction set alone.

use std::ops::Range;
use std::slice::from_ref;

use crate::accumulate::{Accumulator, SUPER, Source, Sum};
use crate::cells::Cells;
use crate::cholesky::{self, Corner, Workspace};
use crate::dual::{self, Dual};
use crate::each_row::{RowSolver, each_row};
use crate::error::{Error, Result};
use crate::full::Full;
use crate::parallel::{Run, chunks_by_cost, worse};
use crate::simd::{Element, Isa, Simd};
use crate::split::sum_blocks;
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

/// P, which all rows share.
#[derive(Clone, Copy, Debug)]
pub enum Prior<'a, T> {
    /// The N entries of its diagonal; all others are 0.
    Diagonal(&'a [T]),
    /// N × N, symmetric.
    Dense(&'a [T]),
}

impl<'a, T: Element> Prior<'a, T> {
    /// Is it as large as `unknowns` unknowns need?
    fn fits(self, unknowns: usize) -> bool {
        match self {
            Prior::Diagonal(own) => own.len() == unknowns,
            Prior::Dense(all) => all.len() == unknowns * unknowns,
        }
    }

    /// The diagonal, where that is all.
    #[inline(always)]
    pub(crate) fn diagonal(self) -> Option<&'a [T]> {
        if let Prior::Diagonal(own) = self { Some(own) } else { None }
    }

    /// The matrix, where it is dense.
    #[inline(always)]
    pub(crate) fn dense(self) -> Option<&'a [T]> {
        if let Prior::Dense(all) = self { Some(all) } else { None }
    }

    /// The last entry of the diagonal: that of the bias, where there is one.
    #[inline(always)]
    pub(crate) fn corner(self) -> T {
        let (Prior::Diagonal(entries) | Prior::Dense(entries)) = self;
        entries[entries.len() - 1]
    }
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
    /// P.
    pub prior: Option<Prior<'a, T>>,
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
            ("prior", p.prior.is_none_or(|prior| prior.fits(unknowns))),
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

    /// Is a = 1 for all cells?
    pub(crate) fn unit(&self) -> bool {
        self.cells.weights.is_none() && self.terms.a0 == 1.0 && self.terms.a1 == 0.0
    }

    /// P, where it is dense.
    #[inline(always)]
    pub(crate) fn dense_prior(&self) -> Option<&[T]> {
        self.prior.and_then(Prior::dense)
    }

    /// P's diagonal, where that is all of it.
    #[inline(always)]
    pub(crate) fn diagonal_prior(&self) -> Option<&[T]> {
        self.prior.and_then(Prior::diagonal)
    }

    /// q of a row, where there is one.
    #[inline(always)]
    pub(crate) fn linear_of(&self, u: usize) -> Option<&[T]> {
        let unknowns = self.ridge.len();
        self.linear.map(|q| if q.len() == unknowns { q } else { &q[u * unknowns..(u + 1) * unknowns] })
    }
}

/// Solve every row's problem into `out` (rows × K) and `out_bias` (rows; its presence lengthens every f by
/// a constant 1).
///
/// # Errors
/// `Error::Singular` with the smallest row that has no unique solution; `Error::Contract`;
/// `Error::Cancelled`.
pub fn solve_rows<'p, T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'p, T>,
    out: &mut [T],
    out_bias: Option<&mut [T]>,
) -> Result<()> {
    let p = *problem;
    p.check(out.len(), out_bias.as_ref().map(|b| b.len()))?;
    let bias = out_bias.is_some();
    let layout = Layout::new::<T>(p.rank, 1 + usize::from(bias));
    let dual = dual::Terms::of(&p);
    let full = Full::of(run, &p, bias, dual.map_or(0, |terms| terms.most))?;
    let k = p.rank as f64;
    let most = dual.map_or(0, |terms| terms.most);
    let cost = |u: usize| match p.cells.row(u).len() {
        _ if full.has(u) => 0.0,
        n if n <= most => exact_cost(k, n as f64),
        n => exact_cost(n as f64, k),
    };
    let solver = |given: Option<&Sum<T>>| Exact {
        system: System::new(&p, run, layout, given),
        workspace: Workspace::new(layout),
        dual: dual.map(|terms| (terms, Dual::new(p.rank, terms.most))),
        full: &full,
    };
    let mut out_bias = out_bias;
    let shared = full.solve(isa, run, (&mut *out, out_bias.as_deref_mut()));
    if matches!(shared, Err(Error::Cancelled | Error::Contract(_))) {
        return shared;
    }
    let needed = |u: usize| !full.has(u);
    worse(shared, each_system(isa, run, &p, (layout, needed, cost), solver, (out, out_bias)))
}

/// About the time of a system of so many terms and unknowns.
fn exact_cost(terms: f64, unknowns: f64) -> f64 {
    terms * unknowns * (unknowns + 8.0) + unknowns * unknowns * (unknowns / 3.0 + 16.0)
}

/// Solve every row by a solver of whole systems: where a row is too `long` for one thread, all of them make its
/// sum first, unless the solver does not need it.
pub(crate) fn each_system<T: Element, R: RowSolver<T>>(
    isa: Isa,
    run: Run<'_>,
    p: &RowProblem<'_, T>,
    (layout, needed, cost): (Layout, impl Fn(usize) -> bool, impl Fn(usize) -> f64),
    solver: impl Fn(Option<&Sum<T>>) -> R + Sync,
    (out, mut out_bias): (&mut [T], Option<&mut [T]>),
) -> Result<()> {
    let rows = p.cells.rows();
    let long = |u: usize| p.cells.row(u).len() > SUPER;
    let chunks = chunks_by_cost(rows, run.threads(), |u| if long(u) { 0.0 } else { cost(u) });
    let mut outcome = Ok(());
    for u in (0..rows).filter(|&u| long(u) && needed(u)) {
        let sum = sum_of_row(isa, run, p, layout, u)?;
        let out = (&mut *out, out_bias.as_deref_mut());
        outcome =
            worse(outcome, each_row(isa, run, p, from_ref(&(u..u + 1)), || solver(Some(&sum)), out));
    }
    worse(outcome, each_row(isa, run, p, &chunks, || solver(None), (out, out_bias)))
}

/// The sum over the cells of a row that is too long for one thread.
pub(crate) fn sum_of_row<T: Element>(
    isa: Isa,
    run: Run<'_>,
    p: &RowProblem<'_, T>,
    layout: Layout,
    u: usize,
) -> Result<Sum<T>> {
    let cells = p.cells.row(u);
    let block = |b: Range<usize>| RowCells::new(p, cells.start + b.start..cells.start + b.end);
    sum_blocks(isa, run, layout, p.fixed, (cells.len(), SUPER), block)
}

/// One thread's scratch.
struct Exact<'a, 'p, T> {
    system: System<'a, 'p, T>,
    workspace: Workspace<T>,
    dual: Option<(dual::Terms<T>, Dual<T>)>,
    full: &'a Full<'a, 'p, T>,
}

impl<T: Element> RowSolver<T> for Exact<'_, '_, T> {
    #[inline(always)]
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        u: usize,
        x: &mut [T],
        bias: &mut Option<T>,
    ) -> Result<bool> {
        if self.full.has(u) || self.system.elsewhere(u) {
            return Ok(true);
        }
        if let Some(own) = self.by_dual(simd, u)? {
            let (_, dual) = self.dual.as_ref().expect("it has solved the row");
            x.copy_from_slice(&dual.x[..x.len()]);
            *bias = bias.map(|_| own);
            return Ok(true);
        }
        let corner = self.system.assemble(simd, u)?;
        let Accumulator { layout, sum, .. } = &mut self.system.accumulator;
        let solved = cholesky::solve(simd, *layout, &mut sum.g, corner, &mut self.workspace);
        x.copy_from_slice(&self.workspace.x[..x.len()]);
        *bias = bias.map(|_| solved.unwrap_or(T::ZERO));
        Ok(solved.is_ok())
    }
}

impl<T: Element> Exact<'_, '_, T> {
    /// Solve one row by its dual and return its bias; None where the primal system is to be solved.
    #[inline(always)]
    fn by_dual<S: Simd<Elem = T>>(&mut self, simd: S, u: usize) -> Result<Option<T>> {
        let Exact { system: System { p, accumulator, .. }, workspace, dual, .. } = self;
        let Some((terms, dual)) = dual else {
            return Ok(None);
        };
        let cells = p.cells.row(u);
        if cells.len() > terms.most {
            return Ok(None);
        }
        let row = dual::Row { p, scale: p.scale.map_or(T::ONE, |s| s[u]), terms: *terms };
        dual.solve(simd, &RowCells::new(p, cells), accumulator, row, workspace)
    }
}

/// The whole system of one row after the other.
pub(crate) struct System<'a, 'p, T> {
    pub p: &'a RowProblem<'p, T>,
    pub run: Run<'a>,
    /// Its sum is the system: the upper triangle of A, then h, then (with a bias) the bias column.
    pub accumulator: Accumulator<'p, T>,
    /// The sum over the cells of the one row to be solved, made before.
    given: Option<Sum<T>>,
    /// P where the sum begins, its other elements 0; empty unless P is dense.
    begin: Vec<T>,
}

impl<'a, 'p, T: Element> System<'a, 'p, T> {
    pub fn new(p: &'a RowProblem<'p, T>, run: Run<'a>, layout: Layout, given: Option<&Sum<T>>) -> Self {
        let accumulator = Accumulator::new(layout, p.fixed);
        let mut begin = Vec::new();
        if let Some(prior) = p.dense_prior() {
            begin.resize(accumulator.sum.g.len(), T::ZERO);
            add_prior(layout, prior, &mut begin);
        }
        System { p, run, accumulator, given: given.cloned(), begin }
    }

    /// Is this a long row, for which another solver is given the sum?
    #[inline(always)]
    pub fn elsewhere(&self, u: usize) -> bool {
        self.p.cells.row(u).len() > SUPER && self.given.is_none()
    }

    /// P + Σ a f fᵀ + s diag(d), h = q + Σ b f and the bias column of a row, into the accumulator's sum; with a
    /// bias, its corner.
    #[inline(always)]
    pub fn assemble<S: Simd<Elem = T>>(&mut self, simd: S, u: usize) -> Result<Option<Corner<T>>> {
        let System { p, run, accumulator, given, begin } = self;
        let cells = p.cells.row(u);
        let layout = accumulator.layout;
        if let Some(sum) = given.take() {
            accumulator.sum = sum;
            if let Some(prior) = p.dense_prior() {
                add_prior(layout, prior, &mut accumulator.sum.g);
            }
        } else if p.dense_prior().is_some() {
            accumulator.sum.g.copy_from_slice(begin);
        }
        if cells.len() <= SUPER {
            let onto = p.dense_prior().is_some();
            accumulator.accumulate(simd, &RowCells::new(p, cells), onto, *run)?;
        }

        let Layout { rank, border, stride } = layout;
        let bias = border == 2;
        let sum = &mut accumulator.sum;
        let s = p.scale.map_or(T::ONE, |s| s[u]);
        let q = p.linear_of(u);
        for k in 0..rank {
            sum.g[k * stride + k] += s * p.ridge[k];
        }
        if let Some(prior) = p.diagonal_prior() {
            for k in 0..rank {
                sum.g[k * stride + k] += prior[k];
            }
        }
        if let Some(q) = q {
            for (sum, &q) in sum.g[rank * stride..][..rank].iter_mut().zip(q) {
                *sum += q;
            }
        }
        Ok(bias.then(|| {
            let prior = p.prior.map_or(0.0, |prior| prior.corner().to_f64());
            let ridge = (s * p.ridge[rank]).to_f64();
            let linear = q.map_or(0.0, |q| q[rank].to_f64());
            Corner { sigma: T::from_f64(sum.a + prior + ridge), rho: T::from_f64(sum.b + linear) }
        }))
    }
}

/// G += P, of which a bias column goes to the second border row.
#[inline(always)]
fn add_prior<T: Element>(layout: Layout, prior: &[T], g: &mut [T]) {
    let Layout { rank, border, stride } = layout;
    let unknowns = rank + usize::from(border == 2);
    for k in 0..rank {
        for j in k..rank {
            g[k * stride + j] += prior[k * unknowns + j];
        }
        if border == 2 {
            g[(rank + 1) * stride + k] += prior[rank * unknowns + k];
        }
    }
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
    pub(crate) fn new(p: &RowProblem<'a, T>, range: Range<usize>) -> Self {
        let Terms { a0, a1, b0, b1 } = p.terms;
        RowCells {
            cells: p.cells,
            range,
            offset: p.offset,
            terms: [a0, a1, b0, b1].map(T::from_f64),
            unit: p.unit(),
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
    fn ahead(&self, cell: usize, count: usize) -> &[u32] {
        // Beyond the end of this row: the next row's, which this thread most likely solves next.
        let indices = self.cells.indices;
        let first = (self.range.start + cell).min(indices.len());
        &indices[first..(first + count).min(indices.len())]
    }
    #[inline(always)]
    fn terms(&self, cell: usize, into: &mut [[T; 2]]) {
        let first = self.range.start + cell;
        let cells = first..first + into.len();
        let [a0, a1, b0, b1] = self.terms;
        for (term, &v) in into.iter_mut().zip(&self.cells.values[cells.clone()]) {
            let v = T::from_f32(v);
            *term = [b0 + b1 * v, a0 + a1 * v];
        }
        if let Some(weights) = self.cells.weights {
            for ([b, a], &c) in into.iter_mut().zip(&weights[cells.clone()]) {
                let c = T::from_f32(c);
                (*b, *a) = (c * *b, c * *a);
            }
        }
        if let Some(offset) = self.offset {
            for ([b, a], &column) in into.iter_mut().zip(&self.cells.indices[cells]) {
                *b -= *a * offset[column as usize];
            }
        }
    }
}
