#![no_main]
//! See [`nexis_fuzz::record_info`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexis_fuzz::record_info(bytes));
