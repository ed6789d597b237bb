//! Sums of a f fᵀ too long for one thread: blocks of cells summed apart, and added in order.
//!
//! ```text
//! for groups of blocks:
//!     for blocks of the group, in parallel:  G_block ← Σ a f fᵀ, …         accumulate.rs
//!     total += G_block, in block order
//! ```
//!
//! The blocks are fixed by the number of cells and added in their order, so the sum is the same for any number of
//! threads. A group bounds the memory: 64 blocks, fewer where their sums are large, but one for each thread.

use std::ops::Range;

use crate::accumulate::{Accumulator, Source, Sum};
use crate::error::Result;
use crate::parallel::{Run, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::Layout;

/// The most blocks whose sums are held at a time, and about the most bytes.
const GROUP: usize = 64;
const BYTES: usize = 256 << 20;

/// The sum of `cells` cells in blocks of `height`; `source` gives the cells of a block.
pub fn sum_blocks<T: Element, S: Source<T>>(
    isa: Isa,
    run: Run<'_>,
    layout: Layout,
    fixed: &[T],
    (cells, height): (usize, usize),
    source: impl Fn(Range<usize>) -> S + Sync,
) -> Result<Sum<T>> {
    let mut total = Sum::zero(layout);
    let blocks: Vec<_> = (0..cells).step_by(height).map(|a| a..(a + height).min(cells)).collect();
    let fit = BYTES / (layout.len() * size_of::<T>()).max(1);
    for group in blocks.chunks(fit.clamp(run.threads().min(GROUP), GROUP)) {
        let mut sums: Vec<Sum<T>> = group.iter().map(|_| Sum::zero(layout)).collect();
        let shared = Shared::new(&mut sums);
        run.for_each(
            &(0..group.len()).collect::<Vec<_>>(),
            || Accumulator::new(layout, fixed),
            |accumulator, &number| {
                let part = Part { accumulator, source: source(group[number].clone()), run };
                T::run(isa, part)?;
                // SAFETY: every block has a place of its own.
                let place = unsafe { &mut shared.range(number..number + 1)[0] };
                std::mem::swap(place, &mut accumulator.sum);
                Ok(())
            },
        )?;
        for sum in &sums {
            total.add(sum);
        }
    }
    Ok(total)
}

struct Part<'a, 'f, T, S> {
    accumulator: &'a mut Accumulator<'f, T>,
    source: S,
    run: Run<'a>,
}

impl<T: Element, C: Source<T>> Kernel<T> for Part<'_, '_, T, C> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        self.accumulator.accumulate(simd, &self.source, false, self.run)
    }
}
