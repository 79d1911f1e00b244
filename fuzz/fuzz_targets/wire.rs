#![no_main]
//! See [`nexis_fuzz::wire`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexis_fuzz::wire(bytes));
