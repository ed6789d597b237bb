//! An epoch of stochastic gradient descent on the cosine contrastive loss, by blocks of users.
//!
//! Mao et al. (2021): a block of users shares its J drawn items. With unit rows and x = w·z,
//!
//! ```text
//! L = Σ_u Σ_i c (1 − x_ui) + C_u ω/J Σ_j max(0, x_uj − m)        C_u = Σ_i c over the cells of u
//! ```
//!
//! where draws j that are a cell of u are left out. A step of a row r with the gradient g over the block, every
//! gradient taken before any step:
//!
//! ```text
//! q = g − (g·r) r        along the sphere
//! G ← G + q·q
//! r ← (r − η/√G q) / ‖r − η/√G q‖
//! ```
//!
//! η is an angle: that of the first step of a row is about η, later ones are shorter.
//!
//! Work on a block, each line shared among threads:
//!
//! ```text
//! rows of the block and of the draws are copied, the latter turned so that vectors hold items
//! users, eight at a time: x of all draws by register tiles; few exceed m: gradient, step, and who pulled which item
//! items that were pulled: the gradient over their users in the block's order, and the step
//! ```
//!
//! so that every row has one writer, and sums have one order for any number of threads.

use crate::buffer::Buffer;
use crate::cells::Cells;
use crate::error::{Error, Result};
use crate::negatives::contains;
use crate::parallel::{Run, Shared};
use crate::score::dot;
use crate::sgd::{Lanes, narrow, widened};
use crate::simd::{Element, Isa, Kernel, MOST_LANES, Simd};

/// What all steps of an epoch share.
#[derive(Clone, Copy, Debug)]
pub struct CosineStep {
    /// m: draws of a smaller x cost nothing.
    pub margin: f64,
    /// ω.
    pub weight: f64,
    /// η of users and of items.
    pub rates: [f64; 2],
    /// Whether only users are changed.
    pub items_fixed: bool,
}

/// The users of an epoch in their order, cut into blocks, and what is drawn for each.
#[derive(Clone, Copy)]
pub struct CosineBlocks<'a> {
    /// Users, each once.
    pub order: &'a [u32],
    /// Users of a block; the last has what is left.
    pub size: usize,
    /// J items for every block.
    pub drawn: &'a [u32],
}

/// The arrays of users, or of items: unit rows × K, and G of every row.
pub struct CosineRows<'a, T> {
    /// Rows × K.
    pub factors: &'a mut [T],
    /// G.
    pub sums: &'a mut [T],
}

/// Users of a tile.
const HEIGHT: usize = 8;
/// Vectors of a tile.
const WIDTH: usize = 2;
/// Items of a piece of work.
const ITEMS: usize = 64;

/// A pull on an item: the place of the user in the block, and the weight of its row in the gradient.
#[derive(Clone, Copy)]
struct Pull<T> {
    item: u32,
    place: u32,
    weight: T,
}

/// Visit all blocks, one after the other.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn cosine_epoch<T: Element>(
    isa: Isa,
    run: Run<'_>,
    cells: &Cells<'_>,
    blocks: CosineBlocks<'_>,
    rank: usize,
    step: CosineStep,
    (users, items): (CosineRows<'_, T>, CosineRows<'_, T>),
) -> Result<()> {
    check(cells, blocks, rank, &users, &items)?;
    let stride = rank.next_multiple_of(T::run(isa, Lanes));
    if stride == rank {
        return Epoch { isa, run, cells, blocks, stride, step }.visit(users, items);
    }
    let mut w = widened(users.factors, rank, stride);
    let mut z = widened(items.factors, rank, stride);
    let outcome = Epoch { isa, run, cells, blocks, stride, step }.visit(
        CosineRows { factors: &mut w, sums: users.sums },
        CosineRows { factors: &mut z, sums: items.sums },
    );
    narrow(&w, stride, users.factors, rank);
    narrow(&z, stride, items.factors, rank);
    outcome
}

