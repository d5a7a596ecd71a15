//! `RabbitMQ`: a quorum queue of one node for each recipient, with publisher confirms.

use std::io;
use std::process::Command;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use seinhuis_tests::ports;

use super::{Facts, PREFETCH, Peer, Recipient, Sender, ready};
use crate::Failure;
use crate::place::{Place, Server};

/// A message that outlives a restart (AMQP 0-9-1, basic.delivery-mode).
const PERSISTENT: u8 = 2;

/// A running server.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    tls: OwnedTLSConfig,
    port: u16,
}

/// A sender's connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    channel: Channel,
    queue: ShortString,
    // The channel is of it.
    _connection: Connection,
}

/// A recipient's connection.
#[derive(Debug)]
pub(crate) struct Subscriber {
    channel: Channel,
    consumer: Consumer,
    // The channel is of it.
    _connection: Connection,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Came(Delivery);

impl AsRef<[u8]> for Came {
    fn as_ref(&self) -> &[u8] {
        &self.0.data
    }
}

impl RabbitMq {
    async fn connect(&self) -> Result<(Connection, Channel), Failure> {
        // The account every server has, which may connect from this machine alone; it has shown a certificate before.
        let uri = format!("amqps://guest:guest@127.0.0.1:{}/%2f", self.port);
        let runtime = lapin::runtime::default_runtime()?;
        let connection =
            Connection::connect_with_config(&uri, ConnectionProperties::default(), self.tls.clone(), runtime)
                .await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }
}

fn queue(number: u8) -> ShortString {
    format!("mailbox-{number}").into()
}

impl Peer for RabbitMq {
    type Sender = Publisher;
    type Recipient = Subscriber;

    const FACTS: Facts = Facts {
        name: "RabbitMQ",
        flushes: "quorum queues of one node: the write-ahead log, once for all that came meanwhile, before it confirms",
        durable: true,
        install: "`apt-get install rabbitmq-server`, or --rabbitmq-server PATH",
    };

    fn version(program: &str) -> io::Result<String> {
        // The folder it is in says it. Its control program says it too, but leaves a name service running.
        let path = std::fs::canonicalize(program)?;
        let mut names = path.iter().filter_map(|name| name.to_str()?.strip_prefix("rabbitmq_server-"));
        Ok(names.next().unwrap_or("of unknown version").to_owned())
    }

    fn start(program: &str, place: &Place) -> Result<(Self, Vec<Server>), Failure> {
        let config = place.configure("rabbitmq.conf", include_str!("../../config/rabbitmq.conf"))?;
        let advanced = include_str!("../../config/rabbitmq-advanced.config");
        let advanced = place.configure("rabbitmq-advanced.config", advanced)?;
        std::fs::write(place.path("plugins"), "[].\n")?;
        // Erlang's name service, of its own, so that none is left running, and on this machine alone.
        let (names, nodes) = (ports::free()?.port().to_string(), ports::free()?.port().to_string());
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port", &names]);
        let epmd = place.spawn(&command, false)?;
        let mut command = Command::new(program);
        command
            .env("HOME", place.path(""))
            .env("ERL_EPMD_PORT", &names)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", "peers@localhost")
            .env("RABBITMQ_DIST_PORT", &nodes)
            .env("RABBITMQ_CONFIG_FILE", config)
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", advanced)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", place.path("plugins"))
            .env("RABBITMQ_MNESIA_BASE", place.path("store"))
            .env("RABBITMQ_LOG_BASE", place.path(""))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            )
            // The script becomes the server instead of watching over it.
            .env("RABBITMQ_ALLOW_INPUT", "true")
            .arg("-noinput");
        let server = place.start(&command)?;
        let identity = OwnedIdentity::PKCS8 {
            pem: std::fs::read(place.path("client.pem"))?,
            key: std::fs::read(place.path("client.key"))?,
        };
        let authority = std::fs::read_to_string(place.path("ca.pem"))?;
        let tls = OwnedTLSConfig { identity: Some(identity), cert_chain: Some(authority) };
        Ok((Self { tls, port: place.port }, vec![server, epmd]))
    }

    async fn mailbox(&self, number: u8) -> Result<(), Failure> {
        let (_connection, channel) = self.connect().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(queue(number), QueueDeclareOptions::durable(), arguments).await?;
        Ok(())
    }

    async fn sender(&self, number: u8) -> Result<Publisher, Failure> {
        let (connection, channel) = self.connect().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Publisher { channel, queue: queue(number), _connection: connection })
    }

    async fn recipient(&self, number: u8) -> Result<Subscriber, Failure> {
        let (connection, channel) = self.connect().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue(number), "recipient".into(), options, FieldTable::default()).await?;
        Ok(Subscriber { channel, consumer, _connection: connection })
    }
}

impl Sender for Publisher {
    async fn publish(
        &self,
        packet: Vec<u8>,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure> {
        let persistent = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        let confirm =
            self.channel.basic_publish("".into(), self.queue.clone(), options, &packet, persistent).await?;
        Ok(async move {
            match confirm.await? {
                Confirmation::Ack(None) => Ok(()),
                other @ (Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested) => {
                    Err(format!("not confirmed: {other:?}").into())
                }
            }
        })
    }
}

impl Recipient for Subscriber {
    type Delivery = Came;

    async fn take(&mut self) -> Result<Vec<Came>, Failure> {
        Ok(ready(&mut self.consumer).await?.into_iter().map(Came).collect())
    }

    async fn acknowledge(&mut self, taken: Vec<Came>) -> Result<(), Failure> {
        // They come in order on one channel: one word for all up to the last.
        let Some(Came(last)) = taken.last() else { return Ok(()) };
        Ok(self.channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?)
    }
}
