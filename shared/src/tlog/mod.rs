//! The exchange log as pure code: an append-only Merkle tree, its proofs, its published form.
//!
//! The tree is the one of RFC 6962 §2.1 over SHA-256; proofs are checked as RFC 9162 §2.1.3.2 and
//! §2.1.4.2 say; what is published follows the C2SP documents signed-note, tlog-checkpoint, tlog-tiles,
//! tlog-cosignature, tlog-policy and tlog-witness. Every decoder here is total: any bytes give a value or an error, never a panic.
//!
//! [`hash`] → [`tree`] (the log's side) → [`proof`] and [`subset`] (everybody else's side); [`tile`] is how the tree
//! lies in files, [`note`] and [`checkpoint`] are how its root is signed; [`cosignature`], [`witness`] and [`policy`] are how others say
//! that they saw the same root. What a leaf holds is in [`crate::entry`].

pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod note;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod subset;
pub mod tile;
pub mod tree;
pub mod witness;
