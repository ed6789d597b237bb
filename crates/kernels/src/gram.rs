//! G = Fᵀ diag(s) F for a tall F (rows × K).
//!
//! ```text
//! Σ s f fᵀ in blocks of rows (a number that depends on the shape alone)         split.rs
//! mirror the upper triangle
//! ```

use crate::accumulate::{SUPER, Source};
use crate::error::{Error, Result};
use crate::parallel::Run;
use crate::simd::{Element, Isa};
use crate::split::sum_blocks;
use crate::tile::Layout;

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
    let layout = Layout::new::<T>(rank, 0);
    let height = rows.div_ceil(64).clamp(1024, SUPER);
    let sum = sum_blocks(isa, run, layout, factors, (rows, height), |block| FactorRows {
        first: block.start,
        rows: block.len(),
        scale,
    })?;
    for i in 0..rank {
        for j in i..rank {
            let entry = sum.g[i * layout.stride + j];
            out[i * rank + j] = entry;
            out[j * rank + i] = entry;
        }
    }
    Ok(())
}

/// `rows` rows from `first` on, once each, a = its scale.
pub(crate) struct FactorRows<'a, T> {
    pub first: usize,
    pub rows: usize,
    pub scale: Option<&'a [T]>,
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
