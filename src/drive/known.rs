//! The schemas that are known of what a build writes, while it is driven.

use std::sync::{Arc, PoisonError, RwLock};

use crate::schema::{SchemaText, Schemas};

/// The schemas by which masks and lineage look into values: the recording's, and from the moment they are registered on those that the
/// build of one drive registers. Clones learn what any of them learns.
#[derive(Debug, Clone, Default)]
pub struct KnownSchemas(Arc<RwLock<Schemas>>);

impl From<Schemas> for KnownSchemas {
    fn from(schemas: Schemas) -> Self {
        Self(Arc::new(RwLock::new(schemas)))
    }
}

impl KnownSchemas {
    /// What is known by now.
    pub fn now(&self) -> Schemas {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what a build registered, if it is not known by its id.
    pub(super) fn learn(&self, text: &SchemaText) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !known.knows(text.id) {
            known.add(text.clone());
        }
    }

    /// The same schemas, of which nobody else learns what is registered from now on.
    pub(super) fn apart(&self) -> Self {
        self.now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SchemaKind;

    #[test]
    fn what_one_drive_registers_no_other_knows() {
        let text = |id| SchemaText {
            id,
            kind: SchemaKind::Json,
            schema: "{}".to_owned(),
            references: Vec::new(),
            subjects: Vec::new(),
        };
        let recorded = KnownSchemas::from(Schemas::new([text(7)]));
        let (old, new) = (recorded.apart(), recorded.apart());
        let keeper = new.clone();
        new.learn(&text(900));
        let knows = |known: &KnownSchemas| [7, 900].map(|id| known.now().knows(id));
        assert_eq!([&recorded, &old, &new, &keeper].map(knows), [[true, false], [true, false], [true; 2], [true; 2]]);
    }
}
