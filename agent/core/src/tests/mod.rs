mod agreed;
mod cases;
mod inbox;
mod interleaving;
mod law;
mod minimise;
mod outbox;
mod prekeys;
mod rows;
#[path = "../../../../tests/kits/law.rs"]
mod rules;
mod trust;
