//! Rows that observe every column, and factors ≥ 0, against naive float64 twins, on every instruction set.

use halfstep_kernels::{
    Cells, Element, Error, Isa, RowProblem, Terms, solve_rows, solve_rows_nonnegative,
};

use crate::common::{Noise, run};

/// One random problem of squared error, owning its arrays.
#[derive(Clone)]
struct Instance<T> {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
    fixed: Vec<T>,
    rank: usize,
    bias: bool,
    offset: Vec<T>,
    ridge: Vec<T>,
    scale: Option<Vec<T>>,
}

impl<T: Element> Instance<T> {
    /// Rows of these lengths over `columns`: where a length is that number, every column once.
    fn new(rank: usize, columns: usize, lengths: &[usize], bias: bool, seed: u64) -> Self {
        let mut noise = Noise(seed);
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for &length in lengths {
            let mut own: Vec<u32> = (0..columns as u32).collect();
            for i in 0..length {
                own.swap(i, i + noise.below(columns - i));
            }
            own.truncate(length);
            own.sort_unstable();
            indices.extend(own);
            indptr.push(indices.len() as i64);
        }
        Instance {
            values: (0..indices.len()).map(|_| noise.next() as f32 * 2.5 + 2.5).collect(),
            weights: None,
            fixed: noise.many(columns * rank),
            rank,
            bias,
            offset: noise.many(columns),
            ridge: (0..rank + usize::from(bias))
                .map(|_| T::from_f64(noise.next() * 0.5 + 1.5))
                .collect(),
            scale: None,
            indptr,
            indices,
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
            offset: Some(&self.offset),
            terms: Terms { a0: 1.0, a1: 0.0, b0: -2.5, b1: 1.0 },
            prior: None,
            linear: None,
            ridge: &self.ridge,
            scale: self.scale.as_deref(),
        }
    }

    fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    fn solve(&self, isa: Isa, threads: usize, nonnegative: bool) -> Result<(Vec<T>, Vec<T>), Error> {
        let mut x = vec![T::ONE; self.rows() * self.rank];
        let mut b = vec![T::ONE; if self.bias { self.rows() } else { 0 }];
        let bias = self.bias.then_some(&mut b[..]);
        if nonnegative {
            solve_rows_nonnegative(isa, run(threads), &self.problem(), &mut x, bias)?;
        } else {
            solve_rows(isa, run(threads), &self.problem(), &mut x, bias)?;
        }
        Ok((x, b))
    }

    /// For every unknown of a row: its value, A x − h, and the sum of the sizes of what was added up to that.
    fn slopes(&self, u: usize, x: &[T], b: &[T]) -> Vec<[f64; 3]> {
        let mut own: Vec<f64> =
            x[u * self.rank..(u + 1) * self.rank].iter().map(|x| x.to_f64()).collect();
        own.extend(b.get(u).map(|b| b.to_f64()));
        let s = self.scale.as_ref().map_or(1.0, |s| s[u].to_f64());
        let mut slopes: Vec<[f64; 3]> = own
            .iter()
            .zip(&self.ridge)
            .map(|(&x, d)| [x, s * d.to_f64() * x, s * d.to_f64() * x.abs()])
            .collect();
        for cell in self.indptr[u] as usize..self.indptr[u + 1] as usize {
            let i = self.indices[cell] as usize;
            let mut f: Vec<f64> =
                self.fixed[i * self.rank..(i + 1) * self.rank].iter().map(|f| f.to_f64()).collect();
            f.extend(self.bias.then_some(1.0));
            let c = self.weights.as_ref().map_or(1.0, |w| f64::from(w[cell]));
            let target = f64::from(self.values[cell]) - 2.5 - self.offset[i].to_f64();
            let terms: Vec<f64> = f.iter().zip(&own).map(|(f, x)| f * x).collect();
            let error = terms.iter().sum::<f64>() - target;
            let size = terms.iter().map(|t| t.abs()).sum::<f64>() + target.abs();
            for (slope, f) in slopes.iter_mut().zip(&f) {
                slope[1] += c * error * f;
                slope[2] += c * size * f.abs();
            }
        }
        slopes
    }
}

