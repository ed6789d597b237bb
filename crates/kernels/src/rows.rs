//! The row problem, for every row u of a set of cells:
//!
//! ```text
//! (P + Σ a f fᵀ + s_u diag(d)) x = q + Σ b f
//! a = c (a0 + a1 v),   b = c (b0 + b1 v) − a · offset[i],   f = fixed[i] (and a 1 for the bias)
//!
//! for each block of cells of the row:
//!     gather the fixed rows into a packed buffer (padded to the lanes)
//!     G += Σ a f fᵀ (upper triangle);  border += Σ [a, b] f;  Σ a, Σ b
//! M ← G + P + s diag(d), border += [P's bias column, q]
//! factor M with the border; the bias by its Schur complement; back substitution
//! ```
//!
//! 1. Gather once, use K times: a block of packed rows stays in the first-level cache while all tiles of
//!    the triangle run over it.
//! 2. The bias column Σ a f and the right-hand side Σ b f are two more left-hand rows against the same
//!    packed vectors. K = 64 with biases has 64 columns, not 65 padded to 80.
//! 3. Where every a is 1 the packed block serves as both operands.
//! 4. Fixed tree of sums: a block of at most 128 cells starts at 0 and is added to the running sum of its
//!    superblock (65,536 cells), and that to the total. A sum of N terms is off by at most
//!    (128 + 512 + N / 65,536) ε Σ |terms| to first order.
//! 5. Nothing is allocated per row: each thread has scratch for one system.
//!
//! A row's bits depend on its own cells, the fixed side and the instruction set alone.

use std::ops::Range;

use crate::cells::Cells;
use crate::cholesky::System;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::{Update, update_pair, update_upper};

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

const SUPERBLOCK: usize = 65_536;

/// Cells of a block: packed rows of about 24 KB, between 64 and 128.
fn block_cells(stride: usize, element: usize) -> usize {
    (24 * 1024 / (stride * element)).clamp(64, 128)
}

struct Scratch<T> {
    packed: Vec<T>,
    scaled: Vec<T>,
    coefficients: Vec<T>,
    matrix: Vec<T>,
    border: Vec<T>,
    total: Vec<T>,
    inverse: Vec<T>,
    pair: Vec<T>,
    x: Vec<T>,
}

impl<T: Element> Scratch<T> {
    fn new(rank: usize, lanes: usize) -> Self {
        let stride = rank.next_multiple_of(lanes);
        let block = block_cells(stride, size_of::<T>());
        let zeros = |n: usize| vec![T::ZERO; n];
        Scratch {
            packed: zeros(block * stride),
            scaled: zeros(block * stride),
            coefficients: zeros(2 * block),
            matrix: zeros(rank * stride),
            border: zeros(2 * stride),
            total: Vec::new(), // only rows of more than a superblock need it
            inverse: zeros(rank),
            pair: zeros(2 * lanes),
            x: zeros(stride),
        }
    }
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
        ("out", out.len() == rows * p.rank),
        ("out_bias", out_bias.as_ref().is_none_or(|b| b.len() == rows)),
    ];
    if let Some((name, _)) = shapes.iter().find(|(_, fits)| !fits) {
        return Err(Error::contract(format!("{name} has a wrong shape")));
    }

    let k = p.rank as f64;
    let cost = |u: usize| p.cells.row(u).len() as f64 * k * (k + 8.0) + k * k * (k / 3.0 + 16.0);
    let chunks = chunks_by_cost(rows, run.threads(), cost);
    let bias = out_bias.is_some();
    let out = Shared::new(out);
    let out_bias = out_bias.map(Shared::new);
    run.for_each(
        &chunks,
        || None,
        |scratch, chunk| {
            // SAFETY: chunks are disjoint ranges of rows.
            let (x, b) = unsafe {
                let x = out.range(chunk.start * p.rank..chunk.end * p.rank);
                (x, out_bias.as_ref().map(|b| b.range(chunk.clone())))
            };
            T::run(isa, Chunk { p: &p, run, scratch, rows: chunk.clone(), bias, x, b })
        },
    )
}

struct Chunk<'a, 'p, T> {
    p: &'a RowProblem<'p, T>,
    run: Run<'a>,
    scratch: &'a mut Option<Scratch<T>>,
    rows: Range<usize>,
    bias: bool,
    x: &'a mut [T],
    b: Option<&'a mut [T]>,
}

