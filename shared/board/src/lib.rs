//! Board over Redis: one script per compound change, one hash tag per interval.
