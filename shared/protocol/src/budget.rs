//! How large anything may become, as one calculation: what a data set may hold decides what a report, a plan and the
//! evidence may hold. The limits of the readers, the upper bounds of the settings and the largest message that is read
//! all come from here, so that whatever the limits admit can be stored, and whatever is stored can be read.
//!
//! Every bound lies far above what an honest miner makes: 5,000 rows of about one kilobyte.

/// Most rows of a data set, whatever the settings say.
pub const MAX_ROWS: u64 = 1_000_000;
/// Most bytes of text in all cells of a data set together, whatever the settings say.
pub const MAX_TEXT_BYTES: u64 = 128 << 20;
/// Most bytes of text in all cells of one row. A clip job carries a row's texts, a failure names up to three of them.
pub const MAX_ROW_TEXT_BYTES: u64 = 256 << 10;
/// Most bytes of a manifest; an honest one has some 500. A failure may quote it.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 10;
/// Most miners of a round: a subnet has this many uids.
pub const MAX_MINERS: u64 = 256;

/// Most bytes of failures that one miner's decision keeps, whatever the settings say.
pub const MAX_FAILURE_BYTES: u64 = 64 << 20;
/// Most bytes of failures in the plan of one round, all its miners together.
pub const ROUND_FAILURE_BYTES: u64 = 256 << 20;
/// Most bytes of sampled rows in the plan of one round, all its miners together (sampling `full`).
pub const ROUND_SAMPLE_BYTES: u64 = 96 << 20;
/// Most bytes of sampled rows of one miner.
pub const MAX_SAMPLE_BYTES: u64 = 4 << 20;

/// Failures that one miner's decision keeps by default: all of a package of 100,000 rows that each fail.
pub const FAILURE_BYTES: u64 = 8 << 20;
/// Rows of a data set that are read by default.
pub const ROWS: u64 = 200_000;
/// Memory that reading one data set may take by default.
pub const DECODE_MEMORY_BYTES: u64 = 1 << 30;
/// Slowest transfer that is waited for by default, bytes per second.
pub const MIN_BYTES_PER_SECOND: u64 = 16 << 10;

/// Bytes of a row in an encoded data set beside its texts: eight ends of texts, two digests, three floats, three
/// numbers of 128 bits, one flag.
pub const ROW_BYTES: u64 = 8 * 5 + 2 * 33 + 3 * 8 + 3 * 19 + 1;
/// Bytes of a row in encoded claims beside its texts: the lengths of a source's texts, its place, a float, a verdict on
/// the caption, the end of the clip id.
pub const CLAIM_BYTES: u64 = 2 * 5 + 5 + 8 + 1 + 10;
/// Bytes of a sampled row in a plan beside its clip id: row, position, the id's length, one flag.
pub const SAMPLE_BYTES: u64 = 5 + 5 + 2 + 1;
/// Bytes of all that a message holds once: names, ids, digests, an error text.
const ONCE_BYTES: u64 = 1 << 20;

/// Largest encoded data set.
pub const MAX_ROWS_BYTES: u64 = MAX_TEXT_BYTES + MAX_ROWS * ROW_BYTES + ONCE_BYTES;
/// Largest claims: in the worst case they repeat all text.
pub const MAX_CLAIMS_BYTES: u64 = MAX_TEXT_BYTES + MAX_ROWS * CLAIM_BYTES;
/// Largest report of a miner job: its rows, which compression can make longer by one part in 256, and its claims, or a
/// manifest that is quoted in code, words and notes.
pub const MAX_REPORT_BYTES: u64 =
    MAX_ROWS_BYTES + MAX_ROWS_BYTES / 256 + MAX_CLAIMS_BYTES + 4 * MAX_MANIFEST_BYTES + ONCE_BYTES;