fn check<T>(
    cells: &Cells<'_>,
    blocks: CosineBlocks<'_>,
    rank: usize,
    users: &CosineRows<'_, T>,
    items: &CosineRows<'_, T>,
) -> Result<()> {
    cells.check()?;
    let (m, n) = (users.sums.len(), items.sums.len());
    if rank == 0
        || cells.rows() != m
        || users.factors.len() != m * rank
        || items.factors.len() != n * rank
    {
        return Err(Error::contract("cells, factors and sums must have one row per row"));
    }
    let outside = |indices: &[u32], rows: usize| indices.iter().any(|&i| i as usize >= rows);
    if outside(cells.indices, n) || outside(blocks.drawn, n) || outside(blocks.order, m) {
        return Err(Error::contract("a row or a column is not there"));
    }
    let mut seen = vec![false; m];
    if blocks.order.iter().any(|&u| std::mem::replace(&mut seen[u as usize], true)) {
        return Err(Error::contract("a user is in two blocks"));
    }
    if blocks.size == 0
        || !blocks.drawn.len().is_multiple_of(blocks.order.len().div_ceil(blocks.size).max(1))
    {
        return Err(Error::contract("every block must have users and as many draws as the others"));
    }
    Ok(())
}

/// What all blocks of an epoch share.
struct Epoch<'a> {
    isa: Isa,
    run: Run<'a>,
    cells: &'a Cells<'a>,
    blocks: CosineBlocks<'a>,
    stride: usize,
    step: CosineStep,
}

impl Epoch<'_> {
    fn visit<T: Element>(&self, users: CosineRows<'_, T>, items: CosineRows<'_, T>) -> Result<()> {
        let (blocks, stride) = (self.blocks, self.stride);
        if blocks.order.is_empty() {
            return Ok(());
        }
        let draws = blocks.drawn.len() / blocks.order.len().div_ceil(blocks.size);
        let tile = WIDTH * T::run(self.isa, Lanes);
        let mut before = Buffer::zeros(blocks.size.next_multiple_of(HEIGHT) * stride);
        let mut turned = Buffer::zeros(draws.next_multiple_of(tile) * stride);
        let mut pulls: Vec<Vec<Pull<T>>> = vec![Vec::new(); blocks.size.div_ceil(HEIGHT)];
        let mut groups = Groups::new(items.sums.len());
        let (w, user_sums) = (Shared::new(users.factors), Shared::new(users.sums));
        let (z, item_sums) = (Shared::new(items.factors), Shared::new(items.sums));
        for (number, block) in blocks.order.chunks(blocks.size).enumerate() {
            let drawn = &blocks.drawn[number * draws..(number + 1) * draws];
            // SAFETY: no thread runs now.
            let (rows, fixed) = unsafe {
                (w.range(0..self.cells.rows() * stride), z.range(0..groups.counts.len() * stride))
            };
            for (to, &u) in before.chunks_exact_mut(stride).zip(block) {
                to.copy_from_slice(&rows[u as usize * stride..][..stride]);
            }
            turn(&mut turned, drawn, fixed, stride, tile);
            let fixed = &*fixed;
            let pieces: Vec<usize> = (0..block.len().div_ceil(HEIGHT)).collect();
            let shared = Shared::new(&mut pulls);
            self.run.for_each(
                &pieces,
                || Scratch {
                    x: vec![T::ZERO; HEIGHT * draws.next_multiple_of(tile)],
                    g: Buffer::zeros(stride),
                },
                |scratch, &piece| {
                    let first = piece * HEIGHT;
                    let names = &block[first..(first + HEIGHT).min(block.len())];
                    // SAFETY: a piece has a list of its own.
                    let pulls = unsafe { &mut shared.range(piece..piece + 1)[0] };
                    pulls.clear();
                    T::run(
                        self.isa,
                        Users {
                            epoch: self,
                            first,
                            names,
                            before: &before,
                            turned: &turned,
                            drawn,
                            items: fixed,
                            rows: (&w, &user_sums),
                            pulls,
                            scratch,
                        },
                    );
                    Ok(())
                },
            )?;
            if self.step.items_fixed {
                continue;
            }
            groups.fill(&pulls[..pieces.len()]);
            let places: Vec<usize> = (0..groups.items.len()).step_by(ITEMS).collect();
            let groups = &groups;
            self.run.for_each(
                &places,
                || Buffer::zeros(stride),
                |g, &first| {
                    let last = (first + ITEMS).min(groups.items.len());
                    let rows = (&z, &item_sums);
                    T::run(
                        self.isa,
                        Items { epoch: self, groups, places: first..last, before: &before, rows, g },
                    );
                    Ok(())
                },
            )?;
        }
        Ok(())
    }
}

