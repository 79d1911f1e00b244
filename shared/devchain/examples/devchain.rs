//! A dev chain on its own, for trying clients against it: `cargo run -p nexis-devchain --example devchain -- PORT SPEC`.

use nexis_devchain::{DevChain, DevChainConfig, GenesisNeuron, Spec};
use std::net::SocketAddr;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().map_or(Ok(9_944), |text| text.parse())?;
    let version: u32 = args.next().map_or(Ok(439), |text| text.parse())?;
    let commit_reveal = args.next().as_deref() == Some("commit-reveal");
    let spec = Spec::from_version(version).ok_or("no such spec is bundled")?;
    // The well-known development keys //Alice, //Bob and //Charlie.
    let keys = [
        "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
        "8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48",
        "90b5ab205c6974c9ea841be688864633dc9ca8a357843eeacf2314649965fe22",
    ];
    let mut neurons = Vec::new();
    for (uid, key) in keys.into_iter().enumerate() {
        let hotkey: [u8; 32] = hex::decode(key)?.try_into().map_err(|_| "32 bytes")?;
        neurons.push(GenesisNeuron {
            hotkey,
            stake_rao: 5_000_000_000_000,
            permit: uid == 0,
        });
    }
    let chain = DevChain::start(DevChainConfig {
        spec,
        neurons,
        commit_reveal,
        start_block: 1_000,
        block_time: Duration::from_millis(500),
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        ..DevChainConfig::default()
    })
    .await?;
    println!("{} spec {version}; Ctrl-C ends it", chain.url());
    tokio::signal::ctrl_c().await?;
    chain.stop().await;
    Ok(())
}
