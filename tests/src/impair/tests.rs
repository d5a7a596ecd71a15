//! The relay between a sender and a peer that sends everything back.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Conditions, Path, Relay};

/// Long enough for what has to come, on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// A peer that answers each datagram with itself, and the addresses it heard from. It ends with the test's process.
fn echo() -> (SocketAddr, Arc<Mutex<BTreeSet<SocketAddr>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let from = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            from.lock().unwrap().insert(sender);
            socket.send_to(&buffer[..length], sender).unwrap();
        }
    });
    (address, heard)
}

struct Sender(UdpSocket);

impl Sender {
    fn to(relay: &Relay) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(relay.address()).unwrap();
        Self(socket)
    }

    fn send(&self, number: u32) {
        self.0.send(&number.to_be_bytes()).unwrap();
    }

    /// What comes within `patience`.
    fn next(&self, patience: Duration) -> Option<u32> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 2048];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(u32::from_be_bytes(buffer[..length].try_into().unwrap()))
    }

    /// Sends until something comes back.
    fn until_answered(&self) {
        let end = Instant::now() + LONG;
        while Instant::now() < end {
            self.send(0);
            if self.next(Duration::from_millis(50)).is_some() {
                return;
            }
        }
        panic!("no answer");
    }
}

#[test]
fn everything_passes_in_order_and_whole() {
    let relay = Relay::start(echo().0, 1).unwrap();
    let sender = Sender::to(&relay);
    for number in 0..200 {
        sender.send(number);
        assert_eq!(sender.next(LONG), Some(number));
    }
    let (up, down) = relay.counts();
    assert_eq!((up.seen, down.seen, up.lost), (200, 200, 0));
}

#[test]
fn each_direction_is_closed_and_opened_on_its_own() {
    let (peer, heard) = echo();
    let relay = Relay::start(peer, 1).unwrap();
    let sender = Sender::to(&relay);
    let closed = Conditions::closed();
    relay.set(Conditions { up: closed.up, ..Conditions::default() });
    sender.send(1);
    assert_eq!(sender.next(Duration::from_millis(200)), None);
    assert!(heard.lock().unwrap().is_empty(), "nothing reached the peer");
    relay.set(Conditions { down: closed.down, ..Conditions::default() });
    sender.send(2);
    assert_eq!(sender.next(Duration::from_millis(200)), None);
    let end = Instant::now() + LONG;
    while heard.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "it reached the peer");
        std::thread::sleep(Duration::from_millis(5));
    }
    relay.set(Conditions::default());
    sender.until_answered();
    assert!(relay.counts().0.lost >= 1 && relay.counts().1.lost >= 1);
}

#[test]
fn what_is_delayed_comes_no_sooner_and_in_order_but_for_what_is_overtaken() {
    let relay = Relay::start(echo().0, 1).unwrap();
    let sender = Sender::to(&relay);
    let (delay, jitter) = (Duration::from_millis(80), Duration::from_millis(40));
    relay.set(Conditions { up: Path { delay, jitter, ..Path::default() }, ..Conditions::default() });
    let start = Instant::now();
    for number in 0..100 {
        sender.send(number);
    }
    let came: Vec<u32> = (0..100).map(|_| sender.next(LONG).unwrap()).collect();
    assert!(start.elapsed() >= delay);
    assert_eq!(came, (0..100).collect::<Vec<_>>());
    relay.set(Conditions { up: Path { delay, overtaken: 30, ..Path::default() }, ..Conditions::default() });
    for number in 0..100 {
        sender.send(number);
    }
    let came: Vec<u32> = (0..100).map(|_| sender.next(LONG).unwrap()).collect();
    assert!(!came.is_sorted(), "{came:?}");
    assert_eq!(came.iter().copied().collect::<BTreeSet<_>>().len(), 100, "all the same");
}

#[test]
fn a_datagram_is_doubled_where_that_is_asked() {
    let relay = Relay::start(echo().0, 1).unwrap();
    let sender = Sender::to(&relay);
    relay.set(Conditions { down: Path { doubled: 100, ..Path::default() }, ..Conditions::default() });
    for number in 0..20 {
        sender.send(number);
        assert_eq!((sender.next(LONG), sender.next(LONG)), (Some(number), Some(number)));
    }
}

#[test]
fn a_new_source_port_is_another_peer_and_answers_to_the_old_one_are_lost() {
    let (peer, heard) = echo();
    let relay = Relay::start(peer, 1).unwrap();
    let sender = Sender::to(&relay);
    sender.until_answered();
    for changes in 1..=3 {
        relay.rebind();
        sender.until_answered();
        assert_eq!(heard.lock().unwrap().len(), changes + 1);
        assert_eq!(relay.rebound(), changes as u64);
    }
}

#[test]
fn senders_are_kept_apart() {
    let (peer, heard) = echo();
    let relay = Relay::start(peer, 1).unwrap();
    let senders = [Sender::to(&relay), Sender::to(&relay), Sender::to(&relay)];
    for (number, sender) in (0..).zip(&senders) {
        sender.send(number);
        assert_eq!(sender.next(LONG), Some(number));
    }
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[test]
fn a_relay_that_is_dropped_ends_and_frees_its_address() {
    let relay = Relay::start(echo().0, 1).unwrap();
    let address = relay.address();
    drop(relay);
    UdpSocket::bind(address).unwrap();
}
