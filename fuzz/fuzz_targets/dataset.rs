#![no_main]
//! See [`nexis_fuzz::dataset`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexis_fuzz::dataset(bytes));
