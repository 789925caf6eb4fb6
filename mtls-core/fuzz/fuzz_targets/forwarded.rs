#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mtls_core::fuzz::forwarded(bytes));
