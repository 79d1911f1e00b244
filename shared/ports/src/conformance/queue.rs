//! Laws of [`crate::Queue`].
