//! Networks that go wrong, under agents and a broker that are real processes: through a relay, and in networks of their own.

mod namespaces;
mod relay;
