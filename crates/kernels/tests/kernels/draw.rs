//! Drawn rows against the exact solution and the noise that they are made of, and sparse products against loops.

use halfstep_kernels::{
    Cells, Element, Error, Isa, Noise, Prior, RowProblem, Terms, draw_rows, multiply, solve_rows,
};

use crate::common::{Noise as Random, run};

const COLUMNS: usize = 70;
const TERMS: Terms = Terms { a0: 1.5, a1: 0.0, b0: -4.0, b1: 1.5 };
const NOISE: Noise = Noise { seed: 1 << 63 | 77, step: 5 };

/// One random problem, owning its arrays.
struct Instance<T> {
    rank: usize,
    bias: bool,
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    fixed: Vec<T>,
    offset: Vec<T>,
    prior: Vec<T>,
    linear: Vec<T>,
}

/// Factors and biases.
type Rows<T> = (Vec<T>, Vec<T>);

impl<T: Element> Instance<T> {
    fn new(rank: usize, bias: bool, rows: &[usize]) -> Self {
        let mut random = Random(rank as u64 * 2 + u64::from(bias));
        let mut indptr = vec![0];
        for &cells in rows {
            indptr.push(indptr[indptr.len() - 1] + cells as i64);
        }
        let cells = indptr[rows.len()] as usize;
        let size = rank + usize::from(bias);
        let mut prior = vec![T::ZERO; size * size];
        for i in 0..size {
            for j in 0..=i {
                let entry = T::from_f64(if i == j { size as f64 } else { random.next() * 0.3 });
                (prior[i * size + j], prior[j * size + i]) = (entry, entry);
            }
        }
        Instance {
            indices: (0..cells).map(|_| random.below(COLUMNS) as u32).collect(),
            values: (0..cells).map(|_| random.next() as f32 * 2.5 + 2.5).collect(),
            weights: (0..cells).map(|_| random.next() as f32 + 1.5).collect(),
            fixed: random.many(COLUMNS * rank),
            offset: random.many(COLUMNS),
            linear: random.many(rows.len() * size),
            prior,
            rank,
            bias,
            indptr,
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

    fn with<R>(&self, work: impl FnOnce(&RowProblem<'_, T>) -> R) -> R {
        let ridge = vec![T::ZERO; self.rank + usize::from(self.bias)];
        work(&RowProblem {
            cells: self.cells(),
            fixed: &self.fixed,
            rank: self.rank,
            offset: Some(&self.offset),
            terms: TERMS,
            prior: Some(Prior::Dense(&self.prior)),
            linear: Some(&self.linear),
            ridge: &ridge,
            scale: None,
        })
    }

    fn room(&self) -> Rows<T> {
        let rows = self.indptr.len() - 1;
        (vec![T::ZERO; rows * self.rank], vec![T::ZERO; rows])
    }

    /// The draws and their means.
    fn draw(&self, isa: Isa, threads: usize, noise: Noise) -> Result<(Rows<T>, Rows<T>), Error> {
        let (mut out, mut mean) = (self.room(), self.room());
        self.with(|p| {
            let biases = self.bias.then_some((&mut out.1[..], &mut mean.1[..]));
            let (own, expected) = biases.map_or((None, None), |(own, mean)| (Some(own), Some(mean)));
            let mean = Some((&mut mean.0[..], expected));
            draw_rows(isa, run(threads), p, noise, (&mut out.0, own), mean)
        })?;
        Ok((out, mean))
    }

    fn solve(&self, isa: Isa) -> Rows<T> {
        let mut out = self.room();
        let bias = self.bias.then_some(&mut out.1[..]);
        self.with(|p| solve_rows(isa, run(1), p, &mut out.0, bias)).unwrap();
        out
    }

    /// (x − x̄)ᵀ A (x − x̄) of a row, in float64.
    fn distance(&self, u: usize, (x, mean): (&Rows<T>, &Rows<T>)) -> f64 {
        let size = self.rank + usize::from(self.bias);
        let entry = |rows: &Rows<T>, k: usize| {
            if k < self.rank { rows.0[u * self.rank + k] } else { rows.1[u] }.to_f64()
        };
        let gap: Vec<f64> = (0..size).map(|k| entry(x, k) - entry(mean, k)).collect();
        let mut total = 0.0;
        for i in 0..size {
            for j in 0..size {
                total += gap[i] * self.prior[i * size + j].to_f64() * gap[j];
            }
        }
        for cell in self.indptr[u] as usize..self.indptr[u + 1] as usize {
            let f = &self.fixed[self.indices[cell] as usize * self.rank..][..self.rank];
            let along: f64 = f.iter().zip(&gap).map(|(f, g)| f.to_f64() * g).sum::<f64>()
                + if self.bias { gap[self.rank] } else { 0.0 };
            total += f64::from(self.weights[cell]) * TERMS.a0 * along * along;
        }
        total
    }
}

fn check<T: Element>(tolerance: f64) {
    for isa in Isa::available() {
        for rank in [1, 7, 8, 15, 16, 17, 33, 64] {
            for bias in [false, true] {
                let instance = Instance::<T>::new(rank, bias, &[0, 1, 5, 40, 90]);
                let (drawn, mean) = instance.draw(isa, 1, NOISE).unwrap();
                assert_eq!(mean, instance.solve(isa), "the mean is the solution, K = {rank}");
                for u in 0..5 {
                    let mut normals = vec![0.0_f64; rank + usize::from(bias)];
                    NOISE.normals(u, &mut normals);
                    let expected: f64 = normals.iter().map(|e| e * e).sum();
                    let found = instance.distance(u, (&drawn, &mean));
                    assert!(
                        (found - expected).abs() <= tolerance * expected,
                        "{isa:?} K = {rank}, bias {bias}, row {u}: {found} for {expected}"
                    );
                }
                for threads in [2, 3, 8] {
                    assert_eq!(instance.draw(isa, threads, NOISE).unwrap().0, drawn);
                }
                let other = Noise { step: NOISE.step + 1, ..NOISE };
                assert_ne!(instance.draw(isa, 1, other).unwrap().0, drawn);
            }
        }
    }
}

#[test]
fn draws_have_the_distance_of_their_noise() {
    check::<f64>(1e-10);
    check::<f32>(2e-3);
}

#[test]
fn a_long_row_is_drawn_by_all_threads() {
    let instance = Instance::<f32>::new(16, true, &[3, 70_000, 2]);
    let isa = Isa::available()[0];
    let (drawn, mean) = instance.draw(isa, 1, NOISE).unwrap();
    assert_eq!(mean, instance.solve(isa));
    assert_eq!(instance.draw(isa, 3, NOISE).unwrap(), (drawn, mean));
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let isa = Isa::available()[0];
    let mut instance = Instance::<f64>::new(4, true, &[2, 0]);
    instance.prior.fill(0.0);
    assert!(matches!(instance.draw(isa, 1, NOISE), Err(Error::Singular { row: 0 })));
    let mut out = instance.room();
    let without = instance.with(|p| {
        let problem = RowProblem { linear: None, ..*p };
        draw_rows(isa, run(1), &problem, NOISE, (&mut out.0, Some(&mut out.1)), None)
    });
    assert!(matches!(without, Err(Error::Contract(_))));
}

/// The first words of Philox4x32-10 with counter and key 0 are 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (Random123's known
/// answers).
#[test]
fn normals_are_those_of_the_known_words() {
    let mut normals = [0.0_f64; 4];
    Noise { seed: 0, step: 0 }.normals(0, &mut normals);
    let expected = [-0.25581597043298154, 1.1775912391721355, 0.6301836563560436, 0.26756224939052003];
    for (found, expected) in normals.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-14, "{normals:?}");
    }
}

#[test]
fn normals_are_normal() {
    let count = 200_000;
    let mut normals = vec![0.0_f64; count];
    NOISE.normals(3, &mut normals);
    let moment = |power: i32| normals.iter().map(|x| x.powi(power)).sum::<f64>() / count as f64;
    let error = |variance: f64| 4.0 * (variance / count as f64).sqrt();
    assert!(moment(1).abs() < error(1.0));
    assert!((moment(2) - 1.0).abs() < error(2.0));
    assert!((moment(4) - 3.0).abs() < error(96.0));
    let tail = normals.iter().filter(|x| x.abs() > 3.0).count() as f64 / count as f64;
    assert!((tail - 0.002_699_8).abs() < error(0.002_7));
}

#[test]
fn sparse_products_are_the_sums() {
    for isa in Isa::available() {
        for rank in [1, 3, 8, 16, 31, 64, 65, 130] {
            let instance = Instance::<f64>::new(rank, false, &[0, 1, 9, 300]);
            let mut found = vec![f64::NAN; 4 * rank];
            multiply(isa, run(1), &instance.cells(), &instance.fixed, rank, &mut found).unwrap();
            for u in 0..4 {
                for k in 0..rank {
                    let cells = instance.indptr[u] as usize..instance.indptr[u + 1] as usize;
                    let expected: f64 = cells
                        .map(|cell| {
                            let f = instance.fixed[instance.indices[cell] as usize * rank + k];
                            f64::from(instance.values[cell]) * f
                        })
                        .sum();
                    assert!((found[u * rank + k] - expected).abs() < 1e-11);
                }
            }
            let mut again = vec![0.0; 4 * rank];
            multiply(isa, run(3), &instance.cells(), &instance.fixed, rank, &mut again).unwrap();
            assert_eq!(found, again);
        }
    }
    let mut instance = Instance::<f32>::new(4, false, &[2]);
    instance.indices[1] = COLUMNS as u32;
    let mut out = vec![0.0; 4];
    let outside = multiply(Isa::available()[0], run(1), &instance.cells(), &instance.fixed, 4, &mut out);
    assert!(matches!(outside, Err(Error::Contract(_))));
}
