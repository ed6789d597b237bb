use halfstep_kernels::*;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let (k, items, queries, threads) = (a[0], a[1], a[2], a[3]);
    let n = *a.get(4).unwrap_or(&10);
    let mut s = 1u64;
    let mut g = || {
        let mut t = 0.0;
        for _ in 0..4 {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            t += (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        }
        t as f32
    };
    let z: Vec<f32> = (0..items * k).map(|_| g()).collect();
    let q: Vec<f32> = (0..queries * k).map(|_| g()).collect();
    let b: Vec<f32> = (0..items).map(|_| g()).collect();
    static C: AtomicBool = AtomicBool::new(false);
    let r = Ranking {
        rank: k,
        queries: &q,
        items: &z,
        item_bias: Some(&b),
        exclude: None,
        candidates: None,
        allow: None,
        n,
    };
    let mut i = vec![0i64; queries * n];
    let mut o = vec![0f32; queries * n];
    for isa in Isa::available()
        .into_iter()
        .take(std::env::var("ISAS").ok().and_then(|x| x.parse().ok()).unwrap_or(2))
    {
        let mut best = 9e9f64;
        for _ in 0..std::env::var("REPS").ok().and_then(|x| x.parse().ok()).unwrap_or(5) {
            let t = Instant::now();
            topk(isa, Run::new(threads, &C), &r, &mut i, &mut o).unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!(
            "{} K={k} items={items} queries={queries} threads={threads} n={n}: {:.3} ms {:.0}/s",
            isa.name(),
            best * 1e3,
            queries as f64 / best
        );
    }
}
