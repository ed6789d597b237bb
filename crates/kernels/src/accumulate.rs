//! Σ a f fᵀ and Σ b f over a list of rows f, in blocks.
//!
//! ```text
//! for blocks of 32 to 256 cells:
//!     look up:  row[k] = where f is,  a[k],  b[k]
//!     G += Σ a f fᵀ;  border rows += Σ b f, Σ a f             the micro-kernel; each call starts at 0
//! ```
//!
//! 1. Rows are read where they are: a block of them stays in the first caches while every tile of G passes over
//!    it, and the rows that come a block later are asked for meanwhile.
//! 2. Whole vectors are read, so beyond the end of a row; the last rows of the fixed side are read from a
//!    padded copy.
//! 3. The right-hand side (coefficient b) and the bias column (coefficient a) are border rows of G.
//! 4. Indices are checked while they are looked up.
//!
//! Longer sums than of [`SUPER`] cells are split (split.rs). Error of an entry, with n cells, block length
//! B ≤ 256 and unit roundoff ε, relative to the sum of the absolute terms: (B + 65536 / B + n / 65536 + 4) · ε to
//! first order; for a million cells less than 2400 ε at worst, and near its square root in practice.

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::parallel::Run;
use crate::simd::{Element, MOST_LANES, Simd};
use crate::tile::{Into, Layout, Operands, RankUpdate, Soon};

/// The most cells that are summed in one go.
pub const SUPER: usize = 65536;

/// What a cell gives to the system of its row.
pub trait Source<T> {
    /// Cells.
    fn len(&self) -> usize;
    /// Is a = 1 for all cells?
    fn unit(&self) -> bool;
    /// The row of the fixed side.
    fn index(&self, cell: usize) -> usize;
    /// The rows of the cells from `cell` on, at most `count`: those beyond the last cell are what will be summed
    /// next. Empty where the processor foresees them by itself.
    fn ahead(&self, cell: usize, count: usize) -> &[u32];
    /// (b, a) of the cells from `cell` on, whose indices were found in range.
    fn terms(&self, cell: usize, into: &mut [[T; 2]]);
}

/// The fixed side: rows of K elements, each readable up to K rounded up to 16.
pub struct Fixed<'a, T> {
    rows: &'a [T],
    rank: usize,
    /// From this row on, rows are read from `last`.
    safe: usize,
    /// A copy of the last rows, with zeros behind it.
    last: Buffer<T>,
}

impl<'a, T: Element> Fixed<'a, T> {
    pub fn new(rows: &'a [T], layout: Layout) -> Self {
        let Layout { rank, .. } = layout;
        let safe = rows.len().checked_sub(layout.padded()).map_or(0, |room| room / rank + 1);
        let left = &rows[(safe * rank).min(rows.len())..];
        let mut last = Buffer::zeros(left.len() + layout.padded());
        last[..left.len()].copy_from_slice(left);
        Self { rows, rank, safe, last }
    }

    #[cold]
    #[inline(never)]
    pub fn outside(&self, index: usize) -> Error {
        let rows = self.rows.len() / self.rank;
        Error::contract(format!("column {index} is outside the {rows} fixed rows"))
    }

    /// Where row `index` is; None where there is no such row.
    #[inline(always)]
    pub fn row(&self, index: usize) -> Option<*const T> {
        if index < self.safe {
            // Below `safe`, so the row is inside.
            Some(self.rows.as_ptr().wrapping_add(index * self.rank))
        } else {
            let start = (index - self.safe) * self.rank;
            (start + self.rank <= self.last.len() - self.rank.next_multiple_of(MOST_LANES))
                .then(|| self.last[start..].as_ptr())
        }
    }
}

/// The cells of a block: where their rows are, and their terms.
struct Block<T> {
    depth: usize,
    rows: Vec<*const T>,
    /// (b, a)
    border: Vec<[T; 2]>,
    /// Rows that come a block later.
    soon: Vec<*const T>,
}

#[derive(Clone, Copy)]
struct Rows<'a, T, const SCALED: bool>(&'a Block<T>);

// SAFETY: rows come from `Fixed::row`, readable up to K rounded up to 16; there are two border coefficients, and
// as many of all as the `depth` that `sum` passes.
unsafe impl<T: Element, const SCALED: bool> Operands<T> for Rows<'_, T, SCALED> {
    const SCALED: bool = SCALED;
    #[inline(always)]
    fn left(self, k: usize) -> *const T {
        self.right(k)
    }
    #[inline(always)]
    fn border(self, k: usize) -> *const T {
        self.0.border.as_ptr().wrapping_add(k).cast()
    }
    #[inline(always)]
    fn right(self, k: usize) -> *const T {
        // SAFETY: k is below the number of rows.
        unsafe { *self.0.rows.get_unchecked(k) }
    }
    #[inline(always)]
    fn scale(self, k: usize) -> T {
        // SAFETY: k is below the number of rows.
        unsafe { self.0.border.get_unchecked(k)[1] }
    }
}

