//! An epoch of stochastic gradient descent on losses that rank a user's positives above other items.
//!
//! A cell (u, i) of weight c is given N negatives j (`negatives.rs`). With x = w·z + b, before the step,
//!
//! ```text
//! BPR        c/N Σ_j −ln σ(x_i − x_j)                    g_j = −c/N σ(x_j − x_i),   g_i = −Σ_j g_j
//! WARP       c L_t max(0, 1 − (x_i − x_j)/margin)·margin  g_j = −c L_t,              g_i = c L_t
//! logistic   −c ln σ(x_i) − Σ_j ln σ(−x_j)               g_j = −σ(x_j),             g_i = c σ(−x_i)
//! softmax    −c ln(e^{x_i} / (e^{x_i} + Σ_j e^{x_j}))    g_j = −c p_j,              g_i = c (1 − p_i)
//! ```
//!
//! where WARP takes the first j of x_j > x_i − margin, the t-th that it looks at, and a cell that finds none
//! is left. With `hard`, BPR and logistic take the one of the N whose x_j is the highest. Then
//!
//! ```text
//! w ← (w + η_u (g_i z_i + Σ_j g_j z_j)) / (1 + η_u c λ_w)
//! z ← (z + η_z g w) / (1 + η_z e λ_z)       of i with e = c; of every j with e = c/N (logistic: 1)
//! b ← (b + η_z g) / (1 + η_z e λ_b)
//! ```
//!
//! with the old w, and the old z of i; negatives come one after the other. η = rate / √G of the row, and G ← G
//! + growth · mean square of what η multiplies, without sums G = 1.
//!
//! A step takes a block of every user part, no two of which share an item part: what a thread touches is its
//! own, and the result is that of one order for any number of threads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::negatives::{Negatives, Urn, contains};
use crate::parallel::{Run, Shared};
use crate::random::COUNTERS;
use crate::sgd::{Lanes, narrow, widened};
use crate::simd::{Element, Isa, Kernel, Simd};
use crate::tile::prefetch;

/// What a cell and its negatives are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankingLoss {
    /// −ln σ(x_i − x_j): Rendle, Freudenthaler, Gantner and Schmidt-Thieme (2009).
    Bpr,
    /// The first negative within the margin, weighted by how soon it was found: Weston, Bengio and Usunier (2011).
    Warp,
    /// −ln σ(x_i) − Σ ln σ(−x_j): Johnson (2014).
    Logistic,
    /// −ln of the share of e^{x_i}: a sampled softmax.
    Softmax,
}

/// What all steps of an epoch share.
#[derive(Clone, Copy, Debug)]
pub struct RankingStep<'a> {
    /// The loss.
    pub loss: RankingLoss,
    /// η.
    pub rate: f64,
    /// λ_w, λ_z, λ_b.
    pub reg: [f64; 3],
    /// How fast the sums of AdaGrad grow.
    pub growth: f64,
    /// Whether only the negative of the highest x is taken.
    pub hard: bool,
    /// Of WARP.
    pub margin: f64,
    /// L_t of WARP for t = 1, 2, …, as many as it looks at.
    pub ranks: &'a [f64],
    /// Whether only users are changed.
    pub items_fixed: bool,
}

/// The arrays of users, or of items.
pub struct RankingRows<'a, T> {
    /// Rows × K.
    pub factors: &'a mut [T],
    /// b; users have none.
    pub bias: Option<&'a mut [T]>,
    /// G of every row; none means that rates do not adapt.
    pub sums: Option<&'a mut [T]>,
}

