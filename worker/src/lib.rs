//! The worker: takes jobs from the queue, does them, posts what came out to the board.
//!
//! Owns: the I/O around the core's judgement of one package or one clip.
//! Never does: decide between miners, or hold a key.
//! Start reading at [`Worker::run`], then [`miner_job`] and [`clip_job`].

pub mod clip_job;
mod intake;
pub mod measure;
mod meter;
pub mod miner_job;
mod model_checks;
pub mod room;

pub use nexis_media::child_main;

pub use intake::{Worker, WorkerOptions, WorkerPorts};
