//! Rows that observe every column, unweighted: one matrix serves all of them.
//!
//! ```text
//! A = Σ_i f_i f_iᵀ + s diag(d) = Wᵀ D W         once, factored in float64 (f_i with a 1 for the bias)
//! for panels of up to 48 rows u, one to a lane:
//!     H ← 0
//!     for blocks of 128 columns i:   B[i][u] = b_ui;   H[k][u] += Σ_i f_i[k] B[i][u]      tile.rs
//!     H ← W⁻¹ D⁻¹ W⁻ᵀ H;   x_u = H[.][u]
//! ```
//!
//! 2 n K operations a row and 2 K² for the solution, instead of n K (K + 1) + K³ / 3 (the closed form of a table in
//! which nothing is missing: X Fᵀ A⁻¹).
//!
//! 1. A row belongs here by its own cells alone: all columns, no weights, s = 1 or n. So it has the same bits in
//!    whatever company it is solved, and one such row costs what it costs elsewhere.
//! 2. The lanes are rows: no sum over lanes, and the substitutions have no chain through memory.
//! 3. Values are turned around by squares in registers, b and the offset included.

use std::ops::Range;

use crate::accumulate::{Fixed, SUPER};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::gram::FactorRows;
use crate::parallel::{Run, Shared};
use crate::rows::RowProblem;
use crate::simd::{Element, Isa, Kernel, MOST_LANES, Simd};
use crate::split::sum_blocks;
use crate::tile::{Into, Layout, Operands, Product};

/// Lanes of the widest panel: three vectors of 16.
const WIDTH: usize = 3 * MOST_LANES;
/// Columns of F that are multiplied in one go.
const BLOCK: usize = 128;
/// Cells that are compared between two looks at the flag to stop.
const CELLS: usize = 1 << 20;

/// The full rows of a problem.
pub struct Full<'a, 'p, T> {
    p: &'a RowProblem<'p, T>,
    bias: bool,
    columns: usize,
    rows: Vec<usize>,
    /// Is a row one of them? Empty where none is.
    among: Vec<bool>,
}

impl<'a, 'p, T: Element> Full<'a, 'p, T> {
    /// Find them, where rows have more than `beyond` columns.
    pub fn of(run: Run<'_>, p: &'a RowProblem<'p, T>, bias: bool, beyond: usize) -> Result<Self> {
        let columns = p.fixed.len() / p.rank;
        let alike = p.unit() && p.prior.is_none() && p.linear.is_none() && columns > beyond;
        let n = T::from_f64(columns as f64);
        let may = |&u: &usize| p.cells.row(u).len() == columns && p.scale.is_none_or(|s| s[u] == n);
        let mut rows: Vec<usize> =
            if alike { (0..p.cells.rows()).filter(may).collect() } else { Vec::new() };
        let mut found = vec![false; rows.len()];
        let shared = Shared::new(&mut found);
        run.for_each(
            &parts(rows.len(), (CELLS / columns.max(1)).max(1)),
            || (),
            |(), part| {
                // SAFETY: parts are disjoint.
                let found = unsafe { shared.range(part.clone()) };
                for (found, &u) in found.iter_mut().zip(&rows[part.clone()]) {
                    let indices = &p.cells.indices[p.cells.row(u)];
                    *found = indices.iter().zip(0_u32..).all(|(&index, column)| index == column);
                }
                Ok(())
            },
        )?;
        let mut found = found.into_iter();
        rows.retain(|_| found.next() == Some(true));
        let mut among = vec![false; if rows.is_empty() { 0 } else { p.cells.rows() }];
        for &u in &rows {
            among[u] = true;
        }
        Ok(Full { p, bias, columns, rows, among })
    }

    /// Is row `u` solved here?
    #[inline(always)]
    pub fn has(&self, u: usize) -> bool {
        self.among.get(u) == Some(&true)
    }