/// Largest job: one row and the rules.
pub const MAX_JOB_BYTES: u64 = MAX_ROW_TEXT_BYTES + ONCE_BYTES;
/// Codes and advisories that one row can have; each names its clip id.
pub const CODES_PER_ROW: u64 = 24;
/// Largest verdict on one row.
pub const MAX_VERDICT_BYTES: u64 = CODES_PER_ROW * MAX_ROW_TEXT_BYTES + ONCE_BYTES;
/// Largest value that the board takes; Redis takes 512 MiB.
pub const MAX_STORED_BYTES: u64 = (512 << 20) - ONCE_BYTES;
/// Largest set of row numbers in a plan, one miner's: a bit per row, or a list when fewer than one row in 16 is in it.
pub const ROW_SET_BYTES: u64 = 3 * MAX_ROWS / 16 + 16;
/// Largest plan of a round or of its clip stage.
pub const MAX_PLAN_BYTES: u64 = ROUND_FAILURE_BYTES
    + ROUND_SAMPLE_BYTES
    + MAX_MINERS * (ROW_SET_BYTES + 3 * MAX_MANIFEST_BYTES / 2)
    + ONCE_BYTES;
/// Bytes of a verdict beside the texts of its row: hotkey, measures, pictures, names of frames, words of advisories.
const VERDICT_BYTES: u64 = 1 << 10;
/// Largest evidence of one miner: report, plan, and a verdict on each sampled row.
pub const MAX_EVIDENCE_BYTES: u64 = MAX_REPORT_BYTES
    + MAX_FAILURE_BYTES
    + ROW_SET_BYTES
    + MAX_SAMPLE_BYTES
    + MAX_TEXT_BYTES
    + CODES_PER_ROW * MAX_SAMPLE_BYTES
    + MAX_SAMPLE_BYTES / SAMPLE_BYTES * VERDICT_BYTES;

const _: () = {
    assert!(MAX_REPORT_BYTES + MAX_REPORT_BYTES / 256 < MAX_STORED_BYTES);
    assert!(MAX_PLAN_BYTES + MAX_PLAN_BYTES / 256 < MAX_STORED_BYTES);
    // RabbitMQ 4 takes messages of 16 MiB.
    assert!(MAX_JOB_BYTES < 16 << 20);
    // The first failure of a miner always fits: it names at most three texts of rows, or quotes the manifest.
    assert!(3 * MAX_ROW_TEXT_BYTES < ROUND_FAILURE_BYTES / MAX_MINERS);
    assert!(MAX_MANIFEST_BYTES < ROUND_FAILURE_BYTES / MAX_MINERS);
};

/// Bytes of failures that each miner of a round may keep, under a setting of `per_miner` bytes.
pub const fn failure_bytes(per_miner: u64, miners: u64) -> u64 {
    share(ROUND_FAILURE_BYTES, per_miner, MAX_FAILURE_BYTES, miners)
}

/// Bytes of sampled rows that each miner of a round may have in the plan of its clip stage.
pub const fn sample_bytes(miners: u64) -> u64 {
    share(ROUND_SAMPLE_BYTES, u64::MAX, MAX_SAMPLE_BYTES, miners)
}

/// The least of an equal share and two bounds.
const fn share(of_all: u64, asked: u64, most: u64, miners: u64) -> u64 {
    let miners = if miners == 0 { 1 } else { miners };
    let mut least = of_all / miners;
    if asked < least {
        least = asked;
    }
    if most < least {
        least = most;
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_miners_fit_into_the_plan_of_a_round() {
        for miners in 1..=MAX_MINERS {
            assert!(failure_bytes(u64::MAX, miners) * miners <= ROUND_FAILURE_BYTES);
            assert!(sample_bytes(miners) * miners <= ROUND_SAMPLE_BYTES);
        }
        assert_eq!(failure_bytes(FAILURE_BYTES, 2), FAILURE_BYTES);
        assert_eq!(failure_bytes(u64::MAX, 0), MAX_FAILURE_BYTES);
    }
}
