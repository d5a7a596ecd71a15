//! What the benchmark asks of a peer: a server it starts, senders and recipients that connect to it.

pub(crate) mod mosquitto;
pub(crate) mod nats;
pub(crate) mod rabbitmq;

use crate::Failure;
use crate::place::{Place, Server};

/// What is said of a peer beside its figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What its configuration makes it flush.
    pub(crate) flushes: &'static str,
    /// Whether, by its configuration, what it confirms has been flushed.
    pub(crate) durable: bool,
    /// How it is installed.
    pub(crate) install: &'static str,
}

/// A message broker beside Seinhuis. There is a mailbox for each recipient, and one sender writes to each.
pub(crate) trait Peer: Sized {
    /// Who sends.
    type Sender: Sender;
    /// Who receives.
    type Recipient: Recipient;

    /// What is said of it.
    const FACTS: Facts;

    /// The version of a program.
    ///
    /// # Errors
    /// When it is not there.
    fn version(program: &str) -> std::io::Result<String>;

    /// Starts the server; it ends with what is given back.
    ///
    /// # Errors
    /// When it does not start.
    fn start(program: &str, place: &Place) -> Result<(Self, Vec<Server>), Failure>;

    /// Makes the mailbox of this number.
    ///
    /// # Errors
    /// When the server does not.
    async fn mailbox(&self, number: u8) -> Result<(), Failure>;

    /// Connects a sender to a mailbox.
    ///
    /// # Errors
    /// When it cannot connect.
    async fn sender(&self, number: u8) -> Result<Self::Sender, Failure>;

    /// Connects the recipient of a mailbox.
    ///
    /// # Errors
    /// When it cannot connect.
    async fn recipient(&self, number: u8) -> Result<Self::Recipient, Failure>;
}

/// A sender's connection.
pub(crate) trait Sender: Send + Sync + 'static {
    /// Hands a packet over. What is given back ends when the server has confirmed it.
    ///
    /// # Errors
    /// When the connection is lost.
    fn publish(
        &self,
        packet: Vec<u8>,
    ) -> impl Future<Output = Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure>> + Send;
}

/// A recipient's connection.
pub(crate) trait Recipient: Send + 'static {
    /// A packet that came.
    type Delivery: AsRef<[u8]> + Send;

    /// Waits for a packet, and takes what else is there already.
    ///
    /// # Errors
    /// When the connection is lost.
    fn take(&mut self) -> impl Future<Output = Result<Vec<Self::Delivery>, Failure>> + Send;

    /// Acknowledges all that was taken in one turn.
    ///
    /// # Errors
    /// When the connection is lost.
    fn acknowledge(&mut self, taken: Vec<Self::Delivery>)
    -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Most packets that a recipient takes in one turn, and has unacknowledged.
pub(crate) const PREFETCH: u16 = 1024;

/// The first of a stream, once it comes, and what else is there already.
///
/// # Errors
/// The stream's, or that it has ended.
pub(crate) async fn ready<S, T, E>(stream: &mut S) -> Result<Vec<T>, Failure>
where
    S: futures_util::Stream<Item = Result<T, E>> + Unpin,
    Failure: From<E>,
{
    use futures_util::{FutureExt as _, StreamExt as _};
    let first = stream.next().await.ok_or("the server ended the connection")??;
    let mut taken = vec![first];
    while taken.len() < usize::from(PREFETCH) {
        match stream.next().now_or_never() {
            Some(Some(next)) => taken.push(next?),
            // An end is met again by the next who waits.
            Some(None) | None => break,
        }
    }
    Ok(taken)
}