fn check_full<T: Element>(rank: usize, columns: usize, bias: bool) {
    let rows = [[columns; 4], [columns, columns / 2, 0, columns]].concat();
    let lengths: Vec<usize> = rows.iter().copied().cycle().take(101).collect();
    let mut instance = Instance::<T>::new(rank, columns, &lengths, bias, rank as u64);
    let allowed = 64.0 * T::EPSILON.to_f64() * (rank as f64).sqrt();
    for scaled in [false, true] {
        instance.scale = scaled.then(|| lengths.iter().map(|&n| T::from_f64(n.max(1) as f64)).collect());
        for isa in Isa::available() {
            let (x, b) = instance.solve(isa, 1, false).expect("well conditioned");
            for u in (0..lengths.len()).filter(|&u| lengths[u] > 0) {
                for [_, slope, size] in instance.slopes(u, &x, &b) {
                    assert!(slope.abs() <= allowed * size, "{} K = {rank}: {slope:e}", isa.name());
                }
            }
            for threads in [2, 3, 8] {
                assert!(instance.solve(isa, threads, false).unwrap() == (x.clone(), b.clone()));
            }
            // A full row has the same bits alone.
            let one = 5.min(lengths.len() - 1);
            let one = (one..).find(|&u| lengths[u] == columns).expect("there is one");
            let mut alone = instance.clone();
            let cells = instance.indptr[one] as usize..instance.indptr[one + 1] as usize;
            alone.indptr = vec![0, columns as i64];
            alone.indices = instance.indices[cells.clone()].to_vec();
            alone.values = instance.values[cells].to_vec();
            alone.scale = instance.scale.as_ref().map(|s| vec![s[one]]);
            let (own, own_bias) = alone.solve(isa, 1, false).unwrap();
            assert!(own == x[one * rank..(one + 1) * rank]);
            assert!(own_bias.first() == b.get(one));
        }
    }
}

#[test]
fn full_rows_equal_the_naive_twin() {
    for rank in [1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 64, 65, 100] {
        for columns in [130, 257] {
            for bias in [false, true] {
                check_full::<f32>(rank, columns, bias);
                check_full::<f64>(rank, columns, bias);
            }
        }
    }
    for columns in [1, 2, 15, 16, 17] {
        check_full::<f64>(3, columns, true);
    }
}

#[test]
fn singular_full_rows_are_named() {
    let mut instance = Instance::<f32>::new(6, 40, &[7, 40, 40, 40], true, 1);
    instance.ridge.fill(0.0);
    instance.fixed.fill(1.0);
    for isa in Isa::available() {
        for threads in [1, 3] {
            assert_eq!(instance.solve(isa, threads, false), Err(Error::Singular { row: 0 }));
        }
    }
    let lengths = [0, 40, 7, 40];
    let mut instance = Instance::<f32>::new(6, 40, &lengths, true, 1);
    instance.fixed.fill(f32::NAN);
    for isa in Isa::available() {
        assert_eq!(instance.solve(isa, 2, false), Err(Error::Singular { row: 1 }));
    }
    let mut instance = Instance::<f32>::new(6, 40, &lengths, true, 1);
    instance.values[50] = f32::INFINITY; // of row 3
    for isa in Isa::available() {
        assert_eq!(instance.solve(isa, 2, false), Err(Error::Singular { row: 3 }));
    }
}

/// Of a row with all columns, but not in order or one of them twice, nothing may be taken for granted.
#[test]
fn a_row_as_long_as_the_columns_need_not_be_full() {
    let instance = Instance::<f64>::new(4, 30, &[30, 30], true, 2);
    let mut twice = instance.clone();
    twice.indices[3] = 4;
    for isa in Isa::available() {
        let (x, b) = twice.solve(isa, 1, false).unwrap();
        for u in 0..2 {
            assert!(twice.slopes(u, &x, &b).iter().all(|[_, slope, size]| slope.abs() <= 1e-13 * size));
        }
        assert!(x[..4] != instance.solve(isa, 1, false).unwrap().0[..4]);
    }
}

