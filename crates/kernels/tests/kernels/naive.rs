//! Every kernel against a naive float64 twin, on every instruction set of this machine.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{
    Cells, Element, Error, Isa, Model, Ranking, RowProblem, Run, Terms, gram, predict, solve_rows,
    squared_error, topk,
};
use proptest::prelude::*;

use crate::common::{Noise, prior, prior_entry, run};

/// One random problem, owning its arrays.
struct Instance<T> {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
    fixed: Vec<T>,
    rank: usize,
    bias: bool,
    offset: Option<Vec<T>>,
    terms: Terms,
    prior: Option<Vec<T>>,
    linear: Option<Vec<T>>,
    ridge: Vec<T>,
    scale: Option<Vec<T>>,
}

impl<T: Element> Instance<T> {
    /// `options` bit by bit: weights, bias, offset, prior, linear, linear per row, scale, other terms, one ridge
    /// for all factors, a diagonal prior in place of a dense one.
    fn new(rank: usize, columns: usize, lengths: &[usize], options: u32, seed: u64) -> Self {
        let mut noise = Noise(seed);
        let has = |bit: u32| options >> bit & 1 == 1;
        let bias = has(1);
        let unknowns = rank + usize::from(bias);
        let mut indptr = vec![0];
        let mut indices = Vec::new();
        for &length in lengths {
            indices.extend((0..length).map(|_| noise.below(columns) as u32));
            indptr.push(indices.len() as i64);
        }
        let cells = indices.len();
        let prior = has(3).then(|| {
            let half: Vec<f64> = (0..unknowns * unknowns).map(|_| noise.next()).collect();
            let dot = |i: usize, j: usize| -> f64 {
                (0..unknowns).map(|k| half[i * unknowns + k] * half[j * unknowns + k]).sum()
            };
            if has(9) {
                return (0..unknowns).map(|k| T::from_f64(dot(k, k) / unknowns as f64)).collect();
            }
            (0..unknowns * unknowns)
                .map(|p| T::from_f64(dot(p / unknowns, p % unknowns) / unknowns as f64))
                .collect()
        });
        let rows = if has(5) { lengths.len() } else { 1 };
        Instance {
            values: (0..cells).map(|_| noise.next() as f32 * 2.5 + 2.5).collect(),
            weights: has(0).then(|| (0..cells).map(|_| noise.next() as f32 + 1.5).collect()),
            fixed: noise.many(columns * rank),
            offset: has(2).then(|| noise.many(columns)),
            terms: if has(7) {
                Terms { a0: 0.25, a1: 0.5, b0: 1.0, b1: 0.75 }
            } else {
                Terms { a0: 1.0, a1: 0.0, b0: -2.5, b1: 1.0 }
            },
            linear: has(4).then(|| noise.many(rows * unknowns)),
            ridge: {
                let one = has(8).then(|| T::from_f64(noise.next() * 0.5 + 1.5));
                let other = |_| T::from_f64(noise.next() * 0.5 + 1.5);
                let mut ridge: Vec<T> = (0..unknowns).map(other).collect();
                if let Some(one) = one {
                    ridge[..rank].fill(one);
                }
                ridge
            },
            scale: has(6).then(|| lengths.iter().map(|&n| T::from_f64(n.max(1) as f64 * 0.2)).collect()),
            indptr,
            indices,
            rank,
            bias,
            prior,
        }
    }

