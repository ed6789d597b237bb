//! An epoch of stochastic gradient descent: every observed cell once, one after the other.
//!
//! For a cell with weight c and residual e = r − μ − b_u − b_i − w·z, with w and z before the step:
//!
//! ```text
//! w ← (w + η_u c e z) / (1 + η_u c λ_w s_u / n_u)          z likewise with w
//! b_u ← (b_u + η_u' c e) / (1 + η_u' c λ_b s_u / n_u)      b_i likewise
//! ```
//!
//! The penalty is taken implicitly, so no λ is too large for a rate. Rates are η, or with AdaGrad η / √G_u, where
//! G_u ← G_u + g (c e)² after the step: one sum for a row, which is that of its bias.
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
    /// G of every row; none means that rates do not adapt.
    pub sums: Option<&'a mut [T]>,
}

impl<T> Rows<'_, T> {
    fn check(&self, rows: usize, rank: usize) -> Result<()> {
        let lengths = [self.bias.as_ref().map(|b| b.len()), self.share.map(<[T]>::len)];
        let sums = self.sums.as_ref().map(|s| s.len());
        if self.factors.len() != rows * rank
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
    if rank == 0
        || diagonals.iter().any(|&d| d >= grid.parts())
        || users.bias.is_some() != items.bias.is_some()
        || users.sums.is_some() != items.sums.is_some()
    {
        return Err(Error::contract("rank, diagonals, or arrays of one side without the other's"));
    }
    let stride = rank.next_multiple_of(T::run(isa, Lanes));
    if stride == rank {
        return all_diagonals(isa, run, grid, diagonals, stride, step, (users, items));
    }
    let mut w = widened(users.factors, rank, stride);
    let mut z = widened(items.factors, rank, stride);
    let outcome = all_diagonals(
        isa,
        run,
        grid,
        diagonals,
        stride,
        step,
        (Rows { factors: &mut w, ..users }, Rows { factors: &mut z, ..items }),
    );
    narrow(&w, stride, users.factors, rank);
    narrow(&z, stride, items.factors, rank);
    outcome
}

/// The lanes of an instruction set.
struct Lanes;

impl<T: Element> Kernel<T> for Lanes {
    type Output = usize;
    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, _: S) -> usize {
        S::LANES
    }
}

/// The rows, each followed by zeros.
fn widened<T: Element>(rows: &[T], rank: usize, stride: usize) -> Buffer<T> {
    let mut wide = Buffer::zeros(rows.len() / rank * stride);
    for (to, from) in wide.chunks_exact_mut(stride).zip(rows.chunks_exact(rank)) {
        to[..rank].copy_from_slice(from);
    }
    wide
}

/// The inverse of `widened`.
fn narrow<T: Element>(wide: &[T], stride: usize, rows: &mut [T], rank: usize) {
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
    stride: usize,
    step: Step,
    (users, items): (Rows<'_, T>, Rows<'_, T>),
) -> Result<()> {
    let (users, items) = (Side::new(users, step.reg[0], step), Side::new(items, step.reg[1], step));
    let parts: Vec<usize> = (0..grid.parts()).collect();
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
}

