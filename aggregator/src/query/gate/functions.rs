//! Which functions a statement may call, and which of them are guarded. A function that is
//! not named here does not exist for a statement: new ones of the engine are not taken over.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::ScalarUDF;

use super::caps::Caps;
use super::concat::Concat;
use super::scalar::{Guard, Guarded};
use super::sizes::Growth;

/// Functions whose answer is small, or a part of an argument, and costs no more than these.
const FREE: &str = "abs acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh cot degrees exp factorial \
    floor gcd isnan iszero lcm ln log log10 log2 nanvl pi power radians random round signum sin sinh sqrt tan \
    tanh trunc arrow_typeof coalesce get_field greatest least named_struct nullif nvl nvl2 struct version \
    current_date current_time date_bin date_part date_trunc from_unixtime make_date make_time now to_date \
    to_local_time to_time to_timestamp to_timestamp_micros to_timestamp_millis to_timestamp_nanos \
    to_timestamp_seconds to_unixtime ascii bit_length \
    contains ends_with octet_length starts_with uuid character_length find_in_set strpos array_any_value \
    array_avg array_dims array_distance array_element array_has \
    array_has_all array_has_any array_length array_max array_min array_ndims \
    array_position array_product array_sum cardinality cosine_distance empty \
    inner_product resource_attribute";

/// Functions that make about as much as they are given: many of them side by side make much.
const COPYING: &str = "array_compact array_distinct array_except array_intersect array_pop_back array_pop_front \
    array_positions array_remove array_remove_all array_remove_n array_reverse array_slice array_sort btrim chr \
    decode flatten hex initcap left lower ltrim map_entries map_extract map_keys map_values regexp_match reverse \
    right rtrim split_part substr substr_index to_hex upper";

const GUARDED: &[(&str, Guard)] = &[
    ("repeat", Guard::Grows(Growth::Repeat)),
    ("lpad", Guard::Grows(Growth::Pad)),
    ("rpad", Guard::Grows(Growth::Pad)),
    ("replace", Guard::Grows(Growth::Replace)),
    ("regexp_replace", Guard::Grows(Growth::ReplaceMatches)),
    ("concat", Guard::Grows(Growth::Sum)),
    (Concat::NAME, Guard::Grows(Growth::Sum)),
    ("concat_ws", Guard::Grows(Growth::Joined)),
    ("overlay", Guard::Grows(Growth::Sum)),
    ("translate", Guard::Grows(Growth::Times(4))),
    ("encode", Guard::Grows(Growth::Times(2))),
    ("to_char", Guard::Grows(Growth::Format)),
    ("make_array", Guard::Grows(Growth::Sum)),
    ("map", Guard::Grows(Growth::Sum)),
    ("arrays_zip", Guard::Grows(Growth::Sum)),
    ("array_append", Guard::Grows(Growth::Sum)),
    ("array_prepend", Guard::Grows(Growth::Sum)),
    ("array_concat", Guard::Grows(Growth::Sum)),
    ("array_union", Guard::Grows(Growth::Sum)),
    ("array_replace", Guard::Grows(Growth::Sum)),
    ("array_repeat", Guard::Grows(Growth::Repeat)),
    ("array_resize", Guard::Grows(Growth::Resize)),
    ("array_to_string", Guard::Grows(Growth::ListText)),
    ("string_to_array", Guard::Grows(Growth::Split)),
    ("range", Guard::Grows(Growth::Series)),
    ("generate_series", Guard::Grows(Growth::Series)),
    ("levenshtein", Guard::Multiplies),
    ("arrow_cast", Guard::Casts),
    ("arrow_try_cast", Guard::Casts),
];

/// Aggregates, also over windows where their state stays small.
const AGGREGATES: &str = "any_value avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp \
    first_value grouping last_value max min nth_value quantile quantile_low quantile_high regr_avgx regr_avgy regr_count regr_intercept regr_r2 \
    regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop sum var var_pop";

/// Aggregates that keep their values: over a window each row would answer all of them anew.
const KEEPING: &str = "approx_distinct approx_median approx_percentile_cont approx_percentile_cont_with_weight \
    array_agg median percentile_cont string_agg";

const WINDOWS: &str =
    "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number";

/// What statements may call.
#[derive(Debug, Clone)]
pub(in crate::query) struct Allowed {
    free: HashSet<&'static str>,
    guarded: HashMap<String, Guarded>,
    aggregates: HashSet<&'static str>,
    keeping: HashSet<&'static str>,
    windows: HashSet<&'static str>,
}

impl Allowed {
    /// Takes everything else out of `session`, and puts the guards in.
    pub(in crate::query) fn install(session: &mut SessionState, caps: Caps) -> Result<Self> {
        let words = |text: &'static str| text.split_whitespace().collect::<HashSet<_>>();
        let mut allowed = Self {
            free: words(FREE),
            guarded: HashMap::new(),
            aggregates: words(AGGREGATES),
            keeping: words(KEEPING),
            windows: words(WINDOWS),
        };
        for name in session
            .higher_order_functions()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
        {
            session.deregister_higher_order_function(&name)?;
        }
        session.register_udf(Arc::new(ScalarUDF::from(Concat::new())))?;
        let scalars: Vec<Arc<ScalarUDF>> = session.scalar_functions().values().cloned().collect();
        let copying = words(COPYING);
        for function in scalars {
            let name = function.name().to_owned();
            let guard = match GUARDED.iter().find(|(guarded, _)| *guarded == name) {
                Some((_, guard)) => Some(*guard),
                // Those that match a pattern are guarded where it is large.
                None if copying.contains(name.as_str()) || name.starts_with("regexp_") => Some(Guard::Copies),
                None => None,
            };
            match guard {
                Some(_) if allowed.guarded.contains_key(&name) => {}
                Some(guard) => {
                    let guarded = Guarded::new(function, guard, caps);
                    session.register_udf(Arc::new(ScalarUDF::from(guarded.clone())))?;
                    allowed.guarded.insert(name, guarded);
                }
                None if !allowed.free.contains(name.as_str()) => {
                    session.deregister_udf(&name)?;
                }
                None => {}
            }
        }
        let aggregates: Vec<String> = session
            .aggregate_functions()
            .values()
            .map(|f| f.name().to_owned())
            .collect();
        for name in aggregates {
            if !allowed.aggregate(&name) {
                session.deregister_udaf(&name)?;
            }
        }
        Ok(allowed)
    }

    pub(super) fn scalar(&self, name: &str) -> bool {
        self.free.contains(name) || self.guarded.contains_key(name)
    }

    /// The guarded form of a function that has one.
    pub(super) fn guarded(&self, name: &str) -> Option<&Guarded> {
        self.guarded.get(name)
    }

    pub(super) fn aggregate(&self, name: &str) -> bool {
        self.over_windows(name) || self.keeping.contains(name)
    }

    pub(super) fn over_windows(&self, name: &str) -> bool {
        self.aggregates.contains(name)
    }

    pub(super) fn window(&self, name: &str) -> bool {
        self.windows.contains(name)
    }
}
