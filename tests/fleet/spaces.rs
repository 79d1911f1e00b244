//! Every part of the fleet in a network namespace of its own, on one bridge; the way between any two can be made to
//! swallow everything.

use crate::faults::SEATS;
use std::net::Ipv4Addr;
use std::process::Command;

/// A machine of the fleet, as the network sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    Broker,
    Board,
    Scheduler(usize),
    Worker(usize),
    /// Chain and buckets, on the bridge itself.
    Outside,
}

/// A hardware address that nobody has: what is sent there is lost without a word.
const NOBODY: &str = "02:00:00:00:00:01";

pub struct Spaces {
    bridge: String,
    net: [u8; 3],
}

impl Spaces {
    /// Namespaces for broker, board and all seats.
    pub fn make() -> Self {
        let id = std::process::id();
        let byte = |shift: u32, from: u32, many: u32| {
            u8::try_from(from + (id >> shift) % many).expect("below 256")
        };
        let spaces = Self {
            bridge: format!("nx{id}"),
            net: [10, byte(8, 180, 60), byte(0, 0, 250)],
        };
        spaces.clear();
        let bridge = spaces.bridge.as_str();
        ip(&["link", "add", bridge, "type", "bridge"]);
        let own = format!("{}/24", spaces.address(Node::Outside));
        ip(&["address", "add", &own, "dev", bridge]);
        ip(&["link", "set", bridge, "up"]);
        for node in spaces.nodes() {
            let (space, outer) = (spaces.name(node), spaces.port(node));
            ip(&["netns", "add", &space]);
            ip(&[
                "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &space,
            ]);
            ip(&["link", "set", &outer, "master", bridge, "up"]);
            let address = format!("{}/24", spaces.address(node));
            ip(&["-n", &space, "address", "add", &address, "dev", "eth0"]);
            ip(&["-n", &space, "link", "set", "eth0", "up"]);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
        }
        spaces
    }

    fn nodes(&self) -> Vec<Node> {
        let mut nodes = vec![Node::Broker, Node::Board];
        nodes.extend((0..SEATS).map(Node::Scheduler));
        nodes.extend((0..SEATS).map(Node::Worker));
        nodes
    }

    fn number(node: Node) -> u8 {
        let seat = |first: u8, number: usize| first + u8::try_from(number).expect("few seats");
        match node {
            Node::Outside => 1,
            Node::Broker => 2,
            Node::Board => 3,
            Node::Scheduler(number) => seat(10, number),
            Node::Worker(number) => seat(20, number),
        }
    }

    fn name(&self, node: Node) -> String {
        format!("{}-{}", self.bridge, Self::number(node))
    }

    /// The bridge's end of a node's cable; names of interfaces have 15 characters at most.
    fn port(&self, node: Node) -> String {
        format!("{}v{}", self.bridge, Self::number(node))
    }

    pub fn address(&self, node: Node) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, Self::number(node))
    }

    /// The words that make a program run there.
    pub fn wrapper(&self, node: Node) -> Vec<String> {
        let space = self.name(node);
        ["/usr/sbin/ip", "netns", "exec", &space]
            .map(str::to_owned)
            .to_vec()
    }

    /// From now on nothing passes between the two, in either direction.
    pub fn part(&self, one: Node, other: Node) {
        for (here, there) in [(one, other), (other, one)] {
            let address = self.address(there).to_string();
            let entry = ["lladdr", NOBODY, "nud", "permanent"];
            self.neighbour(here, &[&["replace", address.as_str()][..], &entry].concat());
        }
    }

    /// The two find each other again.
    pub fn join(&self, one: Node, other: Node) {
        for (here, there) in [(one, other), (other, one)] {
            let address = self.address(there).to_string();
            self.neighbour(here, &["del", &address]);
        }
    }

    fn neighbour(&self, node: Node, words: &[&str]) {
        let space = self.name(node);
        let (place, device) = match node {
            Node::Outside => (vec![], self.bridge.as_str()),
            _ => (vec!["-n", space.as_str()], "eth0"),
        };
        ip(&[&place[..], &["neigh"], words, &["dev", device]].concat());
    }

    /// Takes everything down; also what a killed run of the same number left.
    fn clear(&self) {
        let quiet = |words: &[&str]| Command::new("/usr/sbin/ip").args(words).output().ok();
        for node in self.nodes() {
            quiet(&["netns", "del", &self.name(node)]);
        }
        quiet(&["link", "del", &self.bridge]);
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        self.clear();
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("/usr/sbin/ip").args(words).output();
    let output = output.expect("/usr/sbin/ip runs: install the package iproute2");
    assert!(
        output.status.success(),
        "ip {}: {} (network namespaces need root, or CAP_NET_ADMIN and CAP_SYS_ADMIN)",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
