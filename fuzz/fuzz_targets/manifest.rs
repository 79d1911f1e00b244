#![no_main]
//! See [`nexis_fuzz::manifest`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexis_fuzz::manifest(bytes));
