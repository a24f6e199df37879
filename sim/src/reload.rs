//! Reloads: the operator changes settings and rules, and each shard hears of it in its own time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bellbird_core::contract::Input;
use bellbird_core::permit::Gate;

use crate::plant::Plant;
use crate::world::World;

/// Which of the two configurations, and which of the two sets of rules, are in force where.
pub(crate) struct InForce {
    /// By shard.
    pub(crate) settings: Vec<usize>,
    pub(crate) rules: Vec<usize>,
    /// What the shards are still to hear.
    news: Vec<VecDeque<News>>,
}

#[derive(Clone, Copy, Debug)]
enum News {
    Settings(usize),
    Rules(usize),
}

/// What a start reads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Files {
    pub(crate) settings: usize,
    pub(crate) rules: usize,
}

impl InForce {
    pub(crate) fn new(files: Files, shards: usize) -> Self {
        Self {
            settings: vec![files.settings; shards],
            rules: vec![files.rules; shards],
            news: vec![VecDeque::new(); shards],
        }
    }
}

impl World {
    /// The operator changes a file and has the node read it.
    pub(crate) fn step_reload(&mut self) -> bool {
        if !self.rng.chance(self.shape.reloads) {
            return false;
        }
        let news = if self.rng.chance(50) {
            self.files.settings = 1 - self.files.settings;
            News::Settings(self.files.settings)
        } else {
            self.files.rules = 1 - self.files.rules;
            News::Rules(self.files.rules)
        };
        self.line(format_args!("reload: {news:?}"));
        self.stats.reloads += 1;
        self.node.in_force.news.iter_mut().for_each(|waiting| waiting.push_back(news));
        true
    }

    /// A shard hears of it.
    pub(crate) fn step_news(&mut self) -> bool {
        let news = self.node.in_force.news.iter().enumerate();
        let waiting = news.filter(|(_, news)| !news.is_empty()).map(|(shard, _)| shard);
        let Some(shard) = self.rng.any(waiting) else { return false };
        let Some(news) = self.node.in_force.news[shard].pop_front() else { return false };
        self.line(format_args!("{shard}> {news:?}"));
        self.hears(shard, news);
        if self.plant == Some(Plant::ReloadLost) && shard == 0 {
            // Everybody but the shard believes that it heard.
            return true;
        }
        let _flow = match news {
            News::Settings(settings) => {
                let mut config = self.shape.config(self.node.shards.len(), settings);
                self.spoil_config(&mut config);
                self.feed(shard, Input::Config(Arc::new(config)))
            }
            News::Rules(rules) => {
                let gate = Arc::new(self.gate(rules));
                self.feed(shard, Input::Gate(gate))
            }
        };
        self.settle(shard);
        true
    }

    fn hears(&mut self, shard: usize, news: News) {
        match news {
            News::Settings(settings) => self.node.in_force.settings[shard] = settings,
            News::Rules(rules) => self.node.in_force.rules[shard] = rules,
        }
        self.note_rules_for_wills();
    }

    /// The rules that are in force anywhere.
    pub(crate) fn rules_in_force(&self) -> BTreeSet<usize> {
        self.node.in_force.rules.iter().copied().collect()
    }

    /// The rules by which a connection is judged.
    pub(crate) fn rules_at(&self, link: usize) -> usize {
        self.links[link]
            .place
            .map_or(self.files.rules, |(shard, _)| self.node.in_force.rules[shard])
    }

    /// The gate with these rules.
    pub(crate) fn gate(&self, rules: usize) -> Gate {
        let mut rules = self.shape.rules(rules);
        self.spoil_rules(&mut rules);
        Gate::new(rules)
    }
}
