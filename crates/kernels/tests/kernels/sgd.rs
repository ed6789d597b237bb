//! Stochastic gradient descent against a naive float64 twin, on every instruction set of this machine.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{Cells, Element, Error, Grid, Isa, Parts, Rows, Run, Step, sgd_epoch};

use crate::common::{Noise, run};

const USERS: usize = 61;
const ITEMS: usize = 37;
const PARTS: usize = 4;

/// Random cells, and rows dealt into parts.
struct Instance {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
    orders: [Vec<u32>; 2],
    cuts: [Vec<i64>; 2],
}

impl Instance {
    fn new(weighted: bool) -> Self {
        let mut noise = Noise(7);
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for u in 0..USERS {
            let share = if u % 9 == 4 { -2.0 } else { -0.2 }; // some users have no cells
            indices.extend((0..ITEMS as u32).filter(|_| noise.next() < share));
            indptr.push(indices.len() as i64);
        }
        let mut order = |rows: usize| {
            let mut order: Vec<u32> = (0..rows as u32).collect();
            for place in (1..rows).rev() {
                order.swap(place, noise.below(place + 1));
            }
            order
        };
        let orders = [order(USERS), order(ITEMS)];
        Instance {
            values: indices.iter().map(|_| noise.next() as f32 * 2.0 + 3.0).collect(),
            weights: weighted.then(|| indices.iter().map(|_| noise.next() as f32 + 1.5).collect()),
            indptr,
            indices,
            orders,
            cuts: [vec![0, 20, 20, 43, USERS as i64], vec![0, 8, 17, 30, ITEMS as i64]],
        }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            indptr: &self.indptr,
            indices: &self.indices,
            values: &self.values,
            weights: self.weights.as_deref(),
        }
    }

    fn parts(&self, side: usize) -> Parts<'_> {
        Parts { order: &self.orders[side], cuts: &self.cuts[side] }
    }

    fn grid(&self, threads: usize) -> Grid {
        Grid::new(run(threads), &self.cells(), self.parts(0), self.parts(1)).unwrap()
    }
}

/// The arrays of a side.
#[derive(Clone, Debug, PartialEq)]
struct Arrays<T> {
    factors: Vec<T>,
    bias: Option<Vec<T>>,
    share: Option<Vec<T>>,
    sums: Option<Vec<T>>,
}

impl<T: Element> Arrays<T> {
    /// `options` bit by bit: biases, shares, sums.
    fn new(rows: usize, rank: usize, options: u32) -> Self {
        let mut noise = Noise((rows * rank) as u64);
        let mut many = |n: usize, low: f64| -> Vec<T> {
            (0..n).map(|_| T::from_f64(low + (noise.next() + 1.0) / 2.0)).collect()
        };
        Arrays {
            factors: many(rows * rank, -0.5),
            bias: (options & 1 > 0).then(|| many(rows, -0.5)),
            share: (options & 2 > 0).then(|| many(rows, 0.0)),
            sums: (options & 4 > 0).then(|| many(rows * 2, 1.0)),
        }
    }

    fn rows(&mut self) -> Rows<'_, T> {
        Rows {
            factors: &mut self.factors,
            bias: self.bias.as_deref_mut(),
            share: self.share.as_deref(),
            sums: self.sums.as_deref_mut(),
        }
    }

    fn all(&self) -> Vec<f64> {
        let parts = [Some(&self.factors), self.bias.as_ref(), self.sums.as_ref()];
        parts.into_iter().flatten().flatten().map(|x| x.to_f64()).collect()
    }
}

const STEP: Step = Step {
    mean: 2.5,
    rate: 0.03,
    bias_rate: 0.05,
    reg: [0.3, 0.2, 0.4],
    growth: 0.25,
    head_only: false,
    nonnegative: false,
};