/// Visit all cells of the grid that a schedule names; the number of cells that took a step.
///
/// `schedule` has (g, h) for each of the B user parts of each of its steps: the cells of block (p, g) are visited,
/// with negatives of the parts g and h.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
#[allow(clippy::too_many_arguments)] // one per argument of the protocol
pub fn ranking_epoch<T: Element>(
    isa: Isa,
    run: Run<'_>,
    grid: &Grid,
    schedule: &[[usize; 2]],
    negatives: &Negatives<'_>,
    rank: usize,
    step: RankingStep<'_>,
    (users, items): (RankingRows<'_, T>, RankingRows<'_, T>),
) -> Result<u64> {
    negatives.check(grid)?;
    check(grid, schedule, negatives, rank, step, &users, &items)?;
    let stride = rank.next_multiple_of(T::run(isa, Lanes));
    if stride == rank {
        return all_steps(isa, run, grid, schedule, negatives, (rank, stride), step, (users, items));
    }
    let mut w = widened(users.factors, rank, stride);
    let mut z = widened(items.factors, rank, stride);
    let outcome = all_steps(
        isa,
        run,
        grid,
        schedule,
        negatives,
        (rank, stride),
        step,
        (RankingRows { factors: &mut w, ..users }, RankingRows { factors: &mut z, ..items }),
    );
    narrow(&w, stride, users.factors, rank);
    narrow(&z, stride, items.factors, rank);
    outcome
}

/// That the arrays fit the grid, and that no two threads of a step may touch the same item.
fn check<T>(
    grid: &Grid,
    schedule: &[[usize; 2]],
    negatives: &Negatives<'_>,
    rank: usize,
    step: RankingStep<'_>,
    users: &RankingRows<'_, T>,
    items: &RankingRows<'_, T>,
) -> Result<()> {
    let (m, n) = grid.rows();
    for (side, rows) in [(users, m), (items, n)] {
        let lengths = [side.bias.as_ref().map(|b| b.len()), side.sums.as_ref().map(|s| s.len())];
        if side.factors.len() != rows * rank || lengths.into_iter().flatten().any(|l| l != rows) {
            return Err(Error::contract("factors, bias and sums must have one row per row"));
        }
    }
    let warp = step.loss == RankingLoss::Warp;
    if rank == 0
        || users.bias.is_some()
        || users.sums.is_some() != items.sums.is_some()
        || (warp && (step.ranks.is_empty() || negatives.count != 1))
        || (step.hard && !matches!(step.loss, RankingLoss::Bpr | RankingLoss::Logistic))
    {
        return Err(Error::contract("rank, biases of users, sums of one side, or options of a loss"));
    }
    let (parts, item_parts) = grid.parts();
    if !schedule.len().is_multiple_of(parts) {
        return Err(Error::contract("the schedule must name a pair of item parts for every user part"));
    }
    for pairs in schedule.chunks_exact(parts) {
        let mut taken = vec![false; item_parts];
        for &[g, h] in pairs {
            if g >= item_parts || h >= item_parts {
                return Err(Error::contract("the schedule names an item part that is not there"));
            }
            let again = std::mem::replace(&mut taken[g], true)
                | (g != h && std::mem::replace(&mut taken[h], true));
            if again && !step.items_fixed {
                return Err(Error::contract("two blocks of a step share an item part"));
            }
        }
    }
    Ok(())
}

/// The same with rows of whole vectors.
#[allow(clippy::too_many_arguments)] // those of `ranking_epoch`
fn all_steps<T: Element>(
    isa: Isa,
    run: Run<'_>,
    grid: &Grid,
    schedule: &[[usize; 2]],
    negatives: &Negatives<'_>,
    (rank, stride): (usize, usize),
    step: RankingStep<'_>,
    (users, items): (RankingRows<'_, T>, RankingRows<'_, T>),
) -> Result<u64> {
    let users = Side::new(users, [step.reg[0], 0.0], rank, step);
    let items = Side::new(items, [step.reg[1], step.reg[2]], rank, step);
    let parts: Vec<usize> = (0..grid.parts().0).collect();
    let taken = AtomicU64::new(0);
    for pairs in schedule.chunks_exact(parts.len()) {
        run.for_each(
            &parts,
            || Scratch { candidates: Vec::new(), row: Buffer::zeros(stride) },
            |scratch, &p| {
                let (cells, weights) = grid.block(p, pairs[p][0]);
                let urn = Urn::new(negatives, grid, pairs[p]);
                let block = Block {
                    cells,
                    weights,
                    stride,
                    step,
                    urn,
                    users: &users,
                    items: &items,
                    run,
                    scratch,
                };
                // a sum of whole numbers is the same in any order
                taken.fetch_add(T::run(isa, block)?, Ordering::Relaxed);
                Ok(())
            },
        )?;
    }
    Ok(taken.into_inner())
}