fn check_nonnegative<T: Element>(instance: &Instance<T>, allowed: f64) -> usize {
    let mut zeros = 0;
    for isa in Isa::available() {
        let (x, b) = instance.solve(isa, 1, true).expect("well conditioned");
        assert!(x.iter().all(|&x| x >= T::ZERO));
        for u in (0..instance.rows()).filter(|&u| instance.indptr[u] < instance.indptr[u + 1]) {
            for (k, [x, slope, size]) in instance.slopes(u, &x, &b).into_iter().enumerate() {
                let least = if k < instance.rank && x == 0.0 { slope.min(0.0) } else { slope };
                zeros += usize::from(k < instance.rank && x == 0.0);
                assert!(least.abs() <= allowed * size, "{} row {u}: {slope:e}", isa.name());
            }
        }
        for threads in [2, 3, 8] {
            assert!(instance.solve(isa, threads, true).unwrap() == (x.clone(), b.clone()));
        }
    }
    zeros
}

const LENGTHS: [usize; 12] = [0, 1, 2, 3, 7, 8, 17, 31, 64, 127, 200, 200];

fn check_ranks<T: Element>() {
    for rank in [1, 2, 7, 8, 16, 17, 33, 64, 65] {
        for bias in [false, true] {
            let mut instance = Instance::<T>::new(rank, 200, &LENGTHS, bias, rank as u64);
            let allowed = 64.0 * T::EPSILON.to_f64() * (rank as f64).sqrt();
            assert!(check_nonnegative(&instance, allowed) > 0);
            instance.weights = Some(instance.values.iter().map(|v| 1.0 + (v * 7.0).fract()).collect());
            instance.scale = Some(LENGTHS.iter().map(|&n| T::from_f64(0.2 * n as f64 + 0.1)).collect());
            assert!(check_nonnegative(&instance, allowed) > 0);
        }
    }
}

#[test]
fn nonnegative_rows_obey_the_conditions_of_kkt() {
    check_ranks::<f32>();
    check_ranks::<f64>();
}

/// Factors that all point the same way, in columns that repeat, with hardly any ridge: signs are a matter of
/// rounding, and the steps must end all the same.
#[test]
fn nearly_singular_nonnegative_rows_end() {
    let mut ended = [0, 0];
    for seed in 0..60 {
        for spread in [1e-1, 1e-2, 1e-3] {
            for ridge in [1e-2, 1e-4] {
                let rank = 2 + seed as usize % 40;
                let lengths = [3, 20, 40, 100, 100];
                let mut instance = Instance::<f32>::new(rank, 100, &lengths, seed % 2 == 0, seed);
                for (p, f) in instance.fixed.iter_mut().enumerate() {
                    let row = (p / rank % 10) as f32;
                    *f = 1.0
                        + spread * *f
                        + row * 0.1
                        + if (p % rank).is_multiple_of(3) { 0.0 } else { spread };
                }
                instance.ridge.fill(ridge);
                match instance.solve(Isa::available()[0], 1, true) {
                    Ok((x, _)) => {
                        assert!(x.iter().all(|&x| x >= 0.0 && x.is_finite()));
                        ended[0] += 1;
                    }
                    Err(Error::Singular { .. }) => {
                        assert!(ridge < 1e-3, "seed {seed}: the pivots are above rounding");
                        ended[1] += 1;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(ended[0] > 180 && ended[1] > 0, "{ended:?}");
}

#[test]
fn a_long_nonnegative_row() {
    let instance = Instance::<f32>::new(5, 70_000, &[70_000, 3, 66_000], true, 3);
    check_nonnegative(&instance, 1e-4);
}

#[test]
fn a_singular_nonnegative_row_is_named() {
    let mut instance = Instance::<f32>::new(6, 50, &[40, 2, 40], false, 3);
    instance.ridge.fill(0.0);
    for isa in Isa::available() {
        for threads in [1, 3] {
            assert_eq!(instance.solve(isa, threads, true), Err(Error::Singular { row: 1 }));
        }
    }
}
