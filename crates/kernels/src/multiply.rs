//! C F for sparse C (cells by row) and dense F (columns × K).
//!
//! ```text
//! for every row u, four vectors of columns at a time:   out_u = Σ_j c_uj f_j, cell after cell, in registers
//! ```
//!
//! The weights of the cells play no part.

use std::ops::Range;

use crate::cells::Cells;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::simd::{Element, Isa, Kernel, MOST_LANES, Simd};

/// Vectors of columns that are summed together.
const TOGETHER: usize = 4;
/// Cells after which a long row looks whether it has been told to stop.
const BLOCK: usize = 1 << 16;

/// C F into `out` (rows × K), K = `rank`.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn multiply<T: Element>(
    isa: Isa,
    run: Run<'_>,
    cells: &Cells<'_>,
    fixed: &[T],
    rank: usize,
    out: &mut [T],
) -> Result<()> {
    cells.check()?;
    let rows = cells.rows();
    if rank == 0 || !fixed.len().is_multiple_of(rank) || out.len() != rows * rank {
        return Err(Error::contract("fixed and out must be columns × K and rows × K"));
    }
    let columns = fixed.len() / rank;
    if cells.indices.iter().any(|&index| index as usize >= columns) {
        return Err(Error::contract(format!("a column is outside the {columns} fixed rows")));
    }
    let out = Shared::new(out);
    let chunks = chunks_by_cost(rows, run.threads(), |u| (cells.row(u).len() + 1) as f64);
    run.for_each(
        &chunks,
        || (),
        |(), rows| {
            // SAFETY: chunks are disjoint ranges of rows.
            let out = unsafe { out.range(rows.start * rank..rows.end * rank) };
            T::run(isa, Chunk { cells, run, fixed, rank, rows: rows.clone(), out })
        },
    )
}

struct Chunk<'a, T> {
    cells: &'a Cells<'a>,
    run: Run<'a>,
    fixed: &'a [T],
    rank: usize,
    rows: Range<usize>,
    out: &'a mut [T],
}

impl<T: Element> Kernel<T> for Chunk<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, s: S) -> Result<()> {
        let Chunk { cells, run, fixed, rank, rows, out } = self;
        for (u, out) in rows.zip(out.chunks_exact_mut(rank)) {
            for (first, out) in
                (0..).step_by(TOGETHER * S::LANES).zip(out.chunks_mut(TOGETHER * S::LANES))
            {
                let mut sums = [s.splat(T::ZERO); TOGETHER];
                let row = cells.row(u);
                for start in row.clone().step_by(BLOCK) {
                    run.check()?;
                    let block = start..row.end.min(start + BLOCK);
                    let values = cells.values[block.clone()].iter();
                    for (&index, &value) in cells.indices[block].iter().zip(values) {
                        let value = s.splat(T::from_f32(value));
                        let f = fixed.as_ptr().wrapping_add(index as usize * rank + first);
                        for (d, sum) in sums.iter_mut().enumerate() {
                            let left = out.len().saturating_sub(d * S::LANES);
                            // SAFETY: `index` is a row of `fixed`, whose columns from `first` on are as many as
                            // `out` has elements, of which `left` are not yet read.
                            let f = unsafe {
                                match left {
                                    0 => break,
                                    left if left < S::LANES => s.load_first(f.add(d * S::LANES), left),
                                    _ => s.load(f.add(d * S::LANES)),
                                }
                            };
                            *sum = s.fma(value, f, *sum);
                        }
                    }
                }
                let mut whole = [T::ZERO; TOGETHER * MOST_LANES];
                for (d, &sum) in sums.iter().enumerate() {
                    // SAFETY: `whole` holds `TOGETHER` vectors of any instruction set.
                    unsafe { s.store(whole.as_mut_ptr().add(d * S::LANES), sum) };
                }
                out.copy_from_slice(&whole[..out.len()]);
            }
        }
        Ok(())
    }
}
