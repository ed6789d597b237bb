//! The cosine contrastive loss against a naive float64 twin, on every instruction set of this machine.

use halfstep_kernels::{Cells, CosineBlocks, CosineRows, CosineStep, Element, Error, Isa, cosine_epoch};

use crate::common::{Noise, run};

const USERS: usize = 43;
const ITEMS: usize = 71;
const SIZE: usize = 17;
const DRAWS: usize = 37;
const STEP: CosineStep =
    CosineStep { margin: 0.15, weight: 20.0, rates: [0.6, 0.3], items_fixed: false };

struct Instance {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    order: Vec<u32>,
    drawn: Vec<u32>,
}

impl Instance {
    fn new() -> Self {
        let mut noise = Noise(5);
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for u in 0..USERS {
            // one user has no item, one has all
            let share = [-0.8, -2.0, 2.0][if u == 5 { 1 } else { usize::from(u == 17) * 2 }];
            indices.extend((0..ITEMS as u32).filter(|_| noise.next() < share));
            indptr.push(indices.len() as i64);
        }
        let mut order: Vec<u32> = (0..USERS as u32).collect();
        for place in (1..USERS).rev() {
            order.swap(place, noise.below(place + 1));
        }
        Instance {
            values: vec![1.0; indices.len()],
            weights: indices.iter().map(|_| noise.next() as f32 + 1.5).collect(),
            drawn: (0..USERS.div_ceil(SIZE) * DRAWS).map(|_| noise.below(ITEMS) as u32).collect(),
            indptr,
            indices,
            order,
        }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            indptr: &self.indptr,
            indices: &self.indices,
            values: &self.values,
            weights: Some(&self.weights),
        }
    }

    fn blocks(&self) -> CosineBlocks<'_> {
        CosineBlocks { order: &self.order, size: SIZE, drawn: &self.drawn }
    }
}

/// Unit rows, and no sums yet.
#[derive(Clone)]
struct Arrays<T> {
    factors: Vec<T>,
    sums: Vec<T>,
}

impl<T: Element> Arrays<T> {
    fn new(rows: usize, rank: usize) -> Self {
        let mut factors = Noise((rows * rank) as u64).many::<f64>(rows * rank);
        for row in factors.chunks_mut(rank) {
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter_mut().for_each(|x| *x /= length);
        }
        Arrays { factors: factors.into_iter().map(T::from_f64).collect(), sums: vec![T::ZERO; rows] }
    }

    fn rows(&mut self) -> CosineRows<'_, T> {
        CosineRows { factors: &mut self.factors, sums: &mut self.sums }
    }

    fn all(&self) -> Vec<f64> {
        self.factors.iter().chain(&self.sums).map(|x| x.to_f64()).collect()
    }
}

/// The formulas, one block after the other.
fn naive(instance: &Instance, rank: usize, step: CosineStep, w: &mut Arrays<f64>, z: &mut Arrays<f64>) {
    for (number, block) in instance.order.chunks(SIZE).enumerate() {
        let (old_w, old_z) = (w.factors.clone(), z.factors.clone());
        let mut pull = vec![0.0; ITEMS * rank];
        for &u in block {
            let u = u as usize;
            let row = &old_w[u * rank..(u + 1) * rank];
            let own = instance.indptr[u] as usize..instance.indptr[u + 1] as usize;
            let total: f64 = instance.weights[own.clone()].iter().map(|&c| f64::from(c)).sum();
            let mut pulled: Vec<(usize, f64)> = own
                .clone()
                .map(|t| (instance.indices[t] as usize, -f64::from(instance.weights[t])))
                .collect();
            for &j in &instance.drawn[number * DRAWS..(number + 1) * DRAWS] {
                let other = &old_z[j as usize * rank..(j as usize + 1) * rank];
                let x: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                if x > step.margin && !instance.indices[own.clone()].contains(&j) {
                    pulled.push((j as usize, total * step.weight / DRAWS as f64));
                }
            }
            let mut g = vec![0.0; rank];
            for (j, a) in pulled {
                for k in 0..rank {
                    g[k] += a * old_z[j * rank + k];
                    pull[j * rank + k] += a * row[k];
                }
            }
            turn(&mut w.factors[u * rank..(u + 1) * rank], &mut w.sums[u], &g, step.rates[0]);
        }
        for j in (0..ITEMS).filter(|_| !step.items_fixed) {
            let row = j * rank..(j + 1) * rank;
            turn(&mut z.factors[row.clone()], &mut z.sums[j], &pull[row], step.rates[1]);
        }
    }
}