    /// Solve them all.
    pub fn solve(
        &self,
        isa: Isa,
        run: Run<'_>,
        (out, out_bias): (&mut [T], Option<&mut [T]>),
    ) -> Result<()> {
        let Some(&row) = self.rows.first() else {
            return Ok(());
        };
        let factored = self.factor(isa, run)?.ok_or(Error::Singular { row })?;
        let layout = Layout::new::<T>(self.p.rank, 0);
        let (out, out_bias) = (Shared::new(out), out_bias.map(Shared::new));
        run.for_each(
            &parts(self.rows.len(), WIDTH),
            || Scratch::new(Fixed::new(self.p.fixed, layout), factored.unknowns),
            |scratch, part| {
                let rows = &self.rows[part.clone()];
                T::run(isa, Panels { full: self, factored: &factored, scratch, rows, run })?;
                for (place, &u) in rows.iter().enumerate() {
                    let rank = self.p.rank;
                    // SAFETY: every row stands in one part, and only once.
                    let x = unsafe { out.range(u * rank..(u + 1) * rank) };
                    let solution = scratch.solutions[place * factored.unknowns..].iter();
                    for (x, &own) in x.iter_mut().zip(solution) {
                        *x = own;
                    }
                    let mut finite = x.iter().all(|x| x.is_finite());
                    if let Some(bias) = &out_bias {
                        // SAFETY: as above.
                        let bias = unsafe { &mut bias.range(u..u + 1)[0] };
                        *bias = scratch.solutions[place * factored.unknowns + rank];
                        finite &= bias.is_finite();
                    }
                    if !finite {
                        return Err(Error::Singular { row: u });
                    }
                }
                Ok(())
            },
        )
    }

    /// A in factors; None where a pivot is not above rounding.
    fn factor(&self, isa: Isa, run: Run<'_>) -> Result<Option<Factored<T>>> {
        let Full { p, bias, columns, .. } = *self;
        let layout = Layout::new::<T>(p.rank, 1 + usize::from(bias));
        let height = columns.div_ceil(64).clamp(1024, SUPER);
        let sum = sum_blocks(isa, run, layout, p.fixed, (columns, height), |block| FactorRows {
            first: block.start,
            rows: block.len(),
            scale: None,
        })?;
        let unknowns = p.rank + usize::from(bias);
        let mut a = vec![0.0; unknowns * unknowns];
        for i in 0..unknowns {
            for j in i..unknowns {
                a[i * unknowns + j] = match (i == p.rank, j == p.rank) {
                    (true, _) => sum.a,
                    (_, true) => sum.g[(p.rank + 1) * layout.stride + i].to_f64(),
                    _ => sum.g[i * layout.stride + j].to_f64(),
                };
            }
            let s = if p.scale.is_some() { columns as f64 } else { 1.0 };
            a[i * unknowns + i] += s * p.ridge[i].to_f64();
        }

        let tolerance = unknowns as f64 * T::EPSILON.to_f64();
        let mut inverse = vec![T::ZERO; unknowns];
        let diagonal: Vec<f64> = (0..unknowns).map(|k| a[k * unknowns + k]).collect();
        for k in 0..unknowns {
            run.check()?;
            let (above, below) = a.split_at_mut((k + 1) * unknowns);
            let row = &mut above[k * unknowns..];
            let pivot = row[k];
            // Written so that NaN fails.
            let regular = pivot > tolerance * diagonal[k] && pivot > 0.0 && diagonal[k].is_finite();
            if !regular {
                return Ok(None);
            }
            for i in k + 1..unknowns {
                let w = row[i] / pivot;
                let to = &mut below[(i - k - 1) * unknowns..][i..unknowns];
                for (to, &r) in to.iter_mut().zip(&row[i..]) {
                    *to -= w * r;
                }
            }
            for r in &mut row[k + 1..] {
                *r /= pivot;
            }
            inverse[k] = T::from_f64(1.0 / pivot);
        }
        let entry =
            |p: usize| a[(p / unknowns).min(p % unknowns) * unknowns + (p / unknowns).max(p % unknowns)];
        let w = (0..unknowns * unknowns).map(|p| T::from_f64(entry(p))).collect();
        Ok(Some(Factored { unknowns, w, inverse }))
    }
}

/// 0 .. `all` in parts.
fn parts(all: usize, size: usize) -> Vec<Range<usize>> {
    (0..all).step_by(size).map(|first| first..(first + size).min(all)).collect()
}

