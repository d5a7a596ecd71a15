//! Network namespaces: a broker's, one for each agent, and between them one that routes and hides the agents behind
//! network address translation, as the networks of organisations do.
//!
//! ```text
//! agent 1 (10.77.1.2) ──┐
//! agent 2 (10.77.2.2) ──┼── middle: route, translate, filter ── broker (10.99.0.2)
//! agent 3 (10.77.3.2) ──┘
//! ```
//!
//! The broker has no route back to an agent's own address. Everything is made with `ip` and `nft`, which need root;
//! [`NETWORKS`] says what is not there. Control sockets are files, so that commands are given from outside.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Need;
use crate::process::system_on;

/// A broker's address when a lab is built.
pub const BROKER: &str = "10.99.0.2";
/// The interface of whoever has only one.
pub const CARD: &str = "eth0";
/// Network namespaces and a packet filter, and the right to make them.
pub const NETWORKS: Need = Need { required: "SEINHUIS_NETNS_REQUIRED", missing: without_networks };

/// Namespaces and what connects them; all of it is removed when dropped.
#[derive(Debug)]
pub struct Lab {
    tag: String,
    places: Vec<String>,
}

/// Labs of this process.
static LABS: AtomicU32 = AtomicU32::new(0);

/// `ip`, with `input` for what it starts; what it printed.
fn ip(args: &[&str], input: &str) -> io::Result<String> {
    system_on(Command::new("ip").args(args), input)
}

fn without_networks() -> Option<String> {
    let tried = Lab::build(1).and_then(|lab| lab.filter("chain empty { }").map(|()| drop(lab)));
    tried
        .err()
        .map(|error| format!("network namespaces are needed, with root, iproute2 and nftables: {error}"))
}

impl Lab {
    /// Namespaces for a broker and so many agents, connected, with nothing running in them.
    ///
    /// # Errors
    /// When a command is missing or not allowed.
    pub fn build(agents: usize) -> io::Result<Self> {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let mut lab = Self { tag: format!("seinhuis-{}-{number}", std::process::id()), places: Vec::new() };
        lab.place(&lab.middle())?;
        ip(&["netns", "exec", &lab.middle(), "sysctl", "-qw", "net.ipv4.ip_forward=1"], "")?;
        lab.connect(&lab.broker(), "broker", ("10.99.0.1", BROKER))?;
        for agent in 0..agents {
            let [gateway, own] = [1, 2].map(|host| format!("10.77.{}.{host}", agent + 1));
            lab.connect(&lab.agent(agent), &port(agent), (&gateway, &own))?;
            lab.ip(&lab.agent(agent), &["route", "add", "default", "via", &gateway])?;
        }
        lab.translate()?;
        Ok(lab)
    }

    /// The broker's namespace.
    pub fn broker(&self) -> String {
        format!("{}-broker", self.tag)
    }

    /// The namespace in the middle.
    pub fn middle(&self) -> String {
        format!("{}-middle", self.tag)
    }

    /// The namespace of the n-th agent, from zero.
    pub fn agent(&self, agent: usize) -> String {
        format!("{}-agent{agent}", self.tag)
    }

    fn place(&mut self, name: &str) -> io::Result<()> {
        ip(&["netns", "add", name], "")?;
        self.places.push(name.to_owned());
        self.ip(name, &["link", "set", "lo", "up"])
    }

    /// Makes a namespace with one interface, whose other end is in the middle.
    fn connect(&mut self, name: &str, port: &str, (gateway, own): (&str, &str)) -> io::Result<()> {
        self.place(name)?;
        let middle = self.middle();
        let pair =
            ["link", "add", "name", CARD, "netns", name, "type", "veth", "peer", "name", port, "netns"];
        ip(&[&pair[..], &[&middle]].concat(), "")?;
        for (place, card, address) in [(name, CARD, own), (middle.as_str(), port, gateway)] {
            self.ip(place, &["address", "add", &format!("{address}/24"), "dev", card])?;
            // One datagram in one piece: what a sender hands over at once would otherwise pass, and get lost, at once.
            self.ip(place, &["link", "set", card, "gso_max_segs", "1", "up"])?;
        }
        Ok(())
    }

    /// `ip` in a namespace.
    ///
    /// # Errors
    /// What it complains.
    pub fn ip(&self, place: &str, args: &[&str]) -> io::Result<()> {
        ip(&[&["-n", place][..], args].concat(), "").map(drop)
    }

    /// What stands in a file below `/proc/sys` of a namespace.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn set(&self, place: &str, setting: &str, value: &str) -> io::Result<()> {
        let pair = format!("{setting}={value}");
        ip(&["netns", "exec", place, "sysctl", "-qw", &pair], "").map(drop)
    }

    fn nft(&self, rules: &str) -> io::Result<()> {
        ip(&["netns", "exec", &self.middle(), "nft", "-f", "-"], rules).map(drop)
    }

    /// Agents are seen under the middle's own address, each connection from a port drawn at random.
    fn translate(&self) -> io::Result<()> {
        self.nft(
            "table ip translate {
                 set ports { type inet_service; flags dynamic; }
                 chain post { type nat hook postrouting priority 100; oifname \"broker\" masquerade random; }
                 chain seen { type filter hook postrouting priority 200; oifname \"broker\" add @ports { udp sport }; }
             }",
        )
    }

    /// How many source ports the broker has seen.
    ///
    /// # Errors
    /// What `nft` complains.
    pub fn ports(&self) -> io::Result<usize> {
        let command = ["netns", "exec", &self.middle(), "nft", "list", "set", "ip", "translate", "ports"];
        let listed = ip(&command, "")?;
        Ok(listed.split_once("elements").map_or(0, |(_, elements)| elements.split(',').count()))
    }

    /// Replaces what the middle does to what passes; `chain`s of an nftables table, `""` for nothing.
    ///
    /// # Errors
    /// What `nft` complains.
    pub fn filter(&self, chains: &str) -> io::Result<()> {
        self.nft(&format!("table ip fault {{ }}\ndelete table ip fault\ntable ip fault {{\n{chains}\n}}\n"))
    }

    /// As [`Self::filter`], with one rule for all that passes, in either direction.
    ///
    /// # Errors
    /// What `nft` complains.
    pub fn rule(&self, rule: &str) -> io::Result<()> {
        self.filter(&format!("chain pass {{ type filter hook forward priority 0; {rule}; }}"))
    }

    /// Makes the translation forget a mapping after so many seconds of silence.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn forget_after(&self, seconds: u32) -> io::Result<()> {
        for setting in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
            self.set(&self.middle(), &format!("net.netfilter.{setting}"), &seconds.to_string())?;
        }
        Ok(())
    }

    /// What names mean in a namespace: the lines of its `/etc/hosts`, from the next look on. To be called before a
    /// process is started there, too.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn hosts(&self, place: &str, lines: &str) -> io::Result<()> {
        let dir = names(place);
        std::fs::create_dir_all(&dir)?;
        // Written over and not replaced: a process that runs sees this very file.
        std::fs::write(dir.join("hosts"), lines)
    }
}

/// The middle's interface towards an agent.
pub fn port(agent: usize) -> String {
    format!("agent{agent}")
}

/// Where `ip netns exec` finds the files that a namespace has of its own.
fn names(place: &str) -> PathBuf {
    Path::new("/etc/netns").join(place)
}

impl Drop for Lab {
    fn drop(&mut self) {
        for place in &self.places {
            // Nothing else can be done about what cannot be removed.
            _ = ip(&["netns", "delete", place], "");
            _ = std::fs::remove_dir_all(names(place));
        }
    }
}