impl<T: Element> Kernel<T> for Chunk<'_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(mut self, simd: S) -> Result<()> {
        let rank = self.p.rank;
        let scratch = self.scratch.get_or_insert_with(|| Scratch::new(rank, S::LANES));
        let mut outcome = Ok(());
        for (place, u) in self.rows.clone().enumerate() {
            let x = &mut self.x[place * rank..(place + 1) * rank];
            let mut own_bias = T::ZERO;
            let solved = if self.p.cells.row(u).is_empty() && self.p.linear.is_none() {
                x.fill(T::ZERO); // nothing is known of this row
                true
            } else {
                solve_row(simd, self.p, self.run, scratch, u, self.bias, x, &mut own_bias)?
            };
            if let Some(b) = &mut self.b {
                b[place] = own_bias;
            }
            if !solved && outcome.is_ok() {
                outcome = Err(Error::Singular { row: u });
            }
        }
        outcome
    }
}

/// Solve one row; Ok(false) where its system is singular.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // one row's view of `Chunk`, inlined into it
fn solve_row<S: Simd>(
    simd: S,
    p: &RowProblem<'_, S::Elem>,
    run: Run<'_>,
    scratch: &mut Scratch<S::Elem>,
    u: usize,
    bias: bool,
    x: &mut [S::Elem],
    own_bias: &mut S::Elem,
) -> Result<bool> {
    let rank = p.rank;
    let unknowns = rank + usize::from(bias);
    let stride = rank.next_multiple_of(S::LANES);
    let (sum_a, sum_b) = assemble(simd, p, run, scratch, u)?;

    let s = p.scale.map_or(S::Elem::ONE, |s| s[u]);
    let q = p.linear.map(|q| if q.len() == unknowns { q } else { &q[u * unknowns..(u + 1) * unknowns] });
    for k in 0..rank {
        let row = &mut scratch.matrix[k * stride..k * stride + rank];
        if let Some(prior) = p.prior {
            let prior = &prior[k * unknowns..k * unknowns + rank];
            for j in k..rank {
                row[j] += prior[j];
            }
        }
        row[k] += s * p.ridge[k];
    }
    if let Some(q) = q {
        for k in 0..rank {
            scratch.border[stride + k] += q[k];
        }
    }
    if let (true, Some(prior)) = (bias, p.prior) {
        for k in 0..rank {
            scratch.border[k] += prior[k * unknowns + rank];
        }
    }

    let tolerance = S::Elem::from_f64(unknowns as f64) * S::Elem::EPSILON;
    let mut system = System {
        size: rank,
        stride,
        matrix: &mut scratch.matrix,
        border: &mut scratch.border,
        inverse: &mut scratch.inverse,
        pair: &mut scratch.pair,
    };
    if !system.factor(simd, tolerance) {
        return Ok(false);
    }
    let (v, y) = system.border.split_at(stride);
    let mut learned = 0.0;
    if bias {
        let mut diagonal = sum_a + (s * p.ridge[rank]).to_f64();
        let mut right = sum_b;
        if let Some(prior) = p.prior {
            diagonal += prior[rank * unknowns + rank].to_f64();
        }
        if let Some(q) = q {
            right += q[rank].to_f64();
        }
        let (mut vv, mut vy) = (0.0, 0.0);
        for k in 0..rank {
            vv += v[k].to_f64() * v[k].to_f64();
            vy += v[k].to_f64() * y[k].to_f64();
        }
        let pivot = diagonal - vv;
        if pivot <= tolerance.to_f64() * diagonal || !pivot.is_finite() {
            return Ok(false);
        }
        learned = (right - vy) / pivot;
    }
    let b = S::Elem::from_f64(learned);
    for k in 0..rank {
        scratch.x[k] = y[k] - v[k] * b;
    }
    scratch.x[rank..].fill(S::Elem::ZERO);
    system.solve_back(simd, &mut scratch.x);
    x.copy_from_slice(&scratch.x[..rank]);
    *own_bias = b;
    Ok(b.is_finite() && x.iter().all(|x| x.is_finite()))
}