    fn problem(&self) -> RowProblem<'_, T> {
        RowProblem {
            cells: Cells {
                indptr: &self.indptr,
                indices: &self.indices,
                values: &self.values,
                weights: self.weights.as_deref(),
            },
            fixed: &self.fixed,
            rank: self.rank,
            offset: self.offset.as_deref(),
            terms: self.terms,
            prior: prior(self.prior.as_deref(), self.ridge.len()),
            linear: self.linear.as_deref(),
            ridge: &self.ridge,
            scale: self.scale.as_deref(),
        }
    }

    fn solve(&self, isa: Isa, threads: usize) -> Result<(Vec<T>, Vec<T>), Error> {
        let rows = self.indptr.len() - 1;
        let mut x = vec![T::ZERO; rows * self.rank];
        let mut b = vec![T::ZERO; if self.bias { rows } else { 0 }];
        let bias = self.bias.then_some(&mut b[..]);
        solve_rows(isa, run(threads), &self.problem(), &mut x, bias)?;
        Ok((x, b))
    }

    /// The dense float64 system of one row: (A, right-hand side, Σ |terms| of the right-hand side).
    fn dense(&self, u: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let size = self.rank + usize::from(self.bias);
        let mut a = vec![0.0; size * size];
        let mut q = vec![0.0; size];
        if let Some(p) = &self.prior {
            let entry = |(at, a): (usize, &mut f64)| *a = prior_entry(p, size, at / size, at % size);
            a.iter_mut().enumerate().for_each(entry);
        }
        if let Some(l) = &self.linear {
            let row = if l.len() == size { 0 } else { u };
            q.iter_mut().zip(&l[row * size..]).for_each(|(q, l)| *q = l.to_f64());
        }
        let mut magnitude: Vec<f64> = q.iter().map(|q| q.abs()).collect();
        let s = self.scale.as_ref().map_or(1.0, |s| s[u].to_f64());
        for k in 0..size {
            a[k * size + k] += s * self.ridge[k].to_f64();
        }
        for cell in self.indptr[u] as usize..self.indptr[u + 1] as usize {
            let i = self.indices[cell] as usize;
            let mut f: Vec<f64> =
                self.fixed[i * self.rank..(i + 1) * self.rank].iter().map(|f| f.to_f64()).collect();
            if self.bias {
                f.push(1.0);
            }
            let c = self.weights.as_ref().map_or(1.0, |w| f64::from(w[cell]));
            let v = f64::from(self.values[cell]);
            let at = c * (self.terms.a0 + self.terms.a1 * v);
            let offset = self.offset.as_ref().map_or(0.0, |o| o[i].to_f64());
            let bt = c * (self.terms.b0 + self.terms.b1 * v) - at * offset;
            for j in 0..size {
                q[j] += bt * f[j];
                magnitude[j] += (bt * f[j]).abs();
                for k in 0..size {
                    a[j * size + k] += at * f[j] * f[k];
                }
            }
        }
        (a, q, magnitude)
    }

    /// The largest residual |A x − q| relative to Σ |A| |x| + |q|, over all rows.
    fn residual(&self, x: &[T], b: &[T]) -> f64 {
        let size = self.rank + usize::from(self.bias);
        let mut worst = 0.0_f64;
        for u in 0..self.indptr.len() - 1 {
            let own = &x[u * self.rank..(u + 1) * self.rank];
            let mut solution: Vec<f64> = own.iter().map(|x| x.to_f64()).collect();
            if self.bias {
                solution.push(b[u].to_f64());
            }
            if self.indptr[u] == self.indptr[u + 1] && self.linear.is_none() {
                assert!(solution.iter().all(|&x| x == 0.0), "an empty row is zero");
                continue;
            }
            let (a, q, magnitude) = self.dense(u);
            for j in 0..size {
                let terms: Vec<f64> = (0..size).map(|k| a[j * size + k] * solution[k]).collect();
                let off = (terms.iter().sum::<f64>() - q[j]).abs();
                let scale = terms.iter().map(|t| t.abs()).sum::<f64>() + magnitude[j];
                worst = worst.max(off / scale.max(1e-30));
            }
        }
        worst
    }
}

fn check_rows<T: Element>(rank: usize, lengths: &[usize], options: u32, seed: u64) {
    let instance = Instance::<T>::new(rank, 300, lengths, options, seed);
    let allowed = 64.0 * T::EPSILON.to_f64() * (rank as f64).sqrt();
    for isa in Isa::available() {
        let one = instance.solve(isa, 1).expect("well conditioned");
        let off = instance.residual(&one.0, &one.1);
        assert!(off <= allowed, "{} rank {rank} options {options:b}: residual {off:e}", isa.name());
        for threads in [2, 3, 8] {
            let again = instance.solve(isa, threads).expect("well conditioned");
            assert!(again == one, "{threads} threads gave other bits");
        }
    }
}

const LENGTHS: [usize; 14] = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 127, 129, 700];
const RANKS: [usize; 22] =
    [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 47, 50, 63, 64, 65, 100, 130];

