//! What a file holds, whatever its format, and where.

/// A value, and the byte of the file that it begins at.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Bool,
    List(Vec<Node>),
    Null,
    Number,
    /// In the order of the file.
    Table(Vec<(Key, Node)>),
    Text(String),
    Time,
}

/// The name of an entry of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: usize,
    pub(super) name: String,
}

impl Value {
    /// What it is, for an error to say.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::List(_) => "a list",
            Self::Null => "null",
            Self::Number => "a number",
            Self::Table(_) => "a table",
            Self::Text(_) => "a text",
            Self::Time => "a date or a time",
        }
    }
}

/// A policy nests five deep; what is far deeper is not read, so that reading it needs a bounded stack.
pub(super) const MAX_DEPTH: usize = 16;
