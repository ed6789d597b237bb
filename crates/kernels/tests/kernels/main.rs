//! Every kernel against a naive twin. One program, so that the kernels are compiled for it once.

mod common;
mod cosine;
mod draw;
mod exact;
mod gradient;
mod iterative;
mod naive;
mod ranking;
mod rotate;
mod sgd;
mod tables;
mod topk;
mod variance;
