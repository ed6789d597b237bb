//! Scratch memory that starts at a cache line, so that no vector straddles two.

use crate::simd::Element;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// What a buffer may hold.
///
/// # Safety
/// Every bit pattern is a value, and no value is aligned to more than 64 bytes.
pub unsafe trait Bits: Copy {}

// SAFETY: a float.
unsafe impl<T: Element> Bits for T {}
// SAFETY: a byte.
unsafe impl Bits for u8 {}

/// `len` elements, zero at first, at an address that is a multiple of 64.
#[derive(Clone)]
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Bits> Buffer<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let lines = vec![Line([0; 64]); (len * size_of::<T>()).div_ceil(64)];
        Self { lines, len, of: PhantomData }
    }
}

impl<T: Bits> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `lines` holds at least len · size_of::<T>() initialised bytes, aligned to 64, and
        // every bit pattern is a value.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Bits> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
