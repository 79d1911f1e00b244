//! Posting verdicts of clips and asking for them, many per round trip: these are the calls that a fleet makes
//! thousands of times a second. Whatever waits while one call is on its way shares the next one.

use crate::board::{Inner, RedisBoard};
use crate::keys::RoundKeys;
use crate::link::Ask;
use crate::meter::Call;
use nexis_ports::{BoardError, Posted};
use nexis_protocol::{Hotkey, IntervalId, JobId};
use nexis_runtime::batch::Batcher;
use redis::{Script, ScriptInvocation};
use std::collections::BTreeMap;

/// Calls of each kind on their way at one time: one that the server works on, one that is being sent.
const TURNS: usize = 2;
/// Items of one call at most. A thousand verdicts keep the server busy for some milliseconds, and the others wait.
const MOST: usize = 512;

/// One clip of one miner.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Clip {
    interval: IntervalId,
    hotkey: Hotkey,
    row: u32,
}

impl Clip {
    pub(crate) fn of(job: &JobId) -> Option<Self> {
        match job {
            JobId::Clip {
                interval,
                hotkey,
                row,
            } => Some(Self {
                interval: *interval,
                hotkey: hotkey.clone(),
                row: *row,
            }),
            JobId::Miner { .. } => None,
        }
    }
}

/// A verdict to be posted.
#[derive(Clone)]
pub(crate) struct Verdict {
    clip: Clip,
    result: Vec<u8>,
}

type Answer<T> = Result<T, BoardError>;

/// What waits for the next call.
pub(crate) struct Waiting {
    posts: Batcher<Verdict, Answer<Posted>>,
    questions: Batcher<Clip, Answer<bool>>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self {
            posts: Batcher::new(TURNS, MOST),
            questions: Batcher::new(TURNS, MOST),
        }
    }
}

impl RedisBoard {
    pub(crate) async fn post_clip(&self, clip: Clip, result: Vec<u8>) -> Answer<Posted> {
        let verdict = Verdict { clip, result };
        let inner = self.inner.as_ref();
        let post = |verdicts: Vec<Verdict>| {
            in_batches(verdicts, |of| &of.clip, |share| inner.post_clips(share))
        };
        shared(&inner.waiting.posts, verdict, post).await
    }

    pub(crate) async fn wanted_clip(&self, clip: Clip) -> Answer<bool> {
        let inner = self.inner.as_ref();
        let ask =
            |clips: Vec<Clip>| in_batches(clips, |clip| clip, |share| inner.wanted_clips(share));
        shared(&inner.waiting.questions, clip, ask).await
    }
}

/// Makes the call with others. Whoever made it for us may have been dropped in the middle; asking again is harmless.
async fn shared<I: Clone, T, P: Future<Output = Vec<Answer<T>>>>(
    batcher: &Batcher<I, Answer<T>>,
    item: I,
    perform: impl Fn(Vec<I>) -> P,
) -> Answer<T> {
    for _ in 0..2 {
        if let Some(answer) = batcher.call(item.clone(), &perform).await {
            return answer;
        }
    }
    Err(BoardError::Unavailable(
        "the call was dropped before it was answered".to_owned(),
    ))
}

/// One call per interval, since each has its own slot; answers in the order of the items.
async fn in_batches<I, T, P: Future<Output = Answer<Vec<T>>>>(
    items: Vec<I>,
    clip: impl Fn(&I) -> &Clip,
    call: impl Fn(Share<I>) -> P,
) -> Vec<Answer<T>> {
    let mut shares: BTreeMap<IntervalId, Share<I>> = BTreeMap::new();
    let count = items.len();
    for (place, item) in items.into_iter().enumerate() {
        let Clip {
            interval, hotkey, ..
        } = clip(&item).clone();
        let share = shares.entry(interval).or_insert_with(|| Share {
            interval,
            miners: BTreeMap::new(),
            items: Vec::new(),
            places: Vec::new(),
        });
        let next = share.miners.len();
        let miner = *share.miners.entry(hotkey).or_insert(next);
        share.items.push((miner, item));
        share.places.push(place);
    }
    let mut answers: Vec<Option<Answer<T>>> = (0..count).map(|_| None).collect();
    for share in shares.into_values() {
        let places = share.places.clone();
        match call(share).await {
            Ok(given) => {
                for (place, answer) in places.into_iter().zip(given) {
                    answers[place] = Some(Ok(answer));
                }
            }
            Err(error) => {
                for place in places {
                    answers[place] = Some(Err(error.clone()));
                }
            }
        }
    }
    let missing = || {
        Err(BoardError::Corrupt(
            "a script gave too few answers".to_owned(),
        ))
    };
    let answer = |given: Option<Answer<T>>| given.unwrap_or_else(missing);
    answers.into_iter().map(answer).collect()
}

/// What goes to one interval.
struct Share<I> {
    interval: IntervalId,
    /// Miner to its place among the keys.
    miners: BTreeMap<Hotkey, usize>,
    /// With the place of the item's miner.
    items: Vec<(usize, I)>,
    /// Where the answers belong.
    places: Vec<usize>,
}

impl<I> Share<I> {
    /// The call with the keys of every miner, in the order of their places.
    fn invoke<'a, const N: usize>(
        &self,
        script: &'a Script,
        first: &[String],
        of_miner: impl Fn(&Hotkey) -> [String; N],
    ) -> ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        for key in first {
            invocation.key(key);
        }
        let mut by_place: Vec<_> = self.miners.iter().collect();
        by_place.sort_by_key(|(_, place)| **place);
        for (hotkey, _) in by_place {
            for key in of_miner(hotkey) {
                invocation.key(key);
            }
        }
        invocation
    }
}

impl Inner {
    async fn post_clips(&self, share: Share<Verdict>) -> Answer<Vec<Posted>> {
        let names: RoundKeys = self.keys.round(share.interval);
        let first = [names.meta(), names.clips_late()];
        let mut invocation = share.invoke(&self.scripts.post_clips, &first, |hotkey| {
            [
                names.clips_wanted(hotkey),
                names.clips_have(hotkey),
                names.clips_got(hotkey),
            ]
        });
        invocation.arg(self.keys.channel());
        for (miner, Verdict { clip, result }) in &share.items {
            invocation.arg(*miner).arg(clip.row).arg(result.as_slice());
            invocation.arg(format!("{}/{}", clip.hotkey, clip.row));
        }
        self.meter.batch(share.items.len());
        let codes: Vec<i64> = self.links.ask(Call::Post, &Ask::Script(invocation)).await?;
        codes.into_iter().map(posted).collect()
    }

    async fn wanted_clips(&self, share: Share<Clip>) -> Answer<Vec<bool>> {
        let names: RoundKeys = self.keys.round(share.interval);
        let script = &self.scripts.wanted_clips;
        let mut invocation = share.invoke(script, &[names.meta()], |hotkey| {
            [names.clips_wanted(hotkey), names.clips_have(hotkey)]
        });
        for (miner, clip) in &share.items {
            invocation.arg(*miner).arg(clip.row);
        }
        self.links.ask(Call::Wanted, &Ask::Script(invocation)).await
    }
}

/// What a posting script's code means.
pub(crate) fn posted(code: i64) -> Answer<Posted> {
    match code {
        0 => Ok(Posted::First),
        1 => Ok(Posted::Duplicate),
        2 => Ok(Posted::Late),
        3 => Ok(Posted::Unknown),
        other => Err(BoardError::Corrupt(format!("posting answered {other}"))),
    }
}
