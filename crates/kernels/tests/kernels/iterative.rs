//! The cheaper half-steps against naive float64 twins, on every instruction set of this machine.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{
    Cells, Cg, Element, Error, Isa, RowProblem, Run, Terms, solve_rows, solve_rows_cg,
    solve_rows_subspace,
};

use crate::common::{Noise, prior, prior_entry, run};

#[derive(Clone, Copy, Debug)]
enum Method {
    Exact,
    Cg(Cg),
    Subspace(usize),
}

/// One random problem and a start, owning its arrays.
struct Instance<T> {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
    fixed: Vec<T>,
    rank: usize,
    bias: bool,
    offset: Option<Vec<T>>,
    prior: Option<Vec<T>>,
    linear: Option<Vec<T>>,
    ridge: Vec<T>,
    scale: Option<Vec<T>>,
    start: (Vec<T>, Vec<T>),
}

const COLUMNS: usize = 300;
const TERMS: Terms = Terms { a0: 0.75, a1: 0.125, b0: -2.5, b1: 1.0 };

impl<T: Element> Instance<T> {
    /// `options` bit by bit: weights, bias, offset, prior, linear, linear per row, scale, of the prior the diagonal
    /// alone.
    fn new(rank: usize, lengths: &[usize], options: u32) -> Self {
        let mut noise = Noise(rank as u64 * 64 + u64::from(options));
        let has = |bit: u32| options >> bit & 1 == 1;
        let bias = has(1);
        let size = rank + usize::from(bias);
        let rows = lengths.len();
        let mut indptr = vec![0];
        for &length in lengths {
            indptr.push(indptr[indptr.len() - 1] + length as i64);
        }
        let cells = indptr[rows] as usize;
        // P = I + v vᵀ
        let v: Vec<f64> = (0..size).map(|_| noise.next()).collect();
        let entry = |i: usize, j: usize| v[i] * v[j] + f64::from(i == j);
        let prior = (0..size * size)
            .filter(|p| !has(7) || p / size == p % size)
            .map(|p| T::from_f64(entry(p / size, p % size)));
        Instance {
            indices: (0..cells).map(|_| ((noise.next() + 1.0) / 2.0 * COLUMNS as f64) as u32).collect(),
            values: (0..cells).map(|_| noise.next() as f32 * 2.5 + 2.5).collect(),
            weights: has(0).then(|| (0..cells).map(|_| noise.next() as f32 + 1.5).collect()),
            fixed: noise.many(COLUMNS * rank),
            offset: has(2).then(|| noise.many(COLUMNS)),
            prior: has(3).then(|| prior.collect()),
            linear: has(4).then(|| noise.many(if has(5) { rows * size } else { size })),
            ridge: (0..size).map(|_| T::from_f64(noise.next() * 0.5 + 1.5)).collect(),
            scale: has(6).then(|| lengths.iter().map(|&n| T::from_f64(n.max(1) as f64 * 0.2)).collect()),
            start: (noise.many(rows * rank), noise.many(if bias { rows } else { 0 })),
            indptr,
            rank,
            bias,
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
            terms: TERMS,
            prior: prior(self.prior.as_deref(), self.ridge.len()),
            linear: self.linear.as_deref(),
            ridge: &self.ridge,
            scale: self.scale.as_deref(),
        }
    }

    fn solve(&self, isa: Isa, threads: usize, method: Method) -> Result<(Vec<T>, Vec<T>), Error> {
        let (mut x, mut b) = self.start.clone();
        let bias = self.bias.then_some(&mut b[..]);
        let (run, problem) = (run(threads), self.problem());
        match method {
            Method::Exact => solve_rows(isa, run, &problem, &mut x, bias)?,
            Method::Cg(cg) => solve_rows_cg(isa, run, &problem, cg, &mut x, bias)?,
            Method::Subspace(block) => solve_rows_subspace(isa, run, &problem, block, &mut x, bias)?,
        }
        Ok((x, b))
    }

    fn size(&self) -> usize {
        self.rank + usize::from(self.bias)
    }

