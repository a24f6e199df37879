//! A small seeded generator (xorshift) and random names that collide often.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are the better ones.
        (self.0 >> 16) % bound
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).unwrap()]
    }

    pub(crate) fn topic(&mut self) -> String {
        loop {
            let levels: Vec<_> = (0..=self.below(4)).map(|_| self.pick(&WORDS)).collect();
            let topic = levels.join("/");
            if !topic.is_empty() {
                return topic;
            }
        }
    }

    pub(crate) fn filter(&mut self) -> String {
        let mut levels: Vec<String> = self.topic().split('/').map(str::to_owned).collect();
        for level in &mut levels {
            if self.below(3) == 0 {
                "+".clone_into(level);
            }
        }
        match self.below(4) {
            0 => levels.push("#".to_owned()),
            1 => "#".clone_into(levels.last_mut().unwrap()),
            _ => {}
        }
        levels.join("/")
    }
}

const WORDS: [&str; 6] = ["a", "b", "", "$SYS", "$", "long level name \u{e4}"];
