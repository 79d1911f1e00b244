//! Laws of [`crate::Board`].
