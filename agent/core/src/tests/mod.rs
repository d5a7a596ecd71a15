mod agreed;
mod inbox;
mod interleaving;
mod minimise;
mod outbox;
mod prekeys;
mod rows;
mod trust;
