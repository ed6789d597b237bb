//! Top-N against a full sort of the predicted scores, to the last bit, on every instruction set.

use std::sync::atomic::{AtomicBool, Ordering};

use halfstep_kernels::{Element, Error, Isa, Model, Ranking, Run, predict, topk};
use proptest::prelude::*;

use crate::common::{Noise, run};

/// An ascending list with each of `items` at this probability, for every query.
fn lists(noise: &mut Noise, queries: usize, items: usize, share: f64) -> (Vec<i64>, Vec<u32>) {
    let (mut offsets, mut listed) = (vec![0], Vec::new());
    for _ in 0..queries {
        listed.extend((0..items as u32).filter(|_| noise.next() < 2.0 * share - 1.0));
        offsets.push(listed.len() as i64);
    }
    (offsets, listed)
}

/// Factors and filters that own their arrays.
struct Instance<T> {
    rank: usize,
    queries: Vec<T>,
    items: Vec<T>,
    item_bias: Option<Vec<T>>,
    exclude: Option<(Vec<i64>, Vec<u32>)>,
    candidates: Option<(Vec<i64>, Vec<u32>)>,
    allow: Option<Vec<bool>>,
}

impl<T: Element> Instance<T> {
    fn new(rank: usize, queries: usize, items: usize, seed: u64) -> Self {
        let mut noise = Noise(seed);
        Instance {
            rank,
            queries: noise.many(queries * rank),
            items: noise.many(items * rank),
            item_bias: Some(noise.many(items)),
            exclude: Some(lists(&mut noise, queries, items, 0.1)),
            candidates: None,
            allow: None,
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.queries.len() / self.rank, self.items.len() / self.rank)
    }

    fn ranking(&self, n: usize) -> Ranking<'_, T> {
        Ranking {
            rank: self.rank,
            queries: &self.queries,
            items: &self.items,
            item_bias: self.item_bias.as_deref(),
            exclude: self.exclude.as_ref().map(|lists| (&lists.0[..], &lists.1[..])),
            candidates: self.candidates.as_ref().map(|lists| (&lists.0[..], &lists.1[..])),
            allow: self.allow.as_deref(),
            n,
        }
    }

    /// The n best of a full sort of `predict`'s scores: (item, score), −1 and NaN where none is left.
    fn sorted(&self, isa: Isa, n: usize) -> Vec<(i64, T)> {
        let (queries, items) = self.counts();
        let model = Model {
            rank: self.rank,
            users: &self.queries,
            items: &self.items,
            user_bias: None,
            item_bias: self.item_bias.as_deref(),
            mean: 0.0,
        };
        let all: Vec<i64> = (0..items as i64).collect();
        let mut best = Vec::new();
        for u in 0..queries {
            let mut scores = vec![T::ZERO; items];
            predict(isa, run(1), &model, &vec![u as i64; items], &all, &mut scores).unwrap();
            let listed = |lists: &Option<(Vec<i64>, Vec<u32>)>| {
                lists.as_ref().map(|l| l.1[l.0[u] as usize..l.0[u + 1] as usize].to_vec())
            };
            let (never, only) = (listed(&self.exclude), listed(&self.candidates));
            let mut left: Vec<(i64, T)> = (0..items)
                .filter(|&i| !scores[i].to_f64().is_nan())
                .filter(|&i| self.allow.as_ref().is_none_or(|allow| allow[i]))
                .filter(|&i| !never.as_ref().is_some_and(|list| list.contains(&(i as u32))))
                .filter(|&i| only.as_ref().is_none_or(|list| list.contains(&(i as u32))))
                .map(|i| (i as i64, scores[i]))
                .collect();
            left.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
            left.resize(left.len().max(n), (-1, T::from_f64(f64::NAN)));
            best.extend_from_slice(&left[..n]);
        }
        best
    }

    fn check(&self, n: usize) {
        let (queries, items) = self.counts();
        for isa in Isa::available() {
            let wanted = self.sorted(isa, n);
            for threads in [1, 2, 3, 8] {
                let mut index = vec![7; queries * n];
                let mut score = vec![T::ZERO; queries * n];
                topk(isa, run(threads), &self.ranking(n), &mut index, &mut score).unwrap();
                for (place, &(item, value)) in wanted.iter().enumerate() {
                    let same = score[place].to_f64() == value.to_f64() // -0 is 0
                        || (score[place].to_f64().is_nan() && value.to_f64().is_nan());
                    assert!(
                        index[place] == item && same,
                        "{} K={} items={items} n={n} threads={threads}, query {} place {}: {} {:?}, not {item} {value:?}",
                        isa.name(),
                        self.rank,
                        place / n,
                        place % n,
                        index[place],
                        score[place],
                    );
                }
            }
        }
    }
}

