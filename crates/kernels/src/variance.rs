//! How sure a row is: fᵀ A⁻¹ f for lists of vectors f, A = P + Σ a f fᵀ + s_u diag(d) the row's matrix.
//!
//! ```text
//! for every row u that is asked:
//!     A = Wᵀ D W                                  rows.rs, cholesky.rs
//!     for its vectors f:  y = W⁻ᵀ f;  fᵀ A⁻¹ f = Σ_k y_k² / d_k
//! ```
//!
//! 1. One triangular solve instead of two: K² operations for a vector, and a sum of terms that cannot be negative.
//! 2. Two SIMD vectors of f are solved together, a lane each; W is read four columns at a time.
//! 3. The bias is the border of the system: y_β = 1 − v·y, and its pivot is the corner.
//! 4. A row that is not asked is not assembled; one without cells has A = P + s_u diag(d), its prior.
//!
//! σ² A⁻¹ is the covariance of the row's unknowns where the noise of a cell has variance σ² / a and the fixed side is
//! known (Salakhutdinov and Mnih, «Bayesian Probabilistic Matrix Factorization using MCMC», 2008, eq. 12).
//! A row's bits depend on its own cells and vectors, the fixed side and the instruction set alone.

use std::ops::Range;
use std::slice::from_ref;

use crate::accumulate::{SUPER, Sum};
use crate::buffer::Buffer;
use crate::cells::{check_offsets, row_of};
use crate::cholesky::{self, Workspace};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost, worse};
use crate::rows::{RowProblem, System, sum_of_row};
use crate::simd::{Element, Isa, Kernel, MOST_LANES, Simd};
use crate::tile::Layout;

/// SIMD vectors of right-hand sides that are solved together, and the columns of W that are read together.
const TOGETHER: usize = 2;
const COLUMNS: usize = 4;

/// The vectors that every row is asked about: row u those that `indices` names between its two offsets.
#[derive(Clone, Copy)]
pub struct Questions<'a, T> {
    /// Offsets, one more than rows.
    pub indptr: &'a [i64],
    /// Rows of `vectors`.
    pub indices: &'a [u32],
    /// Row-major, of K elements each; a bias lengthens them by a constant 1.
    pub vectors: &'a [T],
}

impl<T: Element> Questions<'_, T> {
    fn of(&self, u: usize) -> Range<usize> {
        row_of(self.indptr, u)
    }

    fn check(&self, rows: usize, rank: usize, out: usize) -> Result<()> {
        check_offsets(self.indptr, self.indices.len())?;
        let fits = self.indptr.len() == rows + 1
            && self.vectors.len().is_multiple_of(rank)
            && out == self.indices.len();
        let count = self.vectors.len() / rank;
        if !fits {
            Err(Error::contract("questions, vectors and out differ in shape"))
        } else if self.indices.iter().any(|&index| index as usize >= count) {
            Err(Error::contract(format!("a question is outside the {count} vectors")))
        } else {
            Ok(())
        }
    }
}

/// fᵀ A⁻¹ f of every row for each of its vectors into `out`, in their order. `bias`: there is a bias column.
///
/// # Errors
/// `Error::Singular` with the smallest row whose matrix is not positive definite; `Error::Contract`;
/// `Error::Cancelled`.
pub fn row_variances<T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'_, T>,
    bias: bool,
    questions: &Questions<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let (p, asked) = (*problem, *questions);
    let rows = p.cells.indptr.len().saturating_sub(1);
    p.check(rows * p.rank, bias.then_some(rows))?;
    asked.check(rows, p.rank, out.len())?;

    let layout = Layout::new::<T>(p.rank, 1 + usize::from(bias));
    let k = p.rank as f64;
    let cost = |u: usize| match (p.cells.row(u).len(), asked.of(u).len()) {
        (n, count) if count == 0 || n > SUPER => 0.0,
        (n, count) => (n + count) as f64 * k * (k + 8.0) + k * k * (k / 3.0 + 16.0),
    };
    let out = Shared::new(out);
    let scratch = |given: Option<&Sum<T>>| Scratch {
        system: System::new(&p, run, layout, given),
        workspace: Workspace::new(layout),
        y: Buffer::zeros((p.rank + 1) * TOGETHER * MOST_LANES),
    };
    let each = |chunks: &[Range<usize>], given: Option<&Sum<T>>| {
        run.for_each(
            chunks,
            || scratch(given),
            |scratch, rows| {
                let places = asked.of(rows.start).start..asked.of(rows.end - 1).end;
                // SAFETY: chunks are disjoint ranges of rows, and so are the places of their answers.
                let out = unsafe { out.range(places) };
                T::run(isa, Chunk { asked: &asked, run, scratch, rows: rows.clone(), out })
            },
        )
    };
    let mut outcome = Ok(());
    for u in (0..rows).filter(|&u| p.cells.row(u).len() > SUPER && !asked.of(u).is_empty()) {
        let sum = sum_of_row(isa, run, &p, layout, u)?;
        outcome = worse(outcome, each(from_ref(&(u..u + 1)), Some(&sum)));
    }
    worse(outcome, each(&chunks_by_cost(rows, run.threads(), cost), None))
}

/// One thread's memory.
struct Scratch<'a, 'p, T> {
    system: System<'a, 'p, T>,
    workspace: Workspace<T>,
    /// f, then y, by unknowns: `TOGETHER` SIMD vectors each.
    y: Buffer<T>,
}

struct Chunk<'a, 'b, 'p, T> {
    asked: &'a Questions<'a, T>,
    run: Run<'a>,
    scratch: &'b mut Scratch<'a, 'p, T>,
    rows: Range<usize>,
    out: &'b mut [T],
}

