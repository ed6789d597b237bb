//! The gradient against a double loop in float64, on every instruction set of this machine.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{Cells, Element, Error, Isa, Model, Run, gradient, squared_error};

use crate::common::{Noise, run};

const RANKS: [usize; 14] = [1, 2, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100];
const COLUMNS: usize = 30;

/// Rows of these lengths; columns may stand in a row more than once.
struct Table {
    indptr: Vec<i64>,
    indices: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
}

impl Table {
    fn new(lengths: &[usize], noise: &mut Noise) -> Table {
        let mut indptr = vec![0];
        lengths.iter().for_each(|n| indptr.push(indptr.last().unwrap() + *n as i64));
        let cells = lengths.iter().sum();
        Table {
            indptr,
            indices: (0..cells).map(|_| noise.below(COLUMNS) as u32).collect(),
            values: (0..cells).map(|_| noise.next() as f32 * 2.5 + 2.5).collect(),
            weights: (0..cells).map(|_| noise.next() as f32 + 1.5).collect(),
        }
    }

    fn cells(&self, weighted: bool) -> Cells<'_> {
        Cells {
            indptr: &self.indptr,
            indices: &self.indices,
            values: &self.values,
            weights: weighted.then_some(&self.weights),
        }
    }
}

fn check<T: Element>(rank: usize, lengths: &[usize], weighted: bool, biased: bool) {
    let mut noise = Noise(rank as u64 + 1);
    let table = Table::new(lengths, &mut noise);
    let (cells, m) = (table.cells(weighted), lengths.len());
    let (users, items) = (noise.many::<T>(m * rank), noise.many::<T>(COLUMNS * rank));
    let (b_u, b_i) = (noise.many::<T>(m), noise.many::<T>(COLUMNS));
    let model = Model {
        rank,
        users: &users,
        items: &items,
        user_bias: biased.then_some(&b_u[..]),
        item_bias: biased.then_some(&b_i[..]),
        mean: 2.75,
    };
    for isa in Isa::available() {
        let (mut out, mut out_bias) = (vec![T::ONE; m * rank], vec![T::ONE; m]);
        let squares = gradient(isa, run(1), &model, &cells, &mut out, Some(&mut out_bias)).unwrap();
        for u in 0..m {
            let (mut wanted, mut size) = (vec![0.0; rank + 1], vec![0.0; rank + 1]);
            for c in cells.row(u) {
                let i = cells.indices[c] as usize;
                let f = &items[i * rank..(i + 1) * rank];
                let dot: f64 = (0..rank).map(|k| users[u * rank + k].to_f64() * f[k].to_f64()).sum();
                let biases = if biased { b_u[u].to_f64() + b_i[i].to_f64() } else { 0.0 };
                let weight = if weighted { f64::from(cells.weights.unwrap()[c]) } else { 1.0 };
                let e = weight * (2.75 + biases + dot - f64::from(cells.values[c]));
                for k in 0..=rank {
                    let term = e * if k < rank { f[k].to_f64() } else { 1.0 };
                    wanted[k] += term;
                    size[k] += term.abs() + weight * rank as f64;
                }
            }
            let found = |k: usize| if k < rank { out[u * rank + k] } else { out_bias[u] }.to_f64();
            for k in 0..=rank {
                let allowed = 64.0 * T::EPSILON.to_f64() * size[k];
                let off = (found(k) - wanted[k]).abs();
                assert!(off <= allowed, "{} K {rank} row {u} entry {k} off by {off:e}", isa.name());
            }
        }
        let expected = squared_error(isa, run(1), &model, &cells, None).unwrap();
        assert_eq!(squares.to_bits(), expected.to_bits());
        for threads in [2, 3, 8] {
            let (mut again, mut bias) = (vec![T::ZERO; m * rank], vec![T::ZERO; m]);
            let total =
                gradient(isa, run(threads), &model, &cells, &mut again, Some(&mut bias)).unwrap();
            assert!(again == out && bias == out_bias && total.to_bits() == squares.to_bits());
        }
        let mut alone = vec![T::ZERO; m * rank];
        gradient(isa, run(2), &model, &cells, &mut alone, None).unwrap();
        assert!(alone == out);
    }
}

#[test]
fn equals_the_naive_twin() {
    let lengths: Vec<usize> = (0..23).map(|u| [0, 1, 2, 3, 4, 5, 7, 8, 9, 40][u % 10]).collect();
    for rank in RANKS {
        for options in 0..4 {
            check::<f32>(rank, &lengths, options & 1 == 1, options & 2 == 2);
            check::<f64>(rank, &lengths, options & 1 == 1, options & 2 == 2);
        }
    }
}

#[test]
fn rows_longer_than_a_block() {
    for rank in [1, 17] {
        check::<f32>(rank, &[1023, 0, 1024, 1025, 5000], true, true);
        check::<f64>(rank, &[1023, 0, 1024, 1025, 5000], false, true);
    }
}

#[test]
fn a_contract_is_checked_and_work_stops() {
    static STOP: AtomicBool = AtomicBool::new(true);
    let table = Table::new(&[3, 2], &mut Noise(5));
    let good = [1.0; 2 * COLUMNS];
    let cells = table.cells(false);
    let call = |run, items: &[f64], out: &mut [f64], bias: Option<&mut [f64]>| {
        let model =
            Model { rank: 2, users: &[1.0; 4], items, user_bias: None, item_bias: None, mean: 0.0 };
        gradient(Isa::Portable, run, &model, &cells, out, bias)
    };
    let contract = |found| assert!(matches!(found, Err(Error::Contract(_))));
    assert!(call(run(1), &good, &mut [0.0; 4], None).is_ok());
    contract(call(run(1), &good, &mut [0.0; 5], None));
    contract(call(run(1), &good[..2], &mut [0.0; 4], None));
    contract(call(run(1), &good, &mut [0.0; 4], Some(&mut [0.0])));
    let stopped = call(Run::new(1, &STOP), &good, &mut [0.0; 4], None);
    assert_eq!(stopped, Err(Error::Cancelled));
}
