//! F Q for a tall F (rows × K) and Q (K × K): the rows in another basis.
//!
//! ```text
//! for panels of 64 rows:   turn Fᵀ;   for blocks of 128 k:   out += Σ_k Fᵀ[k] Q[k]          tile.rs
//! ```
//!
//! 2 K² operations a row. Every entry is summed over k in the same order, so that a row has the same bits in
//! whatever company it is rotated. Error of an entry, with unit roundoff ε, relative to the sum of the absolute
//! terms: (128 + K / 128 + 1) · ε to first order.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::simd::{Element, Isa, Kernel, MOST_LANES, Simd};
use crate::tile::{Into, Layout, Operands, Product};

/// Rows of a panel, and the distance of the rows of its transpose.
const HEIGHT: usize = 64;
/// How many k are summed in one go.
const BLOCK: usize = 128;

/// F Q into `out` (rows × K), K = `rank`.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn rotate<T: Element>(
    isa: Isa,
    run: Run<'_>,
    factors: &[T],
    rank: usize,
    basis: &[T],
    out: &mut [T],
) -> Result<()> {
    let fits = rank > 0 && factors.len().is_multiple_of(rank) && basis.len() == rank * rank;
    if !fits || out.len() != factors.len() {
        return Err(Error::contract("factors and out must be rows × K, and basis K × K"));
    }
    let rows = factors.len() / rank;
    let layout = Layout::new::<T>(rank, 0);
    // Whole vectors are read, so rows need room behind them; and rows far apart by a power of two share few
    // cache sets, which matters where there are many panels.
    let copied = (!rank.is_multiple_of(MOST_LANES) || rows > HEIGHT).then(|| {
        let mut copy = Buffer::zeros(rank * layout.stride);
        for (to, from) in copy.chunks_exact_mut(layout.stride).zip(basis.chunks_exact(rank)) {
            to[..rank].copy_from_slice(from);
        }
        copy
    });
    let basis = match &copied {
        Some(copy) => Basis { rows: copy, stride: layout.stride },
        None => Basis { rows: basis, stride: rank },
    };
    let panels: Vec<_> = (0..rows).step_by(HEIGHT).map(|a| a..(a + HEIGHT).min(rows)).collect();
    let out = Shared::new(out);
    run.for_each(
        &panels,
        || Scratch {
            turned: Buffer::zeros(layout.padded() * HEIGHT),
            product: Buffer::zeros(HEIGHT * layout.stride),
        },
        |scratch, rows| {
            let elements = rows.start * rank..rows.end * rank;
            // SAFETY: panels are disjoint ranges of rows.
            let out = unsafe { out.range(elements.clone()) };
            T::run(isa, Panel { layout, rows: &factors[elements], basis, scratch, run, out })
        },
    )
}

/// Q: rows of K elements, each readable up to K rounded up to 16.
#[derive(Clone, Copy)]
struct Basis<'a, T> {
    rows: &'a [T],
    stride: usize,
}

/// One thread's memory.
struct Scratch<T> {
    /// Fᵀ of a panel: K rows rounded up to 16, HEIGHT apart.
    turned: Buffer<T>,
    /// F Q of a panel.
    product: Buffer<T>,
}

struct Panel<'a, 's, T> {
    layout: Layout,
    rows: &'a [T],
    basis: Basis<'a, T>,
    scratch: &'s mut Scratch<T>,
    run: Run<'a>,
    out: &'s mut [T],
}

impl<T: Element> Kernel<T> for Panel<'_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, s: S) -> Result<()> {
        let Panel { layout, rows, basis, scratch, run, out } = self;
        let Layout { rank, stride, .. } = layout;
        let height = rows.len() / rank;
        turn(s, rows, rank, &mut scratch.turned);
        for first in (0..rank).step_by(BLOCK) {
            run.check()?;
            let block = first..(first + BLOCK).min(rank);
            Product {
                layout: Layout { rank: height, border: 0, stride },
                vectors: rank.div_ceil(S::LANES),
                depth: block.len(),
                into: if first == 0 { Into::Set } else { Into::Add },
                operands: Block::new(&scratch.turned, basis, block),
                g: &mut scratch.product,
            }
            .run(s);
        }
        for (to, from) in out.chunks_exact_mut(rank).zip(scratch.product.chunks_exact(stride)) {
            to.copy_from_slice(&from[..rank]);
        }
        Ok(())
    }
}

/// The transpose of rows of K elements into `turned`, HEIGHT apart.
#[inline(always)]
fn turn<S: Simd>(s: S, rows: &[S::Elem], rank: usize, turned: &mut [S::Elem]) {
    let height = rows.len() / rank;
    assert!(height <= HEIGHT && turned.len() >= rank.next_multiple_of(MOST_LANES) * HEIGHT);
    for first in (0..height).step_by(S::LANES) {
        for k in (0..rank).step_by(S::LANES) {
            let left = rank - k;
            let mut square = [s.splat(S::Elem::ZERO); MOST_LANES];
            // SAFETY: row `first + i` is below `height`, and of its elements from k on `left` are there; `turned`
            // has K rows rounded up to 16, each of HEIGHT elements, a multiple of every vector.
            unsafe {
                for i in 0..S::LANES {
                    if first + i < height {
                        let row = rows.as_ptr().add((first + i) * rank + k);
                        square[i] = if left < S::LANES { s.load_first(row, left) } else { s.load(row) };
                    }
                }
                s.transpose(&mut square);
                for i in 0..S::LANES {
                    s.store(turned.as_mut_ptr().add((k + i) * HEIGHT + first), square[i]);
                }
            }
        }
    }
}

/// The rows of Fᵀ on the left, those of Q on the right, from one k on.
#[derive(Clone, Copy)]
struct Block<T> {
    turned: *const T,
    basis: *const T,
    stride: usize,
}

impl<T: Element> Block<T> {
    #[inline(always)]
    fn new(turned: &[T], basis: Basis<'_, T>, block: Range<usize>) -> Self {
        assert!(block.end * HEIGHT <= turned.len() && block.end * basis.stride <= basis.rows.len());
        Block {
            turned: turned[block.start * HEIGHT..].as_ptr(),
            basis: basis.rows[block.start * basis.stride..].as_ptr(),
            stride: basis.stride,
        }
    }
}

// SAFETY: as `new` asserts, there are as many rows of both as the `depth` that `call` passes: of HEIGHT elements,
// no less than the rows of a panel rounded up to 16, and of K rounded up to 16, no less than the columns in whole
// vectors. There are no border rows.
unsafe impl<T: Element> Operands<T> for Block<T> {
    const SCALED: bool = false;
    #[inline(always)]
    fn left(self, k: usize) -> *const T {
        self.turned.wrapping_add(k * HEIGHT)
    }
    #[inline(always)]
    fn border(self, k: usize) -> *const T {
        self.left(k)
    }
    #[inline(always)]
    fn right(self, k: usize) -> *const T {
        self.basis.wrapping_add(k * self.stride)
    }
    #[inline(always)]
    fn scale(self, _: usize) -> T {
        T::ONE
    }
}
