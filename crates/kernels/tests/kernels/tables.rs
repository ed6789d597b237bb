//! Sorting, transposing, numbering and taking against naive twins, on 1, 2, 3 and 8 threads.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{Cells, Error, Run, Sorted, factorize, sort_pairs, take, transpose};
use proptest::prelude::*;

static GO: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(true);

fn runs() -> impl Iterator<Item = Run<'static>> {
    [1, 2, 3, 8].into_iter().map(|threads| Run::new(threads, &GO))
}

/// Uniform numbers below `n`, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 >> 16) * u128::from(n)) >> 48) as u64
    }
}

fn offsets(keys: &[u32], count: usize) -> Vec<i64> {
    let mut indptr = vec![0; count + 1];
    keys.iter().for_each(|&key| indptr[key as usize + 1] += 1);
    for key in 0..count {
        indptr[key + 1] += indptr[key];
    }
    indptr
}

/// Sort and transpose, and compare every array with its twin's.
fn check(rows: &[u32], columns: &[u32], n_rows: usize, n_columns: usize) {
    let mut expected: Vec<u32> = (0..rows.len() as u32).collect();
    expected.sort_by_key(|&p| (rows[p as usize], columns[p as usize])); // stable
    let pair = |p: u32| (rows[p as usize], columns[p as usize]);
    let repeats = expected.windows(2).filter(|w| pair(w[0]) == pair(w[1])).count();
    let in_order = expected.is_sorted();
    let indices: Vec<u32> = expected.iter().map(|&p| columns[p as usize]).collect();
    let sorted_rows: Vec<u32> = expected.iter().map(|&p| rows[p as usize]).collect();
    let wanted = Sorted {
        indptr: offsets(rows, n_rows),
        moved: (!in_order).then(|| (indices.clone(), expected.clone())),
        repeats,
    };
    let values: Vec<f32> = expected.iter().map(|&p| p as f32 - 7.5).collect();
    let weights: Vec<f32> = expected.iter().map(|&p| p as f32 + 0.25).collect();
    let mut back: Vec<u32> = (0..rows.len() as u32).collect();
    back.sort_by_key(|&p| indices[p as usize]); // stable: rows ascend in a column
    let pick = |from: &[f32]| back.iter().map(|&p| from[p as usize]).collect::<Vec<_>>();
    let by_column = (
        offsets(columns, n_columns),
        back.iter().map(|&p| sorted_rows[p as usize]).collect::<Vec<_>>(),
        pick(&values),
    );
    for run in runs() {
        assert_eq!(sort_pairs(run, rows, columns, n_rows, n_columns).unwrap(), wanted);
        let mut cells =
            Cells { indptr: &wanted.indptr, indices: &indices, values: &values, weights: None };
        let (p, r, v, w) = transpose(run, &cells, n_columns).unwrap();
        assert_eq!((p, r, v), by_column);
        assert!(w.is_none());
        cells.weights = Some(&weights);
        let (p, r, v, w) = transpose(run, &cells, n_columns).unwrap();
        assert_eq!((p, r, v), by_column);
        assert_eq!(w.unwrap(), pick(&weights));
    }
}

fn check_ids(values: &[i64]) {
    let mut distinct = values.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let codes: Vec<u32> = values.iter().map(|v| distinct.binary_search(v).unwrap() as u32).collect();
    for run in runs() {
        assert_eq!(factorize(run, values).unwrap(), (distinct.clone(), codes.clone()));
    }
}

proptest! {
    #[test]
    fn small_tables(
        pairs in prop::collection::vec((0_u32..9, 0_u32..7), 0..60),
        more_rows in 0_usize..5,
        more_columns in 0_usize..70_000,
    ) {
        let (rows, columns): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        check(&rows, &columns, 9 + more_rows, 7 + more_columns);
    }

    #[test]
    fn any_ids(values in prop::collection::vec(any::<i64>(), 0..200)) {
        check_ids(&values);
    }

    #[test]
    fn near_ids(low in any::<i64>(), steps in prop::collection::vec(0_i64..300, 0..200)) {
        check_ids(&steps.iter().map(|step| low.saturating_add(*step)).collect::<Vec<_>>());
    }
}

