//! Arrays of float32 or float64, told apart once and borrowed as slices.

use halfstep_kernels::Element;
use numpy::{
    PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::door::internal;

/// An extent that is free.
pub const ANY: usize = usize::MAX;

/// An array of the type T that is C-contiguous and aligned, borrowed for reading.
pub struct In<'py, T: Element + numpy::Element>(PyReadonlyArrayDyn<'py, T>);

impl<'py, T: Element + numpy::Element> In<'py, T> {
    /// Borrow `array` of this shape (`ANY` where an extent is free), which `name` calls in messages.
    pub fn of(name: &str, array: &Bound<'py, PyAny>, shape: &[usize]) -> PyResult<Self> {
        let typed = typed::<T>(name, array, shape)?;
        let borrowed = typed
            .try_readonly()
            .map_err(|_| internal(array.py(), &format!("{name} is being written to")))?;
        Ok(In(borrowed))
    }

    /// The elements in C order.
    pub fn slice(&self) -> &[T] {
        // `of` has checked the layout.
        self.0.as_slice().unwrap_or(&[])
    }

    /// The extents of a matrix.
    pub fn extents(&self) -> (usize, usize) {
        let shape = self.0.shape();
        (shape[0], shape[1])
    }
}

/// An array of the type T that is C-contiguous, aligned and writable, borrowed for writing.
pub struct Out<'py, T: Element + numpy::Element>(PyReadwriteArrayDyn<'py, T>);

impl<'py, T: Element + numpy::Element> Out<'py, T> {
    /// Borrow `array` of this shape (`ANY` where an extent is free), which `name` calls in messages.
    pub fn of(name: &str, array: &Bound<'py, PyAny>, shape: &[usize]) -> PyResult<Self> {
        let typed = typed::<T>(name, array, shape)?;
        let borrowed = typed.try_readwrite().map_err(|_| {
            internal(array.py(), &format!("{name} is read-only or is another argument's memory"))
        })?;
        Ok(Out(borrowed))
    }

    /// The elements in C order.
    pub fn slice(&mut self) -> &mut [T] {
        self.0.as_slice_mut().unwrap_or(&mut [])
    }

    /// The extents of a matrix.
    pub fn extents(&self) -> (usize, usize) {
        let shape = self.0.shape();
        (shape[0], shape[1])
    }
}

fn typed<'py, T: Element + numpy::Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let typed = array.cast::<PyArrayDyn<T>>().map_err(|_| {
        internal(array.py(), &format!("{name} must be an array of {}", std::any::type_name::<T>()))
    })?;
    if !typed.is_c_contiguous() || !is_aligned(array)? {
        return Err(internal(array.py(), &format!("{name} must be C-contiguous and aligned")));
    }
    let found = typed.shape();
    if found.len() != shape.len() || found.iter().zip(shape).any(|(f, s)| *s != ANY && f != s) {
        let wanted: Vec<_> =
            shape.iter().map(|&s| if s == ANY { "any".to_owned() } else { s.to_string() }).collect();
        let message = format!("{name} has shape {found:?}, expected ({})", wanted.join(", "));
        return Err(internal(array.py(), &message));
    }
    Ok(typed.clone())
}

fn is_aligned(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    array.getattr("flags")?.getattr("aligned")?.extract()
}

/// Whether the factors of a call are float64.
pub fn is_f64(array: &Bound<'_, PyAny>) -> bool {
    array.cast::<PyArrayDyn<f64>>().is_ok()
}

/// A mask, copied: numpy lets a byte of a bool array be other than 0 and 1, Rust does not.
pub fn truths(py: Python<'_>, name: &str, array: &PyReadonlyArray1<'_, bool>) -> PyResult<Vec<bool>> {
    if !array.is_c_contiguous() {
        return Err(internal(py, &format!("{name} must be contiguous")));
    }
    // SAFETY: the array is contiguous, borrowed for reading, and a bool is one byte.
    let bytes = unsafe { std::slice::from_raw_parts(array.data().cast::<u8>(), array.len()) };
    Ok(bytes.iter().map(|&byte| byte != 0).collect())
}
