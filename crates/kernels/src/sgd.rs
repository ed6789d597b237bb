//! An epoch of stochastic gradient descent: every observed cell once, one after the other.
//!
//! For a cell with weight c and residual e = r − μ − b_u − b_i − w·z, with w and z before the step:
//!
//! ```text
//! w ← (w + η_u c e z) / (1 + η_u c λ_w s_u / n_u)          z likewise with w
//! b_u ← (b_u + η_u' c e) / (1 + η_u' c λ_b s_u / n_u)      b_i likewise
//! ```
//!
//! The penalty is taken implicitly, so no λ is too large for a rate. Rates are the same for all rows, or AdaGrad's
//! with two sums for a row, one of its first 16 factors (the head) and one of the others (the rest), as in
//! Chin, Zhuang, Juan and Lin (2015, «A Learning-Rate Schedule for Stochastic Gradient Methods to Matrix
//! Factorization»): η_u = η / √G_u, and after the step G_u ← G_u + g (c e)² · mean of z² over those factors.
//! Biases go by the sum of the head.
//!
//! The steps of a block (`grid.rs`) are strictly sequential, those of the blocks of a diagonal touch
//! disjoint rows: the result is that of one order, for any number of threads. w and z stay in registers
//! between the product and the update; rows of the cells to come are fetched ahead. Ranks that do not fill whole
//! vectors work on rows padded with zeros, which every step leaves at zero.

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::parallel::{Run, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::prefetch;

/// What all steps of an epoch share.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// μ.
    pub mean: f64,
    /// η of the factors.
    pub rate: f64,
    /// η' of the biases.
    pub bias_rate: f64,
    /// λ_w, λ_z, λ_b.
    pub reg: [f64; 3],
    /// g: how fast the sums of AdaGrad grow.
    pub growth: f64,
    /// Whether only the first 16 factors are changed.
    pub head_only: bool,
    /// Whether factors are kept ≥ 0.
    pub nonnegative: bool,
}

/// The arrays of users, or of items.
pub struct Rows<'a, T> {
    /// Rows × K.
    pub factors: &'a mut [T],
    /// b.
    pub bias: Option<&'a mut [T]>,
    /// s / n of every row; none means 1.
    pub share: Option<&'a [T]>,
    /// Rows × 2: G of the head and of the rest; none means that rates do not adapt.
    pub sums: Option<&'a mut [T]>,
}

impl<T> Rows<'_, T> {
    fn check(&self, rows: usize, rank: usize) -> Result<()> {
        let lengths = [self.bias.as_ref().map(|b| b.len()), self.share.map(<[T]>::len)];
        let sums = self.sums.as_ref().map(|s| s.len().div_ceil(2));
        if self.factors.len() != rows * rank
            || self.sums.as_ref().is_some_and(|s| !s.len().is_multiple_of(2))
            || lengths.into_iter().chain([sums]).flatten().any(|length| length != rows)
        {
            return Err(Error::contract("factors, bias, share and sums must have one row per row"));
        }
        Ok(())
    }
}

/// Visit all cells of the grid, diagonal after diagonal.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn sgd_epoch<T: Element>(
    isa: Isa,
    run: Run<'_>,
    grid: &Grid,
    diagonals: &[usize],
    rank: usize,
    step: Step,
    (users, items): (Rows<'_, T>, Rows<'_, T>),
) -> Result<()> {
    let (m, n) = grid.rows();
    users.check(m, rank)?;
    items.check(n, rank)?;
    let (parts, item_parts) = grid.parts();
    if rank == 0
        || item_parts != parts
        || diagonals.iter().any(|&d| d >= parts)
        || users.bias.is_some() != items.bias.is_some()
        || users.sums.is_some() != items.sums.is_some()
    {
        return Err(Error::contract("rank, diagonals, or arrays of one side without the other's"));
    }
    let stride = rank.next_multiple_of(T::run(isa, Lanes));
    if stride == rank {
        return all_diagonals(isa, run, grid, diagonals, (rank, stride), step, (users, items));
    }
    let mut w = widened(users.factors, rank, stride);
    let mut z = widened(items.factors, rank, stride);
    let outcome = all_diagonals(
        isa,
        run,
        grid,
        diagonals,
        (rank, stride),
        step,
        (Rows { factors: &mut w, ..users }, Rows { factors: &mut z, ..items }),
    );
    narrow(&w, stride, users.factors, rank);
    narrow(&z, stride, items.factors, rank);
    outcome
}

/// The lanes of an instruction set.
pub(crate) struct Lanes;

impl<T: Element> Kernel<T> for Lanes {
    type Output = usize;
    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, _: S) -> usize {
        S::LANES
    }
}

/// The rows, each followed by zeros.
pub(crate) fn widened<T: Element>(rows: &[T], rank: usize, stride: usize) -> Buffer<T> {
    let mut wide = Buffer::zeros(rows.len() / rank * stride);
    for (to, from) in wide.chunks_exact_mut(stride).zip(rows.chunks_exact(rank)) {
        to[..rank].copy_from_slice(from);
    }
    wide
}

