//! A histogram per group, for many groups at once. Small groups are lists of buckets, so that
//! a million of them cost little; large ones are counts. What of them is answered, and where
//! the limit on their memory is, is not decided here.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use meridian_proto::histogram::{Buckets, Exponential, Mapping};

use super::{Wanted, state};

/// Of a quantile at this scale the relative error is at most 0.55 %.
pub(super) const SCALE: i32 = 6;

/// A group with more values than this counts them by bucket.
const FEW_MAX: usize = 32;

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| Mapping::new(SCALE));

/// The values of one group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The buckets of values above zero, while there are few and no others.
    few: Vec<i32>,
    /// The counts, once there are many.
    many: Option<Box<Exponential>>,
}

impl Group {
    #[inline]
    fn record(&mut self, value: f64, mapping: &Mapping) {
        match &mut self.many {
            Some(many) => {
                many.record(value, mapping);
            }
            None if value.is_finite() => self.record_early(value, mapping),
            None => {}
        }
    }

    fn record_early(&mut self, value: f64, mapping: &Mapping) {
        if value > 0.0 && self.few.len() < FEW_MAX {
            self.few.push(mapping.index_of(value));
        } else {
            self.counts().record(value, mapping);
        }
    }

    /// The group as counts, whatever it was before.
    pub(super) fn counts(&mut self) -> &mut Exponential {
        let few = std::mem::take(&mut self.few);
        let many = self.many.get_or_insert_with(|| Box::new(Exponential::new(SCALE)));
        for index in few {
            many.record_positive(index, 1);
        }
        many
    }

    /// The buckets while there are few, else the counts.
    pub(super) fn parts(&self) -> (&[i32], Option<&Exponential>) {
        (&self.few, self.many.as_deref())
    }

    /// Adds the bucket of one value above zero.
    pub(super) fn add_positive(&mut self, index: i32, count: u64) {
        if self.many.is_none() && count == 1 && self.few.len() < FEW_MAX {
            self.few.push(index);
        } else {
            self.counts().record_positive(index, count);
        }
    }

    /// Adds values that are not above zero.
    pub(super) fn add_below(&mut self, zero_count: u64, negative: Buckets) {
        let below = Exponential::from_parts(SCALE, zero_count, 0.0, Buckets::default(), negative);
        self.counts().merge(&below);
    }

    fn answer(&self, wanted: Wanted) -> Option<f64> {
        let estimate = match &self.many {
            Some(many) => many.quantile(wanted.q),
            None => {
                let mut counts = Exponential::new(SCALE);
                for index in &self.few {
                    counts.record_positive(*index, 1);
                }
                counts.quantile(wanted.q)
            }
        };
        estimate.map(|estimate| wanted.answer.of(estimate))
    }

    fn heap_bytes(&self) -> usize {
        let few = self.few.capacity() * size_of::<i32>();
        let many = self
            .many
            .as_ref()
            .map_or(0, |many| size_of::<Exponential>() + many.heap_bytes());
        few + many
    }
}

/// The histograms of all groups, and the bytes of what they hold.
#[derive(Debug)]
pub(super) struct Groups {
    wanted: Wanted,
    groups: Vec<Group>,
    heap_bytes: usize,
}

