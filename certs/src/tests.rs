//! One test per mistake a person can make, and the life of a certificate from request to revocation.

mod kit;
mod life;
mod mistakes;
mod service;