/// Σ a f fᵀ, and with border rows Σ b f, then Σ a f.
#[derive(Clone)]
pub struct Sum<T> {
    /// The upper triangle, then the border rows.
    pub g: Buffer<T>,
    /// Σ a, where there are two border rows.
    pub a: f64,
    /// Σ b, where there are two border rows.
    pub b: f64,
}

impl<T: Element> Sum<T> {
    pub fn zero(layout: Layout) -> Self {
        Self { g: Buffer::zeros(layout.len()), a: 0.0, b: 0.0 }
    }

    pub fn add(&mut self, other: &Self) {
        for (into, &from) in self.g.iter_mut().zip(other.g.iter()) {
            *into += from;
        }
        self.a += other.a;
        self.b += other.b;
    }
}

/// Scratch for sums over the rows of a fixed side.
pub struct Accumulator<'a, T> {
    pub layout: Layout,
    fixed: Fixed<'a, T>,
    length: usize,
    block: Block<T>,
    pub sum: Sum<T>,
}

impl<'a, T: Element> Accumulator<'a, T> {
    pub fn new(layout: Layout, fixed: &'a [T]) -> Self {
        let length = layout.block::<T>();
        Self {
            layout,
            fixed: Fixed::new(fixed, layout),
            length,
            block: Block {
                depth: 0,
                rows: vec![std::ptr::null(); length],
                border: vec![[T::ZERO; 2]; length],
                soon: Vec::with_capacity(length),
            },
            sum: Sum::zero(layout),
        }
    }

    /// Where row `index` of the fixed side is, readable up to K rounded up to 16.
    #[inline(always)]
    pub fn row(&self, index: usize) -> Result<*const T> {
        self.fixed.row(index).ok_or_else(|| self.fixed.outside(index))
    }

    /// Sum the cells into `sum`, onto what its `g` holds if `onto`.
    #[inline(always)]
    pub fn accumulate<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        source: &impl Source<T>,
        mut onto: bool,
        run: Run<'_>,
    ) -> Result<()> {
        let n = source.len();
        (self.sum.a, self.sum.b) = (0.0, 0.0);
        if n == 0 && !onto {
            self.sum.g.fill(T::ZERO);
        }
        for cell in (0..n).step_by(self.length) {
            run.check()?;
            self.look_up(source, cell, (cell + self.length).min(n))?;
            let into = if onto { Into::Add } else { Into::Set };
            if source.unit() {
                self.update(s, Rows::<_, false>, into);
            } else {
                self.update(s, Rows::<_, true>, into);
            }
            onto = true;
        }
        Ok(())
    }

    #[inline(always)]
    fn update<'b, S: Simd<Elem = T>, O: Operands<T>>(
        &'b mut self,
        s: S,
        operands: impl FnOnce(&'b Block<T>) -> O,
        into: Into,
    ) {
        let Self { layout, block, sum, .. } = self;
        RankUpdate {
            layout: *layout,
            operands: operands(block),
            depth: block.depth,
            g: &mut sum.g,
            first_row: 0,
            into,
            soon: Soon::new(&block.soon, layout.rank),
        }
        .run(s);
    }

    /// Fill the block with the cells from `cell` to `end`.
    #[inline(always)]
    fn look_up(&mut self, source: &impl Source<T>, cell: usize, end: usize) -> Result<()> {
        let Self { fixed, block, layout, length, .. } = self;
        let depth = end - cell;
        block.depth = depth;
        for (row, cell) in block.rows[..depth].iter_mut().zip(cell..) {
            let index = source.index(cell);
            *row = fixed.row(index).ok_or_else(|| fixed.outside(index))?;
        }
        source.terms(cell, &mut block.border[..depth]);
        if layout.border > 1 {
            for [b, a] in &block.border[..depth] {
                self.sum.a += a.to_f64();
                self.sum.b += b.to_f64();
            }
        }
        block.soon.clear();
        // A small fixed side stays in the second cache by itself.
        let far = size_of_val(fixed.rows) > 1 << 18;
        for &index in source.ahead(cell + *length, if far { depth } else { 0 }) {
            block.soon.push(fixed.row(index as usize).unwrap_or(std::ptr::null()));
        }
        Ok(())
    }
}
