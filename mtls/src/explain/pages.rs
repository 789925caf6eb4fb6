//! The runbook, and what stands beside it: a page is a section.

/// A section of a page's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    file: &'static str,
}

impl Page {
    /// As it is read at a terminal: without the anchors that links lead to.
    pub(super) fn shown(&self) -> String {
        let mut pieces = self.text.split("<a id=\"");
        let mut shown = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            shown.push_str(piece.split_once("\"></a>").map_or(piece, |(_, rest)| rest));
        }
        shown
    }

    /// Where it stands, from the root of the repository.
    pub(super) fn place(&self) -> String {
        format!("{}#{}", self.file, self.name)
    }
}

pub(super) fn of_name(name: &str) -> Option<Page> {
    all().find(|page| page.name == name)
}

pub(super) fn all() -> impl Iterator<Item = Page> {
    [
        ("docs/runbook.md", RUNBOOK),
        ("mtls/src/explain/beside.md", BESIDE),
    ]
    .into_iter()
    .flat_map(|(file, text)| sections(file, text))
}

/// What begins with a name in backticks as its heading.
fn sections(file: &'static str, text: &'static str) -> impl Iterator<Item = Page> {
    text.split("\n## `").skip(1).filter_map(move |section| {
        let (name, text) = section.split_once('`')?;
        // Headings without a name of ours are no part of the section above them.
        let text = text.split("\n## ").next().unwrap_or(text).trim();
        Some(Page { name, text, file })
    })
}

// A link to the file in `docs`: the packaged crate holds its contents.
const RUNBOOK: &str = include_str!("runbook.md");
const BESIDE: &str = include_str!("beside.md");

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn anchors_are_not_shown_and_all_else_is() {
        let text = "**Check.** <a id=\"one\"></a>`one`, `<a>` <a id=\"two\"></a>`two`.";
        let page = Page {
            name: "page",
            text,
            file: "file",
        };
        assert_eq!(page.shown(), "**Check.** `one`, `<a>` `two`.");
    }
}
