#![no_main]
//! See [`nexis_fuzz::clip`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexis_fuzz::clip(bytes));
