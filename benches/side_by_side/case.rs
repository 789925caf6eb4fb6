//! A case: two sides, and what should hold between them.

use crate::instructions;
use benches::measure::{Samples, Side, Sides, WARM_UP, effort};
use benches::report::{Bar, Row};

/// Something whose two sides are measured in turns.
pub(crate) struct Case {
    id: &'static str,
    name: String,
    bar: Option<f64>,
    make: Box<dyn Fn(usize) -> Sides>,
    floor: Option<Box<dyn Fn(usize) -> Side>>,
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
            floor: None,
            counted: false,
        }
    }

    /// Instructions are counted too: for what is made in little time.
    pub(crate) fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// With what nobody could take less than, by the same primitives.
    pub(crate) fn floor(mut self, make: impl Fn(usize) -> Side + 'static) -> Self {
        self.floor = Some(Box::new(make));
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
        let runs = rounds * RUNS;
        let mut floor = self.floor.as_ref().map(|make| make(runs + WARM_UP));
        let samples = Samples::of(&mut self.sides(runs), floor.as_mut(), rounds, RUNS);
        let counted = self.counted.then(|| instructions::of(self.id)).flatten();
        Row::ratio(&self.name, &samples, self.bar.map_or(Bar::None, Bar::Ratio))
            .instructions(counted)
    }
}

const ROUNDS: usize = 40;

/// So many in a row that what the other side has pushed out of the caches is soon forgotten, as it is in a server.
const RUNS: usize = 20;