    /// (A, h, x at the start) of one row in float64.
    fn dense(&self, u: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let size = self.size();
        let (mut a, mut h) = (vec![0.0; size * size], vec![0.0; size]);
        if let Some(p) = &self.prior {
            let entry = |(at, a): (usize, &mut f64)| *a = prior_entry(p, size, at / size, at % size);
            a.iter_mut().enumerate().for_each(entry);
        }
        if let Some(q) = &self.linear {
            let row = if q.len() == size { 0 } else { u };
            h.iter_mut().zip(&q[row * size..]).for_each(|(h, q)| *h = q.to_f64());
        }
        let s = self.scale.as_ref().map_or(1.0, |s| s[u].to_f64());
        for k in 0..size {
            a[k * size + k] += s * self.ridge[k].to_f64();
        }
        for cell in self.indptr[u] as usize..self.indptr[u + 1] as usize {
            let i = self.indices[cell] as usize;
            let f = &self.fixed[i * self.rank..(i + 1) * self.rank];
            let f: Vec<f64> = f.iter().map(|f| f.to_f64()).chain(self.bias.then_some(1.0)).collect();
            let c = self.weights.as_ref().map_or(1.0, |w| f64::from(w[cell]));
            let v = f64::from(self.values[cell]);
            let at = c * (TERMS.a0 + TERMS.a1 * v);
            let bt =
                c * (TERMS.b0 + TERMS.b1 * v) - at * self.offset.as_ref().map_or(0.0, |o| o[i].to_f64());
            for j in 0..size {
                h[j] += bt * f[j];
                for k in 0..size {
                    a[j * size + k] += at * f[j] * f[k];
                }
            }
        }
        (a, h, self.value(u, &self.start))
    }

    fn value(&self, u: usize, (x, b): &(Vec<T>, Vec<T>)) -> Vec<f64> {
        let own = x[u * self.rank..(u + 1) * self.rank].iter();
        own.chain(b.get(u)).map(|x| x.to_f64()).collect()
    }

    /// The naive answer of one row.
    fn naive(&self, u: usize, method: Method) -> Vec<f64> {
        let (a, h, mut x) = self.dense(u);
        let size = self.size();
        if self.indptr[u] == self.indptr[u + 1] && self.linear.is_none() {
            return vec![0.0; size];
        }
        match method {
            Method::Exact => {
                x = eliminate(&a, &h, &(0..size).collect::<Vec<_>>());
            }
            Method::Cg(cg) => {
                let mut r: Vec<f64> = h.iter().zip(times(&a, &x)).map(|(h, ax)| h - ax).collect();
                let scaled =
                    |r: &[f64]| -> Vec<f64> { (0..size).map(|k| r[k] / a[k * size + k]).collect() };
                let mut p = scaled(&r);
                let mut rho = dot(&r, &p);
                let enough = cg.tol.max(T::EPSILON.to_f64()).powi(2) * rho;
                for _ in 0..cg.steps {
                    if rho <= enough {
                        break;
                    }
                    let y = times(&a, &p);
                    let alpha = rho / dot(&p, &y);
                    for k in 0..size {
                        x[k] += alpha * p[k];
                        r[k] -= alpha * y[k];
                    }
                    let z = scaled(&r);
                    let next = dot(&r, &z);
                    for k in 0..size {
                        p[k] = z[k] + next / rho * p[k];
                    }
                    rho = next;
                }
            }
            Method::Subspace(block) => {
                for first in (0..self.rank).step_by(block) {
                    let own: Vec<usize> =
                        (first..(first + block).min(self.rank)).chain(self.rank..size).collect();
                    let g: Vec<f64> = h.iter().zip(times(&a, &x)).map(|(h, ax)| h - ax).collect();
                    for (&k, step) in own.iter().zip(eliminate(&a, &g, &own)) {
                        x[k] += step;
                    }
                }
            }
        }
        x
    }

    /// ½ xᵀAx − hᵀx of one row: J as its function.
    fn objective(&self, u: usize, x: &[f64]) -> f64 {
        let (a, h, _) = self.dense(u);
        0.5 * dot(x, &times(&a, x)) - dot(&h, x)
    }