#[test]
fn large_tables() {
    let n = 700_000;
    let mut noise = Noise(1);
    let (m, k) = (5_000, 900);
    let mut rows: Vec<u32> = (0..n).map(|_| noise.below(m) as u32).collect();
    // A third of the items' mass on a few of them.
    let mut columns: Vec<u32> = (0..n)
        .map(|_| if noise.below(3) == 0 { noise.below(3) } else { noise.below(k) } as u32)
        .collect();
    check(&rows, &columns, m as usize, k as usize);
    rows[..n / 2].fill(17); // one row of half the cells
    check(&rows, &columns, m as usize, k as usize);
    rows.sort_unstable(); // rows in order, columns not
    check(&rows, &columns, m as usize, k as usize);
    rows.fill(0);
    check(&rows, &columns, 1, k as usize);
    columns.fill(3); // one pair, many times
    check(&rows, &columns, 1, 4);
    let ascending: Vec<u32> = (0..n as u32).collect();
    check(&ascending, &columns, n, 4);
    check(&rows, &ascending, 1, n);
    let descending: Vec<u32> = ascending.iter().rev().copied().collect();
    check(&descending, &ascending, n, n);
    check(&rows, &descending, 1, n);
}

#[test]
fn far_indices() {
    // 2²³ rows, 2³² columns and positions of 11 bits need records of more than 64 bits.
    let mut noise = Noise(4);
    let rows: Vec<u32> = (0..2000).map(|_| (noise.below(9) as u32) << 20).collect();
    let columns: Vec<u32> = (0..2000).map(|_| noise.below(1 << 32) as u32).collect();
    let mut expected: Vec<u32> = (0..2000).collect();
    expected.sort_by_key(|&p| (rows[p as usize], columns[p as usize]));
    let indices = expected.iter().map(|&p| columns[p as usize]).collect();
    let (n_rows, n_columns) = ((1 << 23) + 1, 1 << 32);
    let found = sort_pairs(Run::new(3, &GO), &rows, &columns, n_rows, n_columns).unwrap();
    assert_eq!(found.moved, Some((indices, expected)));
    assert_eq!(found.indptr, offsets(&rows, n_rows));
}

#[test]
fn many_ids() {
    let mut noise = Noise(2);
    let near: Vec<i64> = (0..600_000).map(|_| noise.below(50_000) as i64 * 3 - 9).collect();
    check_ids(&near);
    let far: Vec<i64> = near.iter().map(|id| id.wrapping_mul(0x0123_4567_89AB_CDEF)).collect();
    check_ids(&far);
    let all: Vec<i64> = (0..600_000).map(|_| noise.below(u64::MAX).cast_signed()).collect();
    check_ids(&all);
    check_ids(&[i64::MIN, i64::MAX, i64::MIN, 0]);
    let narrow = [7_i32, i32::MIN, i32::MAX, 7];
    for run in runs() {
        let found = factorize(run, &narrow).unwrap();
        assert_eq!(found, (vec![i64::from(i32::MIN), 7, i64::from(i32::MAX)], vec![1, 0, 2, 1]));
    }
}

#[test]
fn taking_equals_indexing() {
    let mut noise = Noise(3);
    let values: Vec<f64> = (0..1000).map(f64::from).collect();
    let order: Vec<u32> = (0..600_000).map(|_| noise.below(1000) as u32).collect();
    let expected: Vec<f64> = order.iter().map(|&p| values[p as usize]).collect();
    for run in runs() {
        assert_eq!(take(run, &values, &order).unwrap(), expected);
        assert!(matches!(take(run, &values, &[1000]), Err(Error::Contract(_))));
        assert!(matches!(take(run, &[0_i64; 0], &[0]), Err(Error::Contract(_))));
    }
}

#[test]
fn indices_out_of_range_are_refused() {
    for run in runs() {
        for (rows, columns) in [([1, 1], [3, 0]), ([2, 1], [1, 1]), ([0, 2], [1, 1]), ([0, 1], [1, 3])] {
            let found = sort_pairs(run, &rows, &columns, 2, 3);
            assert!(matches!(found, Err(Error::Contract(_))), "{rows:?} {columns:?}");
        }
        assert!(sort_pairs(run, &[1], &[1, 1], 2, 3).is_err());
        for (indptr, index) in [(&[0, 1][..], 4), (&[0, 2], 1), (&[1, 1], 1), (&[], 1)] {
            let cells = Cells { indptr, indices: &[index], values: &[1.0], weights: None };
            assert!(matches!(transpose(run, &cells, 4), Err(Error::Contract(_))));
        }
    }
}

#[test]
fn cancelled_work_stops() {
    let stopped = Run::new(2, &STOP);
    let (n, zeros) = (1000, vec![0_u32; 1000]);
    let falling: Vec<u32> = (0..1000).rev().collect();
    assert_eq!(sort_pairs(stopped, &falling, &zeros, n, 1), Err(Error::Cancelled));
    let indptr = [0, 1000];
    let cells = Cells { indptr: &indptr, indices: &falling, values: &vec![0.0; n], weights: None };
    assert_eq!(transpose(stopped, &cells, n), Err(Error::Cancelled));
    assert_eq!(factorize(stopped, &[1_i64, 2]), Err(Error::Cancelled));
    assert_eq!(take(stopped, &[1.0_f32], &[0]), Err(Error::Cancelled));
}
