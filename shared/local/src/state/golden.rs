//! Entries that stand in journals are read for ever: variants are only ever added at the end.

use super::{Entry, Expected};
use nexis_ports::Stage;
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};

/// Every form of an entry, with its bytes as they were first written.
fn entries() -> Vec<(Entry, &'static str)> {
    let interval = IntervalId::new(850);
    let hotkey: Hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        .parse()
        .expect("a hotkey");
    let miner = JobId::Miner {
        interval,
        hotkey: hotkey.clone(),
    };
    let clip = JobId::Clip {
        interval,
        hotkey: hotkey.clone(),
        row: 300,
    };
    let miners = Expected {
        miners: [hotkey.clone()].into(),
        ..Expected::default()
    };
    let clips = Expected {
        clips: [(hotkey, [1, 300].into())].into(),
        ..Expected::default()
    };
    vec![
        (Entry::Epoch(LeaderEpoch::new(7)), "0007"),
        (
            Entry::Open {
                interval,
                plan: b"plan".to_vec(),
                expected: miners,
            },
            "01d20604706c616e01303547727776614546357a58623236467a397263517044575335374374455248704e6568584350634e6f48474b7574515900",
        ),
        (
            Entry::Advance {
                interval,
                to: Stage::Clips,
                plan: b"plan".to_vec(),
                expected: clips,
            },
            "02d2060104706c616e0001303547727776614546357a58623236467a397263517044575335374374455248704e6568584350634e6f48474b757451590201ac02",
        ),
        (Entry::Retire { interval }, "03d206"),
        (
            Entry::Post {
                job: miner.clone(),
                result: b"result".to_vec(),
            },
            "043a6d696e65722f3835302f3547727776614546357a58623236467a397263517044575335374374455248704e6568584350634e6f48474b7574515906726573756c74",
        ),
        (
            Entry::Post {
                job: clip.clone(),
                result: b"result".to_vec(),
            },
            "043d636c69702f3835302f3547727776614546357a58623236467a397263517044575335374374455248704e6568584350634e6f48474b757451592f33303006726573756c74",
        ),
        (
            Entry::Fact {
                name: "vigil".to_owned(),
                value: b"value".to_vec(),
            },
            "0505766967696c0576616c7565",
        ),
        (Entry::Discard { interval }, "06d206"),
        (
            Entry::Forget {
                interval,
                jobs: vec![miner, clip],
            },
            "07d206023a6d696e65722f3835302f3547727776614546357a58623236467a397263517044575335374374455248704e6568584350634e6f48474b757451593d636c69702f3835302f3547727776614546357a58623236467a397263517044575335374374455248704e6568584350634e6f48474b757451592f333030",
        ),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16);
    pairs.map(|at| byte(at).expect("hex")).collect()
}

#[test]
fn entries_of_a_journal_are_read_for_ever() {
    for (entry, hex) in entries() {
        let read: Result<Entry, _> = postcard::from_bytes(&bytes(hex));
        assert_eq!(read.as_ref(), Ok(&entry));
        assert_eq!(postcard::to_stdvec(&entry), Ok(bytes(hex)), "{entry:?}");
    }
}