    fn rows(&self) -> usize {
        self.indptr.len() - 1
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(a: &[f64], x: &[f64]) -> Vec<f64> {
    a.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

/// x of A x = g restricted to some unknowns, by Gaussian elimination.
fn eliminate(a: &[f64], g: &[f64], own: &[usize]) -> Vec<f64> {
    let (n, size) = (own.len(), g.len());
    let mut m: Vec<Vec<f64>> = own
        .iter()
        .map(|&i| own.iter().map(|&j| a[i * size + j]).chain(std::iter::once(g[i])).collect())
        .collect();
    for i in 0..n {
        let pivot = m[i].clone();
        for row in &mut m[i + 1..] {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(&pivot).skip(i).for_each(|(x, p)| *x -= factor * p);
        }
    }
    let mut x = vec![0.0; n];
    for i in (0..n).rev() {
        let rest: f64 = (i + 1..n).map(|j| m[i][j] * x[j]).sum();
        x[i] = (m[i][n] - rest) / m[i][i];
    }
    x
}

/// Relative to the largest entry of a row.
fn tolerance<T: Element>() -> f64 {
    if size_of::<T>() == 4 { 2e-4 } else { 1e-11 }
}

fn check<T: Element>(rank: usize, lengths: &[usize], options: u32, methods: &[Method]) {
    let instance = Instance::<T>::new(rank, lengths, options);
    for &method in methods {
        let naive: Vec<_> = (0..instance.rows()).map(|u| instance.naive(u, method)).collect();
        for isa in Isa::available() {
            let one = instance.solve(isa, 1, method).expect("positive definite");
            for (u, naive) in naive.iter().enumerate() {
                let scale = naive.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
                for (x, expected) in instance.value(u, &one).iter().zip(naive) {
                    let off = (x - expected).abs() / scale;
                    assert!(
                        off <= tolerance::<T>(),
                        "{} {method:?} rank {rank} options {options:b} row {u}: off by {off:e}",
                        isa.name()
                    );
                }
            }
            for threads in [2, 3, 8] {
                let again = instance.solve(isa, threads, method).expect("positive definite");
                assert!(again == one, "{threads} threads gave other bits");
            }
        }
    }
}

const LENGTHS: [usize; 12] = [0, 1, 2, 3, 7, 8, 9, 15, 0, 60, 257, 600];
const OPTIONS: [u32; 7] = [0, 0b000_0010, 0b111_1111, 0b100_0110, 0b001_1001, 0b1111_1111, 0b1000_1001];

const fn cg(steps: usize, tol: f64) -> Method {
    Method::Cg(Cg { steps, tol })
}

#[test]
fn conjugate_gradients_equal_the_naive_twin() {
    for rank in [1, 3, 10, 17, 50, 64, 100, 128, 200] {
        for options in OPTIONS {
            let methods = [cg(1, 0.0), cg(3, 0.0), cg(5, 1e-1)];
            check::<f32>(rank, &LENGTHS, options, &methods);
            check::<f64>(rank, &LENGTHS, options, &methods);
        }
    }
}

#[test]
fn blocks_equal_the_naive_twin() {
    for rank in [1, 3, 10, 17, 50, 64, 100] {
        for options in OPTIONS {
            let methods = [Method::Subspace(1), Method::Subspace(16), Method::Subspace(33)];
            check::<f32>(rank, &LENGTHS, options, &methods);
            check::<f64>(rank, &LENGTHS, options, &methods);
        }
    }
    let methods = [Method::Subspace(32), Method::Subspace(64)];
    for rank in [128, 200] {
        check::<f32>(rank, &LENGTHS, 0b111_1111, &methods);
        check::<f64>(rank, &LENGTHS, 0b111_1111, &methods);
    }
}

#[test]
fn a_row_of_a_hundred_thousand_cells() {
    for rank in [10, 50] {
        let methods = [cg(3, 0.0), Method::Subspace(16)];
        check::<f32>(rank, &[3, 100_000, 5], 0b100_0111, &methods);
        check::<f64>(rank, &[3, 100_000, 5], 0b100_0111, &methods);
    }
}

#[test]
fn one_block_and_enough_steps_are_exact() {
    for rank in [1, 5, 16, 50] {
        for options in OPTIONS {
            let instance = Instance::<f64>::new(rank, &LENGTHS, options);
            for isa in Isa::available() {
                let exact = instance.solve(isa, 1, Method::Exact).unwrap();
                for method in [Method::Subspace(rank), Method::Subspace(1000), cg(400, 0.0)] {
                    let found = instance.solve(isa, 1, method).unwrap();
                    for u in 0..instance.rows() {
                        let (x, y) = (instance.value(u, &exact), instance.value(u, &found));
                        let scale = x.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
                        let off = x.iter().zip(&y).fold(0.0, |m: f64, (x, y)| m.max((x - y).abs()));
                        assert!(off <= 1e-9 * scale, "{method:?} rank {rank} row {u}: off by {off:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_step_raises_the_objective() {
    for options in OPTIONS {
        let instance = Instance::<f32>::new(40, &LENGTHS, options);
        for method in [cg(1, 0.0), cg(2, 0.0), cg(5, 0.0), Method::Subspace(1), Method::Subspace(16)] {
            let found = instance.solve(Isa::available()[0], 1, method).unwrap();
            for u in 0..instance.rows() {
                let before = instance.objective(u, &instance.value(u, &instance.start));
                let after = instance.objective(u, &instance.value(u, &found));
                assert!(after <= before + 1e-6 * before.abs(), "{method:?} row {u}: {before} → {after}");
            }
        }
    }
}

#[test]
fn a_matrix_that_is_not_positive_definite_names_the_smallest_row() {
    for method in [cg(3, 0.0), Method::Subspace(2), Method::Subspace(1)] {
        let mut instance = Instance::<f64>::new(4, &[5, 6, 7, 8], 0b100_0000);
        instance.scale = Some(vec![1.0, -1e6, 1.0, -1e6]);
        for threads in [1, 3] {
            let found = instance.solve(Isa::available()[0], threads, method);
            assert_eq!(found, Err(Error::Singular { row: 1 }), "{method:?}");
        }
        instance.scale = Some(vec![1.0, 1.0, f64::NAN, 1.0]);
        let found = instance.solve(Isa::available()[0], 1, method);
        assert_eq!(found, Err(Error::Singular { row: 2 }), "{method:?}");
    }
}

/// Conjugate gradients on rows of K = 3 in float32, from zero, on one thread; the cells of a row are zeros.
fn small_rows(lengths: &[usize], prior: &[f32], linear: &[f32], ridge: f32) -> Result<Vec<f32>, Error> {
    let mut instance = Instance::<f32>::new(3, lengths, 0);
    instance.fixed.fill(0.0);
    instance.prior = Some(prior.to_vec());
    instance.linear = Some(linear.to_vec());
    instance.ridge.fill(ridge);
    instance.start.0.fill(0.0);
    Ok(instance.solve(Isa::available()[0], 1, cg(3, 0.0))?.0)
}

#[test]
fn a_row_that_overflows_leaves_nothing_to_the_next() {
    // The second row's curvature is 1e-40, its step beyond float32; it is the longer one and comes first.
    let prior = [1.0, -1.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let linear = [0.0, 0.0, 1.0, 1.0, 1.0, 1e-20];
    let found = small_rows(&[1, 1000], &prior, &linear, 0.0);
    assert_eq!(found, Err(Error::Singular { row: 1 }));
}

#[test]
fn a_residual_that_overflows_is_no_solution() {
    let found = small_rows(&[1], &[0.0; 9], &[1e20, 0.0, 0.0], 1e-30);
    assert_eq!(found, Err(Error::Singular { row: 0 }));
}

#[test]
fn broken_contracts_and_cancelling_are_told() {
    for method in [cg(3, 0.0), Method::Subspace(2), Method::Subspace(0)] {
        let mut instance = Instance::<f32>::new(4, &[5, 6], 0);
        instance.indices[7] = COLUMNS as u32;
        let found = instance.solve(Isa::available()[0], 1, method);
        assert!(matches!(found, Err(Error::Contract(_))), "{method:?}: {found:?}");
        if let Method::Subspace(0) = method {
            continue;
        }
        let instance = Instance::<f32>::new(4, &[5, 6], 0);
        let (mut x, stop) = (instance.start.0.clone(), AtomicBool::new(true));
        let (run, problem) = (Run::new(1, &stop), instance.problem());
        let found = match method {
            Method::Cg(cg) => solve_rows_cg(Isa::available()[0], run, &problem, cg, &mut x, None),
            _ => solve_rows_subspace(Isa::available()[0], run, &problem, 2, &mut x, None),
        };
        assert_eq!(found, Err(Error::Cancelled));
        assert!(x == instance.start.0);
        let short = &mut x[1..];
        let run = crate::common::run(1);
        let found = match method {
            Method::Cg(cg) => solve_rows_cg(Isa::available()[0], run, &problem, cg, short, None),
            _ => solve_rows_subspace(Isa::available()[0], run, &problem, 2, short, None),
        };
        assert!(matches!(found, Err(Error::Contract(_))));
    }
}
