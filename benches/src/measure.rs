//! Two sides of one case, measured in turns in one run, and what came of it.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Measures what it is told to, and nothing around it.
#[derive(Debug)]
pub enum Meter {
    /// Nothing: for what goes before.
    Off,
    /// CPU time of this thread. Other programs on the machine do not count, except by what they displace from the caches.
    Time(Duration),
    /// Instructions, by whoever runs us.
    Instructions,
}

impl Meter {
    pub fn time() -> Self {
        Self::Time(Duration::ZERO)
    }

    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::Off => work(),
            Self::Instructions => under_the_meter(work),
            Self::Time(spent) => {
                let began = thread_cpu();
                let made = under_the_meter(work);
                *spent += thread_cpu() - began;
                made
            }
        }
    }
}

/// callgrind counts while this is on the stack: see `instructions`.
#[inline(never)]
pub fn under_the_meter<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// The CPU time of this thread.
pub fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap()
}

/// One side: does the thing once, and says to the meter what of it counts.
pub type Side = Box<dyn FnMut(&mut Meter)>;

/// Ours, and what it is measured beside.
pub struct Sides {
    pub ours: Side,
    pub beside: Side,
}

/// What a number of rounds gave, each the mean of some runs of each side, in nanoseconds of CPU per run.
#[derive(Debug)]
pub struct Samples {
    pub ours: Vec<f64>,
    pub beside: Vec<f64>,
    /// What nobody could take less than, where that was measured.
    pub floor: Vec<f64>,
}

impl Samples {
    /// Takes the sides in turns, each of them first as often as the others, so that a slow moment meets all.
    pub fn of(sides: &mut Sides, floor: Option<&mut Side>, rounds: usize, runs: usize) -> Self {
        let (ours, beside) = (&mut sides.ours, &mut sides.beside);
        warm_up(ours);
        warm_up(beside);
        let (ours, beside) = (|| mean(ours, runs), || mean(beside, runs));
        match floor {
            None => Self::in_turns(rounds, ours, beside),
            Some(floor) => {
                warm_up(floor);
                Self::above_floor(rounds, ours, beside, || mean(floor, runs))
            }
        }
    }

    /// Two figures, taken in turns; each call gives one sample of a side.
    pub fn in_turns(
        rounds: usize,
        mut ours: impl FnMut() -> f64,
        mut beside: impl FnMut() -> f64,
    ) -> Self {
        let [ours, beside] = turns(rounds, [&mut ours, &mut beside]);
        Self::beside_each_other(ours, beside)
    }

    /// The same, and what nobody could take less than.
    pub fn above_floor(
        rounds: usize,
        mut ours: impl FnMut() -> f64,
        mut beside: impl FnMut() -> f64,
        mut floor: impl FnMut() -> f64,
    ) -> Self {
        let [ours, beside, floor] = turns(rounds, [&mut ours, &mut beside, &mut floor]);
        Self {
            ours,
            beside,
            floor,
        }
    }

    /// What was taken already.
    pub fn beside_each_other(ours: Vec<f64>, beside: Vec<f64>) -> Self {
        let floor = Vec::new();
        Self {
            ours,
            beside,
            floor,
        }
    }

    /// Ours by the other, round by round.
    pub fn ratio(&self) -> Spread {
        Spread::of(pairs(&self.ours, &self.beside).map(|(ours, beside)| ours / beside))
    }

    /// The floor by the other, if there is one.
    pub fn floor(&self) -> Option<Spread> {
        let of = || pairs(&self.floor, &self.beside).map(|(floor, beside)| floor / beside);
        (!self.floor.is_empty()).then(|| Spread::of(of()))
    }

    /// What ours takes beyond the other, round by round.
    pub fn beyond(&self) -> Spread {
        Spread::of(pairs(&self.ours, &self.beside).map(|(ours, beside)| ours - beside))
    }

    /// What the floor takes beyond the other, if there is one.
    pub fn floor_beyond(&self) -> Option<Spread> {
        let of = || pairs(&self.floor, &self.beside).map(|(floor, beside)| floor - beside);
        (!self.floor.is_empty()).then(|| Spread::of(of()))
    }
}

fn pairs(one: &[f64], other: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    one.iter().copied().zip(other.iter().copied())
}

/// One after the other, and each of them first as often as the others.
pub fn turns<T, const N: usize>(rounds: usize, sides: [&mut dyn FnMut() -> T; N]) -> [Vec<T>; N] {
    let mut taken = std::array::from_fn(|_| Vec::new());
    for round in 0..rounds {
        for at in 0..N {
            let side = (round + at) % N;
            taken[side].push(sides[side]());
        }
    }
    taken
}

pub fn warm_up(side: &mut Side) {
    for _ in 0..WARM_UP {
        side(&mut Meter::Off);
    }
}

fn mean(side: &mut Side, runs: usize) -> f64 {
    let mut meter = Meter::time();
    for _ in 0..runs {
        side(&mut meter);
    }
    let Meter::Time(spent) = meter else {
        return 0.0;
    };
    spent.as_secs_f64() * 1e9 / runs as f64
}

/// The median, and between what eight of ten lie.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            low: quantile(&sorted, 0.1),
            median: quantile(&sorted, 0.5),
            high: quantile(&sorted, 0.9),
        }
    }

    /// Of something that comes out the same every time.
    pub fn one(value: f64) -> Self {
        Self::of([value])
    }

    /// With the least of it first, as before.
    pub fn negated(self) -> Self {
        Self {
            low: -self.high,
            median: -self.median,
            high: -self.low,
        }
    }

    /// `change` keeps the order.
    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self {
            low: change(self.low),
            median: change(self.median),
            high: change(self.high),
        }
    }
}

/// Of samples in their order.
pub fn quantile(sorted: &[f64], of: f64) -> f64 {
    let last = sorted.len() - 1;
    sorted[(last as f64 * of).round() as usize]
}

/// How much of something is done; with `--quick` as little as shows that it works.
pub fn effort<T>(full: T, quick: T) -> T {
    if std::env::args().any(|argument| argument == QUICK) {
        quick
    } else {
        full
    }
}

/// The argument for a run that is fast and says little.
pub const QUICK: &str = "--quick";

/// How many runs of a side go before it is measured.
pub const WARM_UP: usize = 10;
