//! The shapes as bytes: what the envelope refuses, what is read for ever, and what the limits admit.

mod envelope;
mod golden;
mod laws;
mod made;
