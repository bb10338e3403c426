//! Columns of few distinct texts, each of which is read once however many rows have it.

use arrow::array::{Array, AsArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;

use super::OutcomeError;
use super::columns::Columns;

/// A column of texts.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    places: Int32Array,
    texts: StringArray,
}

impl Texts {
    /// Reads a column; none where the file lacks it.
    pub(super) fn read(columns: &Columns<'_>, name: &str) -> Result<Option<Self>, OutcomeError> {
        let column = columns.batch.column_by_name(name);
        if let Some(dictionary) = column.and_then(|column| column.as_dictionary_opt::<Int32Type>())
            && let Some(texts) = dictionary.values().as_string_opt::<i32>()
            && texts.null_count() == 0
        {
            return Ok(Some(Self { places: dictionary.keys().clone(), texts: texts.clone() }));
        }
        let each = |texts: StringArray| {
            let places = Int32Array::new((0..texts.len() as i32).collect(), texts.nulls().cloned());
            Self { places, texts }
        };
        Ok(columns.text(name)?.map(each))
    }

    /// Rows that have none.
    pub(super) fn null_count(&self) -> usize {
        self.places.null_count()
    }

    /// Text of a row that has one.
    pub(super) fn value(&self, row: usize) -> &str {
        self.texts.value(self.places.value(row) as usize)
    }

    /// Text of a row.
    pub(super) fn at(&self, row: usize) -> Option<&str> {
        self.places.is_valid(row).then(|| self.value(row))
    }
}

/// A column of words that stand for something.
#[derive(Debug, Clone)]
pub(super) struct Words<T> {
    places: Int32Array,
    words: Vec<Option<T>>,
}

impl<T: Copy> Words<T> {
    /// Reads a column; none where the file lacks it.
    pub(super) fn read(
        columns: &Columns<'_>,
        name: &str,
        read: fn(&str) -> Option<T>,
    ) -> Result<Option<Self>, OutcomeError> {
        let Some(Texts { places, texts }) = Texts::read(columns, name)? else { return Ok(None) };
        let words: Vec<Option<T>> = texts.iter().map(|text| read(text?)).collect();
        // What no row has is nobody's concern.
        if let Some(unknown) = places.iter().flatten().find(|place| words[*place as usize].is_none()) {
            let word = texts.value(unknown as usize);
            return Err(OutcomeError::format(
                columns.path,
                format_args!("column `{name}` holds the unknown word `{word}`"),
            ));
        }
        Ok(Some(Self { places, words }))
    }

    /// What the word of a row stands for.
    pub(super) fn at(&self, row: usize) -> Option<T> {
        if self.places.is_null(row) { None } else { self.words[self.places.value(row) as usize] }
    }
}
