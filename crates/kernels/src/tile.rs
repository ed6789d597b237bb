//! The register tile: the one inner loop of the Gram assembly and of the Cholesky trailing update.
//!
//! ```text
//! for a tile of R rows × C vectors of M:
//!     acc ← 0
//!     for b in 0..depth:  acc[r][c] += lhs[b][i + r] · rhs[b][j + c·L ..]
//!     M[i + r][j + c·L ..] ± = acc
//! ```
//!
//! 1. R · C accumulators stay in registers over the whole depth; per step C loads, R broadcasts and R · C
//!    fused multiply-adds.
//! 2. Only the upper triangle is computed: a row block begins at the vector that holds its first diagonal
//!    entry. What is computed left of the diagonal inside that vector is never read.
//! 3. Accumulators start at 0 and are added once, so the sum of a block is a tree of its own.

use crate::simd::{Element, Simd};

/// A matrix to update and the two packed operands: M ±= lhsᵀ rhs.
#[derive(Clone, Copy)]
pub struct Update<T> {
    /// M, row-major.
    pub matrix: *mut T,
    /// Elements from one row of M to the next.
    pub stride: usize,
    /// Columns of M and rhs: a multiple of the lanes.
    pub columns: usize,
    /// lhs[b][i] at `b · lhs_stride + i`.
    pub lhs: *const T,
    /// Elements from one b to the next.
    pub lhs_stride: usize,
    /// rhs[b][j] at `b · rhs_stride + j`.
    pub rhs: *const T,
    /// Elements from one b to the next.
    pub rhs_stride: usize,
    /// Number of b.
    pub depth: usize,
    /// Subtract instead of add.
    pub negative: bool,
}

/// Update the upper triangle of the rows `rows`.
///
/// # Safety
/// `matrix` must be valid for `rows.end` rows of `stride` ≥ `columns`, `lhs` for `depth` rows of
/// `rows.end` elements, `rhs` for `depth` rows of `columns` elements, and `matrix` must overlap neither
/// in what is written.
#[inline(always)]
pub unsafe fn update_upper<S: Simd>(simd: S, u: Update<S::Elem>, rows: std::ops::Range<usize>) {
    let mut i = rows.start;
    while i < rows.end {
        let first = i / S::LANES * S::LANES;
        let left = rows.end - i;
        // A block never crosses into the next vector of the diagonal where it can be avoided.
        let height = if left >= S::TILE_ROWS { S::TILE_ROWS } else { left };
        // SAFETY: rows i .. i + height are inside `rows`; the caller's promise holds for them.
        unsafe {
            match height {
                8.. => strip::<S, 8>(simd, u, i, first),
                4..8 => {
                    strip::<S, 4>(simd, u, i, first);
                }
                2..4 => strip::<S, 2>(simd, u, i, first),
                _ => strip::<S, 1>(simd, u, i, first),
            }
        }
        i += match height {
            8.. => 8,
            4..8 => 4,
            2..4 => 2,
            _ => 1,
        };
    }
}

/// Update two whole rows (the border: rows 0 and 1 of `matrix`), from column `first` on.
///
/// # Safety
/// As [`update_upper`] with two rows.
#[inline(always)]
pub unsafe fn update_pair<S: Simd>(simd: S, u: Update<S::Elem>, first: usize) {
    // SAFETY: the caller's promise.
    unsafe { strip::<S, 2>(simd, u, 0, first) }
}

/// R rows from row i, all vectors from column `first` on, in tiles of at most three vectors.
#[inline(always)]
unsafe fn strip<S: Simd, const R: usize>(simd: S, u: Update<S::Elem>, i: usize, first: usize) {
    let mut j = first;
    // SAFETY: columns j .. j + C · LANES stay below `columns`; the caller's promise covers the rest.
    unsafe {
        while j < u.columns {
            match (u.columns - j) / S::LANES {
                1 => {
                    tile::<S, R, 1>(simd, u, i, j);
                    j += S::LANES;
                }
                2 | 4 => {
                    tile::<S, R, 2>(simd, u, i, j);
                    j += 2 * S::LANES;
                }
                _ => {
                    tile::<S, R, 3>(simd, u, i, j);
                    j += 3 * S::LANES;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    u: Update<S::Elem>,
    i: usize,
    j: usize,
) {
    let mut acc = [[simd.splat(S::Elem::ZERO); C]; R];
    // SAFETY: for b < depth, lhs row b has R elements from i on and rhs row b has C vectors from j on;
    // the rows i .. i + R of the matrix have C vectors from j on (the caller's promise).
    unsafe {
        let mut lhs = u.lhs.add(i);
        let mut rhs = u.rhs.add(j);
        for _ in 0..u.depth {
            let mut v = [simd.splat(S::Elem::ZERO); C];
            for (c, v) in v.iter_mut().enumerate() {
                *v = simd.load(rhs.add(c * S::LANES));
            }
            for (r, row) in acc.iter_mut().enumerate() {
                let x = simd.splat(*lhs.add(r));
                for c in 0..C {
                    row[c] = simd.fma(x, v[c], row[c]);
                }
            }
            lhs = lhs.wrapping_add(u.lhs_stride);
            rhs = rhs.wrapping_add(u.rhs_stride);
        }
        let sign = simd.splat(if u.negative { -S::Elem::ONE } else { S::Elem::ONE });
        for (r, row) in acc.iter().enumerate() {
            for (c, &sum) in row.iter().enumerate() {
                let place = u.matrix.add((i + r) * u.stride + j + c * S::LANES);
                simd.store(place, simd.fma(sign, sum, simd.load(place)));
            }
        }
    }
}
