//! A network between an agent and the broker that can be shut, for UDP and for TCP, on loopback.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How often a thread looks whether anything changed.
const LOOK: Duration = Duration::from_millis(20);

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Passes {
    /// Everything.
    All = 0,
    /// What the agent sends, and no answer to it.
    NoAnswers = 1,
    /// Nothing, and nobody is told.
    Nothing = 2,
    /// Nothing, and the gate is gone.
    Gone = 3,
}

#[derive(Debug, Clone)]
struct State(Arc<AtomicU8>);

impl State {
    fn asks(&self) -> bool {
        self.0.load(Ordering::SeqCst) <= Passes::NoAnswers as u8
    }

    fn answers(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Passes::All as u8
    }

    fn gone(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Passes::Gone as u8
    }
}

/// A gate, open at first; its threads end with it.
#[derive(Debug)]
pub struct Gate {
    /// Where agents connect instead of to the broker.
    pub address: SocketAddr,
    state: State,
}

impl Gate {
    /// A gate for UDP in front of `broker`.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn udp(broker: SocketAddr) -> io::Result<Self> {
        let outside = UdpSocket::bind("127.0.0.1:0")?;
        outside.set_read_timeout(Some(LOOK))?;
        let gate = Self { address: outside.local_addr()?, state: State(Arc::new(AtomicU8::new(0))) };
        let state = gate.state.clone();
        std::thread::spawn(move || {
            // What the system does not do is lost, as on a network.
            _ = carry_udp(&outside, broker, &state);
        });
        Ok(gate)
    }

    /// A gate for TCP in front of `broker`. Shut, it takes connections and says nothing.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn tcp(broker: SocketAddr) -> io::Result<Self> {
        let outside = TcpListener::bind("127.0.0.1:0")?;
        outside.set_nonblocking(true)?;
        let gate = Self { address: outside.local_addr()?, state: State(Arc::new(AtomicU8::new(0))) };
        let state = gate.state.clone();
        std::thread::spawn(move || {
            while !state.gone() {
                match outside.accept() {
                    Ok((agent, _)) => _ = carry_tcp(agent, broker, &state),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Ok(gate)
    }

    /// Lets this pass from now on.
    pub fn set(&self, passes: Passes) {
        self.state.0.store(passes as u8, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.set(Passes::Gone);
    }
}

fn carry_udp(outside: &UdpSocket, broker: SocketAddr, state: &State) -> io::Result<()> {
    let mut inside: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
    let mut datagram = vec![0; 65_536];
    while !state.gone() {
        let Ok((length, agent)) = outside.recv_from(&mut datagram) else { continue };
        let socket = match inside.entry(agent) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => fresh.insert(answering(outside, broker, agent, state)?),
        };
        if state.asks() {
            _ = socket.send(datagram.get(..length).unwrap_or_default());
        }
    }
    Ok(())
}

/// A socket towards the broker for one agent, whose answers go to that agent.
fn answering(
    outside: &UdpSocket,
    broker: SocketAddr,
    agent: SocketAddr,
    state: &State,
) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(broker)?;
    socket.set_read_timeout(Some(LOOK))?;
    let (from, to, state) = (socket.try_clone()?, outside.try_clone()?, state.clone());
    std::thread::spawn(move || {
        let mut datagram = vec![0; 65_536];
        while !state.gone() {
            if let Ok(length) = from.recv(&mut datagram)
                && state.answers()
            {
                _ = to.send_to(datagram.get(..length).unwrap_or_default(), agent);
            }
        }
    });
    Ok(socket)
}

fn carry_tcp(agent: TcpStream, broker: SocketAddr, state: &State) -> io::Result<()> {
    let broker = TcpStream::connect(broker)?;
    agent.set_nonblocking(false)?;
    let (from_agent, to_agent) = (agent.try_clone()?, agent);
    let (from_broker, to_broker) = (broker.try_clone()?, broker);
    let asks = state.clone();
    std::thread::spawn(move || one_way(from_agent, to_broker, &asks, State::asks));
    let answers = state.clone();
    std::thread::spawn(move || one_way(from_broker, to_agent, &answers, State::answers));
    Ok(())
}

/// Carries bytes one way. What comes while the gate is shut is held up: TCP loses nothing in between.
fn one_way(
    mut from: TcpStream,
    mut to: TcpStream,
    state: &State,
    passes: fn(&State) -> bool,
) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut bytes = vec![0; 65_536];
    loop {
        let length = from.read(&mut bytes)?;
        while !passes(state) {
            if state.gone() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        if length == 0 {
            return to.shutdown(std::net::Shutdown::Write);
        }
        to.write_all(bytes.get(..length).unwrap_or_default())?;
    }
}