/// Copy the rows of `drawn` into tiles: item after item in a vector, factor after factor in a tile.
fn turn<T: Element>(turned: &mut [T], drawn: &[u32], rows: &[T], stride: usize, tile: usize) {
    for (to, items) in turned.chunks_exact_mut(tile * stride).zip(drawn.chunks(tile)) {
        for (place, &j) in items.iter().enumerate() {
            for (k, &x) in rows[j as usize * stride..][..stride].iter().enumerate() {
                to[k * tile + place] = x;
            }
        }
    }
}

/// The pulls of a block by item.
struct Groups<T> {
    /// Of every item: how many pulls, while they are counted; else 0.
    counts: Vec<u32>,
    /// The items that are pulled.
    items: Vec<u32>,
    /// Where the pulls of each end.
    ends: Vec<usize>,
    /// Place and weight, by item, and by place in it.
    pulls: Vec<(u32, T)>,
}

impl<T: Element> Groups<T> {
    fn new(n: usize) -> Self {
        Groups { counts: vec![0; n], items: Vec::new(), ends: Vec::new(), pulls: Vec::new() }
    }

    #[allow(clippy::cast_possible_truncation)] // fewer than 2³² pulls
    fn fill(&mut self, lists: &[Vec<Pull<T>>]) {
        self.items.clear();
        self.ends.clear();
        for pull in lists.iter().flatten() {
            let count = &mut self.counts[pull.item as usize];
            if *count == 0 {
                self.items.push(pull.item);
            }
            *count += 1;
        }
        let mut end = 0;
        for &item in &self.items {
            let count = std::mem::replace(&mut self.counts[item as usize], end as u32);
            self.ends.push(end); // the beginning, until it is filled
            end += count as usize;
        }
        self.pulls.resize(end, (0, T::ZERO));
        for pull in lists.iter().flatten() {
            let next = &mut self.counts[pull.item as usize];
            self.pulls[*next as usize] = (pull.place, pull.weight);
            *next += 1;
        }
        for (end, &item) in self.ends.iter_mut().zip(&self.items) {
            *end = std::mem::take(&mut self.counts[item as usize]) as usize;
        }
    }

    fn of(&self, place: usize) -> &[(u32, T)] {
        let first = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.pulls[first..self.ends[place]]
    }
}

/// What a thread keeps between users.
struct Scratch<T: Element> {
    /// x of a few users and all draws.
    x: Vec<T>,
    /// A gradient.
    g: Buffer<T>,
}

/// Factors and sums that threads share.
type Rows<'a, 'b, T> = (&'b Shared<'a, T>, &'b Shared<'a, T>);

/// A few users of a block.
struct Users<'a, 'b, T: Element> {
    epoch: &'b Epoch<'b>,
    first: usize,
    names: &'b [u32],
    before: &'b [T],
    turned: &'b [T],
    drawn: &'b [u32],
    items: &'b [T],
    rows: Rows<'a, 'b, T>,
    pulls: &'b mut Vec<Pull<T>>,
    scratch: &'b mut Scratch<T>,
}

impl<T: Element> Kernel<T> for Users<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // places of a block
    fn call<S: Simd<Elem = T>>(self, simd: S) {
        let Epoch { cells, stride, step, .. } = *self.epoch;
        let Scratch { x, g } = self.scratch;
        let width = x.len() / HEIGHT;
        products(simd, &self.before[self.first * stride..][..HEIGHT * stride], self.turned, stride, x);
        let margin = T::from_f64(step.margin);
        for (row, &u) in self.names.iter().enumerate() {
            let (u, place) = (u as usize, (self.first + row) as u32);
            let own = cells.row(u);
            if own.is_empty() {
                continue;
            }
            g.fill(T::ZERO);
            let mut total = 0.0;
            for cell in own.clone() {
                let (i, c) = (cells.indices[cell], cells.weights.map_or(1.0, |c| f64::from(c[cell])));
                total += c;
                let weight = T::from_f64(-c);
                add(simd, weight, &self.items[i as usize * stride..][..stride], g);
                self.pulls.push(Pull { item: i, place, weight });
            }
            let weight = T::from_f64(total * step.weight / self.drawn.len() as f64);
            let positives = &cells.indices[own];
            let x = &x[row * width..][..self.drawn.len()];
            for (x, drawn) in x.chunks(MOST_LANES).zip(self.drawn.chunks(MOST_LANES)) {
                // few are above: one look at many
                if !x.iter().fold(false, |any, &x| any | (x > margin)) {
                    continue;
                }
                for (_, &item) in
                    x.iter().zip(drawn).filter(|&(&x, &j)| x > margin && !contains(positives, j))
                {
                    add(simd, weight, &self.items[item as usize * stride..][..stride], g);
                    self.pulls.push(Pull { item, place, weight });
                }
            }
            // SAFETY: no other piece has this user.
            let (to, sum) = unsafe {
                (self.rows.0.range(u * stride..(u + 1) * stride), &mut self.rows.1.range(u..u + 1)[0])
            };
            turn_row(simd, to, sum, g, T::from_f64(step.rates[0]));
        }
    }
}