#[test]
fn rows_of_every_rank_equal_the_naive_twin() {
    for rank in RANKS {
        for options in [0, 0b10, 0b1111_1111, 0b0000_0110, 0b0111_1001, 0b10_1111_1111, 0b10_0111_1001] {
            check_rows::<f32>(rank, &LENGTHS, options, rank as u64);
            check_rows::<f64>(rank, &LENGTHS, options, rank as u64);
        }
    }
}

/// Where one ridge serves all factors, rows of few cells are solved by their dual.
#[test]
fn rows_of_few_cells_equal_the_naive_twin() {
    let lengths: Vec<usize> = (0..8).chain([15, 16, 17, 31, 32, 33, 48, 63, 64, 80, 96, 97]).collect();
    for rank in [15, 16, 17, 31, 32, 33, 50, 64, 100, 128] {
        for options in [0, 0b10, 0b110, 0b100_0110, 0b1000_0010] {
            check_rows::<f32>(rank, &lengths, options | 1 << 8, rank as u64);
            check_rows::<f64>(rank, &lengths, options | 1 << 8, rank as u64);
        }
    }
}

/// With weights, other terms, ridges that differ, a diagonal prior: the dual whose cells and unknowns are scaled.
#[test]
fn scaled_rows_of_few_cells_equal_the_naive_twin() {
    let lengths: Vec<usize> = (0..8).chain([15, 16, 17, 31, 32, 33, 48, 63, 64, 80, 96, 97]).collect();
    for rank in [1, 2, 15, 16, 17, 31, 32, 33, 50, 64, 100, 128] {
        for options in [0b1, 0b1000_0001, 0b10_0000_1000, 0b10_1100_1001, 0b10_1100_1111, 0b1_0010] {
            check_rows::<f32>(rank, &lengths, options, rank as u64);
            check_rows::<f64>(rank, &lengths, options, rank as u64);
        }
    }
}

/// A weight of 0 or less, an entry of D of 0: the primal system, where there is one.
#[test]
fn rows_without_a_dual_are_solved_all_the_same() {
    for rank in [16, 33, 64] {
        let lengths = [1, 5, 16, 30];
        for options in [0b1, 0b11, 0b10_1100_1011] {
            let mut instance = Instance::<f64>::new(rank, 300, &lengths, options, 3);
            let weights = instance.weights.as_mut().expect("weights");
            weights.iter_mut().step_by(3).for_each(|c| *c = 0.0);
            weights[7] = -1e-3;
            for isa in Isa::available() {
                let (x, b) = instance.solve(isa, 1).expect("well conditioned");
                assert!(instance.residual(&x, &b) <= 1e-12, "{} {options:b}", isa.name());
            }
            instance.ridge[rank - 1] = 0.0;
            for isa in Isa::available() {
                let found = instance.solve(isa, 2);
                if instance.prior.is_none() {
                    assert_eq!(found.err(), Some(Error::Singular { row: 0 }));
                } else {
                    let (x, b) = found.expect("P has an entry there");
                    assert!(instance.residual(&x, &b) <= 1e-12);
                }
            }
        }
    }
}

/// Weights of 1 and a prior of 0 say nothing: the scaled dual is the plain one, to rounding.
#[test]
fn the_scaled_dual_equals_the_plain_one() {
    for options in [1 << 8, 0b1_0100_0010] {
        let mut instance = Instance::<f64>::new(40, 300, &[1, 2, 9, 17, 30], options, 5);
        for isa in Isa::available() {
            let (x, b) = instance.solve(isa, 1).unwrap();
            instance.weights = Some(vec![1.0; instance.indices.len()]);
            instance.prior = Some(vec![0.0; instance.ridge.len()]);
            let (y, c) = instance.solve(isa, 1).unwrap();
            instance.weights = None;
            instance.prior = None;
            for (x, y) in x.iter().chain(&b).zip(y.iter().chain(&c)) {
                assert!((x - y).abs() <= 1e-13 * (1.0 + x.abs()), "{}: {x} {y}", isa.name());
            }
        }
    }
}

