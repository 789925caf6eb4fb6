//! YAML as a tree of texts, which is all that a Secret or a ConfigMap needs.

use saphyr_parser::{Event, Parser};
use zeroize::Zeroizing;

/// A value. Numbers, booleans and nulls are the texts that they are written as.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Wiped when it is dropped: it may be a private key.
    Text(Zeroizing<String>),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

/// Where the parser stumbled, from 1, and not over what: that may be a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stumbled {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The documents of a stream. An alias is an empty text: nothing is written out twice, and so nothing grows.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Stumbled> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| stumbled(error.marker()))?;
        match event {
            Event::Scalar(text, ..) => tree.place(Node::Text(text.into_owned().into())),
            Event::Alias(_) => tree.place(Node::Text(Zeroizing::default())),
            Event::SequenceStart(..) => tree.open.push(Open::Sequence(Vec::new())),
            Event::MappingStart(..) => tree.open.push(Open::Mapping(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => tree.close(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        if tree.open.len() > MAX_DEPTH {
            return Err(stumbled(&span.start));
        }
    }
    Ok(tree.documents)
}

fn stumbled(marker: &saphyr_parser::Marker) -> Stumbled {
    Stumbled {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

#[derive(Default)]
struct Tree {
    documents: Vec<Node>,
    open: Vec<Open>,
}

/// What has begun and not ended; of a mapping also the key whose value comes next.
enum Open {
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>, Option<String>),
}

impl Tree {
    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping(pairs, key)) => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => *key = Some(node.into_text()),
            },
        }
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Open::Sequence(items)) => self.place(Node::Sequence(items)),
            Some(Open::Mapping(pairs, _)) => self.place(Node::Mapping(pairs)),
            None => {}
        }
    }
}

impl Node {
    /// The value of a mapping's key; of two, the first.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let mut pairs = self.pairs().iter();
        pairs.find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Sequence(items) => items,
            Self::Text(_) | Self::Mapping(_) => &[],
        }
    }

    pub(super) fn pairs(&self) -> &[(String, Self)] {
        match self {
            Self::Mapping(pairs) => pairs,
            Self::Text(_) | Self::Sequence(_) => &[],
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text.as_str().to_owned(),
            Self::Sequence(_) | Self::Mapping(_) => String::new(),
        }
    }
}

/// No manifest nests as deep; what does is not followed.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_a_tree_of_texts() {
        let text = "kind: Secret\ndata: {a: 'x', b: 1}\nitems:\n- |\n  one\n  two\n---\nkind: B\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents.len(), 2);
        let get = |key| documents[0].get(key).unwrap();
        assert_eq!(get("kind").text(), Some("Secret"));
        assert_eq!(get("data").get("b").unwrap().text(), Some("1"));
        assert_eq!(get("items").items()[0].text(), Some("one\ntwo\n"));
        assert_eq!(documents[1].get("kind").unwrap().text(), Some("B"));
        assert_eq!(get("kind").items(), []);
        assert_eq!(get("items").pairs(), []);
    }

    #[test]
    fn what_is_none_is_refused_at_its_place() {
        let refused = documents("a: b\nc: {d\n").unwrap_err();
        assert!(refused.line >= 2, "{refused:?}");
    }

    #[test]
    fn aliases_do_not_grow_and_depth_has_an_end() {
        let laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        let documents_of = documents(laughs).unwrap();
        let c = documents_of[0].get("c").unwrap();
        assert_eq!(c.items()[0].text(), Some(""));
        assert!(documents(&"[".repeat(10_000)).is_err());
    }
}
