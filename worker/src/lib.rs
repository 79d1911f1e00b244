//! The worker: takes jobs from the queue, does them, posts what came out to the board.
//!
//! Owns: the I/O around the core's judgement of one package or one clip.
//! Never does: decide between miners, or hold a key.
//! Start reading at [`Worker::run`], then [`miner_job`] and [`clip_job`].

mod bounds;
pub mod clip_job;
pub mod fetch;
mod intake;
mod job_run;
pub mod measure;
mod meter;
pub mod miner_job;
mod model_checks;
mod reach;
pub mod room;

pub use nexis_media::child_main;

pub use intake::{JobError, Worker, WorkerOptions, WorkerPorts};
