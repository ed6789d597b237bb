//! Σ a f fᵀ and Σ b f over a list of rows f, in blocks.
//!
//! ```text
//! for super-blocks of 65,536 cells:
//!     for blocks of 64 to 256 cells:
//!         gather:  right[k] = f,  left[k] = (a f, b, a)
//!         G += left · right                               the micro-kernel; each call starts at 0
//!     total += G
//! ```
//!
//! 1. The rows are gathered into a small buffer that stays in the first cache while every tile of G
//!    passes over it.
//! 2. Where a = 1 for all cells, `left` and `right` are one buffer.
//! 3. The right-hand side (coefficient b) and the bias column (coefficient a) are border rows of G.
//! 4. Indices are checked while they are used.
//!
//! Error of an entry, with n cells, block length B ≤ 256 and unit roundoff ε, relative to the sum of
//! the absolute terms: (B + 65536 / B + n / 65536 + 4) · ε to first order; for a million cells
//! less than 1300 ε at worst, and near its square root in practice.

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::parallel::Run;
use crate::simd::{Element, Simd};
use crate::tile::{Into, Layout, RankUpdate};

/// Cells after which a sum is put aside. A multiple of every block length.
pub const SUPER: usize = 65536;

/// What a cell gives to the system of its row.
pub trait Source<T> {
    /// Cells.
    fn len(&self) -> usize;
    /// Is a = 1 for all cells?
    fn unit(&self) -> bool;
    /// The row of the fixed side.
    fn index(&self, cell: usize) -> usize;
    /// The row that will be gathered a little later, if any.
    fn ahead(&self, cell: usize) -> Option<usize>;
    /// (a, b), of a cell whose index was found in range.
    fn terms(&self, cell: usize) -> (T, T);
}

/// Scratch: two blocks of operands, G, and (for more than 65,536 cells) the total.
pub struct Accumulator<T> {
    pub layout: Layout,
    block: usize,
    left: Buffer<T>,
    right: Buffer<T>,
    /// The sum: the upper triangle, then the border rows.
    pub g: Buffer<T>,
    total: Buffer<T>,
    /// Σ a
    pub sum_a: f64,
    /// Σ b
    pub sum_b: f64,
}

impl<T: Element> Accumulator<T> {
    /// For sums of up to `longest` cells.
    pub fn new(layout: Layout, longest: usize) -> Self {
        let block = layout.block::<T>();
        Self {
            layout,
            block,
            left: Buffer::zeros(block * layout.stride),
            right: Buffer::zeros(block * layout.stride),
            g: Buffer::zeros(layout.len()),
            total: Buffer::zeros(if longest > SUPER { layout.len() } else { 0 }),
            sum_a: 0.0,
            sum_b: 0.0,
        }
    }

    /// Sum the cells into `g`, onto what it holds if `onto`.
    #[inline(always)]
    pub fn sum<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        fixed: &[T],
        source: &impl Source<T>,
        onto: bool,
        run: Run<'_>,
    ) -> Result<()> {
        let n = source.len();
        (self.sum_a, self.sum_b) = (0.0, 0.0);
        let mut onto = onto;
        let mut aside = false;
        if n == 0 && !onto {
            self.g.fill(T::ZERO);
        }
        let mut cell = 0;
        while cell < n {
            run.check()?;
            let end = (cell + self.block).min(n);
            self.gather(s, fixed, source, cell, end)?;
            RankUpdate {
                layout: self.layout,
                left: if source.unit() { &self.right } else { &self.left },
                right: &self.right,
                depth: end - cell,
                g: &mut self.g,
                first_row: 0,
                into: if onto { Into::Add } else { Into::Set },
            }
            .run(s);
            onto = true;
            cell = end;
            if cell % SUPER == 0 && cell < n {
                if aside {
                    add(&mut self.total, &self.g);
                } else {
                    self.total.copy_from_slice(&self.g);
                }
                (onto, aside) = (false, true);
            }
        }
        if aside {
            add(&mut self.g, &self.total);
        }
        Ok(())
    }

    #[inline(always)]
    fn gather<S: Simd<Elem = T>>(
        &mut self,
        s: S,
        fixed: &[T],
        source: &impl Source<T>,
        cell: usize,
        end: usize,
    ) -> Result<()> {
        let Layout { rank, border, stride } = self.layout;
        let fixed_rows = fixed.len() / rank;
        assert!(end - cell <= self.block);
        assert!(self.right.len() >= self.block * stride && self.left.len() >= self.block * stride);
        let unit = source.unit();
        let (whole, rest) = (rank / S::LANES * S::LANES, rank % S::LANES);
        let mut right = self.right.as_mut_ptr();
        let mut left = if unit { right } else { self.left.as_mut_ptr() };
        for cell in cell..end {
            let index = source.index(cell);
            if index >= fixed_rows {
                return Err(Error::contract(format!(
                    "column {index} is outside the {fixed_rows} fixed rows"
                )));
            }
            if let Some(ahead) = source.ahead(cell) {
                prefetch(fixed, ahead * rank, rank);
            }
            let (a, b) = source.terms(cell);
            self.sum_a += a.to_f64();
            self.sum_b += b.to_f64();
            // SAFETY: `index` is a row of `fixed`, which has `rank` columns; `left` and `right` are
            // rows of buffers of `block` rows, each `stride` long, and the layout's stride holds
            // rank rounded up to whole vectors, and rank + border.
            unsafe {
                let f = fixed.as_ptr().add(index * rank);
                let mut j = 0;
                if unit {
                    while j < whole {
                        s.store(right.add(j), s.load(f.add(j)));
                        j += S::LANES;
                    }
                    if rest > 0 {
                        s.store(right.add(j), s.load_first(f.add(j), rest));
                    }
                } else {
                    let scale = s.splat(a);
                    while j < whole {
                        let f = s.load(f.add(j));
                        s.store(right.add(j), f);
                        s.store(left.add(j), s.mul(scale, f));
                        j += S::LANES;
                    }
                    if rest > 0 {
                        let f = s.load_first(f.add(j), rest);
                        s.store(right.add(j), f);
                        s.store(left.add(j), s.mul(scale, f));
                    }
                }
                if border > 0 {
                    *left.add(rank) = b;
                }
                if border > 1 {
                    *left.add(rank + 1) = a;
                }
            }
            left = left.wrapping_add(stride);
            right = right.wrapping_add(stride);
        }
        Ok(())
    }
}

#[inline(always)]
fn add<T: Element>(into: &mut [T], from: &[T]) {
    for (into, &from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

/// Ask for the cache lines of a row that will be gathered soon.
#[inline(always)]
pub fn prefetch<T>(fixed: &[T], start: usize, length: usize) {
    #[cfg(target_arch = "x86_64")]
    if start + length <= fixed.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = 64 / size_of::<T>();
        for j in (0..length).step_by(line) {
            // SAFETY: the address is inside the array, and a prefetch has no effect but on the cache.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(fixed.as_ptr().add(start + j).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (fixed, start, length);
}