impl<T: Element> Kernel<T> for Chunk<'_, '_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        let Chunk { asked, run, scratch, rows, out } = self;
        let Scratch { system, workspace, y } = scratch;
        let first = asked.of(rows.start).start;
        for u in rows {
            let places = asked.of(u);
            if places.is_empty() || system.elsewhere(u) {
                continue; // nothing is asked, or it has been answered
            }
            run.check()?;
            let corner = system.assemble(simd, u)?;
            let (layout, g) = (system.accumulator.layout, &mut system.accumulator.sum.g);
            let Ok(corner) = cholesky::factor(simd, layout, g, corner, workspace) else {
                return Err(Error::Singular { row: u });
            };
            let factored = Factored {
                layout,
                g,
                pivots: &workspace.pivots,
                sigma: corner.map(|corner| corner.sigma),
            };
            let answers = &mut out[places.start - first..places.end - first];
            let width = TOGETHER * S::LANES;
            for (indices, answers) in asked.indices[places].chunks(width).zip(answers.chunks_mut(width))
            {
                run.check()?;
                factored.gather::<S>(asked.vectors, indices, y);
                factored.substitute(simd, y);
                answers.copy_from_slice(&factored.squares(simd, y)[..answers.len()]);
            }
        }
        Ok(())
    }
}

/// A factored system.
struct Factored<'a, T> {
    layout: Layout,
    g: &'a [T],
    pivots: &'a [T],
    /// The pivot of the bias.
    sigma: Option<T>,
}

impl<T: Element> Factored<'_, T> {
    /// The vectors `indices` into the lanes of `y`; the lanes after the last of them are 0.
    #[inline(always)]
    fn gather<S: Simd<Elem = T>>(&self, vectors: &[T], indices: &[u32], y: &mut [T]) {
        let (rank, width) = (self.layout.rank, TOGETHER * S::LANES);
        if indices.len() < width {
            y[..(rank + 1) * width].fill(T::ZERO);
        }
        for (lane, &index) in indices.iter().enumerate() {
            let f = &vectors[index as usize * rank..][..rank];
            for (k, &f) in f.iter().enumerate() {
                y[k * width + lane] = f;
            }
            y[rank * width + lane] = T::ONE;
        }
    }

    /// y ← W⁻ᵀ y, four unknowns at a time, then the bias.
    #[inline(always)]
    fn substitute<S: Simd<Elem = T>>(&self, s: S, y: &mut [T]) {
        let Layout { rank, stride, .. } = self.layout;
        let width = TOGETHER * S::LANES;
        assert!(self.g.len() >= rank * stride && y.len() >= (rank + 1) * width);
        let (g, y) = (self.g.as_ptr(), y.as_mut_ptr());
        // SAFETY: as asserted: `g` has K rows of `stride` elements, at least K and the border; `y` holds K + 1
        // groups of `TOGETHER` SIMD vectors.
        unsafe {
            for j in (0..rank).step_by(COLUMNS) {
                let columns = COLUMNS.min(rank - j);
                let mut rest = [[s.splat(T::ZERO); TOGETHER]; COLUMNS];
                for c in 0..columns {
                    for d in 0..TOGETHER {
                        rest[c][d] = s.load(y.add((j + c) * width + d * S::LANES));
                    }
                }
                for k in 0..j {
                    let mut known = [s.splat(T::ZERO); TOGETHER];
                    for d in 0..TOGETHER {
                        known[d] = s.load(y.add(k * width + d * S::LANES));
                    }
                    let w = g.add(k * stride + j);
                    for c in 0..columns {
                        let w = s.splat(*w.add(c));
                        for d in 0..TOGETHER {
                            rest[c][d] = s.fnma(w, known[d], rest[c][d]);
                        }
                    }
                }
                for c in 0..columns {
                    for k in 0..c {
                        let w = s.splat(*g.add((j + k) * stride + j + c));
                        for d in 0..TOGETHER {
                            rest[c][d] = s.fnma(w, rest[k][d], rest[c][d]);
                        }
                    }
                    for d in 0..TOGETHER {
                        s.store(y.add((j + c) * width + d * S::LANES), rest[c][d]);
                    }
                }
            }
            if self.sigma.is_some() {
                let own = y.add(rank * width);
                for d in 0..TOGETHER {
                    let mut rest = s.load(own.add(d * S::LANES));
                    for k in 0..rank {
                        let v = s.splat(*g.add(k * stride + rank + 1));
                        rest = s.fnma(v, s.load(y.add(k * width + d * S::LANES)), rest);
                    }
                    s.store(own.add(d * S::LANES), rest);
                }
            }
        }
    }

    /// Σ_k y_k² / d_k in every lane.
    #[inline(always)]
    fn squares<S: Simd<Elem = T>>(&self, s: S, y: &[T]) -> [T; TOGETHER * MOST_LANES] {
        let rank = self.layout.rank;
        let width = TOGETHER * S::LANES;
        let pivots = self.pivots[..rank].iter().chain(&self.sigma);
        let mut sums = [s.splat(T::ZERO); TOGETHER];
        for (y, &pivot) in y.chunks_exact(width).zip(pivots) {
            let inverse = s.splat(T::ONE / pivot);
            for d in 0..TOGETHER {
                // SAFETY: `y` holds `TOGETHER` SIMD vectors.
                let y = unsafe { s.load(y.as_ptr().add(d * S::LANES)) };
                sums[d] = s.fma(s.mul(y, y), inverse, sums[d]);
            }
        }
        let mut found = [T::ZERO; TOGETHER * MOST_LANES];
        for d in 0..TOGETHER {
            // SAFETY: `found` holds `TOGETHER` vectors of any instruction set.
            unsafe { s.store(found.as_mut_ptr().add(d * S::LANES), sums[d]) };
        }
        found
    }
}