/// A = Wᵀ D W, W unit upper triangular.
struct Factored<T> {
    unknowns: usize,
    /// W above the diagonal and Wᵀ below it, so that both are read along rows.
    w: Vec<T>,
    /// D⁻¹
    inverse: Vec<T>,
}

/// One thread's scratch.
struct Scratch<'p, T> {
    fixed: Fixed<'p, T>,
    /// Where the rows of F of a block are.
    rows: Vec<*const T>,
    /// b of a block, by rows of the problem, BLOCK apart.
    targets: Buffer<T>,
    /// b of a block, by columns, WIDTH apart.
    turned: Buffer<T>,
    /// K rows and one for the bias, WIDTH apart.
    h: Buffer<T>,
    /// By rows of the problem.
    solutions: Vec<T>,
}

impl<'p, T: Element> Scratch<'p, T> {
    fn new(fixed: Fixed<'p, T>, unknowns: usize) -> Self {
        Scratch {
            fixed,
            rows: Vec::with_capacity(BLOCK),
            targets: Buffer::zeros(WIDTH * BLOCK),
            turned: Buffer::zeros(BLOCK * WIDTH),
            h: Buffer::zeros(unknowns * WIDTH),
            solutions: vec![T::ZERO; WIDTH * unknowns],
        }
    }
}

/// The panels of at most WIDTH rows.
struct Panels<'a, 'f, 'p, T> {
    full: &'a Full<'f, 'p, T>,
    factored: &'a Factored<T>,
    scratch: &'a mut Scratch<'p, T>,
    rows: &'a [usize],
    run: Run<'a>,
}

impl<T: Element> Kernel<T> for Panels<'_, '_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, s: S) -> Result<()> {
        let Panels { full, factored, scratch, rows, run } = self;
        let unknowns = factored.unknowns;
        let lanes = S::TILE_VECTORS * S::LANES;
        for (number, panel) in rows.chunks(lanes).enumerate() {
            for first in (0..full.columns).step_by(BLOCK) {
                run.check()?;
                let block = first..(first + BLOCK).min(full.columns);
                let into = if first == 0 { Into::Set } else { Into::Add };
                scratch.turn(s, full.p, panel, &block)?;
                scratch.multiply(s, full.p.rank, (full.bias, block.len()), into);
            }
            match S::TILE_VECTORS {
                3 => factored.solve::<S, 3>(s, &mut scratch.h),
                _ => factored.solve::<S, 2>(s, &mut scratch.h),
            }
            for lane in 0..panel.len() {
                let own = &mut scratch.solutions[(number * lanes + lane) * unknowns..][..unknowns];
                for (k, x) in own.iter_mut().enumerate() {
                    *x = scratch.h[k * WIDTH + lane];
                }
            }
        }
        Ok(())
    }
}

impl<T: Element> Scratch<'_, T> {
    /// b of the rows of a panel for a block of columns, by columns; and where the rows of F are.
    #[inline(always)]
    fn turn<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        p: &RowProblem<'_, T>,
        panel: &[usize],
        block: &Range<usize>,
    ) -> Result<()> {
        self.rows.clear();
        for column in block.clone() {
            self.rows.push(self.fixed.row(column).ok_or_else(|| self.fixed.outside(column))?);
        }
        let (b0, b1) = (T::from_f64(p.terms.b0), T::from_f64(p.terms.b1));
        let lanes = S::TILE_VECTORS * S::LANES;
        for (lane, targets) in self.targets.chunks_exact_mut(BLOCK).enumerate().take(lanes) {
            let Some(&u) = panel.get(lane) else {
                targets.fill(T::ZERO);
                continue;
            };
            let start = p.cells.row(u).start;
            let values = &p.cells.values[start + block.start..start + block.end];
            for (b, &v) in targets.iter_mut().zip(values) {
                *b = b0 + b1 * T::from_f32(v);
            }
            if let Some(offset) = p.offset {
                for (b, &offset) in targets.iter_mut().zip(&offset[block.clone()]) {
                    *b -= offset;
                }
            }
        }
        assert!(self.targets.len() == WIDTH * BLOCK && self.turned.len() == BLOCK * WIDTH);
        for lane in (0..lanes).step_by(S::LANES) {
            for column in (0..block.len()).step_by(S::LANES) {
                let mut square = [s.splat(T::ZERO); MOST_LANES];
                // SAFETY: lanes are at most WIDTH and columns at most BLOCK, both multiples of every vector.
                unsafe {
                    for i in 0..S::LANES {
                        square[i] = s.load(self.targets.as_ptr().add((lane + i) * BLOCK + column));
                    }
                    s.transpose(&mut square);
                    for i in 0..S::LANES {
                        s.store(self.turned.as_mut_ptr().add((column + i) * WIDTH + lane), square[i]);
                    }
                }
            }
        }
        Ok(())
    }

    /// H =, += Σ_i f_i B_i over the block.
    #[inline(always)]
    fn multiply<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        rank: usize,
        (bias, depth): (bool, usize),
        into: Into,
    ) {
        let operands = Block { rows: &self.rows, turned: &self.turned, one: &T::ONE };
        let layout = Layout { rank, border: usize::from(bias), stride: WIDTH };
        Product { layout, vectors: S::TILE_VECTORS, operands, depth, g: &mut self.h, into }.run(s);
    }
}

