//! Mosquitto: a topic for each recipient, at least once (`QoS` 1), in a session that the server keeps.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use rumqttc::{
    AckMode, AsyncClient, Broker, Event, EventLoop, MqttOptions, NetworkOptions, Publish, PublishOptions,
    QoS, TlsConfiguration, Transport,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::{Facts, PREFETCH, Peer, Recipient, Sender};
use crate::Failure;
use crate::place::{Place, Server};

/// Most packets that a client has under way. The window of the benchmark is less.
const UNDER_WAY: u16 = 16_384;

/// A running server.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    tls: Arc<rustls::ClientConfig>,
    port: u16,
}

/// A connection that goes on until it is dropped.
#[derive(Debug)]
struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A sender's connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    client: AsyncClient,
    topic: String,
    _driven: Driven,
}

/// A recipient's connection.
#[derive(Debug)]
pub(crate) struct Subscriber {
    client: AsyncClient,
    came: UnboundedReceiver<Result<Publish, String>>,
    _driven: Driven,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Came(Publish);

impl AsRef<[u8]> for Came {
    fn as_ref(&self) -> &[u8] {
        &self.0.payload
    }
}

impl Mosquitto {
    fn client(&self, name: &str, number: u8) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(format!("{name}-{number}"), Broker::tcp("127.0.0.1", self.port));
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&self.tls))))
            .set_keep_alive(60)
            .set_clean_session(false)
            .set_inflight(UNDER_WAY)
            .set_ack_mode(AckMode::Manual);
        let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(UNDER_WAY)).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        (client, events)
    }
}

/// Keeps a connection going; tells of what comes and of its end.
fn drive(mut events: EventLoop) -> (Driven, UnboundedReceiver<Result<Publish, String>>) {
    let (tell, came) = unbounded_channel();
    let driven = tokio::spawn(async move {
        loop {
            let told = match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => Ok(publish),
                Ok(_) => continue,
                Err(error) => Err(error.to_string()),
            };
            let ended = told.is_err();
            // Nobody listens where packets are sent: what is confirmed, and what is not, is told there.
            _ = tell.send(told);
            if ended {
                break;
            }
        }
    });
    (Driven(driven), came)
}

fn topic(number: u8) -> String {
    format!("mailbox/{number}")
}

impl Peer for Mosquitto {
    type Sender = Publisher;
    type Recipient = Subscriber;

    const FACTS: Facts = Facts {
        name: "Mosquitto",
        flushes: "nothing before it confirms; its whole database once a second",
        durable: false,
        install: "`apt-get install mosquitto`, or --mosquitto PATH",
    };

    fn version(program: &str) -> io::Result<String> {
        let output = Command::new(program).arg("-h").output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned())
    }

    fn start(program: &str, place: &Place) -> Result<(Self, Vec<Server>), Failure> {
        let config = place.configure("mosquitto.conf", include_str!("../../config/mosquitto.conf"))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(config);
        let server = place.start(&command)?;
        Ok((Self { tls: Arc::new(place.tls()?), port: place.port }, vec![server]))
    }

    async fn mailbox(&self, _number: u8) -> Result<(), Failure> {
        // A mailbox is a recipient's session, which begins when it first connects.
        Ok(())
    }

    async fn sender(&self, number: u8) -> Result<Publisher, Failure> {
        let (client, events) = self.client("sender", number);
        let (driven, _) = drive(events);
        Ok(Publisher { client, topic: topic(number), _driven: driven })
    }

    async fn recipient(&self, number: u8) -> Result<Subscriber, Failure> {
        let (client, events) = self.client("recipient", number);
        let (driven, came) = drive(events);
        let subscribed = client.subscribe_tracked(topic(number), QoS::AtLeastOnce).await?;
        tokio::time::timeout(Duration::from_secs(10), subscribed.wait_async()).await??;
        Ok(Subscriber { client, came, _driven: driven })
    }
}

impl Sender for Publisher {
    async fn publish(
        &self,
        packet: Vec<u8>,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure> {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let confirm = self.client.publish_tracked(self.topic.clone(), packet, options).await?;
        Ok(async move { Ok(confirm.wait_async().await.map(drop)?) })
    }
}

impl Recipient for Subscriber {
    type Delivery = Came;

    async fn take(&mut self) -> Result<Vec<Came>, Failure> {
        let mut taken = Vec::new();
        if self.came.recv_many(&mut taken, usize::from(PREFETCH)).await == 0 {
            return Err("the connection has ended".into());
        }
        Ok(taken.into_iter().map(|one| one.map(Came)).collect::<Result<_, _>>()?)
    }

    async fn acknowledge(&mut self, taken: Vec<Came>) -> Result<(), Failure> {
        for Came(publish) in taken {
            self.client.ack(&publish).await?;
        }
        Ok(())
    }
}