/// The arrays of a side as the threads share them, and its λ.
struct Side<'a, T> {
    factors: Shared<'a, T>,
    bias: Option<Shared<'a, T>>,
    sums: Option<Shared<'a, T>>,
    rate: T,
    reg: T,
    bias_reg: T,
    /// growth / K.
    growth: T,
}

impl<'a, T: Element> Side<'a, T> {
    fn new(rows: RankingRows<'a, T>, reg: [f64; 2], rank: usize, step: RankingStep<'_>) -> Self {
        Side {
            factors: Shared::new(rows.factors),
            bias: rows.bias.map(Shared::new),
            sums: rows.sums.map(Shared::new),
            rate: T::from_f64(step.rate),
            reg: T::from_f64(reg[0]),
            bias_reg: T::from_f64(reg[1]),
            growth: T::from_f64(step.growth / rank as f64),
        }
    }

    #[inline(always)]
    fn prefetch(&self, row: u32, stride: usize) {
        let first = self.factors.pointer().wrapping_add(row as usize * stride);
        prefetch(first.cast(), stride * size_of::<T>());
    }

    /// √G of a row.
    ///
    /// # Safety
    /// No other thread may write to the row, and `row` is one of the side's.
    #[inline(always)]
    unsafe fn root(&self, row: usize) -> T {
        // SAFETY: the array has this row.
        self.sums.as_ref().map_or(T::ONE, |sums| unsafe { *sums.pointer().add(row) }.sqrt())
    }

    /// # Safety
    /// As for `root`.
    #[inline(always)]
    unsafe fn bias(&self, row: usize) -> T {
        // SAFETY: the array has this row.
        self.bias.as_ref().map_or(T::ZERO, |bias| unsafe { *bias.pointer().add(row) })
    }

    /// (what is left of a row, η less the penalty) of a step whose penalty has the weight e.
    #[inline(always)]
    fn steps(&self, root: T, e: T) -> (T, T) {
        let inverse = T::ONE / (root + self.rate * e * self.reg);
        (root * inverse, self.rate * inverse)
    }

    /// Write what a step changes besides the factors: `squares` is the sum of squares of the direction.
    ///
    /// # Safety
    /// As for `root`.
    #[inline(always)]
    unsafe fn learn(&self, row: usize, root: T, e: T, g: T, squares: T) {
        // SAFETY: every array has this row, and no other thread looks at it.
        unsafe {
            if let Some(bias) = &self.bias {
                let bias = bias.pointer().add(row);
                *bias = (root * *bias + self.rate * g) / (root + self.rate * e * self.bias_reg);
            }
            if let Some(sums) = &self.sums {
                *sums.pointer().add(row) += self.growth * squares;
            }
        }
    }
}

/// What a thread keeps between cells.
struct Scratch<T: Element> {
    /// The negatives of a cell, x_j, and then g_j.
    candidates: Vec<(u32, f64)>,
    /// Σ g z, where it does not fit the registers.
    row: Buffer<T>,
}

/// The cells of one block.
struct Block<'a, T: Element> {
    cells: &'a [[u32; 3]],
    weights: Option<&'a [f32]>,
    stride: usize,
    step: RankingStep<'a>,
    urn: Urn<'a>,
    users: &'a Side<'a, T>,
    items: &'a Side<'a, T>,
    run: Run<'a>,
    scratch: &'a mut Scratch<T>,
}

/// Cells between two looks at the flag to stop: so many chunks.
const BETWEEN: usize = 1 << 8;

