//! A cell that is written once. Each access is a moment at which another thread may run.

use shuttle::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct OnceLock<T> {
    moment: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock {
            moment: AtomicBool::new(false),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.moment.load(Ordering::SeqCst);
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.moment.load(Ordering::SeqCst);
        self.value.set(value)
    }
}
