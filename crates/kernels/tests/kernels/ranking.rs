//! Ranking losses against a naive float64 twin, on every instruction set of this machine.

use halfstep_kernels::{
    Cells, Element, Error, Grid, Isa, Negatives, Parts, RankingLoss, RankingRows, RankingStep,
    ranking_epoch,
};

use crate::common::{Noise, run};

const USERS: usize = 43;
const ITEMS: usize = 29;
const USER_CUTS: [i64; 4] = [0, 11, 30, USERS as i64];
const ITEM_CUTS: [i64; 7] = [0, 5, 9, 15, 20, 24, ITEMS as i64];
/// (g, h) of three user parts in two steps.
const SCHEDULE: [[usize; 2]; 6] = [[0, 1], [2, 5], [4, 3], [3, 3], [1, 0], [5, 2]];

struct Instance {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    orders: [Vec<u32>; 2],
    ends: Vec<u32>,
    own: Vec<u32>,
}

impl Instance {
    fn new() -> Self {
        let mut noise = Noise(11);
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for u in 0..USERS {
            // one user has no item, one has all
            let share = [-0.4, -2.0, 2.0][if u == 5 { 1 } else { usize::from(u == 17) * 2 }];
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
        let ends = ITEM_CUTS.windows(2).flat_map(|cut| {
            let size = (cut[1] - cut[0]) as f64;
            (1..=size as u32).map(move |k| (f64::from(k * k) / (size * size) * 4_294_967_295.0) as u32)
        });
        Instance {
            values: vec![1.0; indices.len()],
            weights: indices.iter().map(|_| noise.next() as f32 + 1.5).collect(),
            ends: ends.collect(),
            own: (0..6).map(|q| 500_000_000 + q * 400_000_000).collect(),
            indptr,
            indices,
            orders,
        }
    }

    fn grid(&self, threads: usize) -> Grid {
        let cells = Cells {
            indptr: &self.indptr,
            indices: &self.indices,
            values: &self.values,
            weights: Some(&self.weights),
        };
        let users = Parts { order: &self.orders[0], cuts: &USER_CUTS };
        let items = Parts { order: &self.orders[1], cuts: &ITEM_CUTS };
        Grid::new(run(threads), &cells, users, items).unwrap()
    }

    fn negatives(&self, count: usize, popular: bool) -> Negatives<'_> {
        Negatives {
            positives: (&self.indptr, &self.indices),
            ends: popular.then_some(&self.ends),
            own: &self.own,
            count,
            seed: 0x1234_5678_9ABC_DEF0,
            epoch: 3,
            anonymous: !popular,
        }
    }

    /// The negatives of a cell, as many as there are draws for.
    fn drawn(&self, n: &Negatives<'_>, [u, i]: [u32; 2], parts: [usize; 2], wanted: usize) -> Vec<u32> {
        let row = &self.indices[self.indptr[u as usize] as usize..self.indptr[u as usize + 1] as usize];
        let mut found = Vec::new();
        for d in 0..wanted as u32 + 31 {
            let words = philox([d / 2, i, if n.anonymous { 0 } else { u }, n.epoch], n.seed);
            let at = d as usize % 2 * 2;
            let (a, b) = (words[at], words[at + 1]);
            let q = if a < self.own[parts[0]] { parts[0] } else { parts[1] };
            let (first, last) = (ITEM_CUTS[q] as usize, ITEM_CUTS[q + 1] as usize);
            let place = match n.ends {
                None => ((u64::from(b) * (last - first) as u64) >> 32) as usize,
                Some(ends) => {
                    ends[first..last].iter().filter(|&&end| end <= b).count().min(last - first - 1)
                }
            };
            let j = self.orders[1][first + place];
            if !row.contains(&j) {
                found.push(j);
            }
        }
        found
    }
}

/// Philox4x32-10, one counter at a time.
fn philox(mut c: [u32; 4], seed: u64) -> [u32; 4] {
    let mut k = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let (a, b) = (0xD251_1F53 * u64::from(c[0]), 0xCD9E_8D57 * u64::from(c[2]));
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// The arrays of a side.
#[derive(Clone, Debug, PartialEq)]
struct Arrays<T> {
    factors: Vec<T>,
    bias: Option<Vec<T>>,
    sums: Option<Vec<T>>,
}

impl<T: Element> Arrays<T> {
    fn pair(rank: usize, biased: bool, adaptive: bool) -> (Self, Self) {
        let side = |rows: usize, biased: bool| {
            let mut noise = Noise((rows * rank) as u64);
            Arrays {
                factors: noise.many(rows * rank),
                bias: biased.then(|| noise.many(rows)),
                sums: adaptive.then(|| vec![T::ONE; rows]),
            }
        };
        (side(USERS, false), side(ITEMS, biased))
    }

    fn rows(&mut self) -> RankingRows<'_, T> {
        RankingRows {
            factors: &mut self.factors,
            bias: self.bias.as_deref_mut(),
            sums: self.sums.as_deref_mut(),
        }
    }

    fn all(&self) -> Vec<f64> {
        let parts = [Some(&self.factors), self.bias.as_ref(), self.sums.as_ref()];
        parts.into_iter().flatten().flatten().map(|x| x.to_f64()).collect()
    }
}

