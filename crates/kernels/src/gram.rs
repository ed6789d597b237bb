//! G = Fᵀ diag(s) F for a tall F (rows × K).
//!
//! ```text
//! for each block of rows (a number that depends on the shape alone):  G_block ← Σ s f fᵀ (tiles)
//! G ← Σ G_block, in block order;  mirror the upper triangle
//! ```
//!
//! The blocks are fixed by the shape, so the sum is the same for any number of threads.

use crate::accumulate::{Accumulator, Source};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::Layout;

const MOST_BLOCKS: usize = 64;

/// Fᵀ diag(scale) F into `out` (K × K, symmetric).
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn gram<T: Element>(
    isa: Isa,
    run: Run<'_>,
    factors: &[T],
    rank: usize,
    scale: Option<&[T]>,
    out: &mut [T],
) -> Result<()> {
    if rank == 0 || !factors.len().is_multiple_of(rank) || out.len() != rank * rank {
        return Err(Error::contract("factors and out must be rows × K and K × K"));
    }
    let rows = factors.len() / rank;
    if scale.is_some_and(|s| s.len() != rows) {
        return Err(Error::contract("scale must hold one entry per row"));
    }
    let height = rows.div_ceil(MOST_BLOCKS).max(1024);
    let blocks: Vec<usize> = (0..rows).step_by(height).collect();
    let mut partial = vec![T::ZERO; blocks.len() * rank * rank];
    let parts = Shared::new(&mut partial);
    let layout = Layout::new::<T>(rank, 0);
    run.for_each(
        &blocks.iter().enumerate().collect::<Vec<_>>(),
        || Accumulator::new(layout, factors, height.min(rows)),
        |accumulator, &(number, &start)| {
            let end = (start + height).min(rows);
            let part = Part {
                source: FactorRows { first: start, rows: end - start, scale },
                accumulator,
                run,
                // SAFETY: every block has a place of its own.
                out: unsafe { parts.range(number * rank * rank..(number + 1) * rank * rank) },
            };
            T::run(isa, part)
        },
    )?;
    out.fill(T::ZERO);
    for part in partial.chunks_exact(rank * rank) {
        for (total, &x) in out.iter_mut().zip(part) {
            *total += x;
        }
    }
    for i in 0..rank {
        for j in 0..i {
            out[i * rank + j] = out[j * rank + i];
        }
    }
    Ok(())
}

struct Part<'a, 'f, T> {
    source: FactorRows<'f, T>,
    accumulator: &'a mut Accumulator<'f, T>,
    run: Run<'a>,
    out: &'a mut [T],
}

impl<T: Element> Kernel<T> for Part<'_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        self.accumulator.sum(simd, &self.source, false, self.run)?;
        let Layout { rank, stride, .. } = self.accumulator.layout;
        for i in 0..rank {
            let upper = &self.accumulator.g[i * stride + i..i * stride + rank];
            self.out[i * rank + i..(i + 1) * rank].copy_from_slice(upper);
        }
        Ok(())
    }
}

/// `rows` rows from `first` on, once each, a = its scale.
struct FactorRows<'a, T> {
    first: usize,
    rows: usize,
    scale: Option<&'a [T]>,
}

impl<T: Element> Source<T> for FactorRows<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.rows
    }
    #[inline(always)]
    fn unit(&self) -> bool {
        self.scale.is_none()
    }
    #[inline(always)]
    fn index(&self, cell: usize) -> usize {
        self.first + cell
    }
    #[inline(always)]
    fn ahead(&self, _: usize, _: usize) -> &[u32] {
        &[]
    }
    #[inline(always)]
    fn terms(&self, cell: usize, into: &mut [[T; 2]]) {
        for (place, term) in into.iter_mut().enumerate() {
            *term = [T::ZERO, self.scale.map_or(T::ONE, |scale| scale[self.first + cell + place])];
        }
    }
}