impl<'a, T: Element> Side<'a, T> {
    fn new(rows: Rows<'a, T>, reg: f64, step: Step) -> Self {
        Side {
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

/// What a step needs of one row besides its factors, and what it makes of it.
#[derive(Clone, Copy)]
struct Row<T> {
    /// √G, or 1.
    root: T,
    /// s / n.
    share: T,
    bias: T,
}

impl<T: Element> Side<'_, T> {
    /// # Safety
    /// No other thread may write to the row, and `u` is one of the side's.
    #[inline(always)]
    unsafe fn row(&self, u: usize) -> Row<T> {
        // SAFETY: every array has this row.
        unsafe {
            Row {
                root: self.sums.as_ref().map_or(T::ONE, |sums| (*sums.pointer().add(u)).sqrt()),
                share: self.share.map_or(T::ONE, |share| *share.get_unchecked(u)),
                bias: self.bias.as_ref().map_or(T::ZERO, |bias| *bias.pointer().add(u)),
            }
        }
    }

    /// (what is left of the factors, what of the other side's is added) by a step of gradient g = c e.
    #[inline(always)]
    fn factor_step(&self, row: Row<T>, c: T, g: T) -> (T, T) {
        let inverse = T::ONE / (row.root + self.rate * c * self.reg * row.share);
        (row.root * inverse, self.rate * g * inverse)
    }

    /// Write what a step changes besides the factors.
    ///
    /// # Safety
    /// As for `row`.
    #[inline(always)]
    unsafe fn learn(&self, u: usize, row: Row<T>, c: T, g: T, growth: T) {
        // SAFETY: every array has this row, and no other thread looks at it.
        unsafe {
            if let Some(bias) = &self.bias {
                let weight = row.root + self.bias_rate * c * self.bias_reg * row.share;
                *bias.pointer().add(u) = (row.root * row.bias + self.bias_rate * g) / weight;
            }
            if let Some(sums) = &self.sums {
                *sums.pointer().add(u) += growth * g * g;
            }
        }
    }
}

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
            3 => self.visit::<S, 3>(simd),
            4 => self.visit::<S, 4>(simd),
            5 => self.visit::<S, 5>(simd),
            6 => self.visit::<S, 6>(simd),
            7 => self.visit::<S, 7>(simd),
            8 => self.visit::<S, 8>(simd),
            _ => self.visit::<S, 0>(simd),
        }
    }
}

impl<T: Element> Block<'_, T> {
    /// One cell after the other; N vectors of a row in registers, or 0 where they are too many.
    #[inline(always)]
    fn visit<S: Simd<Elem = T>, const N: usize>(&self, simd: S) -> Result<()> {
        let (mean, growth) = (T::from_f64(self.step.mean), T::from_f64(self.step.growth));
        let (users, items) = (self.users, self.items);
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
                let g;
                if N > 0 {
                    let mut wv = [simd.splat(T::ZERO); N];
                    let mut zv = wv;
                    for k in 0..N {
                        wv[k] = simd.load(w.add(k * S::LANES));
                        zv[k] = simd.load(z.add(k * S::LANES));
                    }
                    let mut sum = simd.mul(wv[0], zv[0]);
                    for k in 1..N {
                        sum = simd.fma(wv[k], zv[k], sum);
                    }
                    g = c * (rest - simd.sum(sum));
                    let (keep_w, add_z) = users.factor_step(user, c, g);
                    let (keep_z, add_w) = items.factor_step(item, c, g);
                    let (keep_w, add_z) = (simd.splat(keep_w), simd.splat(add_z));
                    let (keep_z, add_w) = (simd.splat(keep_z), simd.splat(add_w));
                    for k in 0..N {
                        simd.store(w.add(k * S::LANES), simd.fma(add_z, zv[k], simd.mul(keep_w, wv[k])));
                        simd.store(z.add(k * S::LANES), simd.fma(add_w, wv[k], simd.mul(keep_z, zv[k])));
                    }
                } else {
                    let mut sums = [simd.splat(T::ZERO); 2];
                    for k in (0..self.stride).step_by(S::LANES) {
                        let half = k / S::LANES % 2;
                        sums[half] = simd.fma(simd.load(w.add(k)), simd.load(z.add(k)), sums[half]);
                    }
                    g = c * (rest - simd.sum(simd.add(sums[0], sums[1])));
                    let (keep_w, add_z) = users.factor_step(user, c, g);
                    let (keep_z, add_w) = items.factor_step(item, c, g);
                    let (keep_w, add_z) = (simd.splat(keep_w), simd.splat(add_z));
                    let (keep_z, add_w) = (simd.splat(keep_z), simd.splat(add_w));
                    for k in (0..self.stride).step_by(S::LANES) {
                        let (wv, zv) = (simd.load(w.add(k)), simd.load(z.add(k)));
                        simd.store(w.add(k), simd.fma(add_z, zv, simd.mul(keep_w, wv)));
                        simd.store(z.add(k), simd.fma(add_w, wv, simd.mul(keep_z, zv)));
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
                users.learn(u, user, c, g, growth);
                items.learn(i, item, c, g, growth);
            }
        }
        Ok(())
    }
}
