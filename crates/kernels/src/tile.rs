//! The micro-kernel: sums of outer products, into the upper triangle of a matrix.
//!
//! ```text
//! for rows i, j ≥ i:   G[i][j]  =, += or −=   Σ_k scale[k] · left[k][i] · right[k][j]
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
//! 3. [`Operands`] says where the rows of a k lie: the rows of the fixed side are read in place.
//! 4. The lower rows of a lane block on the diagonal need only its upper half: where a vector has a half
//!    ([`Simd::Half`]), they use it.
//! 5. R and C are constants of the compiler; the last rows run in tiles of 4 or 2.
//! 6. Between tiles, a few cache lines of rows that come later are asked for.
//!
//! Columns of G from K on, up to a whole vector, hold sums of whatever lies beyond the operands' rows.

use crate::simd::{Element, MOST_LANES, Simd};

/// How a matrix of `rank` rows and its border rows lie in memory.
#[derive(Clone, Copy)]
pub struct Layout {
    /// K, the rows of the triangle.
    pub rank: usize,
    /// Border rows below the triangle.
    pub border: usize,
    /// Elements from one row of G to the next: room for K + border, and for K in whole vectors.
    pub stride: usize,
}

impl Layout {
    pub fn new<T: Element>(rank: usize, border: usize) -> Self {
        let mut stride = (rank + border).next_multiple_of(MOST_LANES);
        // Rows a multiple of 1024 bytes apart would share few cache sets.
        if (stride * size_of::<T>()).is_multiple_of(1024) {
            stride += MOST_LANES;
        }
        Self { rank, border, stride }
    }

    /// Elements of G.
    pub fn len(&self) -> usize {
        (self.rank + self.border) * self.stride
    }

    /// K in whole vectors of any instruction set: how far the rows of operands are read.
    pub fn padded(&self) -> usize {
        self.rank.next_multiple_of(MOST_LANES)
    }

    /// How many k a call sums: about 8 KiB of operand, a power of two from 32 to 256.
    pub fn block<T: Element>(&self) -> usize {
        let fit = 8192 / (self.padded() * size_of::<T>());
        fit.clamp(32, 256).next_power_of_two()
    }
}

/// The rows that are multiplied.
///
/// # Safety
/// For every k below the `depth` of a call, `left` must be valid for reading K elements rounded up to 16, `right`
/// for the columns of G in whole vectors ([`RankUpdate`]: K rounded up to 16; [`Product`]: its own), and
/// `border` for as many as there are border rows.
pub unsafe trait Operands<T>: Copy {
    /// Whether any scale is not 1.
    const SCALED: bool;
    /// The coefficients of the triangle's rows.
    fn left(self, k: usize) -> *const T;
    /// The coefficients of the border rows.
    fn border(self, k: usize) -> *const T;
    /// The columns.
    fn right(self, k: usize) -> *const T;
    /// The factor of the triangle's products.
    fn scale(self, k: usize) -> T;
}

/// What happens to G.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Into {
    Set,
    Add,
    Subtract,
}

/// One call of the micro-kernel over all tiles of the rows from `first_row` on.
pub struct RankUpdate<'a, T, O> {
    pub layout: Layout,
    pub operands: O,
    /// The number of k.
    pub depth: usize,
    /// The rows of G from `first_row` on.
    pub g: &'a mut [T],
    /// A multiple of the lanes. Border rows are summed from this column on.
    pub first_row: usize,
    pub into: Into,
    /// What to ask for meanwhile.
    pub soon: Soon<'a, T>,
}