const RANKS: [f64; 5] = [1.0, 0.7, 0.5, 0.4, 0.3];
const STEP: RankingStep<'static> = RankingStep {
    loss: RankingLoss::Bpr,
    rate: 0.05,
    reg: [0.3, 0.2, 0.4],
    growth: 3.0,
    hard: false,
    margin: 0.5,
    ranks: &RANKS,
    items_fixed: false,
};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The formulas, one cell after the other.
fn naive(
    instance: &Instance,
    grid: &Grid,
    negatives: &Negatives<'_>,
    rank: usize,
    s: RankingStep<'_>,
    (w, z): (&mut Arrays<f64>, &mut Arrays<f64>),
) -> u64 {
    let mut taken = 0;
    for (step, &parts) in SCHEDULE.iter().enumerate() {
        let block = step % 3 * 6 + parts[0];
        for t in grid.starts()[block]..grid.starts()[block + 1] {
            let [u, i, _] = grid.cells()[t];
            let c = f64::from(grid.weights().unwrap()[t]);
            let wu = w.factors[u as usize * rank..(u as usize + 1) * rank].to_vec();
            let x = |z: &Arrays<f64>, j: u32| -> f64 {
                let row = &z.factors[j as usize * rank..(j as usize + 1) * rank];
                let bias = z.bias.as_ref().map_or(0.0, |b| b[j as usize]);
                wu.iter().zip(row).map(|(a, b)| a * b).sum::<f64>() + bias
            };
            let x_i = x(z, i);
            let wanted = if s.loss == RankingLoss::Warp { RANKS.len() } else { negatives.count };
            let mut js = instance.drawn(negatives, [u, i], parts, wanted);
            js.truncate(wanted);
            let mut rows: Vec<(u32, f64, f64)> = Vec::new();
            if s.loss == RankingLoss::Warp {
                let near = js.iter().position(|&j| x(z, j) > x_i - s.margin);
                let Some(t) = near else { continue };
                rows = vec![(i, c * RANKS[t], c), (js[t], -c * RANKS[t], c)];
            } else {
                if js.is_empty() {
                    continue;
                }
                if s.hard {
                    let highest = js.iter().map(|&j| x(z, j)).fold(f64::MIN, f64::max);
                    js = vec![*js.iter().find(|&&j| x(z, j) == highest).unwrap()];
                }
                let share = c / js.len() as f64;
                let total: f64 = x_i.exp() + js.iter().map(|&j| x(z, j).exp()).sum::<f64>();
                for &j in &js {
                    let x_j = x(z, j);
                    rows.push(match s.loss {
                        RankingLoss::Logistic => (j, -sigmoid(x_j), 1.0),
                        RankingLoss::Softmax => (j, -c * x_j.exp() / total, share),
                        _ => (j, -share * sigmoid(x_j - x_i), share),
                    });
                }
                let g_i = match s.loss {
                    RankingLoss::Logistic => c * sigmoid(-x_i),
                    _ => -rows.iter().map(|row| row.1).sum::<f64>(),
                };
                rows.insert(0, (i, g_i, c));
            }
            taken += 1;
            let mut direction = vec![0.0; rank];
            for (j, g, e) in rows {
                let j = j as usize;
                let row = &mut z.factors[j * rank..(j + 1) * rank];
                let root = z.sums.as_ref().map_or(1.0, |sums| sums[j]).sqrt();
                let rate = s.rate / root;
                for k in 0..rank {
                    direction[k] += g * row[k];
                    if !s.items_fixed {
                        row[k] = (row[k] + rate * g * wu[k]) / (1.0 + rate * e * s.reg[1]);
                    }
                }
                if s.items_fixed {
                    continue;
                }
                if let Some(b) = &mut z.bias {
                    b[j] = (b[j] + rate * g) / (1.0 + rate * e * s.reg[2]);
                }
                if let Some(sums) = &mut z.sums {
                    sums[j] += s.growth * g * g * wu.iter().map(|a| a * a).sum::<f64>() / rank as f64;
                }
            }
            let root = w.sums.as_ref().map_or(1.0, |sums| sums[u as usize]).sqrt();
            let rate = s.rate / root;
            for k in 0..rank {
                w.factors[u as usize * rank + k] =
                    (wu[k] + rate * direction[k]) / (1.0 + rate * c * s.reg[0]);
            }
            if let Some(sums) = &mut w.sums {
                sums[u as usize] +=
                    s.growth * direction.iter().map(|a| a * a).sum::<f64>() / rank as f64;
            }
        }
    }
    taken
}