/// x of `HEIGHT` rows and all draws: tile after tile, in the order of the factors.
#[inline(always)]
fn products<S: Simd>(simd: S, rows: &[S::Elem], turned: &[S::Elem], stride: usize, x: &mut [S::Elem]) {
    let tile = WIDTH * S::LANES;
    let width = x.len() / HEIGHT;
    assert!(
        rows.len() == HEIGHT * stride && turned.len() == width * stride && width.is_multiple_of(tile)
    );
    for (number, items) in turned.chunks_exact(tile * stride).enumerate() {
        let mut sums = [[simd.splat(S::Elem::ZERO); WIDTH]; HEIGHT];
        for k in 0..stride {
            // SAFETY: k < stride, and by the assertion.
            unsafe {
                let at = items.as_ptr().add(k * tile);
                let vectors: [S::V; WIDTH] = std::array::from_fn(|v| simd.load(at.add(v * S::LANES)));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = simd.splat(*rows.get_unchecked(row * stride + k));
                    for v in 0..WIDTH {
                        sums[v] = simd.fma(a, vectors[v], sums[v]);
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                // SAFETY: number · tile + tile ≤ width.
                unsafe {
                    simd.store(x.as_mut_ptr().add(row * width + number * tile + v * S::LANES), sum)
                };
            }
        }
    }
}

/// Some of the items that are pulled.
struct Items<'a, 'b, T: Element> {
    epoch: &'b Epoch<'b>,
    groups: &'b Groups<T>,
    places: std::ops::Range<usize>,
    before: &'b [T],
    rows: Rows<'a, 'b, T>,
    g: &'b mut Buffer<T>,
}

impl<T: Element> Kernel<T> for Items<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) {
        let (stride, rate) = (self.epoch.stride, T::from_f64(self.epoch.step.rates[1]));
        for place in self.places {
            self.g.fill(T::ZERO);
            for &(user, weight) in self.groups.of(place) {
                add(simd, weight, &self.before[user as usize * stride..][..stride], self.g);
            }
            let i = self.groups.items[place] as usize;
            // SAFETY: an item is in one place.
            let (to, sum) = unsafe {
                (self.rows.0.range(i * stride..(i + 1) * stride), &mut self.rows.1.range(i..i + 1)[0])
            };
            turn_row(simd, to, sum, self.g, rate);
        }
    }
}

/// to ← to + a · row, both whole vectors.
#[inline(always)]
fn add<S: Simd>(simd: S, a: S::Elem, row: &[S::Elem], to: &mut [S::Elem]) {
    assert_eq!(row.len(), to.len());
    let a = simd.splat(a);
    for (row, to) in row.chunks_exact(S::LANES).zip(to.chunks_exact_mut(S::LANES)) {
        // SAFETY: both are a vector long.
        unsafe {
            simd.store(to.as_mut_ptr(), simd.fma(a, simd.load(row.as_ptr()), simd.load(to.as_ptr())))
        };
    }
}

/// The step of a row; `g` is used up. A row without a gradient along the sphere stays.
#[inline(always)]
fn turn_row<S: Simd>(simd: S, row: &mut [S::Elem], sum: &mut S::Elem, g: &mut [S::Elem], rate: S::Elem) {
    let along = dot(simd, g, row);
    add(simd, -along, row, g);
    let square = dot(simd, g, g);
    // Written so that NaN stays.
    let moves = square > S::Elem::ZERO;
    if !moves {
        return;
    }
    *sum += square;
    add(simd, -(rate / sum.sqrt()), g, row);
    let length = dot(simd, row, row).sqrt();
    for x in row {
        *x /= length;
    }
}