fn turn(row: &mut [f64], sum: &mut f64, g: &[f64], rate: f64) {
    let along: f64 = g.iter().zip(&*row).map(|(a, b)| a * b).sum();
    let q: Vec<f64> = g.iter().zip(&*row).map(|(a, b)| a - along * b).collect();
    let square: f64 = q.iter().map(|a| a * a).sum();
    if square == 0.0 {
        return;
    }
    *sum += square;
    row.iter_mut().zip(&q).for_each(|(x, q)| *x -= rate / sum.sqrt() * q);
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter_mut().for_each(|x| *x /= length);
}

fn matches_the_twin<T: Element>(tolerance: f64) {
    let instance = Instance::new();
    for rank in [3, 7, 16, 33, 64, 130] {
        for items_fixed in [false, true] {
            let step = CosineStep { items_fixed, ..STEP };
            let (mut w, mut z) = (Arrays::<f64>::new(USERS, rank), Arrays::<f64>::new(ITEMS, rank));
            naive(&instance, rank, step, &mut w, &mut z);
            let twin = [w.all(), z.all()].concat();
            for isa in Isa::available() {
                let (mut w, mut z) = (Arrays::<T>::new(USERS, rank), Arrays::<T>::new(ITEMS, rank));
                let rows = (w.rows(), z.rows());
                cosine_epoch(isa, run(2), &instance.cells(), instance.blocks(), rank, step, rows)
                    .unwrap();
                for (a, b) in [w.all(), z.all()].concat().iter().zip(&twin) {
                    let near = (a - b).abs() <= tolerance * b.abs().max(1.0);
                    assert!(near, "{isa:?} K = {rank} {step:?}: {a} for {b}");
                }
            }
        }
    }
}

#[test]
fn float32_matches_the_twin() {
    matches_the_twin::<f32>(2e-3);
}

#[test]
fn float64_matches_the_twin() {
    matches_the_twin::<f64>(1e-10);
}

#[test]
fn threads_do_not_reach_the_result() {
    let instance = Instance::new();
    let found = [1, 2, 3, 8].map(|threads| {
        let (mut w, mut z) = (Arrays::<f32>::new(USERS, 33), Arrays::<f32>::new(ITEMS, 33));
        let isa = Isa::available()[0];
        let rows = (w.rows(), z.rows());
        cosine_epoch(isa, run(threads), &instance.cells(), instance.blocks(), 33, STEP, rows).unwrap();
        [w.all(), z.all()].concat().into_iter().map(f64::to_bits).collect::<Vec<_>>()
    });
    assert!(found.iter().all(|bits| *bits == found[0]));
}

#[test]
fn broken_contracts_are_told() {
    let instance = Instance::new();
    let go = |blocks: CosineBlocks<'_>, users: usize| {
        let (mut w, mut z) = (Arrays::<f32>::new(users, 4), Arrays::<f32>::new(ITEMS, 4));
        let rows = (w.rows(), z.rows());
        cosine_epoch(Isa::available()[0], run(1), &instance.cells(), blocks, 4, STEP, rows)
    };
    assert_eq!(go(instance.blocks(), USERS), Ok(()));
    let good = instance.blocks();
    let (twice, outside) = ([3, 3], [ITEMS as u32]);
    for (blocks, users) in [
        (good, USERS + 1),
        (CosineBlocks { order: &twice, drawn: &good.drawn[..DRAWS], ..good }, USERS),
        (CosineBlocks { size: 0, ..good }, USERS),
        (CosineBlocks { drawn: &good.drawn[1..], ..good }, USERS),
        (CosineBlocks { order: &good.order[..SIZE], drawn: &outside, ..good }, USERS),
    ] {
        assert!(matches!(go(blocks, users), Err(Error::Contract(_))));
    }
}