/// Losses, how many negatives, and whether the hardest.
const KINDS: [(RankingLoss, usize, bool); 7] = [
    (RankingLoss::Bpr, 1, false),
    (RankingLoss::Bpr, 3, false),
    (RankingLoss::Bpr, 4, true),
    (RankingLoss::Warp, 1, false),
    (RankingLoss::Logistic, 2, false),
    (RankingLoss::Logistic, 20, true),
    (RankingLoss::Softmax, 18, false),
];

fn matches_the_twin<T: Element>(tolerance: f64) {
    let instance = Instance::new();
    let grid = instance.grid(2);
    for rank in [1, 7, 16, 33, 64, 130] {
        for (number, (loss, count, hard)) in KINDS.into_iter().enumerate() {
            for options in 0..4 {
                let negatives = instance.negatives(count, options % 2 > 0);
                let step = RankingStep { loss, hard, items_fixed: options == 3, ..STEP };
                let (biased, adaptive) = ((options + number) % 3 > 0, options < 2);
                let mut expected = Arrays::<f64>::pair(rank, biased, adaptive);
                let taken =
                    naive(&instance, &grid, &negatives, rank, step, (&mut expected.0, &mut expected.1));
                assert!(taken > 20, "{taken} steps: K = {rank} {step:?}");
                let twin = [expected.0.all(), expected.1.all()].concat();
                let largest = twin.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
                for isa in Isa::available() {
                    let (mut w, mut z) = Arrays::<T>::pair(rank, biased, adaptive);
                    let rows = (w.rows(), z.rows());
                    let found =
                        ranking_epoch(isa, run(2), &grid, &SCHEDULE, &negatives, rank, step, rows)
                            .unwrap();
                    assert_eq!(found, taken, "{isa:?} K = {rank} {step:?}");
                    for (a, b) in [w.all(), z.all()].concat().iter().zip(&twin) {
                        let near = (a - b).abs() <= tolerance * largest;
                        assert!(near, "{isa:?} K = {rank} {step:?}: {a} for {b}");
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
    let instance = Instance::new();
    for (loss, count, hard) in KINDS {
        let found: Vec<_> = [1, 2, 3, 8]
            .into_iter()
            .map(|threads| {
                let grid = instance.grid(threads);
                let (mut w, mut z) = Arrays::<f32>::pair(20, true, true);
                let rows = (w.rows(), z.rows());
                let (isa, step) = (Isa::available()[0], RankingStep { loss, hard, ..STEP });
                let negatives = instance.negatives(count, true);
                let taken =
                    ranking_epoch(isa, run(threads), &grid, &SCHEDULE, &negatives, 20, step, rows)
                        .unwrap();
                (taken, w, z)
            })
            .collect();
        assert!(found.iter().all(|other| *other == found[0]));
    }
}

#[test]
fn broken_contracts_are_refused() {
    let instance = Instance::new();
    let grid = instance.grid(1);
    let good = instance.negatives(1, true);
    let (w, z) = Arrays::<f64>::pair(3, true, true);
    let go =
        |schedule: &[[usize; 2]], negatives: &Negatives<'_>, step: RankingStep<'_>, z: Arrays<f64>| {
            let (mut w, mut z) = (w.clone(), z);
            let rows = (w.rows(), z.rows());
            ranking_epoch(Isa::available()[0], run(1), &grid, schedule, negatives, 3, step, rows)
        };
    let refused = |outcome| assert!(matches!(outcome, Err(Error::Contract(_))), "{outcome:?}");
    assert!(go(&SCHEDULE, &good, STEP, z.clone()).is_ok());
    let shared = [[0, 1], [2, 1], [4, 5]];
    refused(go(&shared, &good, STEP, z.clone()));
    assert!(go(&shared, &good, RankingStep { items_fixed: true, ..STEP }, z.clone()).is_ok());
    refused(go(&[[0, 6], [2, 1], [4, 5]], &good, STEP, z.clone()));
    refused(go(&SCHEDULE[1..], &good, STEP, z.clone()));
    refused(go(&SCHEDULE, &Negatives { own: &instance.own[1..], ..good }, STEP, z.clone()));
    refused(go(&SCHEDULE, &Negatives { ends: Some(&instance.ends[1..]), ..good }, STEP, z.clone()));
    refused(go(&SCHEDULE, &Negatives { count: 0, ..good }, STEP, z.clone()));
    refused(go(&SCHEDULE, &Negatives { positives: (&[0, 0], &[]), ..good }, STEP, z.clone()));
    let warp = RankingStep { loss: RankingLoss::Warp, ranks: &[], ..STEP };
    refused(go(&SCHEDULE, &good, warp, z.clone()));
    let softmax = RankingStep { loss: RankingLoss::Softmax, hard: true, ..STEP };
    refused(go(&SCHEDULE, &good, softmax, z.clone()));
    refused(go(&SCHEDULE, &good, STEP, Arrays { sums: None, ..z.clone() }));
    refused(go(&SCHEDULE, &good, STEP, Arrays { bias: Some(vec![0.0; 3]), ..z }));
}
