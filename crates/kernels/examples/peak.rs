//! What this machine can do: float32 multiply-adds a second and bytes a second, as one JSON line.
//!
//! Multiply-adds: every thread runs `x ← x a + b` on so many independent registers that neither the
//! latency nor the loop is the limit. Bytes: every thread reads, copies, or adds two arrays into a
//! third (triad), in slices of arrays far larger than any cache. The best of the repetitions
//! counts, on one thread and on all. `--quick` checks the program, not the machine.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Multiply-adds on float32, `rounds` times over a set of registers; the number done.
type Work = fn(rounds: u64) -> f64;

const A: f32 = 0.999_999;
const B: f32 = 1e-6;

/// A kernel of `$count` vectors of `$lanes` lanes under `$feature`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! multiply_adds {
    ($name:ident, $feature:literal, $lanes:literal, $count:literal, $set:path, $fma:expr) => {
        fn $name(rounds: u64) -> f64 {
            #[target_feature(enable = $feature)]
            fn inner(rounds: u64) -> f64 {
                let (a, b) = ($set(black_box(A)), $set(black_box(B)));
                let mut x = [$set(1.0); $count];
                for _ in 0..rounds {
                    for x in &mut x {
                        *x = $fma(*x, a, b);
                    }
                }
                black_box(x);
                (rounds * $count * $lanes) as f64
            }
            // SAFETY: `widest` hands this out only where the CPU has the feature.
            unsafe { inner(rounds) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod cpu {
    use super::{A, B, Work, black_box, portable};
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};

    multiply_adds!(avx512, "avx512f", 16, 20, _mm512_set1_ps, _mm512_fmadd_ps);
    multiply_adds!(avx2, "avx2,fma", 8, 12, _mm256_set1_ps, _mm256_fmadd_ps);

    pub fn widest() -> (&'static str, Work) {
        if is_x86_feature_detected!("avx512f") {
            ("avx512", avx512)
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            ("avx2", avx2)
        } else {
            ("portable", portable)
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod cpu {
    use super::{A, B, Work, black_box};
    use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32};

    #[target_feature(enable = "neon")]
    fn fma(x: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vfmaq_f32(b, x, a)
    }

    multiply_adds!(neon, "neon", 4, 24, vdupq_n_f32, fma);

    pub fn widest() -> (&'static str, Work) {
        ("neon", neon) // every aarch64 CPU has it
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod cpu {
    use super::{Work, portable};

    pub fn widest() -> (&'static str, Work) {
        ("portable", portable)
    }
}

/// The same without a fused instruction: a multiplication and an addition.
#[cfg(not(target_arch = "aarch64"))]
fn portable(rounds: u64) -> f64 {
    let (a, b) = (black_box(A), black_box(B));
    let mut x = [1.0f32; 32];
    for _ in 0..rounds {
        for x in &mut x {
            *x = *x * a + b;
        }
    }
    black_box(x);
    (rounds * 32) as f64
}

/// The best over `repetitions` of Σ `work()` a second, from the first start to the last end.
fn per_second(threads: usize, repetitions: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let repeated = |thread: usize| {
        work(thread); // warm: clock, pages
        let run = |_| {
            barrier.wait();
            let begun = Instant::now();
            (work(thread), begun, Instant::now())
        };
        (0..repetitions).map(run).collect::<Vec<_>>()
    };
    let runs: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || repeated(thread))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a thread ended early")).collect()
    });
    let rate = |i: usize| {
        let done: f64 = runs.iter().map(|run| run[i].0).sum();
        let first = runs.iter().map(|run| run[i].1).min();
        let last = runs.iter().map(|run| run[i].2).max();
        let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        done / seconds
    };
    (0..repetitions).map(rate).fold(0.0, f64::max)
}

/// Σ of an array on independent accumulators, so that memory is the limit.
fn sum(array: &[f32]) -> f32 {
    let mut sums = [0.0f32; 64];
    for chunk in array.chunks_exact(64) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().sum()
}

/// Bytes a second of (read, copy, triad), with `bytes` in all arrays together.
fn bandwidth(threads: usize, repetitions: usize, bytes: usize) -> [f64; 3] {
    use std::sync::Mutex;
    let each = bytes / 3 / threads / 4;
    // Each thread touches its own slices first, in the warm-up.
    let arrays: Vec<_> = (0..threads).map(|_| Mutex::new(vec![vec![1.0f32; each]; 3])).collect();
    let size = (each * 4) as f64;
    let over = |bytes: f64, pass: fn(&mut [Vec<f32>])| {
        per_second(threads, repetitions, |thread| {
            let mut own = arrays[thread].lock().expect("no thread has panicked");
            pass(&mut own);
            bytes
        })
    };
    [
        over(3.0 * size, |own| {
            black_box(own.iter().map(|array| sum(array)).sum::<f32>());
        }),
        over(2.0 * size, |own| {
            let [a, b, _] = own else { unreachable!("three arrays") };
            a.copy_from_slice(black_box(b));
            black_box(a);
        }),
        over(3.0 * size, |own| {
            let [a, b, c] = own else { unreachable!("three arrays") };
            for ((a, b), c) in a.iter_mut().zip(&*b).zip(&*c) {
                *a = b + A * c;
            }
            black_box(a);
        }),
    ]
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let all = thread::available_parallelism().map_or(1, usize::from);
    let (rounds, repetitions, bytes) =
        if quick { (10_000, 2, 12 << 20) } else { (3_000_000, 30, 1 << 30) };
    let (name, work) = cpu::widest();
    let parts: Vec<String> = [1, all]
        .iter()
        .map(|&threads| {
            let flops = 2.0 * per_second(threads, repetitions, |_| work(rounds));
            let [read, copy, triad] = bandwidth(threads, repetitions, bytes).map(|b| b / 1e9);
            format!(
                "{{\"threads\": {threads}, \"gflops\": {:.3}, \"read\": {read:.3}, \
                 \"copy\": {copy:.3}, \"triad\": {triad:.3}}}",
                flops / 1e9
            )
        })
        .collect();
    println!("{{\"isa\": \"{name}\", \"runs\": [{}]}}", parts.join(", "));
}