impl<T: Element, O: Operands<T>> RankUpdate<'_, T, O> {
    /// Run all tiles.
    #[inline(always)]
    pub fn run<S: Simd<Elem = T>>(mut self, s: S) {
        let Layout { rank, stride, border } = self.layout;
        assert!(self.g.len() >= (rank + border - self.first_row) * stride && border <= 2);
        assert!(rank + border <= stride && rank.next_multiple_of(S::LANES) <= stride);
        assert!(self.first_row.is_multiple_of(S::LANES));
        if self.depth == 0 && self.into != Into::Set {
            return;
        }

        let vectors = rank.div_ceil(S::LANES);
        let first_vector = self.first_row / S::LANES;
        self.soon.spread_over((rank - self.first_row) * (vectors - first_vector) / (4 * S::TILE_ROWS));
        let g = self.g.as_mut_ptr();
        // SAFETY: operands are valid for reading K elements rounded up to 16: tiles begin at multiples of
        // their largest height, so that none reads beyond. Rows of g up to K + border, vectors up to
        // K rounded up to whole ones, which the stride holds (all asserted above).
        unsafe {
            let mut i = self.first_row;
            while i < rank {
                let height = (rank - i).min(S::TILE_ROWS);
                let at = g.add((i - self.first_row) * stride);
                let mut j = i / S::LANES;
                if S::HALVES && i % S::LANES >= S::LANES / 2 {
                    let column = j * S::LANES + S::LANES / 2;
                    self.tile(i, column, height, at.add(column)).run::<S::Half, 1>(s.half());
                    j += 1;
                }
                while j < vectors {
                    let width = match vectors - j {
                        4 => 2,
                        left => left.min(S::TILE_VECTORS),
                    };
                    let tile = self.tile(i, j * S::LANES, height, at.add(j * S::LANES));
                    match width {
                        3 => tile.run::<S, 3>(s),
                        2 => tile.run::<S, 2>(s),
                        _ => tile.run::<S, 1>(s),
                    }
                    self.soon.ask();
                    j += width;
                }
                i += height;
            }
            let at = g.add((rank - self.first_row) * stride);
            let mut j = first_vector;
            while border > 0 && j < vectors {
                let tile =
                    Tile { border: true, ..self.tile(0, j * S::LANES, border, at.add(j * S::LANES)) };
                match (border, vectors - j) {
                    (1, 4..) => tile.sum::<S, 1, 4>(s),
                    (1, 3) => tile.sum::<S, 1, 3>(s),
                    (1, 2) => tile.sum::<S, 1, 2>(s),
                    (1, _) => tile.sum::<S, 1, 1>(s),
                    (_, 4..) => tile.sum::<S, 2, 4>(s),
                    (_, 3) => tile.sum::<S, 2, 3>(s),
                    (_, 2) => tile.sum::<S, 2, 2>(s),
                    (_, _) => tile.sum::<S, 2, 1>(s),
                }
                j += 4;
            }
        }
        self.soon.ask_rest();
    }

    #[inline(always)]
    fn tile(&self, row: usize, column: usize, height: usize, g: *mut T) -> Tile<T, O> {
        let RankUpdate { operands, depth, into, .. } = *self;
        Tile { operands, row, column, height, depth, g, stride: self.layout.stride, into, border: false }
    }
}

/// One call of the micro-kernel over a matrix of K rows, then border rows, in full.
pub struct Product<'a, T, O> {
    pub layout: Layout,
    /// Columns, in vectors of the instruction set.
    pub vectors: usize,
    pub operands: O,
    /// The number of k.
    pub depth: usize,
    pub g: &'a mut [T],
    pub into: Into,
}

impl<T: Element, O: Operands<T>> Product<'_, T, O> {
    /// Run all tiles.
    #[inline(always)]
    pub fn run<S: Simd<Elem = T>>(mut self, s: S) {
        let Layout { rank, border, stride } = self.layout;
        assert!(self.g.len() >= (rank + border) * stride && border <= 1);
        assert!(self.vectors * S::LANES <= stride);
        let mut first = 0;
        while first < self.vectors {
            let width = match self.vectors - first {
                4 => 2,
                left => left.min(S::TILE_VECTORS),
            };
            // SAFETY: operands are valid for reading K elements rounded up to 16 and all columns, and g has
            // K + border rows of as many vectors (asserted above).
            unsafe {
                match width {
                    3 => self.tiles::<S, 3>(s, first * S::LANES),
                    2 => self.tiles::<S, 2>(s, first * S::LANES),
                    _ => self.tiles::<S, 1>(s, first * S::LANES),
                }
            }
            first += width;
        }
    }

    /// The tiles of C vectors from `column` on.
    ///
    /// # Safety
    /// As [`Tile::sum`], for all rows; tiles begin at multiples of their largest height.
    #[inline(always)]
    unsafe fn tiles<S: Simd<Elem = T>, const C: usize>(&mut self, s: S, column: usize) {
        let Layout { rank, border, stride } = self.layout;
        let g = self.g.as_mut_ptr();
        let tile = |row: usize, height: usize, border: bool| Tile {
            operands: self.operands,
            row: if border { 0 } else { row },
            column,
            height,
            depth: self.depth,
            g: g.wrapping_add(row * stride + column),
            stride,
            into: self.into,
            border,
        };
        // SAFETY: as the caller vouches.
        unsafe {
            for row in (0..rank).step_by(S::TILE_ROWS) {
                tile(row, (rank - row).min(S::TILE_ROWS), false).run::<S, C>(s);
            }
            if border == 1 {
                tile(rank, 1, true).sum::<S, 1, C>(s);
            }
        }
    }
}

