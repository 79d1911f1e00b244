//! Seeded damage, the same on every machine.

/// SplitMix64: small, and the same on every machine.
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % (end.max(1) as u64)).unwrap()
    }

    /// A place in the first kilobyte in half of all cases: there the containers describe themselves.
    fn place(&mut self, length: usize) -> usize {
        let end = if self.roll().is_multiple_of(2) {
            length.min(1024)
        } else {
            length
        };
        self.below(end)
    }
}

/// One of `seeds` with one to six kinds of damage.
pub fn mutant(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut clip = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.place(clip.len());
        let run = dice.below(64).min(clip.len() - at);
        match dice.below(9) {
            0 => clip
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << dice.below(8)),
            1 => clip
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = dice.roll() as u8),
            2 => clip[at..at + run].fill(if run % 2 == 0 { 0 } else { 0xff }),
            3 => drop(clip.drain(at..at + run)),
            4 => {
                let copy = clip[at..at + run].to_vec();
                drop(clip.splice(at..at, copy));
            }
            5 => clip.truncate(at),
            6 => {
                // A length or a count that is nothing like the truth.
                let odd = [0, 1, 7, 0x7fff_ffff, 0x8000_0000, u32::MAX][dice.below(6)];
                let place = clip.len().saturating_sub(4).min(at);
                clip.iter_mut()
                    .skip(place)
                    .zip(odd.to_be_bytes())
                    .for_each(|(to, from)| *to = from);
            }
            7 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len());
                let piece = &other[from..other.len().min(from + 512)];
                drop(clip.splice(at..at + run, piece.iter().copied()));
            }
            _ => {
                let noise: Vec<u8> = (0..run).map(|_| dice.roll() as u8).collect();
                clip[at..at + run].copy_from_slice(&noise);
            }
        }
    }
    clip
}
