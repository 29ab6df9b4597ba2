//! Rows of many batches as one batch: what sorting and merging move. Where rows go is decided
//! by others.
//!
//! Dictionaries are the reason for this module. Batches come with dictionaries of their own;
//! here each column gets one that grows, and a batch's dictionary is translated once, so that
//! a row costs one look into a table.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringBuilder,
    new_null_array,
};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;

use super::texts::Texts;

/// A dictionary with more bytes of text is begun anew.
const DICTIONARY_BYTES_MAX: usize = 8 << 20;

/// Which row of which source.
pub(crate) type Pick = (usize, usize);

/// Gathers rows of batches that all have the schema.
#[derive(Debug)]
pub(crate) struct Gather {
    schema: SchemaRef,
    /// One per column that is a dictionary of text.
    dictionaries: Vec<Option<Dictionary>>,
}

impl Gather {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let dictionaries = schema
            .fields()
            .iter()
            .map(|field| is_dictionary(field.data_type()).then(Dictionary::default))
            .collect();
        Self { schema, dictionaries }
    }

    /// The rows, in the order of `picks`.
    pub(crate) fn rows(
        &mut self,
        sources: &[RecordBatch],
        picks: &[Pick],
    ) -> Result<RecordBatch, ArrowError> {
        let mut columns = Vec::with_capacity(self.dictionaries.len());
        for (index, dictionary) in self.dictionaries.iter_mut().enumerate() {
            let arrays: Vec<&dyn Array> = sources
                .iter()
                .map(|source| source.column(index).as_ref())
                .collect();
            let is_null = arrays.iter().all(|array| array.null_count() == array.len());
            let column = match dictionary {
                _ if is_null => new_null_array(self.schema.field(index).data_type(), picks.len()),
                Some(dictionary) => dictionary.gather(&arrays, picks)?,
                None => interleave(&arrays, picks)?,
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

fn is_dictionary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(keys, values)
        if **keys == DataType::Int32 && **values == DataType::Utf8)
}

/// One column's values.
#[derive(Debug, Default)]
struct Dictionary {
    texts: Texts,
    bytes: usize,
    /// What the batches' dictionaries have become; of those that the last rows came from.
    translated: Vec<(ArrayRef, Arc<Vec<i32>>)>,
    /// The values as an array, as long as they have not grown.
    array: Option<ArrayRef>,
}

impl Dictionary {
    fn gather(&mut self, arrays: &[&dyn Array], picks: &[Pick]) -> Result<ArrayRef, ArrowError> {
        if self.bytes > DICTIONARY_BYTES_MAX {
            *self = Self::default();
        }
        let mut tables = Vec::with_capacity(arrays.len());
        let mut sources = Vec::with_capacity(arrays.len());
        for array in arrays {
            let source = array
                .as_dictionary_opt::<Int32Type>()
                .ok_or_else(|| ArrowError::SchemaError("a dictionary was expected".to_owned()))?;
            tables.push(self.translate(source)?);
            sources.push(source.keys());
        }
        let keys = constants(&sources, &tables).map_or_else(
            || translated(&sources, &tables, picks),
            |numbers| {
                picks
                    .iter()
                    .map(|&(source, _)| numbers[source])
                    .collect::<Vec<i32>>()
                    .into()
            },
        );
        let values = self.values();
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
    }

    fn translate(&mut self, source: &DictionaryArray<Int32Type>) -> Result<Arc<Vec<i32>>, ArrowError> {
        let known = self
            .translated
            .iter()
            .find(|(values, _)| Arc::ptr_eq(values, source.values()));
        if let Some((_, table)) = known {
            return Ok(Arc::clone(table));
        }
        let texts = source
            .values()
            .as_string_opt::<i32>()
            .ok_or_else(|| ArrowError::SchemaError("a dictionary of text was expected".to_owned()))?;
        let table: Vec<i32> = texts
            .iter()
            .map(|text| self.number(text.unwrap_or_default()))
            .collect();
        let table = Arc::new(table);
        self.translated
            .push((Arc::clone(source.values()), Arc::clone(&table)));
        Ok(table)
    }

    fn number(&mut self, text: &str) -> i32 {
        let known = self.texts.all().len();
        let number = self.texts.number(text);
        if self.texts.all().len() > known {
            self.bytes += text.len() + 48;
            self.array = None;
        }
        i32::try_from(number).unwrap_or(i32::MAX)
    }

    fn values(&mut self) -> ArrayRef {
        let texts = self.texts.all();
        let array = self.array.get_or_insert_with(|| {
            let bytes = texts.iter().map(|text| text.len()).sum();
            let mut builder = StringBuilder::with_capacity(texts.len(), bytes);
            texts.iter().for_each(|text| builder.append_value(text));
            Arc::new(builder.finish())
        });
        Arc::clone(array)
    }

    /// Forgets the batches that rows no longer come from.
    fn forget(&mut self, is_used: impl Fn(&ArrayRef) -> bool) {
        self.translated.retain(|(values, _)| is_used(values));
    }
}

impl Gather {
    /// To be called when batches have been used up: only those of `sources` are still known.
    pub(crate) fn forget_all_but(&mut self, sources: &[RecordBatch]) {
        for (index, dictionary) in self.dictionaries.iter_mut().enumerate() {
            let Some(dictionary) = dictionary else { continue };
            dictionary.forget(|values| {
                sources.iter().any(|source| {
                    let column = source.column(index).as_dictionary_opt::<Int32Type>();
                    column.is_some_and(|column| Arc::ptr_eq(column.values(), values))
                })
            });
        }
    }
}

/// The number of each source's only value, if none has more than one. Most columns are like
/// that (who sent it, the resource), and need not be read row by row in another order.
fn constants(sources: &[&Int32Array], tables: &[Arc<Vec<i32>>]) -> Option<Vec<i32>> {
    let constant = |(keys, table): (&&Int32Array, &Arc<Vec<i32>>)| {
        let Some(first) = keys.values().first() else {
            // No row is picked from here.
            return Some(0);
        };
        let is_constant = keys.null_count() == 0 && keys.values().iter().all(|key| key == first);
        let first = usize::try_from(*first).ok().filter(|_| is_constant)?;
        table.get(first).copied()
    };
    sources.iter().zip(tables).map(constant).collect()
}

fn translated(sources: &[&Int32Array], tables: &[Arc<Vec<i32>>], picks: &[Pick]) -> Int32Array {
    let number = |&(source, row): &Pick| {
        let keys = sources.get(source)?;
        if keys.is_null(row) {
            return None;
        }
        let key = usize::try_from(*keys.values().get(row)?).ok()?;
        tables.get(source)?.get(key).copied()
    };
    if sources.iter().all(|keys| keys.null_count() == 0) {
        let numbers = picks.iter().map(|pick| number(pick).unwrap_or(0));
        return numbers.collect::<Vec<i32>>().into();
    }
    picks.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;
    use arrow::compute::cast;
    use arrow::datatypes::{Field, Schema};

    fn batch(texts: &[Option<&str>]) -> RecordBatch {
        let data_type = meridian_proto::schema::dictionary();
        let schema = Arc::new(Schema::new(vec![Field::new("a", data_type.clone(), true)]));
        let plain = StringArray::from(texts.to_vec());
        let column = cast(&plain, &data_type).expect("text becomes a dictionary");
        RecordBatch::try_new(schema, vec![column]).expect("one column")
    }

    fn texts(batch: &RecordBatch) -> Vec<Option<String>> {
        let plain = cast(batch.column(0), &DataType::Utf8).expect("a dictionary of text");
        let plain = plain.as_string::<i32>();
        plain.iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn rows_keep_their_text_whatever_their_dictionaries_were() {
        let sources = [
            batch(&[Some("b"), None, Some("a")]),
            batch(&[Some("a"), Some("c")]),
        ];
        let mut gather = Gather::new(sources[0].schema());
        let rows = gather
            .rows(&sources, &[(1, 1), (0, 1), (0, 2), (1, 0), (0, 0)])
            .expect("rows");
        let expected = [Some("c"), None, Some("a"), Some("a"), Some("b")];
        assert_eq!(texts(&rows), expected.map(|text| text.map(str::to_owned)));
        gather.forget_all_but(&[]);
        let more = gather
            .rows(&[batch(&[Some("d"), Some("a")])], &[(0, 1), (0, 0)])
            .expect("rows");
        assert_eq!(texts(&more), [Some("a".to_owned()), Some("d".to_owned())]);
    }

    #[test]
    fn a_column_that_is_the_same_in_each_source_keeps_each_ones_value() {
        let sources = [batch(&[Some("a"), Some("a")]), batch(&[]), batch(&[Some("b")])];
        let rows = Gather::new(sources[0].schema())
            .rows(&sources, &[(2, 0), (0, 1), (0, 0)])
            .expect("rows");
        let expected = [Some("b"), Some("a"), Some("a")];
        assert_eq!(texts(&rows), expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn a_column_without_values_stays_without() {
        let sources = [batch(&[None, None])];
        let rows = Gather::new(sources[0].schema())
            .rows(&sources, &[(0, 1)])
            .expect("rows");
        assert_eq!(texts(&rows), [None]);
    }
}