/// The formulas, one cell after the other.
fn naive(
    grid: &Grid,
    diagonals: &[usize],
    rank: usize,
    s: Step,
    w: &mut Arrays<f64>,
    z: &mut Arrays<f64>,
) {
    let (b, _) = grid.parts();
    for &d in diagonals {
        for p in 0..b {
            let block = p * b + (p + d) % b;
            for t in grid.starts()[block]..grid.starts()[block + 1] {
                let [u, i, value] = grid.cells()[t];
                let (u, i) = (u as usize, i as usize);
                let c = grid.weights().map_or(1.0, |weights| f64::from(weights[t]));
                let bias = |side: &Arrays<f64>, row: usize| side.bias.as_ref().map_or(0.0, |b| b[row]);
                let (wu, zi) = (
                    w.factors[u * rank..(u + 1) * rank].to_vec(),
                    z.factors[i * rank..(i + 1) * rank].to_vec(),
                );
                let dot: f64 = wu.iter().zip(&zi).map(|(a, b)| a * b).sum();
                let g = c * (f64::from(f32::from_bits(value)) - s.mean - bias(w, u) - bias(z, i) - dot);
                for (side, row, own, other, reg) in
                    [(&mut *w, u, &wu, &zi, s.reg[0]), (&mut *z, i, &zi, &wu, s.reg[1])]
                {
                    let share = side.share.as_ref().map_or(1.0, |share| share[row]);
                    let slow =
                        |half: usize| side.sums.as_ref().map_or(1.0, |g| g[2 * row + half].sqrt());
                    let slows = [slow(0), slow(1)];
                    for k in 0..if s.head_only { rank.min(16) } else { rank } {
                        let eta = s.rate / slows[usize::from(k >= 16)];
                        let x = (own[k] + eta * g * other[k]) / (1.0 + eta * c * reg * share);
                        side.factors[row * rank + k] = if s.nonnegative { x.max(0.0) } else { x };
                    }
                    if s.nonnegative {
                        side.factors[row * rank..(row + 1) * rank]
                            .iter_mut()
                            .for_each(|x| *x = x.max(0.0));
                    }
                    if let Some(b) = &mut side.bias {
                        let eta = s.bias_rate / slows[0];
                        b[row] = (b[row] + eta * g) / (1.0 + eta * c * s.reg[2] * share);
                    }
                    if let Some(sums) = &mut side.sums {
                        for (half, range) in
                            [0..rank.min(16), rank.min(16)..rank].into_iter().enumerate()
                        {
                            let length = range.len().max(1) as f64;
                            let squares: f64 = other[range].iter().map(|x| x * x).sum();
                            if half == 0 || !s.head_only {
                                sums[2 * row + half] += s.growth * g * g * squares / length;
                            }
                        }
                    }
                }
            }
        }
    }
}

