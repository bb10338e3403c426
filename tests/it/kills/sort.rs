//! What is captured by those that are killed, and where to.

/// What is captured, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// An input, to a directory.
    Input,
    /// An input and a table, with what that held ahead of its window, to a directory.
    Table,
    /// An input, to a store.
    Store,
}

impl Sort {
    /// The sort of a round: half of them are inputs to directories.
    pub(crate) fn of_round(number: u64) -> Self {
        [Self::Input, Self::Table, Self::Input, Self::Store][number as usize % 4]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Table => "table",
            Self::Store => "store",
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        [Self::Input, Self::Table, Self::Store].into_iter().find(|sort| sort.name() == name).unwrap()
    }
}
