//! Tests of the broker's decisions, through turns as the shell runs them.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of send and passes over the others"
)]
mod admission;
mod agreement;
mod broker;
mod cases;
mod clock;
mod covenants;
mod damaged;
mod delivery;
mod ended;
mod fair;
mod fixture;
mod in_flight;
mod log;
mod notices;
mod operation;
mod outcomes;
mod past;
mod quotas;
mod replay;
mod room;
mod rotations;
mod sequences;
mod sessions;
mod shards;
mod suspension;
mod upkeep;
mod witnesses;
mod years;