#[test]
fn every_rank_and_many_sizes() {
    for (at, rank) in [1, 2, 3, 4, 5, 10, 16, 50, 64, 100, 128, 200].into_iter().enumerate() {
        // Around the tiles of 6 queries and 64 items, the panels of 512 items and the batches.
        let queries = [31, 32, 33, 36, 97][at % 5];
        for items in [160, 191, 192, 193, 513, 1100] {
            Instance::<f32>::new(rank, queries, items, (rank * items) as u64).check(10);
            Instance::<f64>::new(rank, queries, items, (rank * items) as u64).check(10);
        }
    }
}

#[test]
fn few_queries_of_many_items() {
    for queries in [1, 3, 5, 11] {
        let mut instance = Instance::<f32>::new(9, queries, 9000, 2);
        instance.check(10);
        instance.item_bias = None;
        instance.allow = Some((0..9000).map(|i| i % 7 < 3).collect());
        instance.check(4500);
    }
}

#[test]
fn all_that_is_asked_for_or_all_that_there_is() {
    for n in [1, 20, 21, 100, 320, 400] {
        Instance::<f32>::new(12, 37, 320, 3).check(n);
        Instance::<f64>::new(12, 37, 320, 3).check(n);
    }
}

#[test]
fn masks_and_lists() {
    let (queries, items) = (40, 700);
    for options in 0..8 {
        let mut noise = Noise(options);
        let mut instance = Instance::<f32>::new(8, queries, items, options);
        instance.item_bias = None;
        instance.exclude =
            Some(lists(&mut noise, queries, items, if options & 1 == 1 { 0.995 } else { 0.5 }));
        if options & 2 == 2 {
            instance.allow = Some((0..items).map(|i| i % 20 == 3 || i > 650).collect());
        }
        if options & 4 == 4 {
            instance.candidates = Some(lists(&mut noise, queries, items, 0.2));
        }
        instance.check(7);
        instance.allow = Some(vec![false; items]);
        instance.check(7);
    }
}

#[test]
fn whole_numbers_tie() {
    let mut instance = Instance::<f32>::new(6, 60, 800, 5);
    let whole = |x: &mut f32| *x = (*x * 1.5).round();
    instance.queries.iter_mut().for_each(whole);
    instance.items.iter_mut().for_each(whole);
    instance.item_bias.iter_mut().flatten().for_each(whole);
    instance.check(13);
    instance.queries.fill(0.0);
    instance.check(13);
    instance.item_bias = None;
    instance.check(13);
    instance.items.fill(0.0);
    instance.check(13);
}

/// Rows that eight bits cannot tell apart: one large number in each, the rest a little noise.
#[test]
fn items_closer_than_eight_bits() {
    for (large, small) in [(1.0, 1e-3), (100.0, 1e-4), (1.0, 1e-7), (0.0, 1e-20)] {
        let mut instance = Instance::<f32>::new(32, 40, 900, 6);
        for part in [&mut instance.queries, &mut instance.items] {
            for row in part.chunks_mut(32) {
                row.iter_mut().for_each(|x| *x *= small);
                row[5] += large;
            }
        }
        instance.item_bias.iter_mut().flatten().for_each(|b| *b *= small);
        instance.check(10);
    }
}

/// The largest sums of eight-bit products, which must neither wrap nor saturate.
#[test]
fn rows_of_equal_numbers() {
    for (query, item) in [(1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)] {
        let mut instance = Instance::<f32>::new(300, 34, 400, 7);
        instance.queries.fill(query);
        instance.items.fill(item);
        instance.items[300 * 37..300 * 38].fill(item * 1.5);
        instance.items[300 * 38..300 * 39].fill(-item);
        instance.check(5);
    }
}

