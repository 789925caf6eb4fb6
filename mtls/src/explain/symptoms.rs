//! What programs print, and what it means: rustls, OpenSSL and what rests on it, Go, Python, curl, hyper, reqwest, tonic.
//!
//! `symptoms.tsv` is a table of what has to be in the text (` + ` between several pieces), the sections, and one sentence.

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symptom {
    pub(super) pattern: &'static str,
    sections: &'static str,
    pub(super) means: &'static str,
}

impl Symptom {
    pub(super) fn sections(&self) -> Vec<&'static str> {
        self.sections.split(", ").collect()
    }

    /// Whether it tells no more than that the peer refused, or that the connection is gone: whatever stands beside it says why.
    fn is_vague(&self) -> bool {
        let first = self.sections.split(", ").next();
        matches!(first, Some("no_cause" | "refused_by_peer"))
    }

    /// How much of the text it accounts for; `None` if it is not what is meant.
    fn weight(&self, text: &str) -> Option<usize> {
        let pieces = || self.pattern.split(" + ");
        pieces()
            .all(|piece| text.contains(piece))
            .then(|| pieces().map(str::len).sum())
    }
}

/// The one that tells a cause and accounts for most of the text; of equals the first.
pub(super) fn find(text: &str) -> Option<Symptom> {
    heaviest(text, |symptom| !symptom.is_vague())
}

/// The same among those that tell none, for a text in which nothing else does.
pub(super) fn find_vague(text: &str) -> Option<Symptom> {
    heaviest(text, Symptom::is_vague)
}

fn heaviest(text: &str, is_wanted: impl Fn(&Symptom) -> bool) -> Option<Symptom> {
    let text = normal(text);
    let wanted = all().filter(is_wanted);
    let weighed = wanted.filter_map(|symptom| Some((symptom.weight(&text)?, symptom)));
    weighed
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, symptom)| symptom)
}

pub(super) fn all() -> impl Iterator<Item = Symptom> {
    let rows = TABLE.lines().skip(1);
    rows.filter_map(|row| {
        let mut cells = row.split('\t');
        Some(Symptom {
            pattern: cells.next()?,
            sections: cells.next()?,
            means: cells.next()?,
        })
    })
}

/// Lower case, without the line breaks and indentation of wherever it was copied from.
fn normal(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_ascii_lowercase()
}

const TABLE: &str = include_str!("symptoms.tsv");
