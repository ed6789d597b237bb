//! Arrays of float32 or float64, told apart once and borrowed as slices.

use halfstep_kernels::Element;
use numpy::{
    PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::door::internal;

/// An array of the type T that is C-contiguous and aligned, borrowed for reading.
pub struct In<'py, T: Element + numpy::Element>(PyReadonlyArrayDyn<'py, T>);

impl<'py, T: Element + numpy::Element> In<'py, T> {
    /// Borrow `array`, which `name` calls in messages.
    pub fn of(name: &str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        let typed = typed::<T>(name, array)?;
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

    /// The extent of the last axis (1 for a vector).
    pub fn width(&self) -> usize {
        let shape = self.0.shape();
        if shape.len() == 2 { shape[1] } else { 1 }
    }
}

/// An array of the type T that is C-contiguous, aligned and writable, borrowed for writing.
pub struct Out<'py, T: Element + numpy::Element>(PyReadwriteArrayDyn<'py, T>);

impl<'py, T: Element + numpy::Element> Out<'py, T> {
    /// Borrow `array`, which `name` calls in messages.
    pub fn of(name: &str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        let typed = typed::<T>(name, array)?;
        let borrowed = typed.try_readwrite().map_err(|_| {
            internal(array.py(), &format!("{name} is read-only or is another argument's memory"))
        })?;
        Ok(Out(borrowed))
    }

    /// The elements in C order.
    pub fn slice(&mut self) -> &mut [T] {
        self.0.as_slice_mut().unwrap_or(&mut [])
    }
}

fn typed<'py, T: Element + numpy::Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let typed = array.cast::<PyArrayDyn<T>>().map_err(|_| {
        internal(array.py(), &format!("{name} must be an array of {}", std::any::type_name::<T>()))
    })?;
    if !typed.is_c_contiguous() || !is_aligned(array)? {
        return Err(internal(array.py(), &format!("{name} must be C-contiguous and aligned")));
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
