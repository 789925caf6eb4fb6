//! A case: two sides, and what should hold between them.

use crate::instructions;
use benches::measure::{Samples, Sides, WARM_UP, effort};
use benches::report::{Bar, Row};

/// Something whose two sides are measured in turns.
pub(crate) struct Case {
    id: &'static str,
    name: String,
    bar: Option<f64>,
    make: Box<dyn Fn(usize) -> Sides>,
    counted: bool,
}

impl Case {
    /// `make` is told how often each side will be run at most. The bar is on the ratio.
    pub(crate) fn new(
        id: &'static str,
        name: impl Into<String>,
        bar: impl Into<Option<f64>>,
        make: impl Fn(usize) -> Sides + 'static,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            bar: bar.into(),
            make: Box::new(make),
            counted: false,
        }
    }

    /// Instructions are counted too: for what is made in little time.
    pub(crate) fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    pub(crate) fn id(&self) -> &'static str {
        self.id
    }

    pub(crate) fn sides(&self, runs: usize) -> Sides {
        (self.make)(runs + WARM_UP)
    }

    pub(crate) fn measure(&self) -> Row {
        let rounds = effort(ROUNDS, 4);
        let samples = Samples::of(&mut self.sides(rounds * RUNS), rounds, RUNS);
        let counted = self.counted.then(|| instructions::of(self.id)).flatten();
        Row::ratio(&self.name, &samples, self.bar.map_or(Bar::None, Bar::Ratio))
            .instructions(counted)
    }
}

const ROUNDS: usize = 40;
const RUNS: usize = 5;
