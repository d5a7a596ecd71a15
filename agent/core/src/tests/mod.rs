mod agreed;
mod cases;
mod corrections;
mod inbox;
mod interleaving;
mod law;
mod logs;
mod minimise;
mod onward;
mod outbox;
mod prekeys;
mod release;
mod retention;
mod rotations;
mod rows;
#[path = "../../../../tests/kits/law.rs"]
mod rules;
mod trust;
