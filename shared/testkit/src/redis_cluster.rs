use crate::{Redis, eventually};
use std::time::Duration;

/// Slots of a cluster.
const SLOTS: u32 = 16_384;
const UP: Duration = Duration::from_secs(60);

/// A Redis Cluster of masters that share the slots among them.
pub struct RedisCluster {
    /// Its servers; any of them may be killed and started again.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts one of three nodes and waits until each knows the others and every slot has an owner.
    pub async fn start() -> Self {
        let nodes: Vec<Redis> = (0..3).map(|_| Redis::start_node()).collect();
        let count = u32::try_from(nodes.len()).expect("a few");
        for (node, place) in nodes.iter().zip(0..count) {
            let (from, to) = (SLOTS * place / count, SLOTS * (place + 1) / count - 1);
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {from} {to}"));
            // Otherwise two of them may claim the same slots from the start.
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1));
        }
        for other in &nodes[1..] {
            let meet = format!("CLUSTER MEET 127.0.0.1 {}", other.port());
            nodes[0].ask(&meet);
        }
        let cluster = Self { nodes };
        cluster.is_whole().await;
        cluster
    }

    /// Waits until every node sees the whole cluster.
    pub async fn is_whole(&self) {
        eventually(UP, async || {
            self.nodes.iter().all(|node| {
                let info = node.ask("CLUSTER INFO");
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{}", self.nodes.len()))
            })
        })
        .await;
    }

    /// One node's address: enough to find the others.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// Every node's address, separated by commas.
    pub fn urls(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(Redis::url).collect();
        urls.join(",")
    }
}
