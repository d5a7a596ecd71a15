mod agreed;
mod cases;
mod inbox;
mod interleaving;
mod law;
mod minimise;
mod onward;
mod outbox;
mod prekeys;
mod release;
mod rows;
#[path = "../../../../tests/kits/law.rs"]
mod rules;
mod trust;