/// The rows of F on the left, a 1 for the bias, the targets on the right.
#[derive(Clone, Copy)]
struct Block<'a, T> {
    rows: &'a [*const T],
    turned: &'a [T],
    one: &'a T,
}

// SAFETY: rows come from `Fixed::row`, readable up to K rounded up to 16, as many as the `depth` that `multiply`
// is called with; `turned` has as many rows of WIDTH, no less than the vectors of a tile; there is one border row.
unsafe impl<T: Element> Operands<T> for Block<'_, T> {
    const SCALED: bool = false;
    #[inline(always)]
    fn left(self, k: usize) -> *const T {
        // SAFETY: k is below the number of rows.
        unsafe { *self.rows.get_unchecked(k) }
    }
    #[inline(always)]
    fn border(self, _: usize) -> *const T {
        self.one
    }
    #[inline(always)]
    fn right(self, k: usize) -> *const T {
        self.turned.as_ptr().wrapping_add(k * WIDTH)
    }
    #[inline(always)]
    fn scale(self, _: usize) -> T {
        T::ONE
    }
}

impl<T: Element> Factored<T> {
    /// H ← W⁻¹ D⁻¹ W⁻ᵀ H, in C vectors of lanes.
    #[inline(always)]
    fn solve<S: Simd<Elem = T>, const C: usize>(&self, s: S, h: &mut [T]) {
        let n = self.unknowns;
        assert!(h.len() >= n * WIDTH && C * S::LANES <= WIDTH);
        let h = h.as_mut_ptr();
        for j in 0..n {
            let w = &self.w[j * n..][..j];
            // SAFETY: `h` has n rows of WIDTH, which C vectors fit into.
            unsafe { less::<S, C>(s, (w, 0), h, (j, T::ONE)) };
        }
        for j in (0..n).rev() {
            let w = &self.w[j * n..][j + 1..n];
            // SAFETY: as above.
            unsafe { less::<S, C>(s, (w, j + 1), h, (j, self.inverse[j])) };
        }
    }
}

/// h_j ← c h_j − Σ_k w_k h_(first + k)
///
/// # Safety
/// `h` is valid for rows j and `first` to `first` + the number of w, WIDTH apart, of C vectors each.
#[inline(always)]
unsafe fn less<S: Simd, const C: usize>(
    s: S,
    (w, first): (&[S::Elem], usize),
    h: *mut S::Elem,
    (j, c): (usize, S::Elem),
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let to = h.add(j * WIDTH);
        let mut sums = [s.splat(S::Elem::ZERO); C];
        for v in 0..C {
            sums[v] = s.mul(s.splat(c), s.load(to.add(v * S::LANES)));
        }
        for (k, &w) in w.iter().enumerate() {
            let (w, row) = (s.splat(w), h.add((first + k) * WIDTH));
            for v in 0..C {
                sums[v] = s.fnma(w, s.load(row.add(v * S::LANES)), sums[v]);
            }
        }
        for v in 0..C {
            s.store(to.add(v * S::LANES), sums[v]);
        }
    }
}
