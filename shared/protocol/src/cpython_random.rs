//! CPython's `random.Random`, bit for bit: MT19937 seeded by array, rejection-sampled `_randbelow`, and
//! `shuffle` from the end. The row sample of PROTOCOL §9 is drawn with it.

const WORDS: usize = 624;
const SHIFT: usize = 397;

/// A generator seeded with an integer.
#[derive(Clone)]
pub struct CpythonRandom {
    state: [u32; WORDS],
    next: usize,
}

impl std::fmt::Debug for CpythonRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpythonRandom")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl CpythonRandom {
    /// `random.Random(seed)`: the seed's 32-bit words, lowest first, key the state.
    pub fn new(seed: u64) -> Self {
        let low = (seed & 0xffff_ffff) as u32;
        let high = (seed >> 32) as u32;
        if high == 0 {
            Self::from_words(&[low])
        } else {
            Self::from_words(&[low, high])
        }
    }

    fn from_words(key: &[u32]) -> Self {
        let mut state = [0u32; WORDS];
        state[0] = 19_650_218;
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = 1_812_433_253u32
                .wrapping_mul(before ^ (before >> 30))
                .wrapping_add(u32::try_from(i).expect("i is below 624"));
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..WORDS.max(key.len()) {
            let before = state[i - 1];
            state[i] = (state[i] ^ (before ^ (before >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(u32::try_from(j).expect("j is below the key's length"));
            i += 1;
            j = (j + 1) % key.len();
            if i == WORDS {
                state[0] = state[WORDS - 1];
                i = 1;
            }
        }
        for _ in 1..WORDS {
            let before = state[i - 1];
            state[i] = (state[i] ^ (before ^ (before >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(u32::try_from(i).expect("i is below 624"));
            i += 1;
            if i == WORDS {
                state[0] = state[WORDS - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        Self { state, next: WORDS }
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined =
                (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn next_word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// `getrandbits(bits)` for 1 to 32 bits; other counts give the nearest of them.
    pub fn bits(&mut self, bits: u32) -> u32 {
        self.next_word() >> (32 - bits.clamp(1, 32))
    }

    /// `_randbelow(bound)`: a number below the bound, by drawing until one fits. 0 for a bound of 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        let bits = 32 - bound.leading_zeros();
        loop {
            let drawn = self.bits(bits);
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// `shuffle(items)`. Only the first 2³² items can be swapped.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
            items.swap(last, self.below(bound) as usize);
        }
    }
}