/// The inverse of `widened`.
pub(crate) fn narrow<T: Element>(wide: &[T], stride: usize, rows: &mut [T], rank: usize) {
    for (from, to) in wide.chunks_exact(stride).zip(rows.chunks_exact_mut(rank)) {
        to.copy_from_slice(&from[..rank]);
    }
}

/// The same with rows of whole vectors.
fn all_diagonals<T: Element>(
    isa: Isa,
    run: Run<'_>,
    grid: &Grid,
    diagonals: &[usize],
    (rank, stride): (usize, usize),
    step: Step,
    (users, items): (Rows<'_, T>, Rows<'_, T>),
) -> Result<()> {
    let (users, items) =
        (Side::new(users, step.reg[0], rank, step), Side::new(items, step.reg[1], rank, step));
    let parts: Vec<usize> = (0..grid.parts().0).collect();
    for &d in diagonals {
        run.for_each(
            &parts,
            || (),
            |(), &p| {
                let (cells, weights) = grid.block(p, (p + d) % parts.len());
                let block = Block { cells, weights, stride, step, users: &users, items: &items, run };
                T::run(isa, block)
            },
        )?;
    }
    Ok(())
}

/// The arrays of a side as the threads share them, and its λ.
struct Side<'a, T> {
    factors: Shared<'a, T>,
    bias: Option<Shared<'a, T>>,
    share: Option<&'a [T]>,
    sums: Option<Shared<'a, T>>,
    rate: T,
    bias_rate: T,
    reg: T,
    bias_reg: T,
    /// g over the number of factors of the head, and of the rest.
    growth: [T; 2],
    head_only: bool,
}

impl<'a, T: Element> Side<'a, T> {
    fn new(rows: Rows<'a, T>, reg: f64, rank: usize, step: Step) -> Self {
        let head = rank.min(HEAD);
        let growth = |factors: usize| T::from_f64(step.growth / factors.max(1) as f64);
        Side {
            growth: [growth(head), if step.head_only { T::ZERO } else { growth(rank - head) }],
            head_only: step.head_only,
            factors: Shared::new(rows.factors),
            bias: rows.bias.map(Shared::new),
            share: rows.share,
            sums: rows.sums.map(Shared::new),
            rate: T::from_f64(step.rate),
            bias_rate: T::from_f64(step.bias_rate),
            reg: T::from_f64(reg),
            bias_reg: T::from_f64(step.reg[2]),
        }
    }

    fn prefetch(&self, row: u32, stride: usize) {
        let first = self.factors.pointer().wrapping_add(row as usize * stride);
        prefetch(first.cast(), stride * size_of::<T>());
    }
}

/// What a step needs of one row besides its factors.
#[derive(Clone, Copy)]
struct Row<T> {
    /// √G of the head and of the rest, or 1.
    roots: [T; 2],
    /// s / n.
    share: T,
    bias: T,
}

impl<T: Element> Side<'_, T> {
    /// # Safety
    /// No other thread may write to the row, and `u` is one of the side's.
    #[inline(always)]
    unsafe fn row(&self, u: usize) -> Row<T> {
        let mut roots = [T::ONE; 2];
        // SAFETY: every array has this row.
        unsafe {
            if let Some(sums) = &self.sums {
                let sums = sums.pointer().add(2 * u);
                roots = [(*sums).sqrt(), (*sums.add(1)).sqrt()];
            }
            Row {
                roots,
                share: self.share.map_or(T::ONE, |share| *share.get_unchecked(u)),
                bias: self.bias.as_ref().map_or(T::ZERO, |bias| *bias.pointer().add(u)),
            }
        }
    }

    /// (what is left of the factors, what of the other side's is added) by a step of gradient g = c e.
    #[inline(always)]
    fn steps(&self, row: Row<T>, half: usize, c: T, g: T) -> (T, T) {
        if half == 1 && self.head_only {
            return (T::ONE, T::ZERO);
        }
        let root = row.roots[half];
        let inverse = T::ONE / (root + self.rate * c * self.reg * row.share);
        (root * inverse, self.rate * g * inverse)
    }

    /// Write what a step changes besides the factors; `squares` are those of the other side's factors.
    ///
    /// # Safety
    /// As for `row`.
    #[inline(always)]
    unsafe fn learn(&self, u: usize, row: Row<T>, c: T, g: T, squares: [T; 2]) {
        // SAFETY: every array has this row, and no other thread looks at it.
        unsafe {
            if let Some(bias) = &self.bias {
                let weight = row.roots[0] + self.bias_rate * c * self.bias_reg * row.share;
                *bias.pointer().add(u) = (row.roots[0] * row.bias + self.bias_rate * g) / weight;
            }
            if let Some(sums) = &self.sums {
                let sums = sums.pointer().add(2 * u);
                *sums += self.growth[0] * g * g * squares[0];
                *sums.add(1) += self.growth[1] * g * g * squares[1];
            }
        }
    }
}

