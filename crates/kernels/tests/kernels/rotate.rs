//! F Q against a naive float64 twin, on every instruction set.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{Element, Error, Isa, Run, rotate};

use crate::common::{Noise, run};

fn rotated<T: Element>(isa: Isa, threads: usize, rows: &[T], rank: usize, basis: &[T]) -> Vec<T> {
    let mut out = vec![T::from_f64(f64::NAN); rows.len()];
    rotate(isa, run(threads), rows, rank, basis, &mut out).expect("shapes fit");
    out
}

fn check<T: Element>(rows: usize, rank: usize) {
    let mut noise = Noise((rows * 1000 + rank) as u64);
    let (factors, basis): (Vec<T>, Vec<T>) = (noise.many(rows * rank), noise.many(rank * rank));
    for isa in Isa::available() {
        let found = rotated(isa, 1, &factors, rank, &basis);
        for (r, found) in found.chunks_exact(rank).enumerate() {
            for (j, found) in found.iter().enumerate() {
                let term = |k: usize| factors[r * rank + k].to_f64() * basis[k * rank + j].to_f64();
                let exact: f64 = (0..rank).map(term).sum();
                let size: f64 = (0..rank).map(|k| term(k).abs()).sum();
                let allowed = 4.0 * T::EPSILON.to_f64() * (rank as f64).sqrt() * size;
                assert!((found.to_f64() - exact).abs() <= allowed, "{} {rows} × {rank}", isa.name());
            }
        }
        for threads in [2, 3, 8] {
            assert!(rotated(isa, threads, &factors, rank, &basis) == found);
        }
        // A row has the same bits alone.
        for r in (0..rows).step_by(7).chain(rows.checked_sub(1)) {
            let own = r * rank..(r + 1) * rank;
            assert!(rotated(isa, 1, &factors[own.clone()], rank, &basis) == found[own]);
        }
    }
}

#[test]
fn rotated_rows_equal_the_naive_twin() {
    for rows in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200] {
        for rank in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129, 256, 300] {
            check::<f32>(rows, rank);
            check::<f64>(rows, rank);
        }
    }
}

/// Whole vectors are read, but never of what lies beyond a row.
#[test]
fn rows_do_not_leak_into_each_other() {
    for rank in [3, 17, 33, 64] {
        let mut noise = Noise(1);
        let (mut factors, basis): (Vec<f32>, Vec<f32>) =
            (noise.many(20 * rank), noise.many(rank * rank));
        for isa in Isa::available() {
            let expected = rotated(isa, 1, &factors, rank, &basis);
            let before = factors.clone();
            for odd in factors.chunks_exact_mut(rank).skip(1).step_by(2) {
                odd.fill(f32::NAN);
            }
            let found = rotated(isa, 1, &factors, rank, &basis);
            for r in (0..20).step_by(2) {
                assert!(found[r * rank..(r + 1) * rank] == expected[r * rank..(r + 1) * rank]);
            }
            factors = before;
        }
    }
}

#[test]
fn wrong_shapes_and_cancelling_are_told() {
    let isa = Isa::available()[0];
    let mut out = [0.0_f32; 6];
    for (factors, rank, basis) in [(6, 0, 0), (6, 4, 16), (6, 3, 8), (5, 1, 1), (9, 3, 9)] {
        let (factors, basis) = (vec![0.0; factors], vec![0.0; basis]);
        let found = rotate(isa, run(1), &factors, rank, &basis, &mut out);
        assert!(matches!(found, Err(Error::Contract(_))), "{rank}: {found:?}");
    }
    let stop = AtomicBool::new(true);
    let found = rotate(isa, Run::new(1, &stop), &[0.0; 6], 3, &[0.0; 9], &mut out);
    assert_eq!(found, Err(Error::Cancelled));
}
