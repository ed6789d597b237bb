//! fᵀ A⁻¹ f against a naive float64 twin, on every instruction set of this machine.

use halfstep_kernels::{Cells, Element, Error, Isa, Questions, RowProblem, Terms, row_variances};

use crate::common::{Noise, run};

const COLUMNS: usize = 60;
const TERMS: Terms = Terms { a0: 0.75, a1: 0.125, b0: -2.5, b1: 1.0 };

/// One random problem with questions, owning its arrays.
struct Instance<T> {
    rank: usize,
    bias: bool,
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    fixed: Vec<T>,
    ridge: Vec<T>,
    scale: Vec<T>,
    asked: (Vec<i64>, Vec<u32>),
    vectors: Vec<T>,
}

impl<T: Element> Instance<T> {
    /// Rows of these (cells, questions).
    fn new(rank: usize, bias: bool, rows: &[(usize, usize)]) -> Self {
        let mut noise = Noise(rank as u64 * 2 + u64::from(bias));
        let (mut indptr, mut asked) = (vec![0], vec![0]);
        for &(cells, questions) in rows {
            indptr.push(indptr[indptr.len() - 1] + cells as i64);
            asked.push(asked[asked.len() - 1] + questions as i64);
        }
        let (cells, questions) = (indptr[rows.len()] as usize, asked[rows.len()] as usize);
        let size = rank + usize::from(bias);
        Instance {
            indices: (0..cells).map(|_| noise.below(COLUMNS) as u32).collect(),
            values: (0..cells).map(|_| noise.next() as f32 * 2.5 + 2.5).collect(),
            weights: (0..cells).map(|_| noise.next() as f32 + 1.5).collect(),
            fixed: noise.many(COLUMNS * rank),
            ridge: (0..size).map(|_| T::from_f64(noise.next() * 0.5 + 1.5)).collect(),
            scale: rows.iter().map(|_| T::from_f64(noise.next() * 0.5 + 1.0)).collect(),
            asked: (asked, (0..questions).map(|_| noise.below(7) as u32).collect()),
            vectors: noise.many(7 * rank),
            rank,
            bias,
            indptr,
        }
    }

    fn solve(&self, isa: Isa, threads: usize) -> Result<Vec<T>, Error> {
        let problem = RowProblem {
            cells: Cells {
                indptr: &self.indptr,
                indices: &self.indices,
                values: &self.values,
                weights: Some(&self.weights),
            },
            fixed: &self.fixed,
            rank: self.rank,
            offset: None,
            terms: TERMS,
            prior: None,
            linear: None,
            ridge: &self.ridge,
            scale: Some(&self.scale),
        };
        let (indptr, indices) = (&self.asked.0[..], &self.asked.1[..]);
        let asked = Questions { indptr, indices, vectors: &self.vectors };
        let mut out = vec![T::ZERO; indices.len()];
        row_variances(isa, run(threads), &problem, self.bias, &asked, &mut out)?;
        Ok(out)
    }

    /// Row `index` of a matrix, with the 1 of the bias.
    fn vector(&self, rows: &[T], index: u32) -> Vec<f64> {
        let row = &rows[index as usize * self.rank..][..self.rank];
        row.iter().map(|x| x.to_f64()).chain(self.bias.then_some(1.0)).collect()
    }

    fn naive(&self) -> Vec<f64> {
        let size = self.ridge.len();
        let mut found = vec![];
        for u in 0..self.scale.len() {
            let mut a = vec![vec![0.0; size]; size];
            for k in 0..size {
                a[k][k] = self.scale[u].to_f64() * self.ridge[k].to_f64();
            }
            for cell in self.indptr[u] as usize..self.indptr[u + 1] as usize {
                let f = self.vector(&self.fixed, self.indices[cell]);
                let c = f64::from(self.weights[cell]);
                let own = c * (TERMS.a0 + TERMS.a1 * f64::from(self.values[cell]));
                for i in 0..size {
                    for j in 0..size {
                        a[i][j] += own * f[i] * f[j];
                    }
                }
            }
            for place in self.asked.0[u] as usize..self.asked.0[u + 1] as usize {
                let f = self.vector(&self.vectors, self.asked.1[place]);
                let x = solved(a.clone(), f.clone());
                found.push(f.iter().zip(&x).map(|(f, x)| f * x).sum());
            }
        }
        found
    }
}

/// x of A x = f, by Gaussian elimination (A is positive definite: no pivoting).
fn solved(mut a: Vec<Vec<f64>>, mut f: Vec<f64>) -> Vec<f64> {
    let n = f.len();
    for k in 0..n {
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            for j in k..n {
                a[i][j] -= factor * a[k][j];
            }
            f[i] -= factor * f[k];
        }
    }
    for k in (0..n).rev() {
        let rest: f64 = (k + 1..n).map(|j| a[k][j] * f[j]).sum();
        f[k] = (f[k] - rest) / a[k][k];
    }
    f
}

const ROWS: [(usize, usize); 9] =
    [(0, 3), (1, 1), (7, 0), (40, 7), (3, 16), (90, 17), (33, 33), (200, 2), (0, 0)];

fn equals_the_twin<T: Element>(tolerance: f64) {
    for rank in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 64] {
        for bias in [false, true] {
            let instance = Instance::<T>::new(rank, bias, &ROWS);
            let expected = instance.naive();
            for isa in Isa::available() {
                let found = instance.solve(isa, 1).unwrap();
                for (found, &expected) in found.iter().zip(&expected) {
                    let error = (found.to_f64() - expected).abs();
                    assert!(error <= tolerance * expected, "{isa:?} K = {rank} {found:?} {expected}");
                }
                for threads in [2, 3, 8] {
                    assert!(instance.solve(isa, threads).unwrap() == found);
                }
            }
        }
    }
}

#[test]
fn float32_equals_the_twin() {
    equals_the_twin::<f32>(2e-4);
}

#[test]
fn float64_equals_the_twin() {
    equals_the_twin::<f64>(1e-11);
}

#[test]
fn the_first_singular_row_that_is_asked_is_named() {
    for isa in Isa::available() {
        let mut instance = Instance::<f64>::new(3, true, &[(0, 0), (0, 1), (2, 1), (0, 1)]);
        for u in [0, 1, 3] {
            instance.scale[u] = 0.0;
        }
        assert!(matches!(instance.solve(isa, 2), Err(Error::Singular { row: 1 })));
    }
}

#[test]
fn questions_that_do_not_fit() {
    let isa = Isa::available()[0];
    for wrong in 0..4 {
        let mut instance = Instance::<f32>::new(3, false, &[(2, 1), (2, 2)]);
        match wrong {
            0 => instance.asked.1[0] = 7,
            1 => drop(instance.asked.0.pop()),
            2 => instance.asked.0[1] = 9,
            _ => drop(instance.vectors.pop()),
        }
        assert!(matches!(instance.solve(isa, 1), Err(Error::Contract(_))), "{wrong}");
    }
}