impl<T: Element> Kernel<T> for Block<'_, T> {
    type Output = Result<u64>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<u64> {
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
    fn visit<S: Simd<Elem = T>, const N: usize>(mut self, simd: S) -> Result<u64> {
        let one = self.urn.negatives.count == 1 && self.step.loss == RankingLoss::Bpr;
        let mut taken = 0;
        for (number, cells) in self.cells.chunks(COUNTERS).enumerate() {
            if number % BETWEEN == 0 {
                self.run.check()?;
            }
            for &[u, i, _] in self.cells.iter().skip((number + 1) * COUNTERS).take(COUNTERS) {
                self.users.prefetch(u, self.stride);
                self.items.prefetch(i, self.stride);
            }
            let weights = self.weights;
            let weight = |place: usize| {
                weights.map_or(1.0, |weights| f64::from(weights[number * COUNTERS + place]))
            };
            if one {
                let found = self.first_negatives(cells);
                for (place, &[u, i, _]) in cells.iter().enumerate() {
                    if found[place] != NONE {
                        taken += 1;
                        // SAFETY: `Grid::new` has checked rows and columns, `check` the lengths of all
                        // arrays, and that blocks of a step share no rows that are written to.
                        unsafe { self.pair::<S, N>(simd, [u, i, found[place]], weight(place)) };
                    }
                }
            } else {
                for (place, &cell) in cells.iter().enumerate() {
                    let c = weight(place);
                    // SAFETY: as above.
                    taken += u64::from(unsafe { self.several::<S, N>(simd, cell, c) });
                }
            }
        }
        Ok(taken)
    }

    /// A negative for each of a few cells, with their rows on the way to the cache; NONE where there is none.
    #[inline(always)]
    fn first_negatives(&self, cells: &[[u32; 3]]) -> [u32; COUNTERS] {
        let words = self.urn.negatives.first(cells);
        let mut found = [NONE; COUNTERS];
        for (place, &cell) in cells.iter().enumerate() {
            let positives = self.urn.positives(cell[0]);
            let mut j = self.urn.item(words[0][place], words[1][place]);
            if contains(positives, j) {
                j = self.urn.item(words[2][place], words[3][place]);
                if contains(positives, j) {
                    j = self.urn.draws(cell, 2, 1).next().unwrap_or(NONE);
                }
            }
            found[place] = j;
            if j != NONE {
                self.items.prefetch(j, self.stride);
            }
        }
        found
    }

    /// The step of BPR with one negative.
    ///
    /// # Safety
    /// The rows are there, and no other thread uses them but to read items that are fixed.
    #[inline(always)]
    unsafe fn pair<S: Simd<Elem = T>, const N: usize>(&self, simd: S, [u, i, j]: [u32; 3], c: f64) {
        let (users, items) = (self.users, self.items);
        let vectors = if N > 0 { N } else { self.stride / S::LANES };
        let (u, i, j) = (u as usize, i as usize, j as usize);
        let (zero, ones) = (simd.splat(T::ZERO), simd.splat(T::ONE));
        // SAFETY: as promised.
        unsafe {
            let w = users.factors.pointer().add(u * self.stride);
            let zi = items.factors.pointer().add(i * self.stride);
            let zj = items.factors.pointer().add(j * self.stride);
            let (mut wv, mut iv, mut jv) = ([zero; N], [zero; N], [zero; N]);
            let mut sums = [zero; 2];
            for k in 0..vectors {
                let at = k * S::LANES;
                let (a, b, d) = (simd.load(w.add(at)), simd.load(zi.add(at)), simd.load(zj.add(at)));
                if N > 0 {
                    (wv[k], iv[k], jv[k]) = (a, b, d);
                }
                sums[k % 2] = simd.fma(a, simd.fnma(ones, d, b), sums[k % 2]);
            }
            let x = simd.sum(simd.add(sums[0], sums[1])) + (items.bias(i) - items.bias(j));
            let c_ = T::from_f64(c);
            let g = T::from_f64(c * sigmoid(-x.to_f64()));
            let roots = (users.root(u), items.root(i), items.root(j));
            let (keep, to_w) = users.steps(roots.0, c_);
            let (keep_w, to_w) = (simd.splat(keep), simd.splat(to_w * g));
            let (keep, to_i) = items.steps(roots.1, c_);
            let (keep_i, to_i) = (simd.splat(keep), simd.splat(to_i * g));
            let (keep, to_j) = items.steps(roots.2, c_);
            let (keep_j, to_j) = (simd.splat(keep), simd.splat(to_j * g));
            let (mut of_w, mut of_d) = (zero, zero);
            for k in 0..vectors {
                let at = k * S::LANES;
                let (a, b, d) = if N > 0 {
                    (wv[k], iv[k], jv[k])
                } else {
                    (simd.load(w.add(at)), simd.load(zi.add(at)), simd.load(zj.add(at)))
                };
                let gap = simd.fnma(ones, d, b);
                simd.store(w.add(at), simd.fma(to_w, gap, simd.mul(keep_w, a)));
                if !self.step.items_fixed {
                    simd.store(zi.add(at), simd.fma(to_i, a, simd.mul(keep_i, b)));
                    simd.store(zj.add(at), simd.fnma(to_j, a, simd.mul(keep_j, d)));
                }
                of_w = simd.fma(a, a, of_w);
                of_d = simd.fma(gap, gap, of_d);
            }
            users.learn(u, roots.0, c_, T::ZERO, g * g * simd.sum(of_d));
            if !self.step.items_fixed {
                let squares = g * g * simd.sum(of_w);
                items.learn(i, roots.1, c_, g, squares);
                items.learn(j, roots.2, c_, -g, squares);
            }
        }
    }

    /// The step of any loss; whether there was one.
    ///
    /// # Safety
    /// As for `pair`.
    #[inline(always)]
    unsafe fn several<S: Simd<Elem = T>, const N: usize>(
        &mut self,
        simd: S,
        cell: [u32; 3],
        c: f64,
    ) -> bool {
        let (users, items, stride) = (self.users, self.items, self.stride);
        let [u, i, _] = cell;
        // SAFETY: as promised.
        unsafe {
            let w = users.factors.pointer().add(u as usize * stride);
            let x_i = self.score(simd, w, i);
            let Some((g_i, e)) = self.coefficients(simd, cell, c, w, x_i) else { return false };
            let vectors = if N > 0 { N } else { stride / S::LANES };
            let mut sums = [simd.splat(T::ZERO); N];
            let row = self.scratch.row.as_mut_ptr();
            if N == 0 {
                self.scratch.row.fill(T::ZERO);
            }
            let mut of_w = simd.splat(T::ZERO);
            for k in 0..vectors {
                let a = simd.load(w.add(k * S::LANES));
                of_w = simd.fma(a, a, of_w);
            }
            let squares = simd.sum(of_w);
            let first = (i, g_i, c);
            let others = self.scratch.candidates.iter().map(|&(j, g)| (j, g, e));
            for (row_of, g, e) in std::iter::once(first).chain(others) {
                if g == 0.0 {
                    continue;
                }
                let item = row_of as usize;
                let z = items.factors.pointer().add(item * stride);
                let (e, g) = (T::from_f64(e), T::from_f64(g));
                let root = items.root(item);
                let (keep, to_z) = items.steps(root, e);
                let (keep, to_z, to_w) = (simd.splat(keep), simd.splat(to_z * g), simd.splat(g));
                for k in 0..vectors {
                    let at = k * S::LANES;
                    let (a, b) = (simd.load(w.add(at)), simd.load(z.add(at)));
                    if N > 0 {
                        sums[k] = simd.fma(to_w, b, sums[k]);
                    } else {
                        simd.store(row.add(at), simd.fma(to_w, b, simd.load(row.add(at))));
                    }
                    if !self.step.items_fixed {
                        simd.store(z.add(at), simd.fma(to_z, a, simd.mul(keep, b)));
                    }
                }
                if !self.step.items_fixed {
                    items.learn(item, root, e, g, g * g * squares);
                }
            }
            let c = T::from_f64(c);
            let root = users.root(u as usize);
            let (keep, to_w) = users.steps(root, c);
            let (keep, to_w) = (simd.splat(keep), simd.splat(to_w));
            let mut of_sum = simd.splat(T::ZERO);
            for k in 0..vectors {
                let at = k * S::LANES;
                let sum = if N > 0 { sums[k] } else { simd.load(row.add(at)) };
                of_sum = simd.fma(sum, sum, of_sum);
                simd.store(w.add(at), simd.fma(to_w, sum, simd.mul(keep, simd.load(w.add(at)))));
            }
            users.learn(u as usize, root, c, T::ZERO, simd.sum(of_sum));
        }
        true
    }

    /// w·z + b of an item.
    ///
    /// # Safety
    /// As for `pair`.
    #[inline(always)]
    unsafe fn score<S: Simd<Elem = T>>(&self, simd: S, w: *const T, item: u32) -> f64 {
        let item = item as usize;
        let mut sums = [simd.splat(T::ZERO); 2];
        // SAFETY: as promised.
        unsafe {
            let z = self.items.factors.pointer().add(item * self.stride);
            for k in 0..self.stride / S::LANES {
                let at = k * S::LANES;
                sums[k % 2] = simd.fma(simd.load(w.add(at)), simd.load(z.add(at)), sums[k % 2]);
            }
            (simd.sum(simd.add(sums[0], sums[1])) + self.items.bias(item)).to_f64()
        }
    }

    /// Draw the negatives of a cell and work out their g_j, in `candidates`: g_i, and e of the negatives. None
    /// where the cell is left.
    ///
    /// # Safety
    /// As for `pair`.
    #[inline(always)]
    unsafe fn coefficients<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        cell: [u32; 3],
        c: f64,
        w: *const T,
        x_i: f64,
    ) -> Option<(f64, f64)> {
        let step = self.step;
        let mut found = std::mem::take(&mut self.scratch.candidates);
        found.clear();
        let wanted =
            if step.loss == RankingLoss::Warp { step.ranks.len() } else { self.urn.negatives.count };
        let mut draws = self.urn.draws(cell, 0, wanted);
        let outcome = if step.loss == RankingLoss::Warp {
            let mut g = None;
            for &rank in step.ranks {
                let Some(j) = draws.next() else { break };
                // SAFETY: as promised.
                if unsafe { self.score(simd, w, j) } > x_i - step.margin {
                    found.push((j, -c * rank));
                    g = Some((c * rank, c));
                    break;
                }
            }
            g
        } else {
            while found.len() < wanted {
                let Some(j) = draws.next() else { break };
                self.items.prefetch(j, self.stride);
                found.push((j, 0.0));
            }
            for (j, x) in &mut found {
                // SAFETY: as promised.
                *x = unsafe { self.score(simd, w, *j) };
            }
            if step.hard && !found.is_empty() {
                // of equal ones the first
                let best =
                    found.iter().fold(found[0], |best, &next| if next.1 > best.1 { next } else { best });
                found.clear();
                found.push(best);
            }
            coefficients_of(step.loss, c, x_i, &mut found)
        };
        self.scratch.candidates = found;
        outcome
    }
}

