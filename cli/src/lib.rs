//! The `nexis` program.
//!
//! Owns: the command line, and the wiring of adapters to the libraries of scheduler and worker.
//! Never does: decide anything. Start reading at [`args::Cli`], then `wiring`.

pub mod args;
pub mod commands;
mod show;
mod wiring;
