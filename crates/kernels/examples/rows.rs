//! Speed of the row kernel: microseconds a row and useful GFLOP/s, for ranks and row lengths.
//!
//! ```text
//! cargo run --release --example rows                          one thread
//! cargo run --release --example rows -- 2 64,128 115,590 138000      threads, ranks, lengths, columns
//! ```
//!
//! Useful operations of a row of n cells: n K (K + 1) + K³ / 3. The fastest of several repetitions
//! counts; cells lie at random among the columns, 27,000 where no number is given.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use halfstep_kernels::{Cells, Element, Isa, RowProblem, Run, Terms, solve_rows};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let list = |at: usize, otherwise: &str| -> Vec<usize> {
        let text = arguments.get(at).map_or(otherwise, String::as_str);
        text.split(',').map(|x| x.parse().expect("numbers, separated by commas")).collect()
    };
    let threads = list(0, "1")[0];
    let (ranks, lengths) = (list(1, "10,32,50,64,100,128,256"), list(2, "20,50,115,590,2000"));
    let columns = list(3, "27000")[0];
    let isa = Isa::chosen().expect("HALFSTEP_ISA names a set of this processor");
    println!(
        "{} · {threads} thread(s) · float32: µs a row (useful GFLOP/s), without and with bias",
        isa.name()
    );
    for &rank in &ranks {
        print!("K = {rank:<4}");
        for &length in &lengths {
            let [plain, biased] = [false, true]
                .map(|bias| seconds_a_row::<f32>(isa, threads, (rank, length, columns), bias));
            let (n, k) = (length as f64, rank as f64);
            let work = n * k * (k + 1.0) + k * k * k / 3.0;
            print!(
                "  n = {length}: {:.2} ({:.1}) {:.2}x",
                1e6 * plain,
                work / plain / 1e9,
                biased / plain
            );
        }
        println!();
    }
}

fn seconds_a_row<T: Element>(
    isa: Isa,
    threads: usize,
    (rank, length, columns): (usize, usize, usize),
    bias: bool,
) -> f64 {
    let cost = length * rank * rank + rank * rank * rank / 3;
    let rows = (40_000_000 / cost).clamp(8, 2_000);
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut fixed: Vec<T> = Vec::with_capacity(columns * rank + 64);
    huge_pages(&mut fixed);
    let aligned = fixed.as_ptr().align_offset(64);
    fixed.resize(aligned, T::ZERO);
    fixed.extend((0..columns * rank).map(|_| T::from_f64((random() % 2000) as f64 / 4000.0 - 0.25)));
    let indices: Vec<u32> = (0..rows * length).map(|_| (random() % columns) as u32).collect();
    let values: Vec<f32> = indices.iter().map(|i| (i % 9) as f32 / 2.0 + 0.5).collect();
    let indptr: Vec<i64> = (0..=rows).map(|u| (u * length) as i64).collect();
    let offset: Vec<T> = (0..columns).map(|i| T::from_f64((i % 7) as f64 / 10.0)).collect();
    let ridge = vec![T::from_f64(0.1 * length as f64); rank + usize::from(bias)];
    let problem = RowProblem {
        cells: Cells { indptr: &indptr, indices: &indices, values: &values, weights: None },
        fixed: &fixed[aligned..],
        rank,
        offset: bias.then_some(&offset),
        terms: Terms { a0: 1.0, a1: 0.0, b0: -3.5, b1: 1.0 },
        prior: None,
        linear: None,
        ridge: &ridge,
        scale: None,
    };
    let (mut out, mut out_bias) = (vec![T::ZERO; rows * rank], vec![T::ZERO; rows]);
    let stop = AtomicBool::new(false);
    let (begun, mut fastest, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < 5 || begun.elapsed() < Duration::from_millis(200) {
        let start = Instant::now();
        solve_rows(isa, Run::new(threads, &stop), &problem, &mut out, bias.then_some(&mut out_bias[..]))
            .expect("regular");
        fastest = fastest.min(start.elapsed());
        runs += 1;
    }
    fastest.as_secs_f64() / rows as f64
}

/// Ask for large pages, as numpy does for its arrays.
fn huge_pages<T>(memory: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn madvise(start: *mut u8, length: usize, advice: i32) -> i32;
        }
        let start = (memory.as_mut_ptr() as usize).next_multiple_of(4096);
        // SAFETY: the advice changes no content; a wrong range is answered with an error, ignored here.
        unsafe { madvise(start as *mut u8, memory.capacity() * size_of::<T>() - 4096, 14) };
    }
}
