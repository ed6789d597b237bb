//! G = Fᵀ diag(s) F for a tall F (rows × K).
//!
//! ```text
//! for each block of rows (a number that depends on the shape alone):  G_block ← Σ s f fᵀ (tiles)
//! G ← Σ G_block, in block order;  mirror the upper triangle
//! ```
//!
//! The blocks are fixed by the shape, so the sum is the same for any number of threads.

use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::{Update, update_upper};

const MOST_BLOCKS: usize = 64;
const PACKED_ROWS: usize = 128;

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
    run.for_each(
        &blocks.iter().enumerate().collect::<Vec<_>>(),
        || (),
        |(), &(number, &start)| {
            let end = (start + height).min(rows);
            let part = Part {
                rows: &factors[start * rank..end * rank],
                scale: scale.map(|s| &s[start..end]),
                rank,
                // SAFETY: every block has a place of its own.
                out: unsafe { parts.range(number * rank * rank..(number + 1) * rank * rank) },
            };
            T::run(isa, part);
            Ok(())
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

struct Part<'a, T> {
    rows: &'a [T],
    scale: Option<&'a [T]>,
    rank: usize,
    out: &'a mut [T],
}

impl<T: Element> Kernel<T> for Part<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) {
        let rank = self.rank;
        let stride = rank.next_multiple_of(S::LANES);
        let mut packed = vec![T::ZERO; PACKED_ROWS * stride];
        let mut scaled = vec![T::ZERO; PACKED_ROWS * stride];
        let mut matrix = vec![T::ZERO; rank * stride];
        for (number, block) in self.rows.chunks(PACKED_ROWS * rank).enumerate() {
            let depth = block.len() / rank;
            for (t, row) in block.chunks_exact(rank).enumerate() {
                let s = self.scale.map_or(T::ONE, |s| s[number * PACKED_ROWS + t]);
                for (j, &f) in row.iter().enumerate() {
                    packed[t * stride + j] = f;
                    scaled[t * stride + j] = s * f;
                }
            }
            let update = Update {
                matrix: matrix.as_mut_ptr(),
                stride,
                columns: stride,
                lhs: scaled.as_ptr(),
                lhs_stride: stride,
                rhs: packed.as_ptr(),
                rhs_stride: stride,
                depth,
                negative: false,
            };
            // SAFETY: the buffers hold PACKED_ROWS ≥ depth rows and the matrix `rank` rows of `stride`.
            unsafe { update_upper(simd, update, 0..rank) };
        }
        for i in 0..rank {
            for j in i..rank {
                self.out[i * rank + j] = matrix[i * stride + j];
            }
        }
    }
}
