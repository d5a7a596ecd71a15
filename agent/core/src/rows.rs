//! What is durable: typed rows, their keys and their one encoding (strict CBOR).
//!
//! Bodies, drafts and private halves are locked ([`crate::Locker`]) before they get here.

/// The format of all rows; in the row of [`table::META`].
pub const FORMAT: u8 = 1;

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "u8", try_from = "u8")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The word for it, for machines.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => $code,)* }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = &'static str;

            fn try_from(code: u8) -> Result<Self, &'static str> {
                match code { $($code => Ok(Self::$variant),)* _ => Err("an unknown code") }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

mod later;
mod log;
mod message;
mod record;
mod register;
mod said;
pub mod table;
mod told;
mod write;

pub use later::{CaseEnd, CorrectionKind, CorrectionRow, CorrectionState, ErasedRow, Ground, MarkRow, Noted};
pub use log::{AlarmKind, AlarmRow, CosignedRow, LogRow, PinRow, WaitingRow};
pub use message::{ChainRow, InboxRow, OutboxRow, ProvenanceRow, ReleaseRow, Remark, Stage};
pub use record::{Operation, RecordRow, SubjectRow};
pub use register::{
    DetailRow, Duty, DutyRow, Exchange, ExchangeRow, InformsRow, PersonFile, PersonRow, PlaceRow,
};
pub use said::{ActRow, BundleRow, OwnPrekeyRow, PeerRow, ProposalRow, RotationRow, WordRow};
pub use told::{ConsumedRow, NoticesRow, Reached, TakeBackRow};
pub use write::{Row, Write, exchange_key, position_key};

/// Why stored rows cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Made by another version of the software.
    #[error(
        "the store has format {found}, this software reads format {FORMAT}: use the version that made it"
    )]
    Format {
        /// The format found.
        found: u8,
    },
    /// A row that no version of the software wrote.
    #[error("a row of table {table} (key begins {key:02x?}) cannot be read: restore the store from a backup")]
    Damaged {
        /// The table.
        table: u8,
        /// The first bytes of the key.
        key: Vec<u8>,
    },
}
