//! A cell that is written once. Each access is a point at which the model checker may switch threads.

use shuttle::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct OnceLock<T> {
    switch_point: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock {
            switch_point: AtomicBool::new(false),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.switch_point.load(Ordering::SeqCst);
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.switch_point.load(Ordering::SeqCst);
        self.value.set(value)
    }
}
