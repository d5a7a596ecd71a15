#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    seinhuis_fuzz_checks::shell::csv(data);
});
