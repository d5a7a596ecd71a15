//! A network for TCP between an agent and the broker that can be shut, on loopback. For UDP there is
//! [`crate::impair::Relay`].

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a thread looks whether anything changed.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct State {
    shut: AtomicBool,
    gone: AtomicBool,
}

impl State {
    fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// A gate, open at first; its threads end with it.
#[derive(Debug)]
pub struct Gate {
    /// Where agents connect instead of to the broker.
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Gate {
    /// A gate in front of `broker`.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn before(broker: SocketAddr) -> io::Result<Self> {
        let outside = TcpListener::bind("127.0.0.1:0")?;
        outside.set_nonblocking(true)?;
        let gate = Self { address: outside.local_addr()?, state: Arc::default() };
        let state = Arc::clone(&gate.state);
        std::thread::spawn(move || {
            while !state.is_gone() {
                match outside.accept() {
                    Ok((agent, _)) => _ = carry(agent, broker, &state),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Ok(gate)
    }

    /// Lets nothing pass any more, either way, and tells nobody. Connections are still taken.
    pub fn shut(&self) {
        self.state.shut.store(true, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shut();
        self.state.gone.store(true, Ordering::SeqCst);
    }
}

fn carry(agent: TcpStream, broker: SocketAddr, state: &Arc<State>) -> io::Result<()> {
    let broker = TcpStream::connect(broker)?;
    agent.set_nonblocking(false)?;
    for (from, to) in [(agent.try_clone()?, broker.try_clone()?), (broker, agent)] {
        let state = Arc::clone(state);
        std::thread::spawn(move || one_way(from, to, &state));
    }
    Ok(())
}

/// Carries bytes one way. What comes while the gate is shut is held up: TCP loses nothing in between.
fn one_way(mut from: TcpStream, mut to: TcpStream, state: &State) -> io::Result<()> {
    let mut bytes = vec![0; 65_536];
    loop {
        let length = from.read(&mut bytes)?;
        while state.is_shut() {
            if state.is_gone() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        if length == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(bytes.get(..length).unwrap_or_default())?;
    }
}
