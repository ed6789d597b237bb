//! The micro-kernel: sums of outer products, into the upper triangle of a matrix.
//!
//! ```text
//! for rows i, j ≥ i:   G[i][j]  =, += or −=   Σ_k left[k][i] · right[k][j]
//! ```
//!
//! G is stored row-major with a padded stride; row i is held from its lane block on, and below the
//! triangle of K rows there may be border rows, held in full (the right-hand side and the bias
//! column of a row problem are such rows).
//!
//! 1. A tile of R rows × C vectors of G is summed in registers over all k: per k, C loads, R
//!    broadcasts and R·C fused multiply-adds.
//! 2. The sum of a call starts at zero and is added to G at the end, so that long sums are trees
//!    of short ones.
//! 3. `left` and `right` may be the same buffer; the border rows are more columns of `left`, so they
//!    cost their own work and no padded column of G.
//! 4. R and C are constants of the compiler; the last rows run in tiles of 4 or 2.

use crate::simd::{Element, MOST_LANES, Simd};

/// The largest number of rows of a tile.
const TILE: usize = 8;

/// How a matrix of `rank` rows, its border rows and its operands lie in memory.
#[derive(Clone, Copy)]
pub struct Layout {
    /// K, the rows of the triangle.
    pub rank: usize,
    /// Border rows below the triangle.
    pub border: usize,
    /// Elements from one row to the next, of G and of the operands.
    pub stride: usize,
}

impl Layout {
    pub fn new<T: Element>(rank: usize, border: usize) -> Self {
        // A tile may read (never use) up to 6 columns beyond the last row of `left`.
        let mut stride = (rank + border + TILE - 2).next_multiple_of(MOST_LANES);
        // Rows a multiple of 1024 bytes apart would share few cache sets.
        if (stride * size_of::<T>()).is_multiple_of(1024) {
            stride += MOST_LANES;
        }
        Self { rank, border, stride }
    }

    pub fn rows(&self) -> usize {
        self.rank + self.border
    }

    /// Elements of G.
    pub fn len(&self) -> usize {
        self.rows() * self.stride
    }

    /// How many k a call sums: about 16 KiB of operand, a power of two from 64 to 256.
    pub fn block<T: Element>(&self) -> usize {
        let fit = 16384 / (self.stride * size_of::<T>());
        fit.clamp(64, 256).next_power_of_two()
    }
}

/// What happens to G.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Into {
    Set,
    Add,
    Subtract,
}

/// One call of the micro-kernel over all tiles of the rows from `first_row` on.
pub struct RankUpdate<'a, T> {
    pub layout: Layout,
    /// `depth` rows of coefficients: `rank` columns, then one for each border row.
    pub left: &'a [T],
    /// `depth` rows, padded to whole vectors.
    pub right: &'a [T],
    pub depth: usize,
    /// The rows of G from `first_row` on.
    pub g: &'a mut [T],
    /// A multiple of `MOST_LANES`. Border rows are summed from this column on.
    pub first_row: usize,
    pub into: Into,
}

impl<T: Element> RankUpdate<'_, T> {
    /// Run all tiles.
    #[inline(always)]
    pub fn run<S: Simd<Elem = T>>(self, s: S) {
        let Layout { rank, stride, .. } = self.layout;
        let rows = self.layout.rows();
        assert!(self.left.len() >= self.depth * stride && self.right.len() >= self.depth * stride);
        assert!(self.g.len() >= (rows - self.first_row) * stride);
        assert!(rows + TILE - 2 <= stride && self.first_row.is_multiple_of(MOST_LANES));
        if self.depth == 0 && self.into != Into::Set {
            return;
        }

        let vectors = rank.div_ceil(S::LANES);
        let first_vector = self.first_row / S::LANES;
        let mut i = self.first_row;
        while i < rows {
            let start = if i < rank { (i / S::LANES).max(first_vector) } else { first_vector };
            // A tile reaches from the triangle into the border only where both start alike.
            let limit = if i >= rank || start == first_vector { rows } else { rank };
            let height = (limit - i).min(S::TILE_ROWS);
            let mut j = start;
            while j < vectors {
                let width = match vectors - j {
                    4 => 2,
                    left => left.min(3),
                };
                // SAFETY: `left` is read in rows k < depth at columns i .. i + 8 at most, of which
                // i + height ≤ rows and the tile's height rounded up is at most 6 more, within
                // `stride`; `right` and `g` at vectors j .. j + width ≤ vectors, within `stride` as
                // rank rounded up to 16 is; rows of g up to i + height ≤ rows. All asserted above.
                unsafe {
                    let tile = Tile {
                        left: self.left.as_ptr().add(i),
                        right: self.right.as_ptr().add(j * S::LANES),
                        g: self.g.as_mut_ptr().add((i - self.first_row) * stride + j * S::LANES),
                        stride,
                        depth: self.depth,
                        height,
                        into: self.into,
                    };
                    match (height, width) {
                        (5.., 3) => tile.sum::<S, 8, 3>(s),
                        (5.., 2) => tile.sum::<S, 8, 2>(s),
                        (5.., _) => tile.sum::<S, 8, 1>(s),
                        (3.., 3) => tile.sum::<S, 4, 3>(s),
                        (3.., 2) => tile.sum::<S, 4, 2>(s),
                        (3.., _) => tile.sum::<S, 4, 1>(s),
                        (_, 3) => tile.sum::<S, 2, 3>(s),
                        (_, 2) => tile.sum::<S, 2, 2>(s),
                        (_, _) => tile.sum::<S, 2, 1>(s),
                    }
                }
                j += width;
            }
            i += height;
        }
    }
}

struct Tile<T> {
    left: *const T,
    right: *const T,
    g: *mut T,
    stride: usize,
    depth: usize,
    height: usize,
    into: Into,
}

impl<T: Element> Tile<T> {
    /// Σ_k of R × C vectors, of which the first `height` rows go to `g`.
    ///
    /// # Safety
    /// `left` is valid for R elements, `right` for C vectors in each of `depth` rows, `g` for C
    /// vectors in each of `height` rows, all `stride` apart.
    #[inline(always)]
    unsafe fn sum<S: Simd<Elem = T>, const R: usize, const C: usize>(self, s: S) {
        let mut sum = [[s.splat(T::ZERO); C]; R];
        let (mut left, mut right) = (self.left, self.right);
        for _ in 0..self.depth {
            let mut columns = [s.splat(T::ZERO); C];
            for c in 0..C {
                // SAFETY: C vectors are readable.
                columns[c] = unsafe { s.load(right.add(c * S::LANES)) };
            }
            for r in 0..R {
                // SAFETY: R elements are readable.
                let row = s.splat(unsafe { *left.add(r) });
                for c in 0..C {
                    sum[r][c] = s.fma(row, columns[c], sum[r][c]);
                }
            }
            left = left.wrapping_add(self.stride);
            right = right.wrapping_add(self.stride);
        }
        for (r, sums) in sum.iter().enumerate() {
            if r < self.height {
                for (c, &sum) in sums.iter().enumerate() {
                    // SAFETY: row r < height of g holds C vectors.
                    unsafe {
                        let g = self.g.add(r * self.stride + c * S::LANES);
                        let new = match self.into {
                            Into::Set => sum,
                            Into::Add => s.add(s.load(g), sum),
                            Into::Subtract => s.fma(s.splat(-T::ONE), sum, s.load(g)),
                        };
                        s.store(g, new);
                    }
                }
            }
        }
    }
}
