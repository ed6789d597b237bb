//! Every row of a problem, in chunks that threads take one after the other.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::rows::RowProblem;
use crate::simd::{Element, Isa, Kernel, Simd};

/// Solves one row after the other; the scratch of a thread.
pub trait RowSolver<T: Element> {
    /// Solve row `u` into `x` and, where there is one, `bias`; both hold the row's value so far. False where
    /// the row has no unique solution. Must be `#[inline(always)]`.
    ///
    /// # Errors
    /// `Error::Contract`, `Error::Cancelled`.
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        u: usize,
        x: &mut [T],
        bias: &mut Option<T>,
    ) -> Result<bool>;
}

/// Solve the rows of disjoint chunks into `out` (rows × K) and `out_bias`. A row of which nothing is known is 0.
pub fn each_row<T: Element, R: RowSolver<T>>(
    isa: Isa,
    run: Run<'_>,
    p: &RowProblem<'_, T>,
    chunks: &[Range<usize>],
    solver: impl Fn() -> R + Sync,
    (out, out_bias): (&mut [T], Option<&mut [T]>),
) -> Result<()> {
    let (out, out_bias) = (Shared::new(out), out_bias.map(Shared::new));
    run.for_each(chunks, solver, |solver, rows| {
        // SAFETY: chunks are disjoint ranges of rows.
        let (x, b) = unsafe {
            let x = out.range(rows.start * p.rank..rows.end * p.rank);
            (x, out_bias.as_ref().map(|b| b.range(rows.clone())))
        };
        T::run(isa, Chunk { p, solver, rows: rows.clone(), x, b })
    })
}

struct Chunk<'a, 'p, T, R> {
    p: &'a RowProblem<'p, T>,
    solver: &'a mut R,
    rows: Range<usize>,
    x: &'a mut [T],
    b: Option<&'a mut [T]>,
}

impl<T: Element, R: RowSolver<T>> Kernel<T> for Chunk<'_, '_, T, R> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(mut self, simd: S) -> Result<()> {
        let rank = self.p.rank;
        for (place, u) in self.rows.enumerate() {
            let x = &mut self.x[place * rank..(place + 1) * rank];
            let mut bias = self.b.as_ref().map(|b| b[place]);
            if self.p.cells.row(u).is_empty() && self.p.linear.is_none() {
                x.fill(T::ZERO);
                bias = bias.map(|_| T::ZERO);
            } else if !self.solver.solve(simd, u, x, &mut bias)? {
                return Err(Error::Singular { row: u });
            }
            if let (Some(b), Some(bias)) = (&mut self.b, bias) {
                b[place] = bias;
            }
        }
        Ok(())
    }
}