#[test]
fn numbers_of_any_size() {
    let sizes = [1e-310, 1e-44, 1e-38, 1e-30, 1e-19, 1e-10, 1e10, 1e15, 1e16, 1e19, 1e30, 1e38, 1e300];
    for (queries, items) in sizes.iter().flat_map(|&q| sizes.iter().map(move |&i| (q, i))) {
        let mut wide = Instance::<f64>::new(5, 34, 170, 8);
        wide.queries.iter_mut().for_each(|x| *x *= queries);
        wide.items.iter_mut().for_each(|x| *x *= items);
        wide.item_bias.iter_mut().flatten().for_each(|x| *x *= queries * items);
        let narrow = |x: &Vec<f64>| -> Vec<f32> { x.iter().map(|&x| x as f32).collect() };
        let instance = Instance::<f32> {
            rank: 5,
            queries: narrow(&wide.queries),
            items: narrow(&wide.items),
            item_bias: wide.item_bias.as_ref().map(narrow),
            exclude: wide.exclude.clone(),
            candidates: None,
            allow: None,
        };
        wide.check(10);
        instance.check(10);
        // Rows of all sizes at once.
        for (i, row) in wide.items.chunks_mut(5).enumerate() {
            row.iter_mut().for_each(|x| *x /= 10.0_f64.powi(i as i32 % 12));
        }
        wide.item_bias = None;
        wide.check(10);
    }
}

#[test]
fn what_is_not_finite() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in 0..4 {
            let mut instance = Instance::<f32>::new(7, 40, 400, 9);
            match place {
                0 => instance.queries[7 * 5 + 2] = value as f32,
                1 => instance.items[7 * 100..7 * 130].fill(value as f32),
                2 => instance.item_bias.as_mut().unwrap()[30..60].fill(value as f32),
                _ => instance.queries.fill(value as f32),
            }
            instance.check(10);
            instance.exclude = None;
            instance.check(10);
        }
    }
}

#[test]
fn nothing_to_rank() {
    for (queries, items) in [(0, 0), (0, 50), (30, 0), (1, 0)] {
        Instance::<f32>::new(4, queries, items, 1).check(3);
    }
    Instance::<f32>::new(4, 20, 400, 1).check(0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_shape(
        rank in 1_usize..70,
        queries in 1_usize..120,
        items in 0_usize..1300,
        n in 1_usize..30,
        spread in 0_i32..5,
        seed in any::<u64>(),
    ) {
        let mut instance = Instance::<f32>::new(rank, queries, items, seed);
        // Rows of very different lengths, as popularity makes them.
        for (i, row) in instance.items.chunks_mut(rank).enumerate() {
            row.iter_mut().for_each(|x| *x *= 10.0_f32.powi(-spread * (i as i32 % 7) / 3));
        }
        if seed % 2 == 0 {
            instance.item_bias = None;
        }
        if seed % 3 == 0 {
            instance.allow = Some((0..items).map(|i| (i as u64).wrapping_mul(seed) % 5 < 2).collect());
        }
        instance.check(n);
    }
}

#[test]
fn broken_contracts_are_errors() {
    let broken: [fn(&mut Instance<f32>); 5] = [
        |i| i.exclude = Some((vec![0, 2], vec![3, 3])),
        |i| i.exclude = Some((vec![0, 1], vec![9])),
        |i| i.candidates = Some((vec![0, 1, 1], vec![2])),
        |i| i.allow = Some(vec![true; 8]),
        |i| i.item_bias = Some(vec![0.0; 8]),
    ];
    for change in broken {
        let mut instance = Instance::<f32>::new(3, 1, 9, 1);
        change(&mut instance);
        let (mut index, mut score) = (vec![0; 2], vec![0.0; 2]);
        let outcome = topk(Isa::Portable, run(1), &instance.ranking(2), &mut index, &mut score);
        assert!(matches!(outcome, Err(Error::Contract(_))));
    }
}

#[test]
fn work_stops_when_told() {
    for (isa, queries) in Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, 20_000)]) {
        let stop = AtomicBool::new(queries == 1);
        let instance = Instance::<f32> { exclude: None, ..Instance::new(64, queries, 20_000, 10) };
        let (mut index, mut score) = (vec![0; queries * 10], vec![0.0; queries * 10]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                stop.store(true, Ordering::Relaxed);
            });
            let outcome = topk(isa, Run::new(2, &stop), &instance.ranking(10), &mut index, &mut score);
            assert_eq!(outcome, Err(Error::Cancelled));
        });
    }
}
