//! What the small web servers for people and programs have in common: forms, sessions, and from where a request comes.

pub mod form;
pub mod origin;
pub mod pieces;
pub mod sessions;
