//! The behaviour that every implementation of a port shows, embedded or real.

pub mod board;
pub mod queue;
