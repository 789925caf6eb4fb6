//! Many segment patterns at once: which of them match is found by walking, not by trying each.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// One segment of a pattern. A name that was found is all `Literal`: an asterisk in it is a letter like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    Literal(&'a str),
    /// `*`: exactly one segment.
    One,
    /// `**`: the rest, one segment or more; always last.
    Tail,
}

impl<'a> Segment<'a> {
    /// As it is written in a pattern.
    pub(super) fn written(text: &'a str) -> Self {
        match text {
            ONE => Self::One,
            TAIL => Self::Tail,
            literal => Self::Literal(literal),
        }
    }
}

/// One segment, whatever it is.
pub(super) const ONE: &str = "*";

/// The rest of the path.
pub(super) const TAIL: &str = "**";

/// Values by patterns. A walk visits at most the nodes that there are: a long name costs no more than a long pattern.
#[derive(Debug, Clone)]
pub(super) struct SegmentMap<T> {
    literals: HashMap<Box<str>, SegmentMap<T>, BuildHasherDefault<Fnv>>,
    one: Option<Box<SegmentMap<T>>>,
    here: Vec<T>,
    tail: Vec<T>,
}

impl<T> Default for SegmentMap<T> {
    fn default() -> Self {
        Self {
            literals: HashMap::default(),
            one: None,
            here: Vec::new(),
            tail: Vec::new(),
        }
    }
}

impl<T> SegmentMap<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.literals.is_empty()
            && self.one.is_none()
            && self.here.is_empty()
            && self.tail.is_empty()
    }

    /// What follows `Tail` is not looked at.
    pub(super) fn insert<'a>(&mut self, pattern: impl IntoIterator<Item = Segment<'a>>, value: T) {
        let mut node = self;
        for segment in pattern {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.into()).or_default(),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Tail => {
                    node.tail.push(value);
                    return;
                }
            };
        }
        node.here.push(value);
    }

    /// Calls `found` with the values of every pattern that stands for all that `asked` stands for, until it returns
    /// true; returns whether it did.
    ///
    /// `asked` may be a name, or a pattern itself: then these are the patterns that contain it.
    pub(super) fn covering<'a>(
        &self,
        mut asked: impl Iterator<Item = Segment<'a>> + Clone,
        found: &mut impl FnMut(&[T]) -> bool,
    ) -> bool {
        let Some(segment) = asked.next() else {
            return !self.here.is_empty() && found(&self.here);
        };
        if !self.tail.is_empty() && found(&self.tail) {
            return true;
        }
        let literal = match segment {
            Segment::Literal(text) if !self.literals.is_empty() => self.literals.get(text),
            Segment::Literal(_) | Segment::One => None,
            // Of any length, so that no single segments can stand for it.
            Segment::Tail => return false,
        };
        literal.is_some_and(|node| node.covering(asked.clone(), found))
            || self
                .one
                .as_ref()
                .is_some_and(|node| node.covering(asked, found))
    }

    /// Whether any pattern stands for all that `asked` stands for.
    pub(super) fn covers<'a>(&self, asked: impl Iterator<Item = Segment<'a>> + Clone) -> bool {
        self.covering(asked, &mut |_| true)
    }
}

/// FNV-1a, 64 bit: a walk hashes many short segments. It has no key, and needs none: a peer chooses what is looked up, but
/// what is in the map, and could collide, is the policy's.
#[derive(Debug, Clone, Copy)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> impl Iterator<Item = Segment<'_>> + Clone {
        text.split('/').map(Segment::written)
    }

    fn map(patterns: &[&str]) -> SegmentMap<usize> {
        let mut map = SegmentMap::default();
        for (index, pattern) in patterns.iter().enumerate() {
            map.insert(written(pattern), index);
        }
        map
    }

    fn found(map: &SegmentMap<usize>, asked: &str) -> Vec<usize> {
        let mut all = Vec::new();
        map.covering(written(asked), &mut |values| {
            all.extend_from_slice(values);
            false
        });
        all.sort_unstable();
        all
    }

    #[test]
    fn a_walk_finds_every_pattern_that_stands_for_a_name() {
        let map = map(&["a/b", "a/*", "*/b", "**", "a/**", "a/b/**", "a/*/c", "a/b"]);
        assert_eq!(found(&map, "a/b"), [0, 1, 2, 3, 4, 7]);
        assert_eq!(found(&map, "a/b/c"), [3, 4, 5, 6]);
        assert_eq!(found(&map, "a"), [3]);
        assert_eq!(found(&map, "x/y"), [3]);
    }

    #[test]
    fn a_walk_finds_every_pattern_that_contains_a_pattern_and_no_other() {
        let map = map(&["a/b", "a/*", "*/b", "**", "a/**", "a/b/**", "*/*"]);
        assert_eq!(found(&map, "a/*"), [1, 3, 4, 6]);
        assert_eq!(found(&map, "*/b"), [2, 3, 6]);
        assert_eq!(found(&map, "a/**"), [3, 4]);
        assert_eq!(found(&map, "a/b/**"), [3, 4, 5]);
        assert_eq!(found(&map, "a/*/**"), [3, 4]);
        assert_eq!(found(&map, "**"), [3]);
    }

    #[test]
    fn an_asterisk_that_was_found_is_a_letter() {
        let map = map(&["*", "a"]);
        let name = [Segment::Literal("*")];
        assert!(map.covers(name.into_iter()));
        let mut literal = SegmentMap::default();
        literal.insert([Segment::Literal("a")], ());
        assert!(!literal.covers(name.into_iter()));
        literal.insert([Segment::Tail], ());
        assert!(literal.covers([Segment::Literal("**")].into_iter()));
    }

    #[test]
    fn a_name_far_longer_than_any_pattern_is_no_deeper_a_walk() {
        let map = map(&["a/a/b", "a/*/b", "*/a/**"]);
        let long = "a/".repeat(1_000_000);
        assert_eq!(found(&map, &long), [2]);
    }
}