/// Whole vectors are read: beyond the end of a row of F, so of what follows it.
#[test]
fn what_follows_a_row_does_not_matter() {
    for rank in [3, 17, 20, 33, 50] {
        for (options, lengths) in [(0b10, [90, 9]), (1 << 8, [90, 9]), (0b10_0000_1001, [90, 9])] {
            let mut instance = Instance::<f32>::new(rank, 40, &lengths, options, 5);
            instance.indices.iter_mut().for_each(|i| *i = *i / 2 * 2);
            let expected = instance.solve(Isa::available()[0], 1).unwrap();
            for follows in [f32::MAX, f32::INFINITY, f32::NAN] {
                for odd in instance.fixed.chunks_exact_mut(rank).skip(1).step_by(2) {
                    odd.fill(follows);
                }
                assert!(instance.solve(Isa::available()[0], 1).unwrap() == expected, "rank {rank}");
            }
            for isa in Isa::available() {
                instance.solve(isa, 2).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_rows_equal_the_naive_twin(
        rank in 1_usize..70,
        lengths in prop::collection::vec(0_usize..400, 1..12),
        options in 0_u32..512,
        seed in any::<u64>(),
    ) {
        check_rows::<f32>(rank, &lengths, options, seed);
        check_rows::<f64>(rank, &lengths, options, seed);
    }

    #[test]
    fn rankings_equal_a_full_sort(
        queries in 1_usize..40,
        items in 0_usize..120,
        n in 1_usize..20,
        options in 0_u32..16,
        seed in any::<u64>(),
    ) {
        check_topk::<f32>(queries, items, n, options, seed);
        check_topk::<f64>(queries, items, n, options, seed);
    }
}

/// Small integers as factors, so that scores are exact and ties are many.
fn check_topk<T: Element>(queries: usize, items: usize, n: usize, options: u32, seed: u64) {
    let rank = 5;
    let mut noise = Noise(seed);
    let mut whole =
        |n: usize| -> Vec<T> { (0..n).map(|_| T::from_f64((noise.next() * 2.0).round())).collect() };
    let (q, z, bias) = (whole(queries * rank), whole(items * rank), whole(items));
    let mut lists = || {
        let mut offsets = vec![0_i64];
        let mut listed = Vec::new();
        for _ in 0..queries {
            listed.extend((0..items as u32).filter(|_| noise.next() > 0.3));
            offsets.push(listed.len() as i64);
        }
        (offsets, listed)
    };
    let (exclude, candidates) = (lists(), lists());
    let allow: Vec<bool> = (0..items).map(|i| i % 3 != 1).collect();
    let has = |bit: u32| options >> bit & 1 == 1;
    let ranking = Ranking {
        rank,
        queries: &q,
        items: &z,
        item_bias: has(0).then_some(&bias[..]),
        exclude: has(1).then_some((&exclude.0[..], &exclude.1[..])),
        candidates: has(2).then_some((&candidates.0[..], &candidates.1[..])),
        allow: has(3).then_some(&allow[..]),
        n,
    };
    let expected = |u: usize| -> Vec<(f64, usize)> {
        let inside = |list: &(Vec<i64>, Vec<u32>), i: usize| {
            list.1[list.0[u] as usize..list.0[u + 1] as usize].contains(&(i as u32))
        };
        let score = |i: usize| -> f64 {
            let dot: f64 = (0..rank).map(|k| q[u * rank + k].to_f64() * z[i * rank + k].to_f64()).sum();
            (dot + if has(0) { bias[i].to_f64() } else { 0.0 }) + 0.0 // never -0
        };
        let mut all: Vec<(f64, usize)> = (0..items)
            .filter(|&i| !has(1) || !inside(&exclude, i))
            .filter(|&i| !has(2) || inside(&candidates, i))
            .filter(|&i| !has(3) || allow[i])
            .map(|i| (score(i), i))
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all
    };
    for isa in Isa::available() {
        for threads in [1, 3] {
            let mut index = vec![7_i64; queries * n];
            let mut score = vec![T::ZERO; queries * n];
            topk(isa, run(threads), &ranking, &mut index, &mut score).unwrap();
            for u in 0..queries {
                let expected = expected(u);
                for place in 0..n {
                    let (i, s) = (index[u * n + place], score[u * n + place].to_f64());
                    match expected.get(place) {
                        Some(&(wanted, item)) => {
                            // -0 and 0 are one score
                            assert!(i == item as i64 && s == wanted, "{}", isa.name());
                        }
                        None => assert!(i == -1 && s.is_nan()),
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_of_a_million_ratings() {
    for options in [0b10, 0b11] {
        let instance = Instance::<f32>::new(9, 5000, &[3, 1_000_000, 0, 65_536, 65_537], options, 1);
        for isa in Isa::available() {
            let one = instance.solve(isa, 1).unwrap();
            assert!(instance.residual(&one.0, &one.1) < 2e-5);
            assert!(instance.solve(isa, 2).unwrap() == one);
        }
    }
}

#[test]
fn a_singular_row_is_named() {
    let mut instance = Instance::<f32>::new(6, 50, &[40, 2, 40, 1, 40], 0b10, 3);
    instance.ridge.fill(0.0);
    for isa in Isa::available() {
        for threads in [1, 2, 8] {
            assert_eq!(instance.solve(isa, threads), Err(Error::Singular { row: 1 }));
        }
    }
    instance.fixed.fill(f32::NAN);
    instance.ridge.fill(1.0);
    for isa in Isa::available() {
        assert_eq!(instance.solve(isa, 2), Err(Error::Singular { row: 0 }));
    }
}

#[test]
fn broken_contracts_are_errors() {
    let whole = Instance::<f64>::new(3, 20, &[4, 5], 0, 4);
    assert!(whole.solve(Isa::Portable, 1).is_ok());
    let broken: [fn(&mut Instance<f64>); 9] = [
        |i| i.indices[2] = 20,
        |i| i.indptr[1] = -1,
        |i| i.indptr[2] = 8,
        |i| i.indptr[0] = 1,
        |i| i.values.truncate(3),
        |i| i.ridge.truncate(2),
        |i| i.fixed.truncate(59),
        |i| i.offset = Some(vec![0.0; 3]),
        |i| i.scale = Some(vec![1.0; 5]),
    ];
    for change in broken {
        let mut instance = Instance::<f64>::new(3, 20, &[4, 5], 0, 4);
        change(&mut instance);
        assert!(matches!(instance.solve(Isa::Portable, 1), Err(Error::Contract(_))));
    }
}

#[test]
fn no_rows_at_all() {
    let instance = Instance::<f32>::new(4, 10, &[], 0b10, 5);
    assert!(instance.solve(Isa::Portable, 2).unwrap().0.is_empty());
}

#[test]
fn cancelled_work_stops() {
    let stop = AtomicBool::new(true);
    let instance = Instance::<f32>::new(8, 100, &[50; 100], 0, 6);
    let mut out = vec![0.0; 800];
    let outcome = solve_rows(Isa::Portable, Run::new(2, &stop), &instance.problem(), &mut out, None);
    assert_eq!(outcome, Err(Error::Cancelled));
}

#[test]
fn work_stops_inside_a_long_row() {
    // Several seconds of work in one row: only a check inside it can end it.
    static STOP: AtomicBool = AtomicBool::new(false);
    let instance = Instance::<f64>::new(512, 300, &[400_000], 0, 7);
    let mut out = vec![0.0; 512];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            STOP.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let outcome = solve_rows(Isa::Portable, Run::new(1, &STOP), &instance.problem(), &mut out, None);
        assert_eq!(outcome, Err(Error::Cancelled));
    });
}

fn check_scores<T: Element>(rank: usize) {
    let mut noise = Noise(rank as u64);
    let (m, n) = (40, 30);
    let (users, items) = (noise.many::<T>(m * rank), noise.many::<T>(n * rank));
    let (user_bias, item_bias) = (noise.many::<T>(m), noise.many::<T>(n));
    let score = |u: Option<usize>, i: Option<usize>| -> f64 {
        let dot = match (u, i) {
            (Some(u), Some(i)) => (0..rank)
                .map(|k| users[u * rank + k].to_f64() * items[i * rank + k].to_f64())
                .sum::<f64>(),
            _ => 0.0,
        };
        let b_u = u.map_or(0.0, |u| user_bias[u].to_f64());
        3.25 + dot + b_u + i.map_or(0.0, |i| item_bias[i].to_f64())
    };
    let model = Model {
        rank,
        users: &users,
        items: &items,
        user_bias: Some(&user_bias),
        item_bias: Some(&item_bias),
        mean: 3.25,
    };
    let user_index: Vec<i64> = (0..500).map(|_| noise.below(m + 1) as i64 - 1).collect();
    let item_index: Vec<i64> = (0..500).map(|_| noise.below(n + 1) as i64 - 1).collect();
    let lengths: Vec<usize> = (0..m).map(|u| u % 5 * 7).collect();
    for isa in Isa::available() {
        let mut out = vec![T::ZERO; 500];
        predict(isa, run(2), &model, &user_index, &item_index, &mut out).unwrap();
        for p in 0..500 {
            let wanted = score(usize::try_from(user_index[p]).ok(), usize::try_from(item_index[p]).ok());
            assert!((out[p].to_f64() - wanted).abs() <= 64.0 * T::EPSILON.to_f64() * rank as f64);
        }
        for weighted in [0, 1] {
            let cells = Instance::<T>::new(rank, n, &lengths, weighted, 9);
            let mut wanted = 0.0;
            for u in 0..m {
                for c in cells.indptr[u] as usize..cells.indptr[u + 1] as usize {
                    let fitted = score(Some(u), Some(cells.indices[c] as usize));
                    let weight = cells.weights.as_ref().map_or(1.0, |w| f64::from(w[c]));
                    wanted += weight * (f64::from(cells.values[c]) - fitted).powi(2);
                }
            }
            let problem = cells.problem();
            let found = squared_error(isa, run(1), &model, &problem.cells, None).unwrap();
            assert!((found - wanted).abs() <= 1e3 * T::EPSILON.to_f64() * wanted);
            for threads in [2, 3, 8] {
                let again = squared_error(isa, run(threads), &model, &problem.cells, None).unwrap();
                assert_eq!(again.to_bits(), found.to_bits());
            }
        }
    }
    assert!(predict(Isa::Portable, run(1), &model, &[40], &[0], &mut [T::ZERO]).is_err());
    assert!(predict(Isa::Portable, run(1), &model, &[0], &[-2], &mut [T::ZERO]).is_err());
}

#[test]
fn predictions_and_errors_equal_the_naive_twin() {
    for rank in RANKS {
        check_scores::<f32>(rank);
        check_scores::<f64>(rank);
    }
}

fn check_gram<T: Element>(rows: usize, rank: usize, scaled: bool) {
    let mut noise = Noise((rows * rank) as u64);
    let factors = noise.many::<T>(rows * rank);
    let scale = scaled.then(|| noise.many::<T>(rows));
    for isa in Isa::available() {
        let mut out = vec![T::ONE; rank * rank];
        gram(isa, run(1), &factors, rank, scale.as_deref(), &mut out).unwrap();
        for i in 0..rank {
            for j in 0..rank {
                let wanted: f64 = (0..rows)
                    .map(|r| {
                        let s = scale.as_ref().map_or(1.0, |s| s[r].to_f64());
                        s * factors[r * rank + i].to_f64() * factors[r * rank + j].to_f64()
                    })
                    .sum();
                // n ε Σ |terms|, and every term is below 1
                let allowed = T::EPSILON.to_f64() * (rows as f64 + 8.0) * (rows as f64).max(1.0);
                let off = (out[i * rank + j].to_f64() - wanted).abs();
                assert!(off <= allowed, "{} {rows} x {rank}: {i} {j} off by {off:e}", isa.name());
            }
        }
        let mut again = vec![T::ZERO; rank * rank];
        gram(isa, run(3), &factors, rank, scale.as_deref(), &mut again).unwrap();
        assert!(again == out);
    }
}

#[test]
fn grams_equal_the_naive_twin() {
    for (rows, rank) in [(0, 3), (1, 1), (5, 8), (130, 17), (1025, 10), (5000, 33)] {
        for scaled in [false, true] {
            check_gram::<f32>(rows, rank, scaled);
            check_gram::<f64>(rows, rank, scaled);
        }
    }
}