impl Groups {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            groups: Vec::new(),
            heap_bytes: 0,
        }
    }

    /// The answer of one group; `None` where it has no values.
    pub(super) fn answer_of(&self, group: usize) -> Option<f64> {
        self.groups.get(group)?.answer(self.wanted)
    }

    fn grow_to(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, Group::default);
        }
    }

    fn record_all(&mut self, values: impl Iterator<Item = Option<f64>>, groups: &[usize]) {
        let mapping = &*MAPPING;
        for (value, group) in values.zip(groups) {
            let Some((value, group)) = value.zip(self.groups.get_mut(*group)) else {
                continue;
            };
            let before = group.heap_bytes();
            group.record(value, mapping);
            self.heap_bytes = (self.heap_bytes + group.heap_bytes()).saturating_sub(before);
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Group> {
        let taken = emit_to.take_needed(&mut self.groups);
        let bytes: usize = taken.iter().map(Group::heap_bytes).sum();
        self.heap_bytes = self.heap_bytes.saturating_sub(bytes);
        taken
    }
}

/// The numbers of a column; those that the filter leaves out are null.
fn numbers<'a>(
    values: &'a [ArrayRef],
    filter: Option<&'a BooleanArray>,
) -> Result<Box<dyn Iterator<Item = Option<f64>> + 'a>> {
    let Some(values) = values.first() else {
        return internal_err!("quantile without its values");
    };
    let numbers: Box<dyn Iterator<Item = Option<f64>>> = match values.data_type() {
        DataType::Int64 if values.null_count() == 0 => {
            let values = values.as_primitive::<Int64Type>().values();
            Box::new(values.iter().map(|value| Some(*value as f64)))
        }
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>().iter();
            Box::new(values.map(|value| value.map(|value| value as f64)))
        }
        DataType::Float64 => Box::new(values.as_primitive::<Float64Type>().iter()),
        other => return internal_err!("quantile of {other}"),
    };
    Ok(match filter {
        None => numbers,
        Some(filter) => Box::new(
            numbers
                .zip(filter.iter())
                .map(|(value, passed)| value.filter(|_| passed == Some(true))),
        ),
    })
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow_to(total_num_groups);
        match (values.first(), opt_filter) {
            // The way of almost every query, without a virtual call per row.
            (Some(values), None) if values.data_type() == &DataType::Int64 && values.null_count() == 0 => {
                let values = values.as_primitive::<Int64Type>().values();
                self.record_all(values.iter().map(|value| Some(*value as f64)), group_indices);
            }
            _ => self.record_all(numbers(values, opt_filter)?, group_indices),
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let wanted = self.wanted;
        let groups = self.take(emit_to);
        let answers = groups.iter().map(|group| group.answer(wanted));
        Ok(Arc::new(answers.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for group in self.take(emit_to) {
            bytes.clear();
            state::encode(&group, &mut bytes);
            states.append_value(&bytes);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow_to(total_num_groups);
        let Some(states) = values.first() else {
            return Ok(());
        };
        for (bytes, group) in states.as_binary::<i32>().iter().zip(group_indices) {
            let Some((bytes, group)) = bytes.zip(self.groups.get_mut(*group)) else {
                continue;
            };
            let before = group.heap_bytes();
            if state::merge(bytes, group).is_none() {
                return exec_err!("the state of a quantile is damaged");
            }
            self.heap_bytes = (self.heap_bytes + group.heap_bytes()).saturating_sub(before);
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for value in numbers(values, opt_filter)? {
            let mut group = Group::default();
            if let Some(value) = value {
                group.record(value, &MAPPING);
            }
            bytes.clear();
            state::encode(&group, &mut bytes);
            states.append_value(&bytes);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::Answer;
    use super::*;
    use datafusion::arrow::array::Int64Array;

    fn groups(q: f64) -> Groups {
        Groups::new(Wanted {
            q,
            answer: Answer::Value,
        })
    }

    fn column(values: impl IntoIterator<Item = i64>) -> Vec<ArrayRef> {
        vec![Arc::new(values.into_iter().collect::<Int64Array>())]
    }

    #[test]
    fn a_group_answers_the_same_from_one_part_and_from_many() {
        for count in [1, 5, 32, 33, 1_000] {
            let values: Vec<i64> = (0..count).map(|i| (i * 7_919) % 5_000_011 - 3).collect();
            let mut direct = Exponential::new(SCALE);
            for value in &values {
                direct.record(*value as f64, &MAPPING);
            }
            let truth = direct.quantile(0.9).map(|estimate| estimate.value);
            let mut whole = groups(0.9);
            let indices = vec![0; values.len()];
            whole
                .update_batch(&column(values.clone()), &indices, None, 1)
                .expect("numbers");
            let mut merged = groups(0.9);
            for part in values.chunks(10) {
                let mut partial = groups(0.9);
                partial
                    .update_batch(&column(part.to_vec()), &indices[..part.len()], None, 1)
                    .expect("numbers");
                let state = partial.state(EmitTo::All).expect("a state");
                merged.merge_batch(&state, &[0], 1).expect("states");
            }
            let mut converted = groups(0.9);
            let states = converted.convert_to_state(&column(values), None).expect("states");
            converted.merge_batch(&states, &indices, 1).expect("states");
            assert_eq!(whole.answer_of(0), truth, "{count}");
            assert_eq!(whole.answer_of(0), merged.answer_of(0), "{count}");
            assert_eq!(whole.answer_of(0), converted.answer_of(0), "{count}");
        }
    }

    #[test]
    fn the_bytes_of_groups_are_counted_and_given_back() {
        let mut groups = groups(0.5);
        let rows = 100_000_usize;
        let values = column((0..100_000).map(|i| i * 1_000 - 5));
        let indices: Vec<usize> = (0..rows).map(|row| row % 1_000).collect();
        groups
            .update_batch(&values, &indices, None, 1_000)
            .expect("numbers");
        let counted: usize = groups.groups.iter().map(Group::heap_bytes).sum();
        assert_eq!(groups.heap_bytes, counted);
        assert!(counted > 1_000 * FEW_MAX);
        groups.evaluate(EmitTo::First(400)).expect("answers");
        let counted: usize = groups.groups.iter().map(Group::heap_bytes).sum();
        assert_eq!((groups.groups.len(), groups.heap_bytes), (600, counted));
        groups.evaluate(EmitTo::All).expect("answers");
        assert_eq!(groups.heap_bytes, 0);
    }

    #[test]
    fn a_group_without_numbers_answers_null() {
        let mut groups = groups(0.5);
        let values: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![
            None,
            Some(f64::NAN),
            Some(1.0),
        ]))];
        groups
            .update_batch(&values, &[0, 1, 2], None, 4)
            .expect("numbers");
        let answers = groups.evaluate(EmitTo::All).expect("answers");
        assert_eq!(answers.null_count(), 3);
    }
}