fn matches_the_twin<T: Element>(tolerance: f64) {
    let diagonals = [2, 0, 3, 1];
    for weighted in [false, true] {
        let instance = Instance::new(weighted);
        let grid = instance.grid(2);
        for rank in [1, 2, 7, 8, 15, 16, 17, 32, 63, 64, 65, 130] {
            for options in 0..8 {
                for step in [
                    STEP,
                    Step { head_only: true, ..STEP },
                    Step { nonnegative: true, mean: 0.0, ..STEP },
                ] {
                    let mut expected = (
                        Arrays::<f64>::new(USERS, rank, options),
                        Arrays::<f64>::new(ITEMS, rank, options),
                    );
                    naive(&grid, &diagonals, rank, step, &mut expected.0, &mut expected.1);
                    for isa in Isa::available() {
                        let mut w = Arrays::<T>::new(USERS, rank, options);
                        let mut z = Arrays::<T>::new(ITEMS, rank, options);
                        let rows = (w.rows(), z.rows());
                        sgd_epoch(isa, run(2), &grid, &diagonals, rank, step, rows).unwrap();
                        let found = [w.all(), z.all()].concat();
                        let twin = [expected.0.all(), expected.1.all()].concat();
                        let largest = twin.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
                        for (a, b) in found.iter().zip(&twin) {
                            assert!(
                                (a - b).abs() <= tolerance * largest,
                                "{isa:?} K = {rank} {options} {step:?}: {a} for {b}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn float32_matches_the_twin() {
    matches_the_twin::<f32>(2e-4);
}

#[test]
fn float64_matches_the_twin() {
    matches_the_twin::<f64>(1e-12);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let instance = Instance::new(true);
    let found: Vec<_> = [1, 2, 3, 8]
        .into_iter()
        .map(|threads| {
            let grid = instance.grid(threads);
            let (mut w, mut z) = (Arrays::<f32>::new(USERS, 20, 7), Arrays::<f32>::new(ITEMS, 20, 7));
            let rows = (w.rows(), z.rows());
            let isa = Isa::available()[0];
            sgd_epoch(isa, run(threads), &grid, &[0, 1, 2, 3], 20, STEP, rows).unwrap();
            (w, z)
        })
        .collect();
    assert!(found.iter().all(|other| *other == found[0]));
}

#[test]
fn every_cell_has_a_place_in_its_block() {
    let instance = Instance::new(true);
    let (grid, cells) = (instance.grid(3), instance.cells());
    let part = |side: usize, row: u32| {
        let place = instance.orders[side].iter().position(|&r| r == row).unwrap() as i64;
        (0..PARTS).find(|&p| place < instance.cuts[side][p + 1]).unwrap()
    };
    let mut seen = Vec::new();
    for block in 0..PARTS * PARTS {
        for t in grid.starts()[block]..grid.starts()[block + 1] {
            let [u, i, value] = grid.cells()[t];
            assert_eq!(block, part(0, u) * PARTS + part(1, i));
            seen.push((u, i, value, grid.weights().unwrap()[t].to_bits()));
        }
    }
    seen.sort_unstable();
    let all: Vec<_> = (0..USERS)
        .flat_map(|u| cells.row(u).map(move |c| (u as u32, c)))
        .map(|(u, c)| {
            let weight = instance.weights.as_ref().unwrap()[c].to_bits();
            (u, cells.indices[c], cells.values[c].to_bits(), weight)
        })
        .collect();
    assert_eq!(seen, all);
}

#[test]
fn broken_contracts_are_refused() {
    let instance = Instance::new(false);
    let (cells, users, items) = (instance.cells(), instance.parts(0), instance.parts(1));
    let refused = |cells: &Cells<'_>, users: Parts<'_>, items: Parts<'_>| {
        assert!(matches!(Grid::new(run(1), cells, users, items), Err(Error::Contract(_))));
    };
    refused(&cells, Parts { cuts: &[0], ..users }, items);
    refused(&cells, Parts { cuts: &[0, 20, 10, 43, 61], ..users }, items);
    refused(&cells, Parts { order: &instance.orders[0][1..], ..users }, items);
    refused(&cells, users, Parts { order: &[0; ITEMS], ..items });
    let far = vec![ITEMS as u32; instance.indices.len()];
    refused(&Cells { indices: &far, ..cells }, users, items);

    let grid = instance.grid(1);
    let isa = Isa::available()[0];
    let go = |diagonals: &[usize], w: Arrays<f64>, z: Arrays<f64>| {
        let (mut w, mut z) = (w, z);
        sgd_epoch(isa, run(1), &grid, diagonals, 3, STEP, (w.rows(), z.rows()))
    };
    let (w, z) = (Arrays::<f64>::new(USERS, 3, 7), Arrays::<f64>::new(ITEMS, 3, 7));
    assert_eq!(go(&[0], w.clone(), z.clone()), Ok(()));
    assert!(go(&[PARTS], w.clone(), z.clone()).is_err());
    assert!(go(&[0], z.clone(), w.clone()).is_err());
    assert!(go(&[0], w.clone(), Arrays { bias: None, ..z.clone() }).is_err());
    assert!(go(&[0], w.clone(), Arrays { sums: Some(vec![1.0; 2 * ITEMS - 1]), ..z }).is_err());
}

#[test]
fn it_stops_when_told() {
    let instance = Instance::new(false);
    let stop = AtomicBool::new(true);
    let told = Run::new(2, &stop);
    let made = Grid::new(told, &instance.cells(), instance.parts(0), instance.parts(1));
    assert!(matches!(made, Err(Error::Cancelled)));
    let (mut w, mut z) = (Arrays::<f32>::new(USERS, 4, 0), Arrays::<f32>::new(ITEMS, 4, 0));
    let rows = (w.rows(), z.rows());
    let stopped = sgd_epoch(Isa::Portable, told, &instance.grid(1), &[0], 4, STEP, rows);
    assert_eq!(stopped, Err(Error::Cancelled));
}