/// Factors of the head.
const HEAD: usize = 16;
/// How many cells ahead rows are fetched.
const AHEAD: usize = 12;
/// Cells between two looks at the flag to stop.
const BETWEEN: usize = 1 << 12;

/// The cells of one block.
struct Block<'a, T> {
    cells: &'a [[u32; 3]],
    weights: Option<&'a [f32]>,
    stride: usize,
    step: Step,
    users: &'a Side<'a, T>,
    items: &'a Side<'a, T>,
    run: Run<'a>,
}

impl<T: Element> Kernel<T> for Block<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        match self.stride / S::LANES {
            1 => self.visit::<S, 1>(simd),
            2 => self.visit::<S, 2>(simd),
            4 => self.visit::<S, 4>(simd),
            8 => self.visit::<S, 8>(simd),
            _ => self.visit::<S, 0>(simd),
        }
    }
}

impl<T: Element> Block<'_, T> {
    /// One cell after the other; N vectors of a row in registers, or 0 where they are too many.
    #[inline(always)]
    fn visit<S: Simd<Elem = T>, const N: usize>(&self, simd: S) -> Result<()> {
        let mean = T::from_f64(self.step.mean);
        let (users, items) = (self.users, self.items);
        let adaptive = users.sums.is_some();
        let vectors = if N > 0 { N } else { self.stride / S::LANES };
        let head = vectors.min(HEAD / S::LANES);
        let zero = simd.splat(T::ZERO);
        for (p, &[u, i, value]) in self.cells.iter().enumerate() {
            if p % BETWEEN == 0 {
                self.run.check()?;
            }
            if let Some(&[u, i, _]) = self.cells.get(p + AHEAD) {
                users.prefetch(u, self.stride);
                items.prefetch(i, self.stride);
            }
            let c = self.weights.map_or(T::ONE, |weights| T::from_f32(weights[p]));
            let (u, i) = (u as usize, i as usize);
            // SAFETY: `Grid::new` has checked rows and columns and `sgd_epoch` the lengths of all
            // arrays; the blocks of a diagonal share no rows.
            unsafe {
                let (user, item) = (users.row(u), items.row(i));
                let w = users.factors.pointer().add(u * self.stride);
                let z = items.factors.pointer().add(i * self.stride);
                let rest = T::from_f32(f32::from_bits(value)) - mean - (user.bias + item.bias);
                let (mut wv, mut zv) = ([zero; N], [zero; N]);
                let mut sums = [zero; 2];
                for k in 0..vectors {
                    let (a, b) = (simd.load(w.add(k * S::LANES)), simd.load(z.add(k * S::LANES)));
                    if N > 0 {
                        (wv[k], zv[k]) = (a, b);
                    }
                    sums[k % 2] = simd.fma(a, b, sums[k % 2]);
                }
                let g = c * (rest - simd.sum(simd.add(sums[0], sums[1])));
                let (mut keep_w, mut add_z) = ([zero; 2], [zero; 2]);
                let (mut keep_z, mut add_w) = ([zero; 2], [zero; 2]);
                for half in 0..2 {
                    let (of_w, of_z) = (users.steps(user, half, c, g), items.steps(item, half, c, g));
                    (keep_w[half], add_z[half]) = (simd.splat(of_w.0), simd.splat(of_w.1));
                    (keep_z[half], add_w[half]) = (simd.splat(of_z.0), simd.splat(of_z.1));
                }
                let (mut of_w, mut of_z) = ([zero; 2], [zero; 2]);
                for k in 0..vectors {
                    let half = usize::from(k >= head);
                    let (to_w, to_z) = (w.add(k * S::LANES), z.add(k * S::LANES));
                    let (a, b) = if N > 0 { (wv[k], zv[k]) } else { (simd.load(to_w), simd.load(to_z)) };
                    simd.store(to_w, simd.fma(add_z[half], b, simd.mul(keep_w[half], a)));
                    simd.store(to_z, simd.fma(add_w[half], a, simd.mul(keep_z[half], b)));
                    if adaptive {
                        of_w[half] = simd.fma(a, a, of_w[half]);
                        of_z[half] = simd.fma(b, b, of_z[half]);
                    }
                }
                let (mut squares_w, mut squares_z) = ([T::ZERO; 2], [T::ZERO; 2]);
                if adaptive {
                    for half in 0..2 {
                        squares_w[half] = simd.sum(of_w[half]);
                        squares_z[half] = simd.sum(of_z[half]);
                    }
                }
                if self.step.nonnegative {
                    for first in [w, z] {
                        for k in 0..self.stride {
                            let x = first.add(k);
                            if *x < T::ZERO {
                                *x = T::ZERO;
                            }
                        }
                    }
                }
                users.learn(u, user, c, g, squares_z);
                items.learn(i, item, c, g, squares_w);
            }
        }
        Ok(())
    }
}
