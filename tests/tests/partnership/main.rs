//! Whole partnerships of real processes, a file for what each is about. They are one program, so that there is one to
//! link, and those that wait do so beside those that work. `cargo test -p seinhuis-tests --test partnership stop::` runs
//! those of one file.

#[path = "../common/mod.rs"]
mod common;

mod api;
mod backup;
mod cases;
mod console;
mod corrections;
mod crash;
mod export;
mod fallback;
mod folders;
mod forks;
mod hostile;
mod in_flight;
mod law;
mod ldv;
mod lines;
mod mailbox;
mod metrics;
mod old;
mod onward;
mod page;
mod path;
mod quota;
mod receipts;
mod refused;
mod register;
mod release;
mod renewal;
mod retention;
mod review;
mod room;
mod rotation;
mod setup;
mod sql;
mod stolen;
mod stop;
mod store;
mod succession;
mod suspend;
mod third_check;
mod top;
mod traces;
mod trouble;
mod webhook;