/// No item.
const NONE: u32 = u32::MAX;

/// g_j in place of x_j; g_i and e. None without negatives.
#[inline(always)]
fn coefficients_of(loss: RankingLoss, c: f64, x_i: f64, found: &mut [(u32, f64)]) -> Option<(f64, f64)> {
    if found.is_empty() {
        return None;
    }
    let share = c / found.len() as f64;
    let mut g_i = 0.0;
    match loss {
        RankingLoss::Bpr | RankingLoss::Warp => {
            for (_, x) in found {
                let g = share * sigmoid(*x - x_i);
                *x = -g;
                g_i += g;
            }
            Some((g_i, share))
        }
        RankingLoss::Logistic => {
            for (_, x) in found {
                *x = -sigmoid(*x);
            }
            Some((c * sigmoid(-x_i), 1.0))
        }
        RankingLoss::Softmax => {
            let highest = found.iter().fold(x_i, |highest, &(_, x)| highest.max(x));
            let mut total = exp(x_i - highest);
            for (_, x) in &mut *found {
                *x = exp(*x - highest);
                total += *x;
            }
            for (_, x) in found {
                *x *= -c / total;
                g_i -= *x;
            }
            Some((g_i, share))
        }
    }
}

/// 1 / (1 + e^{−x}).
#[inline(always)]
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// e^x, within 1 unit in the last place for |x| ≤ 700 and at the ends of that range beyond: without a call, which
/// would empty the registers, and the same bits with every C library. The method of fdlibm's `e_exp.c`.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // |k| ≤ 1010
fn exp(x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: adding it rounds to a whole number
    const P: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238e-8,
    ];
    let x = x.clamp(-700.0, 700.0);
    let k = (x * std::f64::consts::LOG2_E + ROUND) - ROUND;
    let (high, low) = (x - k * 6.931_471_803_691_238e-1, k * 1.908_214_929_270_587_7e-10);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    y * f64::from_bits(((k as i64 + 1023) << 52).cast_unsigned())
}