struct Tile<T, O> {
    operands: O,
    row: usize,
    column: usize,
    height: usize,
    depth: usize,
    /// Where its first row and column are.
    g: *mut T,
    stride: usize,
    into: Into,
    border: bool,
}

impl<T: Element, O: Operands<T>> Tile<T, O> {
    /// A tile of the triangle, C vectors wide.
    ///
    /// # Safety
    /// As `sum`, with the height rounded up to 2, 4 or 8.
    #[inline(always)]
    unsafe fn run<S: Simd<Elem = T>, const C: usize>(self, s: S) {
        // SAFETY: as the caller vouches.
        unsafe {
            match self.height {
                5.. => self.sum::<S, 8, C>(s),
                3.. => self.sum::<S, 4, C>(s),
                _ => self.sum::<S, 2, C>(s),
            }
        }
    }

    /// Σ_k of R × C vectors, of which the first `height` rows go to `g`.
    ///
    /// # Safety
    /// `row` + R and `column` + C vectors must be within what the operands are valid for, and `g` valid for C
    /// vectors in each of `height` rows.
    #[inline(always)]
    unsafe fn sum<S: Simd<Elem = T>, const R: usize, const C: usize>(self, s: S) {
        let mut sum = [[s.splat(T::ZERO); C]; R];
        for k in 0..self.depth {
            let left = if self.border { self.operands.border(k) } else { self.operands.left(k) };
            // SAFETY: R coefficients and C vectors are readable.
            unsafe {
                let (left, right) = (left.add(self.row), self.operands.right(k).add(self.column));
                let mut columns = [s.splat(T::ZERO); C];
                for c in 0..C {
                    columns[c] = s.load(right.add(c * S::LANES));
                    if O::SCALED && !self.border {
                        columns[c] = s.mul(s.splat(self.operands.scale(k)), columns[c]);
                    }
                }
                for r in 0..R {
                    let row = s.splat(*left.add(r));
                    for c in 0..C {
                        sum[r][c] = s.fma(row, columns[c], sum[r][c]);
                    }
                }
            }
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
                            Into::Subtract => s.fnma(s.splat(T::ONE), sum, s.load(g)),
                        };
                        s.store(g, new);
                    }
                }
            }
        }
    }
}

/// Rows that will be needed soon; their cache lines are asked for a few at a time, as many as the processor
/// can wait for without waiting.
pub struct Soon<'a, T> {
    /// Rows of K elements, wherever they are.
    rows: &'a [*const T],
    /// Bytes of a row.
    bytes: usize,
    /// The next row.
    next: usize,
    /// Rows to ask for at a time.
    share: usize,
}

impl<'a, T: Element> Soon<'a, T> {
    pub fn new(rows: &'a [*const T], rank: usize) -> Self {
        Soon { rows, bytes: rank * size_of::<T>(), next: 0, share: 0 }
    }

    pub fn nothing() -> Self {
        Soon { rows: &[], bytes: 0, next: 0, share: 0 }
    }

    #[inline(always)]
    fn spread_over(&mut self, times: usize) {
        self.share = self.rows.len().div_ceil(times.max(1));
    }

    #[inline(always)]
    fn ask_rest(&mut self) {
        self.share = self.rows.len();
        self.ask();
    }

    #[inline(always)]
    fn ask(&mut self) {
        let end = (self.next + self.share).min(self.rows.len());
        for &row in &self.rows[self.next..end] {
            prefetch(row.cast(), self.bytes);
        }
        self.next = self.next.max(end);
    }
}

/// Ask for the cache lines of `length` bytes.
#[inline(always)]
pub fn prefetch(start: *const u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for byte in (0..length).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on the cache, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.cast::<i8>().wrapping_add(byte)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, length);
}
