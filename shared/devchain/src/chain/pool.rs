//! The pool: what it takes, what it refuses and in which words, and what becomes of what it holds.

use super::*;

/// Blocks of a longest-lived block hash that a mortal transaction may refer to.
const BLOCK_HASH_COUNT: u64 = 2_400;
/// Transactions that the pool holds.
const MOST_POOLED: usize = 8_192;

impl Chain {
    /// Transactions that wait.
    pub fn pending(&self) -> impl Iterator<Item = &Signed> {
        self.pool.values().map(|p| &p.signed)
    }

    /// The nonce that an account's next transaction should carry, the pool counted in.
    pub fn next_nonce(&self, account: &[u8; 32]) -> u32 {
        let mut nonce = self.next_state().nonce(account);
        while self.pool.contains_key(&(*account, nonce)) {
            nonce = nonce.saturating_add(1);
        }
        nonce
    }

    /// Checks a transaction as the pool does. `Ok(true)`: it may go into the next block.
    pub fn validate(&self, bytes: &[u8]) -> Result<(Signed, bool), Refusal> {
        let state = self.next_state();
        let signed = Signed::read(state.rt, bytes)?;
        let current = state.number;
        let birth = signed.era.birth(current);
        let known = birth == 0 || (birth < current && current - birth <= BLOCK_HASH_COUNT);
        let birth = self
            .by_number(birth)
            .filter(|_| known)
            .ok_or(Refusal::AncientBirthBlock)?;
        let covered = Covered {
            genesis: self.genesis.hash,
            birth: birth.hash,
        };
        if !signed.is_genuine(state.rt, &covered) {
            return Err(Refusal::BadProof);
        }
        let next = state.nonce(&signed.signer);
        if signed.nonce < next {
            return Err(Refusal::Stale);
        }
        if self.config.pool_checks
            && let Some(code) = pallets::pool_refusal(&state, &signed.signer, &signed.call)
        {
            return Err(Refusal::Custom(code));
        }
        let ready = (next..signed.nonce).all(|n| self.pool.contains_key(&(signed.signer, n)));
        Ok((signed, ready))
    }

    /// Takes a transaction into the pool.
    pub fn submit(
        &mut self,
        bytes: &[u8],
        tell: Option<mpsc::UnboundedSender<Fate>>,
    ) -> Result<Hash, Refusal> {
        let hash = blake2_256(bytes);
        if self.pool.values().any(|p| p.signed.hash == hash) {
            return Err(Refusal::AlreadyImported);
        }
        let (signed, ready) = self.validate(bytes)?;
        let key = (signed.signer, signed.nonce);
        if self.pool.contains_key(&key) {
            return Err(Refusal::TooLowPriority);
        }
        if self.pool.len() >= MOST_POOLED {
            return Err(Refusal::Full);
        }
        if let Some(tell) = tell {
            self.watched.push(Watched {
                hash,
                block: None,
                tell,
            });
            self.tell(hash, if ready { Fate::Ready } else { Fate::Future });
        }
        if let Some(doom) = self.dooms.pop_front() {
            self.end(
                hash,
                match doom {
                    Doom::Usurped => Fate::Usurped(blake2_256(&hash)),
                    Doom::Dropped => Fate::Dropped,
                    Doom::Invalid => Fate::Invalid,
                },
            );
            return Ok(hash);
        }
        let dies_at = signed.era.death(self.best().header.number + 1);
        self.pool.insert(key, Pooled { signed, dies_at });
        if self.config.mode == Mode::Instant {
            self.produce(vec![]);
        }
        Ok(hash)
    }

    pub(super) fn tell(&mut self, hash: Hash, fate: Fate) {
        self.watched
            .retain(|w| w.hash != hash || w.tell.send(fate).is_ok());
    }

    pub(super) fn end(&mut self, hash: Hash, fate: Fate) {
        self.tell(hash, fate);
        self.watched.retain(|w| w.hash != hash);
    }

    /// Drops transactions whose time is over or that another runtime must not take.
    pub(super) fn expire(&mut self) {
        let next = self.best().header.number + 1;
        let spec = self.best().spec.version();
        let over: Vec<_> = self
            .pool
            .iter()
            .filter(|(_, p)| p.dies_at.is_some_and(|at| at <= next))
            .map(|(key, p)| (*key, p.signed.hash))
            .collect();
        for (key, hash) in over {
            tracing::debug!(spec, "a pooled transaction is too old");
            self.pool.remove(&key);
            self.end(hash, Fate::Invalid);
        }
    }

    /// Drops what was signed for another runtime.
    pub fn revalidate(&mut self) {
        let pool = std::mem::take(&mut self.pool);
        for (key, pooled) in pool {
            match self.validate(&pooled.signed.bytes) {
                Ok(_) => {
                    self.pool.insert(key, pooled);
                }
                Err(error) => {
                    tracing::debug!(%error, "a pooled transaction is no longer valid");
                    self.end(pooled.signed.hash, Fate::Invalid);
                }
            }
        }
    }
}