/// G into `scratch.matrix`, Σ a f and Σ b f into `scratch.border`; returns Σ a and Σ b.
#[inline(always)]
fn assemble<S: Simd>(
    simd: S,
    p: &RowProblem<'_, S::Elem>,
    run: Run<'_>,
    scratch: &mut Scratch<S::Elem>,
    u: usize,
) -> Result<(f64, f64)> {
    let rank = p.rank;
    let stride = rank.next_multiple_of(S::LANES);
    let block = block_cells(stride, size_of::<S::Elem>());
    let cells = p.cells.row(u);
    let fixed_rows = p.fixed.len() / rank;
    let scaled = p.cells.weights.is_some() || p.terms.a1 != 0.0 || p.terms.a0 != 1.0;
    scratch.matrix.fill(S::Elem::ZERO);
    scratch.border.fill(S::Elem::ZERO);
    let (mut sum_a, mut sum_b) = (0.0, 0.0);
    let mut in_superblock = 0;
    let long = cells.len() > SUPERBLOCK;
    if long {
        scratch.total.clear();
        scratch.total.resize((rank + 2) * stride, S::Elem::ZERO);
    }

    let mut start = cells.start;
    while start < cells.end {
        let end = (start + block).min(cells.end);
        for (t, cell) in (start..end).enumerate() {
            let i = p.cells.indices[cell] as usize;
            if i >= fixed_rows {
                return Err(Error::contract(format!(
                    "column {i} is outside the {fixed_rows} fixed rows"
                )));
            }
            if let Some(&ahead) = p.cells.indices.get(cell + 8) {
                prefetch(p.fixed, ahead as usize * rank, rank);
            }
            let c = p.cells.weights.map_or(1.0, |w| f64::from(w[cell]));
            let v = f64::from(p.cells.values[cell]);
            let a = c * (p.terms.a0 + p.terms.a1 * v);
            let offset = p.offset.map_or(0.0, |o| o[i].to_f64());
            let b = c * (p.terms.b0 + p.terms.b1 * v) - a * offset;
            sum_a += a;
            sum_b += b;
            let a = S::Elem::from_f64(a);
            scratch.coefficients[2 * t] = a;
            scratch.coefficients[2 * t + 1] = S::Elem::from_f64(b);
            let source = &p.fixed[i * rank..(i + 1) * rank];
            let packed = &mut scratch.packed[t * stride..(t + 1) * stride];
            if scaled {
                pack(simd, source, packed, Some((a, &mut scratch.scaled[t * stride..(t + 1) * stride])));
            } else {
                pack(simd, source, packed, None);
            }
        }
        let update = Update {
            matrix: scratch.matrix.as_mut_ptr(),
            stride,
            columns: stride,
            lhs: if scaled { scratch.scaled.as_ptr() } else { scratch.packed.as_ptr() },
            lhs_stride: stride,
            rhs: scratch.packed.as_ptr(),
            rhs_stride: stride,
            depth: end - start,
            negative: false,
        };
        let border = Update {
            matrix: scratch.border.as_mut_ptr(),
            lhs: scratch.coefficients.as_ptr(),
            lhs_stride: 2,
            ..update
        };
        // SAFETY: the scratch holds `block` ≥ depth packed rows of `stride` and 2 coefficients each, a
        // matrix of K rows and a border of 2, all of `stride` (Scratch::new).
        unsafe {
            update_upper(simd, update, 0..rank);
            update_pair(simd, border, 0);
        }
        in_superblock += end - start;
        start = end;
        if long && (in_superblock + block > SUPERBLOCK || start == cells.end) {
            run.check()?;
            in_superblock = 0;
            let sums = scratch.matrix.iter_mut().chain(scratch.border.iter_mut());
            for (total, part) in scratch.total.iter_mut().zip(sums) {
                *total += *part;
                *part = S::Elem::ZERO;
            }
        }
    }
    if long {
        let (matrix, border) = scratch.total.split_at(rank * stride);
        scratch.matrix.copy_from_slice(matrix);
        scratch.border.copy_from_slice(border);
    } else {
        run.check()?;
    }
    Ok((sum_a, sum_b))
}

/// Copy a row of F into the packed block (whose padding stays 0), and a times it beside it.
#[inline(always)]
fn pack<S: Simd>(
    simd: S,
    source: &[S::Elem],
    packed: &mut [S::Elem],
    scaled: Option<(S::Elem, &mut [S::Elem])>,
) {
    let whole = source.len() / S::LANES * S::LANES;
    assert!(packed.len() >= source.len());
    if let Some((a, scaled)) = scaled {
        assert!(scaled.len() >= source.len());
        let factor = simd.splat(a);
        for j in (0..whole).step_by(S::LANES) {
            // SAFETY: j + LANES ≤ whole ≤ the length of all three.
            unsafe {
                let v = simd.load(source.as_ptr().add(j));
                simd.store(packed.as_mut_ptr().add(j), v);
                simd.store(scaled.as_mut_ptr().add(j), simd.mul(factor, v));
            }
        }
        for j in whole..source.len() {
            packed[j] = source[j];
            scaled[j] = a * source[j];
        }
    } else {
        for j in (0..whole).step_by(S::LANES) {
            // SAFETY: j + LANES ≤ whole ≤ the length of both.
            unsafe { simd.store(packed.as_mut_ptr().add(j), simd.load(source.as_ptr().add(j))) };
        }
        packed[whole..source.len()].copy_from_slice(&source[whole..]);
    }
}

/// Ask for the cache lines of a row that will be gathered soon.
#[inline(always)]
fn prefetch<T>(fixed: &[T], start: usize, length: usize) {
    #[cfg(target_arch = "x86_64")]
    if start + length <= fixed.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = 64 / size_of::<T>();
        for j in (0..length).step_by(line) {
            // SAFETY: the address is inside the array, and a prefetch has no effect but on the cache.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(fixed.as_ptr().add(start + j).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (fixed, start, length);
}
